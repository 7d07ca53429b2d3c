// The packets of the raw client, encoded once (MQTT 3.1.1), and bursts of equal PUBLISHes: a burst is a row of packets of one
// size, so that a packet is found by multiplication and a number is written into each without encoding anything again.

/** First bytes of the payload of every message: its number, big-endian, counted from 0 on each publisher. */
const NUMBER_BYTES = 4;

export const CONNACK = Buffer.from([0x20, 2, 0, 0]);
export const PUBACK_BYTES = 4;

/** CONNECT with Clean Session and no keep alive. */
export function encodeConnect(clientId: string): Buffer {
  return packet(0x10, Buffer.concat([Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0x02, 0, 0]), text(clientId)]));
}

/** SUBSCRIBE with packet identifier 1. */
export function encodeSubscribe(filter: string, qos: number): Buffer {
  return packet(0x82, Buffer.concat([Buffer.from([0, 1]), text(filter), Buffer.from([qos])]));
}

/** The answer to `encodeSubscribe`. */
export function suback(qos: number): Buffer {
  return Buffer.from([0x90, 3, 0, 1, qos]);
}

/** PUBLISH packets of one size: one for each topic, taken in turn, and where things stand in them. */
export interface PublishShape {
  /** The filter that receives all of them. */
  readonly filter: string;
  readonly templates: readonly Buffer[];
  readonly bytes: number;
  /** Offset of the packet identifier, -1 at QoS 0. */
  readonly packetIdAt: number;
  /** Offset of the message's number. */
  readonly numberAt: number;
}

/** The packets of publisher `own`, over `topics` topics (at most 1,000). */
export function publishShape(own: number, topics: number, payloadBytes: number, qos: 0 | 1): PublishShape {
  if (payloadBytes <= NUMBER_BYTES) throw new Error(`raw client: a payload of ${payloadBytes} bytes has no room for its number`);
  const folder = `flood/${String(own).padStart(3, '0')}`;
  const names = Array.from({ length: topics }, (_, i) => `${folder}/${String(i).padStart(3, '0')}`);
  const tail = Buffer.concat([Buffer.alloc(qos === 0 ? 0 : 2), Buffer.alloc(payloadBytes, 0x70)]);
  const templates = names.map((name) => packet(0x30 | (qos << 1), Buffer.concat([text(name), tail])));
  const bytes = templates[0]!.length;
  const numberAt = bytes - payloadBytes;
  return {
    filter: topics === 1 ? names[0]! : `${folder}/#`,
    templates,
    bytes,
    packetIdAt: qos === 0 ? -1 : numberAt - 2,
    numberAt,
  };
}

/** Packets of `shape` one behind the other in `block` from `blockFrom`, to be numbered before each use. */
export class Burst {
  readonly block: Buffer;
  readonly #shape: PublishShape;
  readonly #blockFrom: number;

  /** Room for `packets`, behind `headroom` bytes that belong to whoever frames the burst. */
  constructor(shape: PublishShape, packets: number, headroom: number) {
    this.#shape = shape;
    this.#blockFrom = headroom;
    this.block = Buffer.alloc(headroom + packets * shape.bytes);
    for (let i = 0; i < packets; i++) shape.templates[i % shape.templates.length]!.copy(this.block, headroom + i * shape.bytes);
  }

  /** Numbers the first `count` packets from `first`; returns the end of the last one. At QoS 1 the packet identifier follows the number. */
  number(first: number, count: number): number {
    const { block } = this;
    const { bytes, numberAt, packetIdAt } = this.#shape;
    let at = this.#blockFrom;
    for (let value = first; value < first + count; value++, at += bytes) {
      writeU32(block, at + numberAt, value);
      if (packetIdAt >= 0) writeU16(block, at + packetIdAt, (value % PACKET_IDS) + 1);
    }
    return at;
  }
}

/** More than any window, so that an identifier is free again when its turn comes. */
const PACKET_IDS = 32_768;

function writeU32(block: Buffer, at: number, value: number): void {
  block[at] = value >>> 24;
  block[at + 1] = value >>> 16;
  block[at + 2] = value >>> 8;
  block[at + 3] = value;
}

function writeU16(block: Buffer, at: number, value: number): void {
  block[at] = value >>> 8;
  block[at + 1] = value;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function packet(header: number, body: Buffer): Buffer {
  if (body.length > 127) throw new Error(`raw client: a packet of ${body.length} bytes needs a longer length field`);
  return Buffer.concat([Buffer.from([header, body.length]), body]);
}
