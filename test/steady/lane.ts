// Load in lockstep: a lane has one publisher and its subscribers on a topic of their own. A batch of messages goes out in one write, and the next
// one follows when every packet that the batch entails has come. All packets of a kind have one length, so a lane knows how many
// bytes are due, and compares them with what it expects: nothing is lost, doubled, out of order or changed.
import { connect as connectTcp } from 'node:net';
import { WebSocket } from 'ws';
import { connect, type Level, publish, subscribe } from '../conformance/bytes.ts';
import type { Ready } from './broker-on-watch.ts';

export type QoS = 0 | 1 | 2;
export type Transport = keyof Ready;

export interface LaneShape {
  readonly transport: Transport;
  readonly qos: QoS;
  readonly publisher: Level;
  readonly subscribers: readonly Level[];
}

const PAYLOAD_BYTES = 32;
/** Below the Receive Maximum of the broker (1,024), and enough to make the costs of a turn small beside those of its messages. */
const BATCH: Readonly<Record<QoS, number>> = { 0: 2_048, 1: 1_000, 2: 1_000 };
const PUBACK = 0x40;
const PUBREC = 0x50;
const PUBREL = 0x62;
const PUBCOMP = 0x70;
const ACK_BYTES = 4;

/** One connection, of which the next so many bytes are waited for. */
class Party {
  readonly #send: (bytes: Buffer) => void;
  readonly #destroy: () => void;
  #buffer = Buffer.alloc(1 << 20);
  #held = 0;
  #due = 0;
  #resolve: ((bytes: Buffer) => void) | null = null;
  #reject: ((error: Error) => void) | null = null;

  private constructor(send: (bytes: Buffer) => void, destroy: () => void) {
    this.#send = send;
    this.#destroy = destroy;
  }

  static open(transport: Transport, ready: Ready): Promise<Party> {
    return new Promise((resolve, reject) => {
      if (transport === 'tcp') {
        const socket = connectTcp({ port: ready.tcp, host: '127.0.0.1', noDelay: true });
        const party = new Party(
          (bytes) => socket.write(bytes),
          () => socket.destroy(),
        );
        socket.on('data', (chunk) => party.#receive(chunk));
        socket.on('error', reject);
        socket.on('close', () => party.#lose());
        socket.on('connect', () => resolve(party));
        return;
      }
      const socket = new WebSocket(`ws://127.0.0.1:${ready.ws}/mqtt`, 'mqtt', { perMessageDeflate: false });
      const party = new Party(
        (bytes) => socket.send(bytes),
        () => socket.terminate(),
      );
      socket.on('message', (data) => party.#receive(data as Buffer));
      socket.on('error', reject);
      socket.on('close', () => party.#lose());
      socket.on('open', () => resolve(party));
    });
  }

  send(bytes: Buffer): void {
    this.#send(bytes);
  }

  /** The next bytes; valid until the next call. */
  next(bytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#due = bytes;
      this.#resolve = resolve;
      this.#reject = reject;
      this.#look();
    });
  }

  /** Nobody waits for it any more. */
  destroy(): void {
    this.#reject = null;
    this.#destroy();
  }

  #receive(chunk: Buffer): void {
    if (this.#held + chunk.length > this.#buffer.length) throw new Error('steady: more came than was due');
    this.#held += chunk.copy(this.#buffer, this.#held);
    this.#look();
  }

  #look(): void {
    const resolve = this.#resolve;
    if (resolve === null || this.#held < this.#due) return;
    const taken = Buffer.from(this.#buffer.subarray(0, this.#due));
    this.#buffer.copyWithin(0, this.#due, this.#held);
    this.#held -= this.#due;
    this.#resolve = null;
    resolve(taken);
  }

  #lose(): void {
    this.#reject?.(new Error(`steady: the broker closed a connection that waits for ${this.#due - this.#held} bytes`));
  }
}

/** Messages of one batch as one side sees them: packets of one length, one behind the other. */
class Batch {
  readonly bytes: Buffer;
  readonly count: number;
  readonly packetBytes: number;
  /** Offset of the packet identifier in a packet. */
  readonly #identifierAt: number;

  constructor(level: Level, topic: string, qos: QoS) {
    this.count = BATCH[qos];
    const packets = Array.from({ length: this.count }, (_, at) => {
      const payload = String(at).padStart(PAYLOAD_BYTES, '.');
      return publish(level, { topic, payload, qos, packetId: at + 1 });
    });
    this.bytes = Buffer.concat(packets);
    this.packetBytes = packets[0]!.length;
    this.#identifierAt = this.packetBytes - PAYLOAD_BYTES - (level === 5 ? 1 : 0) - 2;
  }

  /** The identifiers with which the messages came; throws when it is not these messages in this order. */
  identifiers(received: Buffer, qos: QoS): Uint16Array {
    const found = new Uint16Array(this.count);
    if (qos !== 0) {
      for (let at = 0; at < this.count; at++) {
        const place = at * this.packetBytes + this.#identifierAt;
        found[at] = received.readUInt16BE(place);
        this.bytes.copy(received, place, place, place + 2);
      }
    }
    if (!received.equals(this.bytes)) throw new Error('steady: what came is not what was sent');
    return found;
  }
}

/** Acknowledgements in their short form, one for each identifier. */
function acks(firstByte: number, identifiers: Uint16Array): Buffer {
  const bytes = Buffer.alloc(identifiers.length * ACK_BYTES);
  for (const [at, identifier] of identifiers.entries()) {
    bytes[at * ACK_BYTES] = firstByte;
    bytes[at * ACK_BYTES + 1] = 2;
    bytes.writeUInt16BE(identifier, at * ACK_BYTES + 2);
  }
  return bytes;
}

async function expectAcks(party: Party, expected: Buffer): Promise<void> {
  if (!(await party.next(expected.length)).equals(expected)) throw new Error('steady: acknowledgements are not those due');
}

export class Lane {
  readonly #shape: LaneShape;
  readonly #publisher: Party;
  readonly #subscribers: readonly { readonly party: Party; readonly batch: Batch }[];
  readonly #batch: Batch;
  readonly #identifiers: Uint16Array;

  private constructor(shape: LaneShape, topic: string, publisher: Party, subscribers: readonly Party[]) {
    this.#shape = shape;
    this.#publisher = publisher;
    this.#batch = new Batch(shape.publisher, topic, shape.qos);
    this.#subscribers = subscribers.map((party, at) => ({ party, batch: new Batch(shape.subscribers[at]!, topic, shape.qos) }));
    this.#identifiers = Uint16Array.from({ length: this.#batch.count }, (_, at) => at + 1);
  }

  static async open(ready: Ready, shape: LaneShape, topic: string): Promise<Lane> {
    const publisher = await join(ready, shape.transport, shape.publisher, `${topic}-pub`);
    const subscribers: Party[] = [];
    for (const [at, level] of shape.subscribers.entries()) {
      const party = await join(ready, shape.transport, level, `${topic}-sub-${at}`);
      party.send(subscribe(level, { packetId: 1, filters: [[topic, shape.qos]] }));
      await party.next(level === 5 ? 6 : 5);
      subscribers.push(party);
    }
    return new Lane(shape, topic, publisher, subscribers);
  }

  /** Publishes at least so many messages, and resolves with their number when everything that follows from them has come. */
  async publish(messages: number): Promise<number> {
    let published = 0;
    for (; published < messages; published += this.#batch.count) {
      this.#publisher.send(this.#batch.bytes);
      await Promise.all([this.#publish(), ...this.#subscribers.map(({ party, batch }) => this.#receive(party, batch))]);
    }
    return published;
  }

  async #publish(): Promise<void> {
    const { qos } = this.#shape;
    if (qos === 0) return;
    await expectAcks(this.#publisher, acks(qos === 1 ? PUBACK : PUBREC, this.#identifiers));
    if (qos === 1) return;
    this.#publisher.send(acks(PUBREL, this.#identifiers));
    await expectAcks(this.#publisher, acks(PUBCOMP, this.#identifiers));
  }

  async #receive(party: Party, batch: Batch): Promise<void> {
    const { qos } = this.#shape;
    const identifiers = batch.identifiers(await party.next(batch.bytes.length), qos);
    if (qos === 0) return;
    party.send(acks(qos === 1 ? PUBACK : PUBREC, identifiers));
    if (qos === 1) return;
    await expectAcks(party, acks(PUBREL, identifiers));
    party.send(acks(PUBCOMP, identifiers));
  }

  close(): void {
    this.#publisher.destroy();
    for (const { party } of this.#subscribers) party.destroy();
  }
}

/** A connection whose CONNECT was accepted. */
async function join(ready: Ready, transport: Transport, level: Level, clientId: string): Promise<Party> {
  const party = await Party.open(transport, ready);
  party.send(connect(level, { clientId }));
  const head = await party.next(2);
  const rest = await party.next(head[1]!);
  if (head[0] !== 0x20 || rest[1] !== 0) throw new Error(`steady: the broker refused a connection: ${rest[1]}`);
  return party;
}
