// HOT: no allocation, closures, strings, try or async per message.
// Messages as records, one behind the other, in the form in which they are sealed and kept.
//
//   0  check i32       over the rest of the record, as it lies
//   4  length i32      of the whole record, a multiple of 8
//   8  number f64      position in a session's queue, or number of a shared or retained message
//   16 since f64       wall clock in ms when it was taken
//   24 until f64       wall clock in ms when it must be forgotten; Infinity: never
//   32 topic u16 | flags u8 | bits u8 (QoS and retain)
//   36 properties i32 | 40 payload i32 | 44 subscription identifiers i32      sizes in bytes
//   48 content         subscription identifiers, topic, properties, payload
//
// A reference stands for a shared message: its content is the message's number (f64), then the subscription identifiers; `payload` says how
// many bytes the message has. The check finds out which records of a damaged value are whole; it begins with a secret of the store, so that a payload that looks like
// records is not taken for some. Against any other forgery there is the seal.
import { copyBytes } from '../protocol/bytes.ts';
import type { MessageView } from '../protocol/publish.ts';

export const RECORD_BYTES = 48;
const REFERENCE_BYTES = 8;

export const RecordFlag = {
  /** `until` is the Message Expiry Interval of the publisher, which receivers are told of; otherwise it is the store's retention. */
  EXPIRES: 1,
  REFERENCE: 2,
} as const;

/** A message on its way into a record: its three parts in one piece. */
export interface RecordContent {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly topicBytes: number;
  readonly propertyBytes: number;
  readonly payloadBytes: number;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly expires: boolean;
}

/** Records that grow at the end; 8-aligned, so that numbers are read and written as they lie. */
export class RecordBuffer {
  bytes: Uint8Array;
  words: Int32Array;
  floats: Float64Array;
  end = 0;

  constructor(capacityBytes: number) {
    const memory = new ArrayBuffer((capacityBytes + 7) & ~7);
    this.bytes = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    this.floats = new Float64Array(memory);
  }

  clear(): void {
    this.end = 0;
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    if (this.end + bytes <= this.bytes.length) return;
    const wide = new RecordBuffer(Math.max(this.bytes.length * 2, this.end + bytes));
    wide.bytes.set(this.bytes.subarray(0, this.end));
    this.bytes = wide.bytes;
    this.words = wide.words;
    this.floats = wide.floats;
  }

  /** Fills the buffer with bytes that came from elsewhere. */
  load(plain: Uint8Array): void {
    this.end = 0;
    this.reserve(plain.length);
    this.bytes.set(plain);
    this.end = plain.length;
  }

  /** Appends a message; returns the offset of its record. */
  append(number: number, bits: number, ids: Uint8Array, idsFrom: number, idsTo: number, content: RecordContent): number {
    const idsBytes = idsTo - idsFrom;
    const contentBytes = content.topicBytes + content.propertyBytes + content.payloadBytes;
    const at = this.#begin(number, bits, idsBytes, RECORD_BYTES + idsBytes + contentBytes, content.sinceMs, content.untilMs);
    const word = at >> 2;
    this.words[word + 8] = content.topicBytes | ((content.expires ? RecordFlag.EXPIRES : 0) << 16) | (bits << 24);
    this.words[word + 9] = content.propertyBytes;
    this.words[word + 10] = content.payloadBytes;
    const to = copyBytes(ids, idsFrom, idsTo, this.bytes, at + RECORD_BYTES);
    copyBytes(content.bytes, content.from, content.from + contentBytes, this.bytes, to);
    return at;
  }

  /** Appends a reference to a shared message of `messageBytes`; returns the offset of its record. */
  appendReference(
    number: number,
    bits: number,
    ids: Uint8Array,
    idsFrom: number,
    idsTo: number,
    message: number,
    messageBytes: number,
    sinceMs: number,
    untilMs: number,
  ): number {
    const idsBytes = idsTo - idsFrom;
    const at = this.#begin(number, bits, idsBytes, RECORD_BYTES + REFERENCE_BYTES + idsBytes, sinceMs, untilMs);
    const word = at >> 2;
    this.words[word + 8] = (RecordFlag.REFERENCE << 16) | (bits << 24);
    this.words[word + 9] = 0;
    this.words[word + 10] = messageBytes;
    this.floats[(at + RECORD_BYTES) >> 3] = message;
    copyBytes(ids, idsFrom, idsTo, this.bytes, at + RECORD_BYTES + REFERENCE_BYTES);
    return at;
  }

  /** Appends a record of another buffer as it is. */
  copy(source: RecordBuffer, at: number): void {
    const length = source.length(at);
    this.reserve(length);
    this.bytes.set(source.bytes.subarray(at, at + length), this.end);
    this.end += length;
  }

  /** Writes the check of a finished record; `seed` is the store's own. */
  finish(at: number, seed: number): void {
    this.words[at >> 2] = check(this.words, (at >> 2) + 1, (at + this.length(at)) >> 2, seed);
  }

  length(at: number): number {
    return this.words[(at >> 2) + 1]!;
  }

  number(at: number): number {
    return this.floats[(at >> 3) + 1]!;
  }

  sinceMs(at: number): number {
    return this.floats[(at >> 3) + 2]!;
  }

  untilMs(at: number): number {
    return this.floats[(at >> 3) + 3]!;
  }

  bits(at: number): number {
    return this.words[(at >> 2) + 8]! >>> 24;
  }

  /** Number of the shared message that the record refers to, -1 when it holds its message itself. */
  reference(at: number): number {
    return (this.#flags(at) & RecordFlag.REFERENCE) === 0 ? -1 : this.floats[(at + RECORD_BYTES) >> 3]!;
  }

  /** Bytes of topic, properties and payload of the message, wherever it lies. */
  messageBytes(at: number): number {
    const word = at >> 2;
    return (this.words[word + 8]! & 0xffff) + this.words[word + 9]! + this.words[word + 10]!;
  }

  idsFrom(at: number): number {
    return at + RECORD_BYTES + ((this.#flags(at) & RecordFlag.REFERENCE) === 0 ? 0 : REFERENCE_BYTES);
  }

  idsBytes(at: number): number {
    return this.words[(at >> 2) + 11]!;
  }

  /** Points `view` at the message of a record that is no reference. */
  view(at: number, view: MessageView): void {
    const word = at >> 2;
    const topicFrom = at + RECORD_BYTES + this.words[word + 11]!;
    view.topic = this.bytes;
    view.topicFrom = topicFrom;
    view.topicTo = topicFrom + (this.words[word + 8]! & 0xffff);
    view.properties = this.bytes;
    view.propertiesFrom = view.topicTo;
    view.propertiesTo = view.topicTo + this.words[word + 9]!;
    view.payload = this.bytes;
    view.payloadFrom = view.propertiesTo;
    view.payloadTo = view.propertiesTo + this.words[word + 10]!;
    view.qos = this.bits(at) & 3;
    view.retain = (this.bits(at) >> 2) & 1;
    view.dup = 0;
    view.packetId = 0;
    view.topicAlias = 0;
    view.expiryS = -1;
    view.expiresAtMs = (this.#flags(at) & RecordFlag.EXPIRES) === 0 ? Infinity : this.untilMs(at);
  }

  /** Whether a whole record of at most `end - at` bytes, finished with `seed`, begins at `at`. */
  isWhole(at: number, seed: number): boolean {
    if (at + RECORD_BYTES > this.end) return false;
    const word = at >> 2;
    const length = this.words[word + 1]!;
    if (length < RECORD_BYTES || (length & 7) !== 0 || at + length > this.end) return false;
    if (this.words[word] !== check(this.words, word + 1, (at + length) >> 2, seed)) return false;
    if (this.words[word + 9]! < 0 || this.words[word + 10]! < 0 || this.words[word + 11]! < 0) return false;
    const isReference = (this.#flags(at) & RecordFlag.REFERENCE) !== 0;
    const fixed = this.idsFrom(at) - at + this.words[word + 11]!;
    if (fixed + (isReference ? 0 : this.messageBytes(at)) > length) return false;
    return !isReference || this.reference(at) >= 0;
  }

  #begin(number: number, bits: number, idsBytes: number, bytes: number, sinceMs: number, untilMs: number): number {
    const length = (bytes + 7) & ~7;
    this.reserve(length);
    const at = this.end;
    const word = at >> 2;
    // What pads the record is part of its check.
    this.words[(at + length - 8) >> 2] = 0;
    this.words[(at + length - 4) >> 2] = 0;
    this.words[word + 1] = length;
    this.words[word + 8] = bits << 24;
    this.words[word + 11] = idsBytes;
    this.floats[(at >> 3) + 1] = number;
    this.floats[(at >> 3) + 2] = sinceMs;
    this.floats[(at >> 3) + 3] = untilMs;
    this.end = at + length;
    return at;
  }

  #flags(at: number): number {
    return (this.words[(at >> 2) + 8]! >> 16) & 0xff;
  }
}

/** A mixing hash of 32-bit words (the inner step of MurmurHash2, A. Appleby): finds accidents, not forgeries. */
function check(words: Int32Array, from: number, to: number, seed: number): number {
  let hash = seed ^ (to - from);
  for (let i = from; i < to; i++) {
    const mixed = Math.imul(words[i]!, 0x5bd1e995);
    hash = Math.imul(hash, 0x5bd1e995) ^ Math.imul(mixed ^ (mixed >>> 24), 0x5bd1e995);
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0x5bd1e995);
  return hash ^ (hash >>> 15);
}
