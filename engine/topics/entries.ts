// HOT: no allocation, closures, strings, try or async per message.
// The table of subscriptions: an entry is one subscriber's subscription to one list, where a list is a filter's node or a shared
// group's node. The session that it belongs to remembers it. Lives in a region of the trie's SharedArrayBuffer; zero stands for none.
//
//   header   16 × Int32   0 entries handed out  2 stack of free entries (pool.ts)
//   own      16 × Int32 for each participant: 0 entries that it added less those that it removed  4 pool  8 limbo
//   rows     8 × Int32 for each entry:
//              0 SUBSCRIBER  1 OPTIONS  2 IDENTIFIER  3 NEXT link in the list (chain.ts); of a free entry the next free one
//              4 RETIRED links retired entries; of a free entry the next batch   5 LIST, from its publication until it is retired   6-7 unused
//
// Readers follow NEXT from the head that the trie keeps; an entry is filled before it is published there.
import type { IntList } from '../memory/int-list.ts';
import { INDEX, MARK, markLink, pushItem, sweepChain } from './chain.ts';
import { LIMBO_WORDS, Limbo, type RowOwner } from './epochs.ts';
import { batchRows, POOL_WORDS, Pool } from './pool.ts';

/** A row starts at `entry << ENTRY_SHIFT`. */
export const ENTRY_SHIFT = 3;
export const SUBSCRIBER = 0;
export const OPTIONS = 1;
export const IDENTIFIER = 2;
export const NEXT_ENTRY = 3;
const RETIRED = 4;
export const LIST = 5;
/** LIST of an entry that belongs to none. */
export const NO_LIST = -1;

const USED_ENTRIES = 0;
const ENTRY_STACK = 2;
const HEADER_WORDS = 16;

const LIVE = 0;
const OWN_POOL = 4;
const OWN_LIMBO = OWN_POOL + POOL_WORDS;
const OWN_WORDS = 16;
if (OWN_LIMBO + LIMBO_WORDS > OWN_WORDS) throw new Error('entries: own words overlap');

/** Bytes of buffer that a table needs. */
export function entriesBytes(entriesMax: number, participantsMax: number): number {
  return (HEADER_WORDS + participantsMax * OWN_WORDS + ((entriesMax + 1) << ENTRY_SHIFT)) * 4;
}

export class Entries implements RowOwner {
  readonly rows: Int32Array;
  /** For checks, as is `limbo`. */
  readonly pool: Pool;
  readonly limbo: Limbo;
  readonly #own: Int32Array;
  readonly #ownAt: number;
  readonly #participantsMax: number;
  readonly #isAlone: boolean;

  /** A table over `entriesBytes` of `buffer` from `at`, a multiple of 64. Zeroes are an empty table. */
  constructor(buffer: SharedArrayBuffer, at: number, entriesMax: number, participantsMax: number, participant: number) {
    const header = new Int32Array(buffer, at, HEADER_WORDS);
    const own = new Int32Array(buffer, at + HEADER_WORDS * 4, participantsMax * OWN_WORDS);
    const ownAt = participant * OWN_WORDS;
    this.#own = own;
    this.#ownAt = ownAt;
    this.#participantsMax = participantsMax;
    this.#isAlone = participantsMax === 1;
    this.rows = new Int32Array(buffer, at + (HEADER_WORDS + participantsMax * OWN_WORDS) * 4, (entriesMax + 1) << ENTRY_SHIFT);
    this.pool = new Pool({
      words: this.rows,
      rowShift: ENTRY_SHIFT,
      link: NEXT_ENTRY,
      batch: RETIRED,
      own,
      ownAt: ownAt + OWN_POOL,
      shared: header,
      usedAt: USED_ENTRIES,
      stackAt: ENTRY_STACK,
      rowsMax: entriesMax,
      batchSize: batchRows(entriesMax, participantsMax),
      participantsMax,
    });
    this.limbo = new Limbo(this, this.rows, ENTRY_SHIFT, RETIRED, own, ownAt + OWN_LIMBO, participantsMax);
  }

  /** Entries in use. */
  get count(): number {
    let total = 0;
    for (let participant = 0; participant < this.#participantsMax; participant++) {
      total += Atomics.load(this.#own, participant * OWN_WORDS + LIVE);
    }
    return total;
  }

  /** Adds by one, or by -1 when one was removed, to the entries in use. */
  countLive(by: number): void {
    this.#own[this.#ownAt + LIVE] = this.#own[this.#ownAt + LIVE]! + by;
  }

  /** Fills an entry that the pool gave and publishes it at the head of a list, which stands at `headAt` of `heads`. */
  add(
    entry: number,
    list: number,
    heads: Int32Array,
    headAt: number,
    subscriber: number,
    options: number,
    identifier: number,
  ): void {
    const { rows } = this;
    const row = entry << ENTRY_SHIFT;
    rows[row + SUBSCRIBER] = subscriber;
    rows[row + OPTIONS] = options;
    rows[row + IDENTIFIER] = identifier;
    if (this.#isAlone) {
      rows[row + NEXT_ENTRY] = heads[headAt]!;
      rows[row + LIST] = list;
      heads[headAt] = entry;
      return;
    }
    pushItem(rows, row + NEXT_ENTRY, entry, heads, headAt);
    // Last: who knows the entry from an earlier life looks at LIST before it follows NEXT, and must not follow what was given up.
    Atomics.store(rows, row + LIST, list);
  }

  /** Removes an entry that is live: no reader of its list sees it any more. */
  remove(entry: number): void {
    const at = (entry << ENTRY_SHIFT) + NEXT_ENTRY;
    if (this.#isAlone) this.rows[at] = this.rows[at]! | MARK;
    else markLink(this.rows, at);
  }

  /** Unlinks the removed entries of a list, appended to `gone` for the caller to retire. Returns how many are left. */
  sweep(heads: Int32Array, headAt: number, gone: IntList): number {
    return sweepChain(heads, headAt, this.rows, ENTRY_SHIFT, NEXT_ENTRY, gone);
  }

  /** Frees an unlinked entry once nobody can look at it any more. */
  retire(entry: number): void {
    const at = (entry << ENTRY_SHIFT) + LIST;
    if (this.#isAlone) this.rows[at] = NO_LIST;
    else Atomics.store(this.rows, at, NO_LIST);
    this.limbo.retire(entry);
  }

  free(entry: number): void {
    this.pool.give(entry);
  }

  isRemoved(entry: number): boolean {
    return (this.rows[(entry << ENTRY_SHIFT) + NEXT_ENTRY]! & MARK) !== 0;
  }

  /** The next entry of the list, removed ones included; 0 at the end. */
  after(entry: number): number {
    return this.rows[(entry << ENTRY_SHIFT) + NEXT_ENTRY]! & INDEX;
  }

  /** The list that an entry stands in. In order before what is read of the entry afterwards. */
  list(entry: number): number {
    const at = (entry << ENTRY_SHIFT) + LIST;
    return this.#isAlone ? this.rows[at]! : Atomics.load(this.rows, at);
  }
}
