// HOT: no allocation, closures, strings, try or async per message.
// Memory for levels longer than a node's row has room for: cells of power-of-two sizes from 32 to 65,536 bytes, named by their unit, an
// offset of 16 bytes each from the start of the node table. A cell is split but never joined again, so a reserve that was once
// full of short levels keeps little room for long ones.
//
//   shared words  0 USED units handed out   1 always 0   then a stack for each size (pool.ts)
//   own words     a pool for each size
import type { IntList } from '../memory/int-list.ts';
import { batchRows, POOL_WORDS, Pool } from './pool.ts';

export const UNIT_SHIFT = 4;
const UNIT_WORDS_SHIFT = 2;
const CLASS_MIN_SHIFT = 5;
const CLASS_MAX_SHIFT = 16;
const CLASSES = CLASS_MAX_SHIFT - CLASS_MIN_SHIFT + 1;
/** A participant keeps about so many free bytes of a size to itself. */
const KEPT_BYTES = 4_096;

const USED = 0;
const NEVER_USED = 1;
const STACKS = 2;
export const CELLS_SHARED_WORDS = STACKS + CLASSES * 2;
export const CELLS_OWN_WORDS = CLASSES * POOL_WORDS;

/** Exponent of the cell that holds `length` bytes, 17 to 65,535. */
export function cellShift(length: number): number {
  return Math.max(CLASS_MIN_SHIFT, 32 - Math.clz32(length - 1));
}

export class Cells {
  readonly #pools: Pool[] = [];
  readonly #shared: Int32Array;
  readonly #sharedAt: number;
  readonly #firstUnit: number;
  readonly #unitsMax: number;

  /** Cells in `words` from `firstUnit`; the shared words stand at `sharedAt`, even, of `shared`, and the own words at `ownAt` of `own`. */
  constructor(
    words: Int32Array,
    firstUnit: number,
    unitsMax: number,
    shared: Int32Array,
    sharedAt: number,
    own: Int32Array,
    ownAt: number,
    participantsMax: number,
  ) {
    this.#shared = shared;
    this.#sharedAt = sharedAt;
    this.#firstUnit = firstUnit;
    this.#unitsMax = unitsMax;
    for (let index = 0; index < CLASSES; index++) {
      const shift = CLASS_MIN_SHIFT + index;
      const cells = unitsMax * 2 ** (UNIT_SHIFT - shift);
      this.#pools.push(
        new Pool({
          words,
          rowShift: UNIT_WORDS_SHIFT,
          link: 0,
          batch: 1,
          own,
          ownAt: ownAt + index * POOL_WORDS,
          shared,
          usedAt: sharedAt + NEVER_USED,
          stackAt: sharedAt + STACKS + index * 2,
          rowsMax: 0,
          batchSize: Math.max(1, Math.min(batchRows(cells, participantsMax), KEPT_BYTES >> shift)),
          participantsMax,
        }),
      );
    }
  }

  /** A cell of 2^shift bytes: a free one, a new one, or a part of a larger free one. Its unit, or 0. */
  take(shift: number): number {
    const free = this.#pools[shift - CLASS_MIN_SHIFT]!.take();
    if (free !== 0) return free;
    const fresh = this.#takeNew(1 << (shift - UNIT_SHIFT));
    return fresh !== 0 ? fresh : this.#split(shift);
  }

  give(unit: number, shift: number): void {
    this.#pools[shift - CLASS_MIN_SHIFT]!.give(unit);
  }

  /** Bytes that were ever handed out. */
  get usedBytes(): number {
    return Atomics.load(this.#shared, this.#sharedAt + USED) * (1 << UNIT_SHIFT);
  }

  /** For checks: bytes of the free cells of this participant, or of the stacks. */
  freeBytes(of: FreeCells, scratch: IntList): number {
    let bytes = 0;
    for (const [index, pool] of this.#pools.entries()) {
      scratch.clear();
      if (of === FreeCells.OWN) pool.appendOwn(scratch);
      else pool.appendShared(scratch);
      bytes += scratch.count * 2 ** (CLASS_MIN_SHIFT + index);
    }
    return bytes;
  }

  #takeNew(units: number): number {
    const at = this.#sharedAt + USED;
    for (;;) {
      const used = Atomics.load(this.#shared, at);
      if (used + units > this.#unitsMax) return 0;
      if (Atomics.compareExchange(this.#shared, at, used, used + units) === used) return this.#firstUnit + used;
    }
  }

  #split(shift: number): number {
    for (let larger = shift + 1; larger <= CLASS_MAX_SHIFT; larger++) {
      const cell = this.#pools[larger - CLASS_MIN_SHIFT]!.take();
      if (cell === 0) continue;
      for (let half = larger - 1; half >= shift; half--) this.give(cell + (1 << (half - UNIT_SHIFT)), half);
      return cell;
    }
    return 0;
  }
}

/** Whose free cells are meant. */
export const FreeCells = { OWN: 0, SHARED: 1 } as const;
export type FreeCells = (typeof FreeCells)[keyof typeof FreeCells];
