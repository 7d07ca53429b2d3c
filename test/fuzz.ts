// Fuzzing of the framer and every decoder: mutates the seeds of a corpus, cuts them anywhere, and checks what must always
// hold. Runs inside the tests for some seconds, or by itself for as long as wanted:
//   npm run build && node dist/test/fuzz.js SECONDS [SEED] [CORPUS-FOLDER]
// A seed file holds hex digits; text after `;` is a comment, and its first line names the protocol level: `; level 5`.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { AckView, decodeAck } from '../protocol/ack.ts';
import { decodeConnect } from '../protocol/connect.ts';
import { decodeAuth, decodeDisconnect } from '../protocol/disconnect.ts';
import { Frame, Framer } from '../protocol/framer.ts';
import { defaultLimits, type Limits } from '../protocol/limits.ts';
import { type Level, PacketType } from '../protocol/packet.ts';
import { Properties } from '../protocol/properties.ts';
import { decodePublish, MessageView } from '../protocol/publish.ts';
import { decodeSubscribe, decodeUnsubscribe } from '../protocol/subscribe.ts';

const PACKET_BYTES_MAX = 4_096;
const STREAM_BYTES_MAX = 16_384;
const MUTATIONS_MAX = 4;

export interface Seed {
  name: string;
  level: Level;
  bytes: Uint8Array;
}

export interface FuzzReport {
  seed: number;
  runs: number;
  packets: number;
  /** Packets that a decoder accepted. */
  accepted: number;
}

export function readCorpus(folder: string): Seed[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.hex'));
  return names.map((name) => {
    const source = readFileSync(join(folder, name), 'utf8');
    const level = Number(/^; level ([345])/.exec(source)?.[1]) as Level;
    const digits = source.replaceAll(/;.*/g, '').replaceAll(/\s/g, '');
    return { name, level, bytes: Uint8Array.from(Buffer.from(digits, 'hex')) };
  });
}

/** Numbers in [0, 1) that depend on `seed` alone (mulberry32). */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const INTERESTING = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xff, 0x23, 0x2b, 0x2f, 0x26, 0xc0, 0xed, 0xf4];

function mutate(bytes: Uint8Array, other: Uint8Array, random: () => number): Uint8Array {
  const below = (limit: number) => Math.floor(random() * limit);
  let mutant = [...bytes];
  for (let left = 1 + below(MUTATIONS_MAX); left > 0; left--) {
    const at = below(mutant.length + 1);
    const count = below(8);
    const kind = below(7);
    if (kind === 0 && at < mutant.length) mutant[at]! ^= 1 << below(8);
    else if (kind === 1) mutant[at] = INTERESTING[below(INTERESTING.length)]!;
    else if (kind === 2) mutant.splice(at, count);
    else if (kind === 3) mutant.splice(at, 0, ...mutant.slice(at, at + count));
    else if (kind === 4) mutant.splice(at, 0, below(256));
    else if (kind === 5) mutant = [...mutant.slice(0, at), ...other.subarray(below(other.length + 1))];
    else mutant = [...mutant, ...other];
  }
  return Uint8Array.from(mutant.slice(0, STREAM_BYTES_MAX));
}

const ack = new AckView();
const properties = new Properties();
const message = new MessageView();
const scratch = new Uint8Array(PACKET_BYTES_MAX);

/** Answer of `decodeAny` to a packet that has no decoder. */
const NO_DECODER = 1;

/** Decodes one packet of a client. Returns 0, a fault, or NO_DECODER. */
export function decodeAny(buffer: Uint8Array, header: number, from: number, to: number, level: Level, limits: Limits): number {
  switch (header >>> 4) {
    case PacketType.CONNECT:
      return resultOf(decodeConnect(buffer, header, from, to, limits));
    case PacketType.PUBLISH:
      return decodePublish(buffer, header, from, to, level, limits.userPropertiesMax, properties, scratch, message);
    case PacketType.PUBACK:
    case PacketType.PUBREC:
    case PacketType.PUBREL:
    case PacketType.PUBCOMP:
      return decodeAck(buffer, header, from, to, level, limits.userPropertiesMax, ack);
    case PacketType.SUBSCRIBE:
      return resultOf(decodeSubscribe(buffer, header, from, to, level, limits));
    case PacketType.UNSUBSCRIBE:
      return resultOf(decodeUnsubscribe(buffer, header, from, to, level, limits));
    case PacketType.DISCONNECT:
      return resultOf(decodeDisconnect(buffer, header, from, to, level, limits));
    case PacketType.AUTH:
      return resultOf(decodeAuth(buffer, header, from, to, level, limits));
    default:
      return NO_DECODER;
  }
}

function resultOf(decoded: object | number): number {
  return typeof decoded === 'number' ? decoded : 0;
}

/** Called for each packet that a decoder accepted. */
export type Accepted = (packet: Uint8Array, level: Level) => void;

/** Runs a stream through the framer and the decoders, in chunks of at most `chunkMax`; returns every result in order. */
function run(stream: Uint8Array, level: Level, chunkMax: number, random: () => number, accepted: Accepted | null): number[] {
  const framer = new Framer(PACKET_BYTES_MAX);
  const results: number[] = [];
  for (let from = 0; from < stream.length; ) {
    const to = Math.min(stream.length, from + 1 + Math.floor(random() * chunkMax));
    framer.feed(stream.subarray(from, to), 0, to - from);
    let result = framer.next();
    for (; result === Frame.PACKET; result = framer.next()) {
      const { buffer, header, packetFrom, bodyFrom, bodyTo } = framer;
      if (!(packetFrom < bodyFrom && bodyFrom <= bodyTo && bodyTo <= buffer.length))
        throw new Error('fuzz: packet outside its buffer');
      const decoded = decodeAny(buffer, header, bodyFrom, bodyTo, level, defaultLimits);
      results.push(bodyTo - packetFrom, decoded);
      if (results.length > stream.length) throw new Error('fuzz: more packets than bytes');
      if (decoded === 0) accepted?.(buffer.slice(packetFrom, bodyTo), level);
    }
    if (framer.heldBytes > Math.max(64, 2 * to)) throw new Error('fuzz: framer holds more than twice what came');
    if (result < 0) return [...results, result];
    from = to;
  }
  return results;
}

/** Fuzzes for `seconds`. Throws on the first violation, with the seed and the stream that show it. */
export function fuzz(seeds: readonly Seed[], seconds: number, seed: number, accepted: Accepted | null = null): FuzzReport {
  const random = generator(seed);
  const pick = () => seeds[Math.floor(random() * seeds.length)]!;
  const report: FuzzReport = { seed, runs: 0, packets: 0, accepted: 0 };
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    const { bytes, level } = pick();
    const stream = mutate(bytes, pick().bytes, random);
    try {
      const whole = run(stream, level, stream.length, () => 1 - Number.EPSILON, accepted);
      const cut = run(stream, level, 1 + Math.floor(random() * 20), random, null);
      if (whole.join() !== cut.join()) throw new Error('fuzz: the result depends on where the stream is cut');
      report.packets += whole.length >> 1;
      for (let i = 1; i < whole.length; i += 2) if (whole[i] === 0) report.accepted++;
    } catch (cause) {
      const where = `seed ${seed}, run ${report.runs}, level ${level}, stream ${Buffer.from(stream).toString('hex')}`;
      throw new Error(`fuzz: failed with ${where}`, { cause });
    }
    report.runs++;
  }
  return report;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [seconds = '10', seed = String(Date.now() % 2_147_483_647), folder = 'test/corpus'] = process.argv.slice(2);
  console.log(JSON.stringify(fuzz(readCorpus(folder), Number(seconds), Number(seed))));
}
