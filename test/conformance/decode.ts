// Reads packets that the broker sent. Written apart from the broker's own codec, and strict about nothing but lengths:
// what a field may hold is for the test to say.

import type { Level } from './bytes.ts';

/** One property: a number, the bytes of a string or of binary data, or the two strings of a user property. */
export interface Property {
  readonly id: number;
  readonly value: number | string | readonly [name: string, value: string];
}

export interface Packet {
  /** The whole packet. */
  readonly bytes: Buffer;
  readonly firstByte: number;
  /** High nibble of the first byte (MQTT 5.0 §2.1.2). */
  readonly type: number;
  /** What follows the fixed header. */
  readonly body: Buffer;
}

/** Splits the first complete packet off; null when more bytes are needed. */
export function splitPacket(bytes: Buffer): Packet | null {
  let length = 0;
  for (let index = 1; index < 5; index++) {
    if (index >= bytes.length) return null;
    const digit = bytes[index]!;
    length += (digit & 0x7f) * 128 ** (index - 1);
    if (digit >= 0x80) continue;
    const end = index + 1 + length;
    if (bytes.length < end) return null;
    return { bytes: bytes.subarray(0, end), firstByte: bytes[0]!, type: bytes[0]! >> 4, body: bytes.subarray(index + 1, end) };
  }
  throw new Error('the broker sent a remaining length of more than four bytes');
}

/** Walks a body; each read moves on. Reading past the end throws. */
class Cursor {
  private at = 0;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  take(count: number): Buffer {
    if (count > this.left) throw new Error('the broker sent a packet that ends inside a field');
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  uint(bytes: 1 | 2 | 4): number {
    return this.take(bytes).readUIntBE(0, bytes);
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const digit = this.uint(1);
      value += (digit & 0x7f) * factor;
      if (digit < 0x80) return value;
    }
  }

  text(): string {
    return this.take(this.uint(2)).toString('utf8');
  }

  rest(): Buffer {
    return this.take(this.left);
  }

  properties(level: Level): Property[] {
    if (level !== 5 || this.left === 0) return [];
    const inside = new Cursor(this.take(this.varint()));
    const found: Property[] = [];
    while (inside.left > 0) {
      const id = inside.uint(1);
      found.push({ id, value: propertyValue(inside, id) });
    }
    return found;
  }
}

const ONE_BYTE = new Set([0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a]);
const TWO_BYTES = new Set([0x13, 0x21, 0x22, 0x23]);
const FOUR_BYTES = new Set([0x02, 0x11, 0x18, 0x27]);
const TEXTS = new Set([0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1a, 0x1c, 0x1f]);

function propertyValue(cursor: Cursor, id: number): Property['value'] {
  if (ONE_BYTE.has(id)) return cursor.uint(1);
  if (TWO_BYTES.has(id)) return cursor.uint(2);
  if (FOUR_BYTES.has(id)) return cursor.uint(4);
  if (TEXTS.has(id)) return cursor.text();
  if (id === 0x0b) return cursor.varint();
  if (id === 0x26) return [cursor.text(), cursor.text()];
  throw new Error(`the broker sent property ${id}, which MQTT 5.0 does not know`);
}

/** The value of the first property with this identifier. */
export function propertyOf(properties: readonly Property[], id: number): Property['value'] | undefined {
  return properties.find((property) => property.id === id)?.value;
}

export interface Connack {
  readonly flags: number;
  readonly reason: number;
  readonly properties: Property[];
}

export function readConnack(packet: Packet, level: Level): Connack {
  const cursor = new Cursor(packet.body);
  return { flags: cursor.uint(1), reason: cursor.uint(1), properties: cursor.properties(level) };
}

export interface Publish {
  readonly dup: boolean;
  readonly qos: number;
  readonly retain: boolean;
  readonly topic: string;
  /** 0 at QoS 0. */
  readonly packetId: number;
  readonly properties: Property[];
  readonly payload: string;
}

export function readPublish(packet: Packet, level: Level): Publish {
  const cursor = new Cursor(packet.body);
  const qos = (packet.firstByte >> 1) & 3;
  return {
    dup: (packet.firstByte & 0x08) !== 0,
    qos,
    retain: (packet.firstByte & 0x01) !== 0,
    topic: cursor.text(),
    packetId: qos === 0 ? 0 : cursor.uint(2),
    properties: cursor.properties(level),
    payload: cursor.rest().toString('utf8'),
  };
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP; an absent reason code is 0 (MQTT 5.0 §3.4.2.1). */
export function readAcknowledgement(packet: Packet): { packetId: number; reason: number; properties: Property[] } {
  const cursor = new Cursor(packet.body);
  const packetId = cursor.uint(2);
  const reason = cursor.left > 0 ? cursor.uint(1) : 0;
  return { packetId, reason, properties: cursor.properties(5) };
}

/** SUBACK and UNSUBACK; UNSUBACK of the older levels has no codes. */
export function readCodes(packet: Packet, level: Level): { packetId: number; properties: Property[]; codes: number[] } {
  const cursor = new Cursor(packet.body);
  return { packetId: cursor.uint(2), properties: cursor.properties(level), codes: [...cursor.rest()] };
}

/** DISCONNECT and AUTH of MQTT 5; an absent reason code is 0. */
export function readReason(packet: Packet): { reason: number; properties: Property[] } {
  const cursor = new Cursor(packet.body);
  const reason = cursor.left > 0 ? cursor.uint(1) : 0;
  return { reason, properties: cursor.properties(5) };
}
