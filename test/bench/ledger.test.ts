// Ledger and coverage against sets of numbers: what each arrival is, and what is missing at the end, in any order, with any repetition,
// around the place where 32 bits come round, and put together from several threads.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BLOCK_NUMBERS, Coverage } from '../../bench/raw/coverage.ts';
import { partsOf, unite } from '../../bench/raw/coverage-union.ts';
import { Arrival, Ledger } from '../../bench/raw/ledger.ts';
import { check } from '../check.ts';

/** Runs of numbers with steps between them, which may go back. */
const walks = fc
  .array(fc.tuple(fc.integer({ min: -40, max: 60 }), fc.integer({ min: 1, max: 30 })), { maxLength: 60 })
  .map((steps) => {
    const numbers: number[] = [];
    let at = 0;
    for (const [jump, count] of steps) {
      at = Math.max(0, at + jump);
      for (let i = 0; i < count; i++) numbers.push(at++);
    }
    return numbers;
  });
/** Where a stream begins: near 0, near the edge of a block of bits, near 2^32. */
const starts = fc.constantFrom(0, 1, BLOCK_NUMBERS - 20, 3 * BLOCK_NUMBERS - 1, 2 ** 32 - 25, 2 ** 33 + 5);

/** What a set of all numbers that came says of the next one. */
class Model {
  readonly #come = new Set<number>();
  #next: number;

  constructor(first: number) {
    this.#next = first;
  }

  arrive(number: number): Arrival {
    if (this.#come.has(number)) return Arrival.DUPLICATE;
    this.#come.add(number);
    if (number < this.#next) return Arrival.LATE;
    const isNext = number === this.#next;
    this.#next = number + 1;
    return isNext ? Arrival.NEXT : Arrival.AHEAD;
  }

  get distinct(): number {
    return this.#come.size;
  }

  get next(): number {
    return this.#next;
  }
}

describe('ledger', () => {
  test('tells each arrival as a set of all numbers does', () =>
    check(
      fc.property(walks, starts, (walk, start) => {
        const ledger = new Ledger(0);
        const place = ledger.add(start);
        const model = new Model(start);
        for (const step of walk) {
          const number = start + step;
          expect(ledger.arrive(place, number >>> 0)).toBe(model.arrive(number));
        }
        expect(ledger.distinct(place) - start).toBe(model.distinct);
        expect(ledger.gaps).toBe(model.next - start - model.distinct);
      }),
      2_000,
    ));

  test('keeps streams apart, however many are added', () => {
    const ledger = new Ledger(3);
    for (let stream = 0; stream < 100; stream++) {
      const place = stream < 3 ? stream : ledger.add(0);
      expect(place).toBe(stream);
      for (let number = 0; number < stream; number++) expect(ledger.arrive(place, number)).toBe(Arrival.NEXT);
    }
    for (let stream = 0; stream < 100; stream++) expect(ledger.distinct(stream)).toBe(stream);
  });

  test('what comes from before a stream was added is a duplicate, and lost numbers are gaps', () => {
    const ledger = new Ledger(0);
    const place = ledger.add(1_000);
    expect(ledger.arrive(place, 999)).toBe(Arrival.DUPLICATE);
    expect(ledger.arrive(place, 1_000)).toBe(Arrival.NEXT);
    expect(ledger.arrive(place, 1_011)).toBe(Arrival.AHEAD);
    expect(ledger.gaps).toBe(10);
  });

  test('a member of a shared subscription: only what goes back is behind', () => {
    const ledger = new Ledger(1);
    const seen = [0, 5, 6, 4, 6, 7, 2 ** 31 - 1].map((number) => ledger.isBehind(0, number));
    expect(seen).toEqual([false, false, false, true, true, false, false]);
  });
});

describe('coverage', () => {
  test('forgets the blocks that it has filled', () => {
    const coverage = new Coverage(0);
    const numbers = 5 * BLOCK_NUMBERS + 100;
    // Always one behind, so that the floor is raised in small steps over whole blocks.
    for (let number = 1; number < numbers; number += 2) {
      expect(coverage.add(number)).toBe(true);
      expect(coverage.add(number - 1)).toBe(true);
      expect(coverage.add(number)).toBe(false);
    }
    expect(coverage).toMatchObject({ floor: numbers, count: numbers });
    expect(coverage.blocks.size).toBeLessThanOrEqual(1);
  });

  test('a hole that is never filled costs one bit a number, and full blocks nothing', () => {
    const coverage = new Coverage(0);
    for (let number = 1; number < 4 * BLOCK_NUMBERS; number++) coverage.add(number);
    expect(coverage).toMatchObject({ floor: 0, count: 4 * BLOCK_NUMBERS - 1 });
    expect([...coverage.blocks.values()].filter(({ bits }) => bits.length > 0)).toHaveLength(1);
    expect(coverage.add(0)).toBe(true);
    expect(coverage).toMatchObject({ floor: 4 * BLOCK_NUMBERS, count: 4 * BLOCK_NUMBERS });
    expect(coverage.blocks.size).toBe(0);
  });

  test('of several threads together: what came at all, and what came twice', () =>
    check(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 })), { maxLength: 400 }),
        fc.constantFrom(1, 97, 251),
        (arrivals, stride) => {
          const coverages = [new Coverage(0), new Coverage(0), new Coverage(0)];
          const sets = coverages.map(() => new Set<number>());
          for (const [step, thread] of arrivals) {
            // Spread over several blocks, or close together.
            const number = step * stride;
            coverages[thread]!.add(number);
            sets[thread]!.add(number);
          }
          const all = new Set(sets.flatMap((set) => [...set]));
          const counted = sets.reduce((sum, set) => sum + set.size, 0);
          expect(unite(coverages.map(partsOf))).toEqual({ distinct: all.size, twice: counted - all.size });
        },
      ),
      300,
    ));
});
