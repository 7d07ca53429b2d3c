// A list of integers, against an array.
import fc from 'fast-check';
import { test } from 'vitest';
import { IntList } from '../../engine/memory/int-list.ts';
import { agree, check } from '../check.ts';

test('is an array of 32-bit integers', () => {
  const value = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  return check(
    fc.property(fc.array(fc.array(value, { maxLength: 300, size: 'max' }), { maxLength: 4 }), (fillings) => {
      const list = new IntList();
      for (const filling of fillings) {
        for (const [at, one] of filling.entries()) {
          list.push(one);
          agree([list.count, list.values[at]], [at + 1, one]);
        }
        agree(Array.from(list.values.subarray(0, list.count)), filling);
        list.clear();
        agree(list.count, 0);
      }
    }),
    100,
  );
});
