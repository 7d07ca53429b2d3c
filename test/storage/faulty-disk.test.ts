// The spool on a disk that fails: no room, errors, half-made steps. Nothing that was acknowledged is lost without a word, a full disk
// recovers, and a broken one stops all acknowledging. A failure names its seed:
//   LETHE_SEED=123 npx vitest run --config test/vitest.config.ts test/storage/faulty-disk.test.ts
import { describe, expect, test } from 'vitest';
import { SpoolState } from '../../storage/figures.ts';
import { RowKind } from '../../storage/rows.ts';
import { damageOne, live, makeHistory, NO_BYTES, recoverRoom, TRIES } from './faulty-history.ts';
import { Outcome } from './memory-disk.ts';
import { FileOutcome } from './memory-key-file.ts';
import type { SpoolHistory } from './spool-history.ts';
import { INTENTS, READS, type Steps, TIME, withSeeds } from './spool-steps.ts';

describe('a disk without room', () => {
  const FULL_TROUBLE = /^the disk is full: QoS 1 and 2 messages .* are refused, and what was taken is not acknowledged yet$/;
  const ROOM_TROUBLE = /^the spool has room again$/;

  function fillAtRandom(history: SpoolHistory, oneIn: number): void {
    history.disk.outcome = () => (history.random.below(oneIn) === 0 ? Outcome.FULL : Outcome.DONE);
    history.file.outcome = () => (history.random.below(oneIn * 3) === 0 ? FileOutcome.FULL : FileOutcome.DONE);
  }

  function empty(history: SpoolHistory): void {
    history.disk.outcome = () => Outcome.DONE;
    history.file.outcome = () => FileOutcome.DONE;
  }

  test('now and then: what was taken is all there, and nothing counts as durable that is not', () => {
    withSeeds(400, (seed) => {
      const history = makeHistory(seed);
      const crashes: Steps = [[2, (some) => some.crash()]];
      for (let part = 0; part < 3; part++) {
        fillAtRandom(history, 2 + history.random.below(3));
        live(history, [...INTENTS, ...READS, ...TIME, ...TRIES], 25);
        live(history, [...INTENTS, ...TIME, ...TRIES, ...crashes], history.random.below(15));
      }
      empty(history);
      recoverRoom(history);
      expect(history.figures.state).toBe(SpoolState.GOOD);
      expect(history.figures.durableOf(0)).toBe(history.spool.appliedOf(0));
      history.checkReads();
      history.checkErased();
      history.crash();
      history.checkReads();
      for (const said of history.troubles) expect(said).toMatch(/room again$|^the disk is full/);
    });
  });

  test('from a moment on: it is told once, nothing more is durable, and all of it is when room returns', () => {
    withSeeds(200, (seed) => {
      const history = makeHistory(seed);
      live(history, [...INTENTS, ...TRIES], 20);
      expect(history.commit()).toBe(true);
      fillAtRandom(history, 1);
      const durable = history.figures.durableOf(0);
      live(history, [...INTENTS, ...READS, ...TRIES], 30);
      history.putSession(90, 'one more');
      expect(history.commit()).toBe(false);
      expect(history.figures.state).toBe(SpoolState.FULL);
      // Batches that left nothing to write were durable without the disk.
      expect(history.durable.sessions.has(90)).toBe(false);
      expect(history.figures.durableOf(0)).toBeGreaterThanOrEqual(durable);
      expect(history.troubles).toEqual([expect.stringMatching(FULL_TROUBLE)]);
      empty(history);
      recoverRoom(history);
      expect(history.troubles).toEqual([expect.stringMatching(FULL_TROUBLE), expect.stringMatching(ROOM_TROUBLE)]);
      expect(history.figures.state).toBe(SpoolState.GOOD);
      history.crash();
      expect(history.oracle.sessions.has(90)).toBe(true);
      history.checkReads();
    });
  });

  test('it has room again also when nothing is left to write that would find out', () => {
    const history = makeHistory(1);
    history.putSession(1, 'one');
    expect(history.commit()).toBe(true);
    fillAtRandom(history, 1);
    history.putMessage(1, 0, 1, Infinity);
    history.addDelivery(1, 1, NO_BYTES);
    expect(history.commit()).toBe(false);
    history.dropDelivery(1, 0);
    expect(history.commit()).toBe(true); // consumed meanwhile: nothing is left of the batch
    expect(history.figures.state).toBe(SpoolState.FULL);
    history.pass(1_000);
    history.idle();
    expect(history.figures.state).toBe(SpoolState.FULL);
    empty(history);
    history.pass(1_000);
    history.idle();
    expect(history.figures.state).toBe(SpoolState.GOOD);
  });

  test('below the floor new messages are refused and everything else goes on; above it, as before', () => {
    const history = makeHistory(1);
    history.putSession(1, 'one');
    history.disk.roomBytes = 999_999;
    history.pass(1_000);
    expect(history.commit()).toBe(true);
    expect(history.figures.state).toBe(SpoolState.FULL);
    history.addInbound(1, 7);
    expect(history.commit()).toBe(true);
    expect(history.figures.state).toBe(SpoolState.FULL);
    history.disk.roomBytes = 1_000_000;
    history.idle();
    expect(history.figures.state).toBe(SpoolState.FULL); // looked at once a second
    history.pass(1_000);
    history.idle();
    expect(history.figures.state).toBe(SpoolState.GOOD);
    expect(history.troubles).toEqual([expect.stringMatching(/down to its floor/), 'the disk has room again']);
  });

  test('damage that is met on a full disk waits, and costs nobody a wrong answer', () => {
    withSeeds(60, (seed) => {
      const history = makeHistory(seed);
      history.putSession(1, 'one');
      for (let message = 0; message < 20; message++) {
        history.putMessage(1, 0, 100, Infinity);
        history.addDelivery(1, 1, NO_BYTES);
      }
      expect(history.commit()).toBe(true);
      const hit = damageOne(history, [RowKind.QUEUE])!;
      fillAtRandom(history, 1);
      const whole = history.read(1, 0, Infinity);
      expect(whole.length).toBeGreaterThanOrEqual(20 - hit.costsAtMost);
      history.dropDelivery(1, history.random.below(20));
      history.erase();
      empty(history);
      recoverRoom(history);
      history.checkReads();
      history.check();
      expect(history.damaged.length).toBeLessThanOrEqual(hit.costsAtMost);
      history.crash();
      history.checkReads();
    });
  });
});

describe('a disk that fails', () => {
  const BROKEN_TROUBLE =
    /^the spool failed and acknowledges nothing more; check the disk and start again \(.*failed.*|.*error.*\)$/;
  const causes: readonly (readonly [string, (history: SpoolHistory) => void])[] = [
    ['before the step', (history) => failStep(history, Outcome.BROKEN)],
    ['after the step', (history) => failStep(history, Outcome.BROKEN_AFTER)],
    ['in the key file', (history) => failFile(history)],
  ];

  function failStep(history: SpoolHistory, outcome: Outcome): void {
    let left = history.random.below(4);
    history.disk.outcome = () => (left-- === 0 ? outcome : Outcome.DONE); // it works again, and is not believed
  }

  function failFile(history: SpoolHistory): void {
    let left = history.random.below(4);
    history.file.outcome = () => (left-- === 0 ? FileOutcome.BROKEN : FileOutcome.DONE);
  }

  test.each(causes)('%s: nothing is acknowledged any more, and a start finds everything that was', (_name, fail) => {
    withSeeds(250, (seed) => {
      const history = makeHistory(seed);
      live(history, [...INTENTS, ...TRIES], 20);
      fail(history);
      live(history, [...INTENTS, ...READS, ...TIME, ...TRIES], 30);
      for (let tries = 0; history.figures.state !== SpoolState.BROKEN && tries < 20; tries++) {
        history.putSession(50 + tries, 'something to write');
        history.dropSession(50 + tries - 1);
        history.commit();
        history.erase();
        history.pass(1_000);
      }
      expect(history.figures.state).toBe(SpoolState.BROKEN);
      expect(history.troubles.at(-1)).toMatch(BROKEN_TROUBLE);
      const durable = history.figures.durableOf(0);
      const { length } = history.troubles;
      const { steps } = history.disk;
      live(history, [...INTENTS, ...READS, ...TIME, ...TRIES], 15);
      history.putSession(99, 'never');
      expect(history.commit()).toBe(false);
      history.erase();
      expect(history.spool.eraser.dueInMs()).toBe(Infinity);
      expect(history.figures.durableOf(0)).toBe(durable);
      expect(history.troubles).toHaveLength(length);
      expect(history.disk.steps, 'nothing is tried on a disk that cannot be trusted').toBe(steps);
      history.crash();
      expect(history.oracle.sessions.has(99)).toBe(false);
      history.checkReads();
      recoverRoom(history);
      history.checkErased();
    });
  });

  test('a step that is torn, against the contract: the next start comes up, and gives nothing that is not true', () => {
    withSeeds(300, (seed) => {
      const history = makeHistory(seed);
      const crashes: Steps = [[1, (some) => some.crash()]];
      live(history, [...INTENTS, ...READS, ...TRIES, ...crashes], 40);
      history.disk.outcome = () => Outcome.TORN;
      live(history, [...INTENTS, ...TRIES], 10);
      history.putSession(60, 'something to write');
      history.commit();
      const found = history.restartTorn();
      for (const [number, deliveries] of found) {
        for (const { position, text } of deliveries) {
          if (text !== null)
            expect(history.ever.has(`${number}/${position}/${text}`), `session ${number}, ${position}`).toBe(true);
        }
        expect(deliveries.map(({ position }) => position)).toEqual(
          deliveries.map(({ position }) => position).sort((a, b) => a - b),
        );
      }
      // It works: what is put now comes out.
      const fresh = history.nextSession;
      history.putSession(fresh, 'fresh');
      history.putMessage(1, 1, 50, Infinity);
      history.addDelivery(fresh, 1, NO_BYTES);
      expect(history.commit()).toBe(true);
      history.checkRead(fresh, 0, Infinity);
      history.erase();
    });
  });
});
