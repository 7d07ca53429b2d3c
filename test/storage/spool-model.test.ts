// The spool against the oracle over thousands of random lives, with crashes at every kind of moment. A failure names its seed:
//   LETHE_SEED=123 npx vitest run --config test/vitest.config.ts test/storage/spool-model.test.ts
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Disk } from '../../storage/disk.ts';
import { Figure } from '../../storage/figures.ts';
import { LmdbDisk } from '../../storage/lmdb-disk.ts';
import { RowKind } from '../../storage/rows.ts';
import { MemoryDisk, Outcome } from './memory-disk.ts';
import { ERASE_WITHIN_MS, SpoolHistory } from './spool-history.ts';
import { consumeEverything, INTENTS, printSteps, READS, type Steps, TIME, takeStep, withSeeds } from './spool-steps.ts';

const HISTORIES = 2_000;
const LMDB_HISTORIES = 60;
const STEPS_MAX = 90;
const folder = mkdtempSync(join(tmpdir(), 'lethe-spool-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const THREAD: Steps = [
  [12, (history) => expect(history.commit()).toBe(true)],
  [3, (history) => history.spool.publishIfClean()],
  [5, (history) => erase(history)],
  [2, (history) => history.crash()],
  [1, (history) => history.stop()],
];

function erase(history: SpoolHistory<Disk>): void {
  history.erase();
  history.checkErased();
}

/** The process dies inside a commit, an eraser's run or a stop. */
const KILLS: Steps = [[3, (history) => kill(history as unknown as SpoolHistory)]];

function kill(history: SpoolHistory): void {
  const { random, disk, file } = history;
  const after = random.below(4);
  if (random.below(2) === 0) {
    const outcome = random.below(2) === 0 ? Outcome.KILLED : Outcome.KILLED_AFTER;
    disk.outcome = () => (disk.steps > before + after ? outcome : Outcome.DONE);
  } else {
    const calls = file.calls;
    file.outcome = () => (file.calls > calls + after ? 'killed' : 'done');
  }
  const before = disk.steps;
  const act = random.below(3);
  history.killedIn(() => {
    history.settle();
    if (act === 0) history.commit();
    else if (act === 1) history.erase();
    else history.spool.stop();
  });
}

function live<SomeDisk extends Disk>(history: SpoolHistory<SomeDisk>, steps: Steps): void {
  const some = history as unknown as SpoolHistory<Disk>;
  if (process.env['LETHE_SEED'] !== undefined) printSteps(some);
  for (let left = 10 + history.random.below(STEPS_MAX); left > 0; left--) {
    takeStep(some, steps);
    some.check();
  }
  some.checkReads();
  consumeEverything(some);
  expect(some.commit()).toBe(true);
  erase(some);
  for (const kind of [RowKind.QUEUE, RowKind.SHARED, RowKind.COUNTS, RowKind.RETAINED, RowKind.EXPIRY, RowKind.QUARANTINE]) {
    expect(some.rows(kind), `rows of kind ${kind} when everything is consumed`).toBe(0);
  }
  for (const session of some.oracle.sessions.keys()) some.dropSession(session);
  expect(some.commit()).toBe(true);
  erase(some);
  expect(some.vault.freeSlots).toBe(some.vault.slots);
  for (let kind = RowKind.STATE as number; kind <= RowKind.QUARANTINE; kind++) expect(some.rows(kind as RowKind)).toBe(0);
  expect(some.troubles).toEqual([]);
}

describe('the spool does what the oracle does', () => {
  test(`${HISTORIES} lives over a disk in memory`, () => {
    const steps = [...INTENTS, ...READS, ...TIME, ...THREAD, ...KILLS];
    withSeeds(HISTORIES, (seed) => {
      live(
        new SpoolHistory(
          seed,
          (random) => new MemoryDisk(random),
          (disk) => disk.reopened(),
        ),
        steps,
      );
    });
  });

  test(`${LMDB_HISTORIES} lives over LMDB`, () => {
    const steps = [...INTENTS, ...READS, ...TIME, ...THREAD];
    withSeeds(LMDB_HISTORIES, (seed) => {
      const own = mkdtempSync(join(folder, 'lmdb-'));
      const history = new SpoolHistory(
        seed,
        () => new LmdbDisk(own),
        (disk) => {
          disk.close();
          return new LmdbDisk(own);
        },
      );
      live(history, steps);
      history.disk.close();
      rmSync(own, { recursive: true, force: true });
    });
  });
});

describe('what a random life seldom comes to', () => {
  function makeHistory(seed: number): SpoolHistory {
    return new SpoolHistory(
      seed,
      (random) => new MemoryDisk(random),
      (disk) => disk.reopened(),
    );
  }

  test('a subscriber that keeps up through more positions than are reserved: nothing is written for its messages, and none of them is used again', () => {
    const history = makeHistory(1);
    history.putSession(1, 'one');
    expect(history.commit()).toBe(true);
    const written = history.rows(RowKind.QUEUE);
    for (let crash = 0; crash < 3; crash++) {
      for (let message = 0; message < 12_000; message++) {
        history.putMessage(1, 0, 1, Infinity);
        history.addDelivery(1, 1, new Uint8Array(0));
        history.dropDelivery(1, history.oracle.sessions.get(1)!.next - 1);
        if (message % 50 === 0) expect(history.commit()).toBe(true);
      }
      expect(history.rows(RowKind.QUEUE)).toBe(written);
      history.crash();
    }
  });

  test('a queue of many values is read by cursor, consumed from the middle and drained, over restarts', () => {
    const history = makeHistory(2);
    history.putSession(1, 'one');
    history.putSession(2, 'two');
    for (let message = 0; message < 3_000; message++) {
      history.putMessage(10, 0, 90, Infinity);
      history.addDelivery(1, 1, new Uint8Array(0));
      if (message % 5 === 0) history.addDelivery(2, 1, new Uint8Array(0));
      if (message % 100 === 0) expect(history.commit()).toBe(true);
    }
    history.crash();
    const { oracle } = history;
    for (let from = 0; from < 3_000; from += 250) history.checkRead(1, from, 100);
    for (let position = 500; position < 1_500; position += 2) history.dropDelivery(1, position);
    for (let position = 0; position < 300; position++) history.markReceived(1, position);
    expect(history.commit()).toBe(true);
    history.erase();
    history.checkErased();
    history.stop();
    history.checkReads();
    expect(oracle.sessions.size).toBe(2);
    consumeEverything(history as unknown as SpoolHistory<Disk>);
    expect(history.commit()).toBe(true);
    history.erase();
    history.checkErased();
    expect([history.rows(RowKind.QUEUE), history.rows(RowKind.SHARED), history.rows(RowKind.EXPIRY)]).toEqual([0, 0, 0]);
    expect(history.vault.freeSlots).toBe(history.vault.slots - 2);
  });

  test('the eraser keeps the bound: what was consumed is beyond recovery within it, in runs that the clock asks for', () => {
    const history = makeHistory(3);
    history.putSession(1, 'one');
    for (let message = 0; message < 40; message++) {
      history.putMessage(1, 0, 1_000, Infinity);
      history.addDelivery(1, 1, new Uint8Array(0));
    }
    expect(history.commit()).toBe(true);
    const before = history.figures.get(Figure.KEYS_DESTROYED);
    for (let position = 0; position < 5; position++) history.dropDelivery(1, position);
    expect(history.commit()).toBe(true);
    let waitedMs = 0;
    while (history.figures.get(Figure.KEYS_DESTROYED) === before) {
      const dueMs = history.spool.eraser.dueInMs();
      expect(dueMs).toBeLessThanOrEqual(ERASE_WITHIN_MS);
      history.pass(Math.max(1, dueMs));
      waitedMs += Math.max(1, dueMs);
      history.spool.eraser.run(false);
    }
    expect(waitedMs).toBeLessThanOrEqual(ERASE_WITHIN_MS);
    history.checkErased();
  });
});
