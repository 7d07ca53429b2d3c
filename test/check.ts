// Properties: a failure says how to see it again, by the seed and the path to the smallest counterexample, which the environment
// takes back.
import { relative } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';

const root = new URL('..', import.meta.url).pathname;

/**
 * Tries `runs` random values, or the one that LETHE_SEED and LETHE_PATH name.
 * @param seedOfCi where given, CI tries the same values each time: for models whose own rules new histories still make finer, so that a change is judged by what it changes
 */
export function check<Values>(property: fc.IRawProperty<Values>, runs: number, seedOfCi?: number): Promise<void> {
  const seed = process.env['LETHE_SEED'] ?? (process.env['CI'] === 'true' ? seedOfCi : undefined);
  const path = process.env['LETHE_PATH'];
  const { testPath = '', currentTestName = '' } = expect.getState();
  function reporter(details: fc.RunDetails<Values>): void {
    if (!details.failed) return;
    const name = currentTestName.replaceAll(' > ', ' ').replaceAll(/[^\w ]/g, '.');
    const again = [
      `LETHE_SEED=${details.seed} LETHE_PATH=${details.counterexamplePath}`,
      `npx vitest run --config test/vitest.config.ts ${relative(root, testPath)} -t '${name}'`,
    ].join(' ');
    throw new Error(`${fc.defaultReportMessage(details)}\n\nAgain: ${again}`, { cause: details.errorInstance });
  }
  const parameters: fc.Parameters<Values> = {
    numRuns: runs,
    reporter,
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path, endOnFailure: true }),
  };
  return Promise.resolve(fc.assert(property, parameters));
}

/** As `expect(actual).toEqual(expected)` for primitive values and lists of them, at the speed that a property needs. */
export function agree(actual: unknown, expected: unknown): void {
  if (Object.is(actual, expected)) return;
  const areLists = Array.isArray(actual) && Array.isArray(expected) && actual.length === expected.length;
  if (!areLists || !actual.every((value, at) => Object.is(value, expected[at]))) expect(actual).toEqual(expected);
}
