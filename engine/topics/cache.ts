// HOT: no allocation, closures, strings, try or async per message.
// Topic cache: exact topic bytes to a value, valid for one generation of the trie (an Int32). Set-associative, four ways: a topic can stand in
// one of the four slots of its set. A topic that finds its set full gets in when it comes again, or one time in eight: topics that are used
// once, as those of requests and their answers are, do not push out the others, and what was made for them dies young. Bounded by its slots, each with room for a topic of TOPIC_BYTES_MAX; longer ones are not kept.
// The value of a slot that went stale stays referenced until the slot is used again or `clear`.
//
// A slot is set * 4 + way. By slot, so that the rows of a set share one cache line:
//   rows    4 × Int32: 0 HASH of the topic, 1 LENGTH of the topic in bytes (0: never used), 2 GENERATION, 3 REFUSED: in the set's
//           first row, the hash of the last topic for which there was no room
//   words   64 × Int32: the bytes of the topic, the last word filled up with zeroes
//   values  T
/** Longest topic that is cached. */
export const TOPIC_BYTES_MAX = 256;
const WORDS_SHIFT = 6;
const WAYS = 4;
const WAY_MASK = WAYS - 1;

const ROW_SHIFT = 2;
const LENGTH = 1;
const GENERATION = 2;
const REFUSED = 3;
/** A refusal in so many lets the topic in, so that what is kept does not stay for ever. A power of two. */
const REFUSALS = 8;

/**
 * Hash of [from, to), at most TOPIC_BYTES_MAX (after MurmurHash3, x86 32 bits). Leaves the bytes in `words`, four to a word and the
 * last one filled up with zeroes: equal lengths and equal words are equal topics.
 */
export function hashTopic(bytes: Uint8Array, from: number, to: number, words: Int32Array): number {
  let hash = to - from;
  let at = from;
  let count = 0;
  for (; at + 4 <= to; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    words[count++] = word;
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  if (at < to) {
    let word = bytes[at++]!;
    for (let shift = 8; at < to; shift += 8) word |= bytes[at++]! << shift;
    words[count] = word;
    hash = Math.imul(hash ^ word, 0x9e3779b1);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

export class TopicCache<T> {
  /** Value by slot, as `find` and `put` give it. */
  readonly values: T[];
  /** A double from the start, as counters that outgrow 2^31 are (counters.ts). */
  hits = -0;
  misses = -0;
  readonly #setMask: number;
  readonly #rows: Int32Array;
  readonly #words: Int32Array;
  /** Words of the topic that is looked for. */
  readonly #sought = new Int32Array(1 << WORDS_SHIFT);
  #victim = 0;
  #refusals = 0;

  /** Room for `entries` topics, rounded down to a power of two and up to four. */
  constructor(entries: number) {
    const sets = 2 ** Math.floor(Math.log2(Math.max(WAYS, entries) / WAYS));
    const slots = sets * WAYS;
    this.#setMask = sets - 1;
    this.#rows = new Int32Array(slots << ROW_SHIFT);
    this.#words = new Int32Array(slots << WORDS_SHIFT);
    this.values = new Array<T>(slots);
  }

  /** Topics that fit. */
  get capacity(): number {
    return this.values.length;
  }

  /** Slot of the topic [from, to), or -1 when it is not known in this generation. */
  find(topic: Uint8Array, from: number, to: number, generation: number): number {
    const length = to - from;
    if (length > 0 && length <= TOPIC_BYTES_MAX) {
      const slot = this.#slotOf(length, hashTopic(topic, from, to, this.#sought));
      if (slot >= 0 && this.#rows[(slot << ROW_SHIFT) + GENERATION] === generation) {
        this.hits++;
        return slot;
      }
    }
    this.misses++;
    return -1;
  }

  /** Keeps a value for the topic; its slot, or -1 when the topic is too long or finds no room. Another topic of the set may lose its slot. */
  put(topic: Uint8Array, from: number, to: number, generation: number, value: T): number {
    const length = to - from;
    if (length === 0 || length > TOPIC_BYTES_MAX) return -1;
    const hash = hashTopic(topic, from, to, this.#sought);
    let slot = this.#slotOf(length, hash);
    if (slot < 0) {
      slot = this.#choose((hash & this.#setMask) * WAYS, hash, generation);
      if (slot < 0) return -1;
      this.#rows[slot << ROW_SHIFT] = hash;
      this.#rows[(slot << ROW_SHIFT) + LENGTH] = length;
      const start = slot << WORDS_SHIFT;
      for (let word = 0; word < (length + 3) >> 2; word++) this.#words[start + word] = this.#sought[word]!;
    }
    this.#rows[(slot << ROW_SHIFT) + GENERATION] = generation;
    this.values[slot] = value;
    return slot;
  }

  /** Forgets every topic and value. The words may stay: no row of length 0 is compared with them. */
  clear(): void {
    this.#rows.fill(0);
    const slots = this.values.length;
    this.values.length = 0;
    this.values.length = slots;
  }

  /** The slot that holds the topic in `#sought`, of whatever generation; -1 when none does. */
  #slotOf(length: number, hash: number): number {
    const rows = this.#rows;
    const words = this.#words;
    const sought = this.#sought;
    const count = (length + 3) >> 2;
    const first = (hash & this.#setMask) * WAYS;
    for (let slot = first; slot < first + WAYS; slot++) {
      const row = slot << ROW_SHIFT;
      if (rows[row] !== hash || rows[row + LENGTH] !== length) continue;
      const start = slot << WORDS_SHIFT;
      let same = 0;
      while (same < count && words[start + same] === sought[same]) same++;
      if (same === count) return slot;
    }
    return -1;
  }

  /** A slot of the set that is unused or stale; else the ways take turns, when the topic may have one. */
  #choose(first: number, hash: number, generation: number): number {
    for (let slot = first; slot < first + WAYS; slot++) {
      const row = slot << ROW_SHIFT;
      if (this.#rows[row + LENGTH] === 0 || this.#rows[row + GENERATION] !== generation) return slot;
    }
    const refused = (first << ROW_SHIFT) + REFUSED;
    if (this.#rows[refused] !== hash) {
      this.#rows[refused] = hash;
      this.#refusals = (this.#refusals + 1) & (REFUSALS - 1);
      if (this.#refusals !== 0) return -1;
    }
    this.#victim = (this.#victim + 1) & WAY_MASK;
    return first + this.#victim;
  }
}
