// HOT: no allocation, closures, strings, try or async per message.
// The table of subscriptions: an entry is one subscriber's subscription to one list, where a list is a filter's node or a shared
// group's node. Found by hash of list and subscriber, so that one of 100,000 subscribers to a filter leaves in constant time.
// Lives in a region of the trie's SharedArrayBuffer; zero stands for none, so entries count from 1.
//
//   header   16 × Int32   live entries, first free entry, entries ever used
//   buckets  2^n × Int32  first entry of the chain; n so that there are at least half as many as entries
//   rows     8 × Int32 for each entry:
//              0 SUBSCRIBER  1 OPTIONS  2 IDENTIFIER  3 NEXT in the list, or in the free list
//              4 PREVIOUS in the list (writers only)  5 LIST  6 CHAIN in the bucket (writers only)  7 unused
//
// Readers follow NEXT from the head that the trie keeps; an entry is filled before the trie publishes it there.
import { powerOfTwo } from './levels.ts';

/** A row starts at `entry << ENTRY_SHIFT`. */
export const ENTRY_SHIFT = 3;
export const SUBSCRIBER = 0;
export const OPTIONS = 1;
export const IDENTIFIER = 2;
export const NEXT_ENTRY = 3;
export const PREVIOUS_ENTRY = 4;
export const LIST = 5;
const CHAIN = 6;

const LIVE = 0;
const FREE = 1;
const USED = 2;
const HEADER_WORDS = 16;

/** Bytes of buffer that a table needs. */
export function entriesBytes(entriesMax: number): number {
  return (HEADER_WORDS + bucketCount(entriesMax) + ((entriesMax + 1) << ENTRY_SHIFT)) * 4;
}

function bucketCount(entriesMax: number): number {
  return powerOfTwo(Math.max(16, entriesMax / 2));
}

export class Entries {
  readonly rows: Int32Array;
  readonly #header: Int32Array;
  readonly #buckets: Int32Array;
  readonly #bucketMask: number;
  readonly #entriesMax: number;

  /** A table over `entriesBytes(entriesMax)` bytes of `buffer` from `at`, a multiple of 64. Zeroes are an empty table. */
  constructor(buffer: SharedArrayBuffer, at: number, entriesMax: number) {
    const buckets = bucketCount(entriesMax);
    this.#header = new Int32Array(buffer, at, HEADER_WORDS);
    this.#buckets = new Int32Array(buffer, at + HEADER_WORDS * 4, buckets);
    this.#bucketMask = buckets - 1;
    this.rows = new Int32Array(buffer, at + (HEADER_WORDS + buckets) * 4, (entriesMax + 1) << ENTRY_SHIFT);
    this.#entriesMax = entriesMax;
  }

  get count(): number {
    return this.#header[LIVE]!;
  }

  get isFull(): boolean {
    return this.#header[FREE] === 0 && this.#header[USED] === this.#entriesMax;
  }

  /** The subscriber's entry in a list; 0 when it has none. */
  find(list: number, subscriber: number): number {
    const { rows } = this;
    let entry = this.#buckets[bucketOf(list, subscriber) & this.#bucketMask]!;
    while (entry !== 0) {
      const row = entry << ENTRY_SHIFT;
      if (rows[row + SUBSCRIBER] === subscriber && rows[row + LIST] === list) return entry;
      entry = rows[row + CHAIN]!;
    }
    return 0;
  }

  /** Adds an entry before `head`, the first of its list or 0; the caller publishes it as the new head. Not when `isFull`. */
  add(list: number, head: number, subscriber: number, options: number, identifier: number): number {
    const { rows } = this;
    const header = this.#header;
    const free = header[FREE]!;
    const entry = free === 0 ? header[USED]! + 1 : free;
    const row = entry << ENTRY_SHIFT;
    if (free === 0) header[USED] = entry;
    else header[FREE] = rows[row + NEXT_ENTRY]!;
    const bucket = bucketOf(list, subscriber) & this.#bucketMask;
    rows[row + SUBSCRIBER] = subscriber;
    rows[row + OPTIONS] = options;
    rows[row + IDENTIFIER] = identifier;
    rows[row + NEXT_ENTRY] = head;
    rows[row + PREVIOUS_ENTRY] = 0;
    rows[row + LIST] = list;
    rows[row + CHAIN] = this.#buckets[bucket]!;
    this.#buckets[bucket] = entry;
    if (head !== 0) rows[(head << ENTRY_SHIFT) + PREVIOUS_ENTRY] = entry;
    header[LIVE] = header[LIVE]! + 1;
    return entry;
  }

  /** Frees an entry. The caller has published its successor where it was the head. */
  remove(entry: number): void {
    const { rows } = this;
    const header = this.#header;
    const row = entry << ENTRY_SHIFT;
    const next = rows[row + NEXT_ENTRY]!;
    const previous = rows[row + PREVIOUS_ENTRY]!;
    if (previous !== 0) rows[(previous << ENTRY_SHIFT) + NEXT_ENTRY] = next;
    if (next !== 0) rows[(next << ENTRY_SHIFT) + PREVIOUS_ENTRY] = previous;
    this.#unchain(entry);
    rows[row + LIST] = -1; // no list: a stale entry is a member of nothing
    rows[row + NEXT_ENTRY] = header[FREE]!;
    header[FREE] = entry;
    header[LIVE] = header[LIVE]! - 1;
  }

  #unchain(entry: number): void {
    const { rows } = this;
    const row = entry << ENTRY_SHIFT;
    const bucket = bucketOf(rows[row + LIST]!, rows[row + SUBSCRIBER]!) & this.#bucketMask;
    let before = this.#buckets[bucket]!;
    if (before === entry) {
      this.#buckets[bucket] = rows[row + CHAIN]!;
      return;
    }
    while (rows[(before << ENTRY_SHIFT) + CHAIN] !== entry) before = rows[(before << ENTRY_SHIFT) + CHAIN]!;
    rows[(before << ENTRY_SHIFT) + CHAIN] = rows[row + CHAIN]!;
  }
}

function bucketOf(list: number, subscriber: number): number {
  let hash = Math.imul(list, 0x9e3779b1) ^ Math.imul(subscriber, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
  return hash ^ (hash >>> 13);
}
