// What no broker can beat: node relay-broker.js PORT answers CONNECT and SUBSCRIBE, and from a publisher's first PUBLISH on passes
// its bytes to the subscribers of that topic as they come, one copy and one write each, without another look; what a subscriber
// answers goes back the same way. So it keeps no message, knows no packet identifier and serves nothing but publishers of one topic
// each, with one subscriber where there are answers. When it is ready it writes its port.
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { BlockPool } from '../../engine/memory/blocks.ts';
import { RawSocket, Written } from '../../engine/network/raw-socket.ts';
import { copyBytes, readU16 } from '../../protocol/bytes.ts';
import { PacketType } from '../../protocol/packet.ts';

/** What waits for the slowest receiver before the sender is not read from. */
const WAITING_BYTES_MAX = 4_194_304;
const CONNACK = Uint8Array.of(0x20, 2, 0, 0);

const pool = new BlockPool();
const subscribers = new Map<string, Relayed[]>();

class Relayed {
  readonly #raw: RawSocket;
  /** Where its bytes go; null while packets are looked at. */
  #peers: readonly Relayed[] | null = null;
  #waitingBytes = 0;
  #isPaused = false;

  constructor(socket: Socket) {
    const raw = RawSocket.accepted(socket, this);
    if (raw === null) throw new Error('relay: this version of node does not let connections be used below its streams');
    this.#raw = raw;
    raw.socket.on('error', () => {});
    raw.socket.on('close', () => {
      for (const list of subscribers.values()) if (list.includes(this)) list.splice(list.indexOf(this), 1);
    });
    raw.socket.resume();
  }

  take(chunk: Uint8Array, to: number): void {
    let from = 0;
    if (this.#peers === null) from = this.#greet(chunk, to);
    const peers = this.#peers;
    if (peers === null || from === to) return;
    for (let i = 0; i < peers.length; i++) peers[i]!.#pass(chunk, from, to, this);
  }

  #pass(chunk: Uint8Array, from: number, to: number, sender: Relayed): void {
    const block = pool.acquire(to - from);
    copyBytes(chunk, from, to, block, 0);
    const written = this.#raw.write(block.subarray(0, to - from), {
      completed: () => {
        pool.release(block);
        this.#waitingBytes -= to - from;
        if (!sender.#isPaused || this.#waitingBytes > 0) return;
        sender.#isPaused = false;
        sender.#raw.socket.resume();
      },
    });
    if (written === Written.WHOLE) {
      pool.release(block);
    } else if (written === Written.UNDER_WAY) {
      this.#waitingBytes += to - from;
      if (this.#waitingBytes < WAITING_BYTES_MAX || sender.#isPaused) return;
      sender.#isPaused = true;
      sender.#raw.socket.pause();
    }
  }

  /** Answers what comes before the first PUBLISH, of which the topic must be there; returns where that begins, or `to`. */
  #greet(chunk: Uint8Array, to: number): number {
    for (let at = 0; at < to; ) {
      const type = chunk[at]! >> 4;
      let bodyFrom = at + 1;
      let length = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = chunk[bodyFrom++]!;
        length |= (byte & 127) << shift;
        if (byte < 128) break;
      }
      if (type === PacketType.PUBLISH) {
        const topic = textAt(chunk, bodyFrom);
        this.#peers = [...subscribers].flatMap(([filter, list]) => (matches(filter, topic) ? list : []));
        if (this.#peers.length === 1) this.#peers[0]!.#peers = [this];
        return at;
      }
      if (type === PacketType.CONNECT) this.#say(CONNACK);
      if (type === PacketType.SUBSCRIBE) this.#subscribe(chunk, bodyFrom);
      at = bodyFrom + length;
    }
    return to;
  }

  #subscribe(chunk: Uint8Array, bodyFrom: number): void {
    const filter = textAt(chunk, bodyFrom + 2);
    subscribers.set(filter, [...(subscribers.get(filter) ?? []), this]);
    const qos = chunk[bodyFrom + 4 + readU16(chunk, bodyFrom + 2)]!;
    this.#say(Uint8Array.of(0x90, 3, chunk[bodyFrom]!, chunk[bodyFrom + 1]!, qos));
  }

  #say(bytes: Uint8Array): void {
    this.#raw.write(bytes, { completed: () => {} });
  }
}

/** A string with its length before it. */
function textAt(chunk: Uint8Array, at: number): string {
  return Buffer.from(chunk.subarray(at + 2, at + 2 + readU16(chunk, at))).toString();
}

/** As far as filters of the bench go: + and no #. */
function matches(filter: string, topic: string): boolean {
  const levels = topic.split('/');
  const wanted = filter.split('/');
  return levels.length === wanted.length && wanted.every((level, i) => level === '+' || level === levels[i]);
}

const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => new Relayed(socket));
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
