// What the cold packets share: a cursor that reads a borrowed body strictly, and the boundary to mqtt-packet.
//
// Decoding is done here and not by mqtt-packet, because a check as strict as the standard has to find every field
// anyway (mqtt-packet decodes ill-formed UTF-8 lossily, loses the order of properties and reads past their end); it
// encodes the answers, and the tests compare every decoder with it.
import type { Packet } from 'mqtt-packet';
// Not 'mqtt-packet' itself: its parser, which nothing here uses, loads a library of streams, 10 MB.
import generate from 'mqtt-packet/generate.js';
import writeToStream from 'mqtt-packet/writeToStream.js';
import { ownBytes, readU16 } from './bytes.ts';
import { fault, type Level, Reason } from './packet.ts';
import { type Properties, walkProperties } from './properties.ts';
import { validateUtf8 } from './utf8.ts';

// By default mqtt-packet makes 65,536 small buffers when it is loaded, one for each 16-bit number.
writeToStream.cacheNumbers = false;

/** Reads the body [at, to) of one packet. The first fault sticks: what is read after it is empty and means nothing. */
export class Cursor {
  readonly buffer: Uint8Array;
  readonly to: number;
  at: number;
  fault = 0;

  constructor(buffer: Uint8Array, from: number, to: number) {
    this.buffer = buffer;
    this.at = from;
    this.to = to;
  }

  get more(): boolean {
    return this.fault === 0 && this.at < this.to;
  }

  fail(reason: Reason): void {
    if (this.fault === 0) this.fault = fault(reason);
  }

  u8(): number {
    return this.#has(1) ? this.buffer[this.at++]! : 0;
  }

  u16(): number {
    if (!this.#has(2)) return 0;
    this.at += 2;
    return readU16(this.buffer, this.at - 2);
  }

  /** Binary data (§1.5.6), as an own copy. */
  binary(): Uint8Array {
    const length = this.u16();
    if (!this.#has(length)) return new Uint8Array(0);
    this.at += length;
    return ownBytes(this.buffer, this.at - length, this.at);
  }

  /** A UTF-8 string (§1.5.4) as an own copy of its bytes. */
  utf8(): Uint8Array {
    const bytes = this.binary();
    if (validateUtf8(bytes, 0, bytes.length) < 0) this.fail(Reason.MALFORMED_PACKET);
    return bytes;
  }

  text(): string {
    const bytes = this.utf8();
    return textOf(bytes, 0, bytes.length);
  }

  properties(set: number, userPropertiesMax: number, out: Properties): void {
    if (this.fault !== 0) return;
    const end = walkProperties(this.buffer, this.at, this.to, set, userPropertiesMax, out);
    if (end < 0) this.fault = end;
    else this.at = end;
  }

  /** The fault, MALFORMED_PACKET when bytes are left over, or 0. */
  finish(): number {
    if (this.more) this.fail(Reason.MALFORMED_PACKET);
    return this.fault;
  }

  #has(count: number): boolean {
    if (this.fault === 0 && this.at + count > this.to) this.fail(Reason.MALFORMED_PACKET);
    return this.fault === 0;
  }
}

/** The string in bytes [from, to), which are known to be well-formed. */
export function textOf(buffer: Uint8Array, from: number, to: number): string {
  return Buffer.from(buffer.buffer, buffer.byteOffset + from, to - from).toString('utf8');
}

/** Encodes an answer. Throws, with words of mqtt-packet, when a value does not fit its field: an error of the caller. */
export function encode(packet: Packet, level: Level): Uint8Array {
  return generate(packet, { protocolVersion: level });
}

/** Without the keys that are undefined. */
export function present<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
