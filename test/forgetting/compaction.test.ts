// A large backlog leaves a large file behind. What was drained from it cannot be found before its space is given back, and neither can it
// afterwards: not in the new file, nor in the old one, which nobody holds open.
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Figure } from '../../storage/figures.ts';
import { DATA_FILE } from '../../storage/lmdb-disk.ts';
import { BareSpool } from './bare-spool.ts';
import { deletedFiles } from './files.ts';
import { Place } from './place.ts';
import { Effort } from './scanner.ts';

const MEBIBYTE = 1_048_576;
const MESSAGES = 6_400;
const PAYLOAD_BYTES = 16_384;
const BATCH = 256;
const KEPT = 3;

test('100 MB are drained: no canary before the file is compacted, none after it', () => {
  const place = new Place();
  const path = join(place.folder, DATA_FILE);
  const bare = new BareSpool(place.folder);
  const { spool, ground, figures } = bare;
  spool.putSession(1, Buffer.of(1), false);
  const filling = randomBytes(PAYLOAD_BYTES);
  for (let i = 0; i < MESSAGES; i++) {
    bare.put({ topic: 'backlog', payload: Buffer.concat([place.canaries.bytes(`backlog.${i}`), filling]) }, [1, i]);
    if (i % BATCH === BATCH - 1) spool.commit();
  }
  spool.commit();
  const fullBytes = statSync(path).size;
  expect(fullBytes).toBeGreaterThan(MESSAGES * PAYLOAD_BYTES);
  expect(new Set(place.scan().names).size).toBe(MESSAGES);

  for (let i = 0; i < MESSAGES - KEPT; i++) spool.dropDelivery(1, i);
  spool.commit();
  bare.pass(1_000);
  const kept = Array.from({ length: KEPT }, (_, i) => `backlog.${MESSAGES - KEPT + i}`);
  const drained = place.scan();
  expect(drained.names).toEqual(kept);
  // The ciphertext is still there: the keys are not.
  expect(drained.places).toBeGreaterThan(MESSAGES / 2);
  expect(statSync(path).size).toBeGreaterThanOrEqual(fullBytes);

  spool.health.compactIfWasteful();
  expect(figures.get(Figure.COMPACTIONS)).toBe(1);
  expect(statSync(path).size).toBeLessThan(MEBIBYTE);
  expect(deletedFiles(process.pid).filter(([, was]) => was.startsWith(place.folder))).toEqual([]);
  expect(place.scan().names).toEqual(kept);
  expect(bare.owed(1)).toHaveLength(KEPT);

  // It goes on working, and what comes now is forgotten as well.
  bare.put({ topic: 'later', payload: place.text('later') }, [1, MESSAGES]);
  spool.commit();
  expect(place.scan().names).toEqual([...kept, 'later'].sort());
  for (let i = MESSAGES - KEPT; i <= MESSAGES; i++) spool.dropDelivery(1, i);
  spool.commit();
  bare.pass(1_000);
  expect(place.scan({ effort: Effort.EVERY_KEY }).found).toEqual([]);
  expect(ground.disk.usage().fileBytes).toBeLessThan(MEBIBYTE);
  bare.stop();
});

test('a compaction that a crash ended leaves a file that the next start removes', () => {
  const place = new Place();
  const bare = new BareSpool(place.folder);
  bare.spool.putSession(1, place.canaries.bytes('session'), false);
  bare.spool.commit();
  bare.kill();
  const half = join(place.folder, `${DATA_FILE}.new`);
  for (const path of [half, `${half}-lock`]) copyFileSync(join(place.folder, DATA_FILE), path);
  const next = new BareSpool(place.folder, bare);
  for (const path of [half, `${half}-lock`]) expect(existsSync(path)).toBe(false);
  expect(place.scan().names).toEqual(['session']);
  next.spool.dropSession(1);
  next.stop();
  expect(place.scan({ effort: Effort.EVERY_KEY }).found).toEqual([]);
});
