// Keeps docs/CONFORMANCE.md true. `LETHE_WRITE=1` writes it; otherwise a file that differs from the tags fails.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { report, sourceEvidence, testEvidence } from './report.ts';
import { tagOf } from './statement.ts';
import { statements311 } from './statements-3.1.1.ts';
import { statements5 } from './statements-5.0.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const statements = [...statements5, ...statements311];
const found = report(statements, sourceEvidence(root, ['protocol', 'storage', 'engine']), testEvidence(root, 'test'));

test('the lists hold every numbered statement of Appendix B once', () => {
  expect(statements5).toHaveLength(251);
  expect(statements311).toHaveLength(141);
  expect(new Set(statements.map(tagOf)).size).toBe(statements.length);
});

test('every tag names a statement', () => {
  expect(found.unknown).toEqual([]);
});

test('every statement that binds the server has a test or a reason', () => {
  expect(found.missing.map(tagOf)).toEqual([]);
});

test('docs/CONFORMANCE.md is what the tags say (npm run docs writes it)', () => {
  const path = `${root}docs/CONFORMANCE.md`;
  const { LETHE_WRITE } = process.env;
  if (LETHE_WRITE === '1') writeFileSync(path, found.markdown);
  expect(readFileSync(path, 'utf8') === found.markdown, 'the file differs: run npm run docs').toBe(true);
});
