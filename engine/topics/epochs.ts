// HOT: no allocation, closures, strings, try or async per message.
// When memory that was unlinked may be used again (epoch-based reclamation: Fraser, "Practical lock-freedom", 2004): once every
// participant that could have seen it has said that it holds nothing any more.
//
//   shared words  0 EPOCH, by itself in a cache line
//   participant   16 × Int32 for each: 0 INSIDE: 0 while it holds nothing, else epoch << 1 | 1 of when it entered   1 STAMP of what waits
//
// A participant enters with its first operation of a turn and leaves at the turn's end (`quiesce`). The epoch moves on when all that are
// inside have entered in the current one. What was unlinked in epoch e may have been seen by those who entered in e or before:
// when the epoch is e + 2 they have all left. A participant that enters with an epoch that is old by then only holds the epoch back.
// A sole participant is inside for ever, and what it retires is free at once.
import type { IntList } from '../memory/int-list.ts';

const EPOCH = 0;
const LINE_WORDS = 16;
const INSIDE = 0;
const STAMP = 1;
/** Epochs that must have begun after the one in which a row was unlinked. */
const EPOCHS_APART = 2;

/** Bytes of buffer that the epochs of so many participants need. */
export function epochsBytes(participantsMax: number): number {
  return (1 + participantsMax) * LINE_WORDS * 4;
}

export class Epochs {
  readonly isAlone: boolean;
  readonly #words: Int32Array;
  readonly #participantsMax: number;
  readonly #own: number;
  #inside: boolean;

  /** Epochs over `epochsBytes` of `buffer` from `at`, a multiple of 64. Zeroes are the beginning. */
  constructor(buffer: SharedArrayBuffer, at: number, participantsMax: number, participant: number) {
    this.isAlone = participantsMax === 1;
    this.#words = new Int32Array(buffer, at, epochsBytes(participantsMax) / 4);
    this.#participantsMax = participantsMax;
    this.#own = (1 + participant) * LINE_WORDS;
    this.#inside = this.isAlone;
  }

  /** Before anything is read that another participant could retire. */
  enter(): void {
    if (!this.#inside) this.#begin();
  }

  /** Nothing that was read is held any more. */
  leave(): void {
    if (this.isAlone || !this.#inside) return;
    this.#inside = false;
    Atomics.store(this.#words, this.#own + INSIDE, 0);
  }

  /** Frees what has waited long enough, and lets the rest of what was retired wait. */
  reclaim(nodes: Limbo, entries: Limbo): void {
    const words = this.#words;
    const stamp = this.#own + STAMP;
    for (;;) {
      if (nodes.isWaiting || entries.isWaiting) {
        while (((Atomics.load(words, EPOCH) - words[stamp]!) | 0) < EPOCHS_APART) if (!this.#advance()) return;
        nodes.freeWaiting();
        entries.freeWaiting();
      }
      if (!nodes.isHolding && !entries.isHolding) return;
      nodes.wait();
      entries.wait();
      words[stamp] = Atomics.load(words, EPOCH); // read after all of it was unlinked: late is safe
    }
  }

  #begin(): void {
    this.#inside = true;
    Atomics.store(this.#words, this.#own + INSIDE, insideAt(Atomics.load(this.#words, EPOCH)));
  }

  /** False while a participant is inside that entered earlier. */
  #advance(): boolean {
    const words = this.#words;
    const epoch = Atomics.load(words, EPOCH);
    const current = insideAt(epoch);
    for (let participant = 1; participant <= this.#participantsMax; participant++) {
      const inside = Atomics.load(words, participant * LINE_WORDS + INSIDE);
      if (inside !== 0 && inside !== current) return false;
    }
    Atomics.compareExchange(words, EPOCH, epoch, (epoch + 1) | 0);
    return true;
  }
}

function insideAt(epoch: number): number {
  return (epoch << 1) | 1;
}

/** Whose rows a limbo keeps. */
export interface RowOwner {
  /** The row is nobody's now. */
  free(row: number): void;
}

/** Own words of a limbo: 0 HELD first row retired since the last `wait`, 1 WAITING first row that waits. */
export const LIMBO_WORDS = 2;
const HELD = 0;
const WAITING = 1;

/** The rows of one table that one participant has unlinked and that others may still look at, linked through a column of theirs. */
export class Limbo {
  readonly #owner: RowOwner;
  readonly #words: Int32Array;
  readonly #rowShift: number;
  readonly #column: number;
  readonly #own: Int32Array;
  readonly #ownAt: number;
  readonly #isAlone: boolean;

  constructor(
    owner: RowOwner,
    words: Int32Array,
    rowShift: number,
    column: number,
    own: Int32Array,
    ownAt: number,
    participantsMax: number,
  ) {
    this.#owner = owner;
    this.#words = words;
    this.#rowShift = rowShift;
    this.#column = column;
    this.#own = own;
    this.#ownAt = ownAt;
    this.#isAlone = participantsMax === 1;
  }

  /** Takes a row that is unlinked from everywhere. */
  retire(row: number): void {
    if (this.#isAlone) {
      this.#owner.free(row);
      return;
    }
    this.#words[(row << this.#rowShift) + this.#column] = this.#own[this.#ownAt + HELD]!;
    this.#own[this.#ownAt + HELD] = row;
  }

  get isHolding(): boolean {
    return this.#own[this.#ownAt + HELD] !== 0;
  }

  get isWaiting(): boolean {
    return this.#own[this.#ownAt + WAITING] !== 0;
  }

  /** What was retired waits from now on. Nothing waits yet. */
  wait(): void {
    this.#own[this.#ownAt + WAITING] = this.#own[this.#ownAt + HELD]!;
    this.#own[this.#ownAt + HELD] = 0;
  }

  freeWaiting(): void {
    let row = this.#own[this.#ownAt + WAITING]!;
    this.#own[this.#ownAt + WAITING] = 0;
    while (row !== 0) {
      const next = this.#words[(row << this.#rowShift) + this.#column]!;
      this.#owner.free(row);
      row = next;
    }
  }

  /** For checks: appends the rows that are held and that wait. */
  append(out: IntList): void {
    for (let list = 0; list < LIMBO_WORDS; list++) {
      let row = this.#own[this.#ownAt + list]!;
      for (; row !== 0; row = this.#words[(row << this.#rowShift) + this.#column]!) out.push(row);
    }
  }
}
