// The broker is killed in the middle of everything, again and again, and keeps its promises. `npm run test:crash` plays many more rounds.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Campaign } from './campaign.ts';

const ROUNDS = 10;

test('kill -9 at any moment loses nothing, repeats nothing, and leaves nothing behind', async () => {
  const seed = Number(process.env['LETHE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const folder = mkdtempSync(join(tmpdir(), 'lethe-crash-'));
  const campaign = new Campaign({ folder, seed, rounds: ROUNDS });
  const again = `again: LETHE_SEED=${seed} npx vitest run --config test/vitest.config.ts test/crash/crash.test.ts`;
  expect(await campaign.run(), again).toEqual([]);
  expect(campaign.ledger.delivered).toBeGreaterThan(campaign.ledger.published);
  rmSync(folder, { recursive: true });
}, 180_000);
