// HOT: no allocation, closures, strings, try or async per message.
// Free rows of a table in shared memory. Each participant (a thread) has a list of its own, which costs it no atomic operation; what it
// has too much of goes to a stack that all share, a batch at a time, and comes back from there. New rows are handed out in chunks.
// Row 0 stands for none.
//
//   own words     0 FREE first free row   1 COUNT rows in that list   2 FRESH last new row taken   3 FRESH_END last new row of the chunk
//   shared words  USED last row handed out in a chunk
//   stack         Int64: first row of the topmost batch | tag << 32. The tag grows with every change, so that a batch that left and came
//                 back between two looks is not mistaken
//
// A free row holds the next of its list in the column LINK; the first of a batch on the stack also the next batch, in BATCH.
import type { IntList } from '../memory/int-list.ts';

/** Own words of a pool. */
export const POOL_WORDS = 4;
const FREE = 0;
const COUNT = 1;
const FRESH = 2;
const FRESH_END = 3;

const BATCH_MAX = 64;
const INDEX_BITS = 32n;
const INDEX_MASK = 0xffff_ffffn;

export interface PoolParts {
  /** The table: row r starts at r << rowShift. */
  readonly words: Int32Array;
  readonly rowShift: number;
  readonly link: number;
  readonly batch: number;
  /** POOL_WORDS of the participant, from `ownAt`. */
  readonly own: Int32Array;
  readonly ownAt: number;
  /** Holds USED at `usedAt`, and the stack at `stackAt`, an even index. */
  readonly shared: Int32Array;
  readonly usedAt: number;
  readonly stackAt: number;
  /** Rows from 1; 0 for a pool that is filled by `give` alone. */
  readonly rowsMax: number;
  /** Rows of a batch or chunk, see `batchRows`. */
  readonly batchSize: number;
  readonly participantsMax: number;
}

/** Rows to move at a time, so that participants that keep two batches each keep no more than a quarter of a small table. */
export function batchRows(rowsMax: number, participantsMax: number): number {
  return Math.max(1, Math.min(BATCH_MAX, Math.floor(rowsMax / (8 * participantsMax))));
}

export class Pool {
  readonly #words: Int32Array;
  readonly #rowShift: number;
  readonly #link: number;
  readonly #batch: number;
  readonly #own: Int32Array;
  readonly #ownAt: number;
  readonly #shared: Int32Array;
  readonly #usedAt: number;
  readonly #stack: BigInt64Array;
  readonly #rowsMax: number;
  readonly #batchSize: number;
  readonly #keepMax: number;
  readonly #isAlone: boolean;

  constructor(parts: PoolParts) {
    this.#words = parts.words;
    this.#rowShift = parts.rowShift;
    this.#link = parts.link;
    this.#batch = parts.batch;
    this.#own = parts.own;
    this.#ownAt = parts.ownAt;
    this.#shared = parts.shared;
    this.#usedAt = parts.usedAt;
    this.#stack = new BigInt64Array(parts.shared.buffer, parts.shared.byteOffset + parts.stackAt * 4, 1);
    this.#rowsMax = parts.rowsMax;
    this.#batchSize = parts.batchSize;
    this.#isAlone = parts.participantsMax === 1;
    this.#keepMax = this.#isAlone ? Infinity : 2 * parts.batchSize - 1;
  }

  /** A free row; 0 when this participant finds none. */
  take(): number {
    const own = this.#own;
    const at = this.#ownAt;
    if (own[at + FREE] === 0 && own[at + FRESH] === own[at + FRESH_END] && !this.#refill()) return 0;
    const free = own[at + FREE]!;
    if (free === 0) {
      const fresh = own[at + FRESH]! + 1;
      own[at + FRESH] = fresh;
      return fresh;
    }
    own[at + FREE] = this.#words[(free << this.#rowShift) + this.#link]!;
    own[at + COUNT] = own[at + COUNT]! - 1;
    return free;
  }

  /** Takes a row back that no thread looks at any more. */
  give(row: number): void {
    const own = this.#own;
    const at = this.#ownAt;
    this.#words[(row << this.#rowShift) + this.#link] = own[at + FREE]!;
    own[at + FREE] = row;
    const count = own[at + COUNT]! + 1;
    own[at + COUNT] = count;
    if (count > this.#keepMax) this.#shed();
  }

  /** Last row that was ever handed out to a participant. */
  get used(): number {
    return Atomics.load(this.#shared, this.#usedAt);
  }

  /** For checks while nobody changes anything: appends the free rows of this participant, those of its chunk included. */
  appendOwn(out: IntList): void {
    const own = this.#own;
    const at = this.#ownAt;
    for (let row = own[at + FREE]!; row !== 0; row = this.#words[(row << this.#rowShift) + this.#link]!) out.push(row);
    for (let row = own[at + FRESH]! + 1; row <= own[at + FRESH_END]!; row++) out.push(row);
  }

  /** For checks likewise: appends the rows of the stack. */
  appendShared(out: IntList): void {
    let batch = Number(Atomics.load(this.#stack, 0) & INDEX_MASK);
    for (; batch !== 0; batch = this.#words[(batch << this.#rowShift) + this.#batch]!) {
      for (let row = batch; row !== 0; row = this.#words[(row << this.#rowShift) + this.#link]!) out.push(row);
    }
  }

  /** Gets a batch from the stack, or a chunk of new rows. The list and the chunk of this participant are empty. */
  #refill(): boolean {
    const own = this.#own;
    const at = this.#ownAt;
    const batch = this.#isAlone ? 0 : this.#pop();
    if (batch !== 0) {
      own[at + FREE] = batch;
      own[at + COUNT] = this.#batchSize;
      return true;
    }
    for (;;) {
      const used = Atomics.load(this.#shared, this.#usedAt);
      const end = Math.min(used + this.#batchSize, this.#rowsMax);
      if (end <= used) return false;
      if (Atomics.compareExchange(this.#shared, this.#usedAt, used, end) !== used) continue;
      own[at + FRESH] = used;
      own[at + FRESH_END] = end;
      return true;
    }
  }

  /** Gives a batch to the stack. */
  #shed(): void {
    const own = this.#own;
    const at = this.#ownAt;
    const batch = own[at + FREE]!;
    let last = batch;
    for (let rows = 1; rows < this.#batchSize; rows++) last = this.#words[(last << this.#rowShift) + this.#link]!;
    own[at + FREE] = this.#words[(last << this.#rowShift) + this.#link]!;
    own[at + COUNT] = own[at + COUNT]! - this.#batchSize;
    this.#words[(last << this.#rowShift) + this.#link] = 0;
    for (;;) {
      const top = Atomics.load(this.#stack, 0);
      this.#words[(batch << this.#rowShift) + this.#batch] = Number(top & INDEX_MASK);
      if (Atomics.compareExchange(this.#stack, 0, top, above(top, batch)) === top) return;
    }
  }

  #pop(): number {
    for (;;) {
      const top = Atomics.load(this.#stack, 0);
      const batch = Number(top & INDEX_MASK);
      if (batch === 0) return 0;
      // Another thread may have taken the batch and use it: what is read here is then worth nothing, and the tag has changed.
      const next = Atomics.load(this.#words, (batch << this.#rowShift) + this.#batch);
      if (Atomics.compareExchange(this.#stack, 0, top, above(top, next & MAX_INDEX)) === top) return batch;
    }
  }
}

const MAX_INDEX = 0x7fff_ffff;

/** The stack's word with another batch on top, and the next tag. */
function above(top: bigint, batch: number): bigint {
  return BigInt.asIntN(64, (((top >> INDEX_BITS) + 1n) << INDEX_BITS) | BigInt(batch));
}
