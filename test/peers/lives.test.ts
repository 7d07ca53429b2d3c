// Random lives over several shards in one thread (lives.ts). A failure names its seed; LETHE_SEED runs that one again.
import { expect, test } from 'vitest';
import { Lives, type LivesOptions } from './lives.ts';

const RUNS = Number(process.env['LETHE_RUNS'] ?? 15);
const ACTS = 600;
const only = process.env['LETHE_SEED'];

const kinds: Readonly<Record<string, Omit<LivesOptions, 'seed' | 'acts'>>> = {
  'three shards, small rings': { count: 3, ringBytes: 4_096 },
  'three shards, small rings, stores that lag': { count: 3, ringBytes: 4_096, store: 'lagging' },
  'four shards, rings of the real size': { count: 4 },
  'three shards, full queues': { count: 3, ringBytes: 8_192, limits: { queuedMessagesPerClientMax: 6 } },
  'two shards, stores that lag, links that hold little': { count: 2, ringBytes: 4_096, store: 'lagging', kernelBytes: 512 },
};

test.each(Object.keys(kinds))('%s', (name) => {
  const seeds = only === undefined ? Array.from({ length: RUNS }, (_, i) => 1 + i) : [Number(only)];
  for (const seed of seeds) {
    try {
      new Lives({ ...kinds[name]!, seed, acts: ACTS }).run();
    } catch (error) {
      throw new Error(`LETHE_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  expect(seeds.length).toBeGreaterThan(0);
});
