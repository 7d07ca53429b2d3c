// The list and the folder say the same: a class without its test, or a test that nobody lists, is a mistake.
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VULNERABILITIES } from './list.ts';

test('each of the 21 classes has its file', () => {
  const files = readdirSync(new URL('.', import.meta.url)).filter((name) => name.endsWith('.test.ts') && !name.startsWith('00-'));
  expect(files.sort()).toEqual(VULNERABILITIES.map(({ file }) => `${file}.test.ts`));
  expect(VULNERABILITIES).toHaveLength(21);
});
