// The configurations in docs/examples are ones that the broker takes; the programs there have tests of their own (example-*.test.ts).
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { processingRecord } from '../../engine/administration/report.ts';
import { loadConfig } from '../../engine/config/load.ts';

const folder = new URL('../../docs/examples/', import.meta.url).pathname;
const names = readdirSync(folder).filter((name) => name.endsWith('.toml'));

test('there are those that docs/DEPLOYMENT.md lists', () => {
  const page = readFileSync(new URL('../../docs/DEPLOYMENT.md', import.meta.url), 'utf8');
  expect([...page.matchAll(/\(examples\/([a-z-]+\.toml)\)/g)].map(([, name]) => name).toSorted()).toEqual(names.toSorted());
});

describe.each(names)('%s', (name) => {
  const config = loadConfig({ file: join(folder, name) });

  test('carries nothing in clear beyond this machine', () => {
    expect(processingRecord(config, '1', 0, null).attention.filter((line) => line.includes('in clear'))).toEqual([]);
  });

  test('keeps nothing without a ceiling, where it is for people', () => {
    if (name === 'harness.toml') return;
    expect(processingRecord(config, '1', 0, null).attention.filter((line) => line.includes('age'))).toEqual([]);
  });
});
