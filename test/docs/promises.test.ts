// The table of the README: each promise of DESIGN.md has a test that is named after it.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const root = new URL('../..', import.meta.url).pathname;

test('seven promises, seven tests that say which, seven rows', () => {
  const files = readdirSync(`${root}test/promises`).filter((name) => /^\d-/.test(name));
  const rows = [
    ...readFileSync(`${root}README.md`, 'utf8').matchAll(/^\| \*\*.*\]\(test\/promises\/(\d-[a-z-]+\.test\.ts)\)/gm),
  ].map(([, name]) => name);
  expect(rows).toEqual(files.toSorted());
  expect(files).toHaveLength(7);
  for (const name of files)
    expect(readFileSync(`${root}test/promises/${name}`, 'utf8')).toMatch(new RegExp(`test\\('promise ${name[0]}, `));
});
