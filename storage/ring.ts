// HOT: no allocation, closures, strings, try or async per message.
// A byte ring in shared memory between one producer and one consumer (Lamport, 1977): records of any length, in order, each in one
// piece, so that both sides read and write them through typed arrays where they lie.
//
//   control  Int32  0 HEAD  bytes ever published, modulo 2^32     16 TAIL  bytes ever released, modulo 2^32; each in a cache line of its own
//   data            records, each 8-aligned: Int32 bytes of the record, header included | the record's own content
//                   a length of 0 says that the rest up to the end of the buffer is left over
//
// The producer writes records privately and publishes them together; the consumer looks at them in place and releases them
// together. The ring has no bell: whoever may sleep has a Doorbell.

const HEAD = 0;
const TAIL = 16;
const CONTROL_BYTES = 128;
/** Bytes before a record's content. */
export const RECORD_HEADER_BYTES = 8;

/** Memory of a ring with room for `capacityBytes`, a power of two from 4,096. */
export function allocateRing(capacityBytes: number): SharedArrayBuffer {
  if (capacityBytes < 4_096 || (capacityBytes & (capacityBytes - 1)) !== 0)
    throw new Error('ring: capacity must be a power of two');
  return new SharedArrayBuffer(CONTROL_BYTES + capacityBytes);
}

class RingMemory {
  readonly control: Int32Array;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly capacity: number;

  constructor(memory: SharedArrayBuffer) {
    this.capacity = memory.byteLength - CONTROL_BYTES;
    this.control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    this.bytes = new Uint8Array(memory, CONTROL_BYTES);
    this.words = new Int32Array(memory, CONTROL_BYTES);
    this.floats = new Float64Array(memory, CONTROL_BYTES);
  }
}

/** The writing end. */
export class RingProducer {
  /** The ring's bytes, as bytes, 32-bit words and 64-bit floats: where a reserved record is written. */
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly capacityBytes: number;
  readonly #control: Int32Array;
  readonly #mask: number;
  #head = 0;
  #published = 0;
  #tail = 0;

  constructor(memory: SharedArrayBuffer) {
    const ring = new RingMemory(memory);
    this.bytes = ring.bytes;
    this.words = ring.words;
    this.floats = ring.floats;
    this.capacityBytes = ring.capacity;
    this.#control = ring.control;
    this.#mask = ring.capacity - 1;
    this.#head = Atomics.load(ring.control, HEAD);
    this.#published = this.#head;
    this.#tail = Atomics.load(ring.control, TAIL);
  }

  /** Bytes written and not yet released by the consumer, as last seen. */
  get usedBytes(): number {
    this.#tail = Atomics.load(this.#control, TAIL);
    return (this.#head - this.#tail) >>> 0;
  }

  /** Whether something was written since the last `publish`. */
  get hasUnpublished(): boolean {
    return this.#head !== this.#published;
  }

  /**
   * Makes room for a record with `contentBytes` of content; returns the byte offset of the content, 8-aligned, or -1 when there
   * is no room now. At most half of the capacity. The record is part of the ring at once, and seen by the consumer after `publish`.
   */
  reserve(contentBytes: number): number {
    const bytes = (contentBytes + RECORD_HEADER_BYTES + 7) & ~7;
    const at = this.#head & this.#mask;
    const left = this.capacityBytes - at;
    const needed = bytes <= left ? bytes : left + bytes;
    if (((this.#head - this.#tail) >>> 0) + needed > this.capacityBytes && this.usedBytes + needed > this.capacityBytes)
      return -1;
    if (bytes > left) {
      this.words[at >> 2] = 0;
      this.words[0] = bytes;
      this.#head = (this.#head + needed) | 0;
      return RECORD_HEADER_BYTES;
    }
    this.words[at >> 2] = bytes;
    this.#head = (this.#head + bytes) | 0;
    return at + RECORD_HEADER_BYTES;
  }

  /** Shows what was written to the consumer. */
  publish(): void {
    this.#published = this.#head;
    Atomics.store(this.#control, HEAD, this.#head);
  }
}

/** The reading end. */
export class RingConsumer {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly #control: Int32Array;
  readonly #mask: number;
  readonly #capacity: number;
  #head = 0;
  #tail = 0;
  /** Content of the record that `next` found, [from, to) in `bytes`; `to` is padded to 8. */
  from = 0;
  to = 0;

  constructor(memory: SharedArrayBuffer) {
    const ring = new RingMemory(memory);
    this.bytes = ring.bytes;
    this.words = ring.words;
    this.floats = ring.floats;
    this.#control = ring.control;
    this.#capacity = ring.capacity;
    this.#mask = ring.capacity - 1;
    this.#tail = Atomics.load(ring.control, TAIL);
  }

  /** Whether the producer has published something that was not looked at. */
  get hasRecords(): boolean {
    return Atomics.load(this.#control, HEAD) !== this.#tail;
  }

  /** Looks for what was published since the last look: `next` goes no further. */
  look(): void {
    this.#head = Atomics.load(this.#control, HEAD);
  }

  /** First word of the content of the record that `next` would move to; 0 when it would move to none. */
  get nextWord(): number {
    if (this.#head === this.#tail) return 0;
    const at = this.#tail & this.#mask;
    const start = this.words[at >> 2] === 0 ? 0 : at;
    return this.words[(start + RECORD_HEADER_BYTES) >> 2]!;
  }

  /** Moves to the next record that was seen by `look`; false when there is none. What was found stays valid until `release`. */
  next(): boolean {
    if (this.#head === this.#tail) return false;
    let at = this.#tail & this.#mask;
    let bytes = this.words[at >> 2]!;
    if (bytes === 0) {
      this.#tail = (this.#tail + this.#capacity - at) | 0;
      at = 0;
      bytes = this.words[0]!;
    }
    this.from = at + RECORD_HEADER_BYTES;
    this.to = at + bytes;
    this.#tail = (this.#tail + bytes) | 0;
    return true;
  }

  /** Gives the room of every record that was looked at back to the producer. */
  release(): void {
    Atomics.store(this.#control, TAIL, this.#tail);
  }
}
