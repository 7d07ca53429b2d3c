// Ranges against a Set: every operation in any order, and what a large set must not break on.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Ranges } from '../../storage/ranges.ts';
import { check } from '../check.ts';

const BOUND = 40;
const value = fc.nat(BOUND);
const operation = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), from: value, to: value }),
  fc.record({ kind: fc.constant('addRange' as const), from: value, to: value }),
  fc.record({ kind: fc.constant('remove' as const), from: value, to: value }),
  fc.record({ kind: fc.constant('removeBelow' as const), from: value, to: value }),
);

test('does what a Set does', () => {
  check(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const ranges = new Ranges();
      const set = new Set<number>();
      for (const { kind, from, to } of operations) {
        if (kind === 'add') {
          ranges.add(from);
          set.add(from);
        } else if (kind === 'addRange') {
          ranges.addRange(from, to);
          for (let member = from; member < to; member++) set.add(member);
        } else if (kind === 'remove') {
          ranges.remove(from);
          set.delete(from);
        } else {
          ranges.removeBelow(from);
          for (const member of [...set]) if (member < from) set.delete(member);
        }
        expectSame(ranges, set);
      }
    }),
    1_000,
  );
});

function expectSame(ranges: Ranges, set: ReadonlySet<number>): void {
  const members = [...set].sort((a, b) => a - b);
  expect([...ranges]).toEqual(members);
  expect(ranges.isEmpty).toBe(set.size === 0);
  expect(ranges.end).toBe((members.at(-1) ?? -1) + 1);
  const numbers = Array.from({ length: BOUND + 2 }, (_, i) => i);
  expect(numbers.filter((number) => ranges.has(number))).toEqual(members);
  const absent = (number: number): number => (set.has(number) ? absent(number + 1) : number);
  expect(numbers.map((number) => ranges.firstAbsent(number))).toEqual(numbers.map(absent));
  for (const from of [0, 7, 20]) {
    const meets = numbers.map((to) => members.some((member) => member >= from && member < to));
    expect(numbers.map((to) => ranges.intersects(from, to))).toEqual(meets);
  }
  // Ranges that touch are one, and the bounds bring the same set back.
  const { bounds } = ranges;
  expect(bounds.every((bound, i) => i === 0 || bound > bounds[i - 1]!)).toBe(true);
  expect([...Ranges.of(bounds)]).toEqual(members);
}

describe('Ranges.of', () => {
  test.each([[[3]], [[3, 3]], [[5, 3]], [[1, 4, 4, 6]], [[1, 4, 3, 6]], [[Number.NaN, 2]]])('refuses %j', (bounds) => {
    expect(() => Ranges.of(bounds)).toThrow(/ranges:/);
  });

  test('takes as many ranges as there are: half a million messages that expired among others that did not', () => {
    const bounds = Array.from({ length: 1_000_000 }, (_, i) => i);
    expect(Ranges.of(bounds).end).toBe(999_999);
  });

  test('shares nothing with what it was made from', () => {
    const bounds = [1, 3];
    const ranges = Ranges.of(bounds);
    bounds[1] = 9;
    expect([...ranges]).toEqual([1, 2]);
  });
});
