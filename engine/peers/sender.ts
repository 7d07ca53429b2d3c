// HOT: no allocation, closures, strings, try or async per message.
// The way from this shard to one other: a ring, and what did not find room in it. A letter is always taken, in order: when the ring is full it goes to the spill,
// a buffer of this shard's own that is moved into the ring as room is made. Publishers are held while anything is spilled (routing/remote.ts), so the spill is
// bounded by what they had sent already; above SPILL_MAX messages are refused instead.
//
// A letter longer than a part is written in parts, because a record must fit in the ring at once.
import { copyBytes } from '../../protocol/bytes.ts';
import type { Doorbell } from '../../storage/doorbell.ts';
import { RECORD_HEADER_BYTES, type RingProducer } from '../../storage/ring.ts';
import { LETTER_FIXED_BYTES, Letter, Word } from './letter.ts';

const SPILL_MIN = 65_536;
/** Spilled bytes above which messages are refused or dropped. */
export const SPILL_MAX = 67_108_864;
/** Unpublished bytes that do not wait for the end of the turn: the other shard may begin. */
const PUBLISH_BYTES = 131_072;

export class Sender {
  /** Where the letter that was reserved last is written. */
  bytes: Uint8Array;
  words: Int32Array;
  floats: Float64Array;
  /** Letters longer than this are sent in parts. */
  readonly partBytes: number;
  /** Whether what is much is shown before the turn ends: not where intents of the store must be shown before it. */
  isEager = true;
  /** Whether what was written to other shards must be shown before this is: until the turn ends. */
  isLast = false;
  readonly #ring: RingProducer;
  readonly #bell: Doorbell;
  readonly #waiting: Int32Array;
  readonly #waitingAt: number;
  #unpublished = 0;
  // Spilled records lie in [from, to) of the spill, each with its length in the first of two words.
  #spill = new Uint8Array(0);
  #spillWords = new Int32Array(0);
  #spillFloats = new Float64Array(0);
  #spillFrom = 0;
  #spillTo = 0;
  // A long letter is built here and then cut.
  #long = new Uint8Array(0);
  #longBytes = 0;

  constructor(ring: RingProducer, bell: Doorbell, waiting: Int32Array, waitingAt: number) {
    this.#ring = ring;
    this.#bell = bell;
    this.#waiting = waiting;
    this.#waitingAt = waitingAt;
    this.bytes = ring.bytes;
    this.words = ring.words;
    this.floats = ring.floats;
    this.partBytes = ring.capacityBytes / 8;
  }

  /** Bytes that wait for room in the ring. */
  get spilledBytes(): number {
    return this.#spillTo - this.#spillFrom;
  }

  /** Whether something was written that the other shard has not been shown. */
  get hasUnpublished(): boolean {
    return this.#unpublished > 0;
  }

  /** Room for a letter with `extra` bytes behind its words, as the offset of its first byte, a multiple of 8. `sent` must follow when it is written. */
  reserve(kind: Letter, extra: number): number {
    const size = LETTER_FIXED_BYTES + extra;
    const at = size > this.partBytes ? this.#reserveLong(size) : this.#reserve(size);
    const word = at >> 2;
    const { words } = this;
    words[word + Word.KIND] = kind;
    // The two that are looked at whatever the kind is; the rest is what lay here before until the letter is written.
    words[word + Word.PUBLISHER] = 0;
    words[word + Word.TARGETS] = 0;
    return at;
  }

  /** The letter that was reserved last is complete. */
  sent(): void {
    if (this.#longBytes > 0) this.#cut();
    if (this.isEager && !this.isLast && this.#unpublished >= PUBLISH_BYTES && this.spilledBytes === 0) this.publish();
  }

  /** Shows what was written to the other shard and wakes it if it sleeps. */
  publish(): void {
    if (this.#unpublished === 0) return;
    this.#unpublished = 0;
    this.#ring.publish();
    this.#bell.ring();
  }

  /** Moves what was spilled into the ring, as far as there is room. True when nothing is left. */
  unspill(): boolean {
    if (this.#spillFrom === this.#spillTo) return true;
    const ring = this.#ring;
    while (this.#spillFrom < this.#spillTo) {
      const size = this.#spillWords[this.#spillFrom >> 2]!;
      const at = ring.reserve(size);
      if (at < 0) {
        // Said before the last look, so that the one who makes room sees it, or this one the room.
        if (Atomics.exchange(this.#waiting, this.#waitingAt, 1) === 1) break;
        continue;
      }
      const from = this.#spillFrom + RECORD_HEADER_BYTES;
      copyBytes(this.#spill, from, from + size, ring.bytes, at);
      this.#spillFrom = from + ((size + 7) & ~7);
      this.#unpublished += size;
    }
    if (this.#spillFrom < this.#spillTo) return false;
    Atomics.store(this.#waiting, this.#waitingAt, 0);
    this.#spillFrom = 0;
    this.#spillTo = 0;
    // What a jam took is not kept for ever.
    if (this.#spill.length > SPILL_MIN) this.#growSpill(0);
    return true;
  }

  #reserve(size: number): number {
    const at = this.#spillFrom === this.#spillTo ? this.#ring.reserve(size) : -1;
    if (at < 0) {
      if (this.isEager && !this.isLast) this.publish();
      return this.#reserveSpilled(size);
    }
    this.#unpublished += size;
    this.bytes = this.#ring.bytes;
    this.words = this.#ring.words;
    this.floats = this.#ring.floats;
    return at;
  }

  #reserveSpilled(size: number): number {
    const needed = RECORD_HEADER_BYTES + ((size + 7) & ~7);
    if (this.#spillTo + needed > this.#spill.length) this.#growSpill(needed);
    const at = this.#spillTo;
    this.#spillWords[at >> 2] = size;
    this.#spillTo = at + needed;
    this.bytes = this.#spill;
    this.words = this.#spillWords;
    this.floats = this.#spillFloats;
    return at + RECORD_HEADER_BYTES;
  }

  #growSpill(needed: number): void {
    const held = this.spilledBytes;
    let capacity = SPILL_MIN;
    while (capacity < held + needed) capacity *= 2;
    const wide = new Uint8Array(capacity);
    wide.set(this.#spill.subarray(this.#spillFrom, this.#spillTo));
    this.#spill = wide;
    this.#spillWords = new Int32Array(wide.buffer);
    this.#spillFloats = new Float64Array(wide.buffer);
    this.#spillFrom = 0;
    this.#spillTo = held;
  }

  #reserveLong(size: number): number {
    const long = new Uint8Array((size + 7) & ~7);
    this.#long = long;
    this.#longBytes = size;
    this.bytes = long;
    this.words = new Int32Array(long.buffer);
    this.floats = new Float64Array(long.buffer);
    return 0;
  }

  #cut(): void {
    const long = this.#long;
    const size = this.#longBytes;
    this.#longBytes = 0;
    this.#long = NO_BYTES;
    const step = this.partBytes - LETTER_FIXED_BYTES;
    for (let from = 0; from < size; from += step) {
      const to = Math.min(from + step, size);
      const at = this.reserve(Letter.PART, to - from);
      const word = at >> 2;
      this.words[word + Word.PAYLOAD] = to - from;
      this.words[word + Word.COUNT] = from;
      this.words[word + Word.NUMBER] = size;
      copyBytes(long, from, to, this.bytes, at + LETTER_FIXED_BYTES);
    }
  }
}

const NO_BYTES = new Uint8Array(0);
