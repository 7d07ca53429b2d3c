// Checks that random lives make a million times: cheaper than the library's, which is asked only when one of them fails.
import { expect } from 'vitest';

export function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not so: ${what}`);
}

/** Compares the values of two records or lists, which are primitive. */
export function mustBeSame(actual: object, expected: object, what: string): void {
  const given = Object.values(actual);
  const wanted = Object.values(expected);
  if (given.length !== wanted.length || given.some((value, i) => value !== wanted[i])) expect(actual, what).toEqual(expected);
}
