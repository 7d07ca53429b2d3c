// The spool over values that are damaged: each damage costs what it hits and nothing else, is set aside and told by number and size
// only, and everybody else goes on. A failure names its seed:
//   LETHE_SEED=123 npx vitest run --config test/vitest.config.ts test/storage/damaged-values.test.ts
import { describe, expect, test } from 'vitest';
import { Figure, SpoolState } from '../../storage/figures.ts';
import { RowKind, rowKey } from '../../storage/rows.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { CLEAR_BITS, damageOne, general, live, makeHistory, NO_BYTES, recoverRoom, TRIES } from './faulty-history.ts';
import { Outcome } from './memory-disk.ts';
import { FileOutcome } from './memory-key-file.ts';
import { RETENTION_MS, type SpoolHistory } from './spool-history.ts';
import { consumeEverything, INTENTS, READS, type Steps, TIME, withSeeds } from './spool-steps.ts';

describe('flipped bits', () => {
  const TROUBLES = [
    /^a value of \d+ bytes in the spool is damaged: \d+ messages in it are lost$/,
    /^a value of \d+ bytes in the spool is damaged: (\d+|some) messages in it, each of them for several sessions, are lost$/,
    /^\d+ rows of counts in the spool are damaged and are made anew$/,
  ];

  test('in messages: each costs one record at the most, is told, and its neighbours and everybody else go on', () => {
    withSeeds(500, (seed) => {
      const history = makeHistory(seed);
      const crashes: Steps = [[1, (some) => some.crash()]];
      let allowed = 0;
      const kinds = [RowKind.QUEUE, RowKind.QUEUE, RowKind.SHARED, RowKind.COUNTS];
      const hurt: Steps = [
        [
          4,
          () => {
            allowed += damageOne(history, [kinds[history.random.below(kinds.length)]!])?.costsAtMost ?? 0;
          },
        ],
      ];
      live(history, [...INTENTS, ...READS, ...TIME, ...TRIES], 25);
      live(history, [...INTENTS, ...READS, ...TIME, ...TRIES, ...crashes, ...hurt], 60, () => {});
      history.checkReads();
      recoverRoom(history);
      history.checkReads();
      // What the reads have come upon is put right by the next run of the eraser.
      recoverRoom(history);
      history.check();
      // One that was told right before a crash is told again.
      const lost = new Set(history.damaged.map(({ session, position }) => `${session}/${position}`));
      expect(lost.size).toBeLessThanOrEqual(allowed);
      for (const said of history.troubles)
        expect(
          TROUBLES.some((pattern) => pattern.test(said)),
          said,
        ).toBe(true);
      if (history.damaged.length > 0) expect(history.troubles.length).toBeGreaterThan(0);
      // Nothing stays behind of it but what was set aside, and that goes with the retention.
      consumeEverything(general(history));
      for (const session of history.oracle.sessions.keys()) history.dropSession(session);
      expect(history.commit()).toBe(true);
      history.erase();
      history.crash();
      history.pass(RETENTION_MS + 1);
      history.erase();
      history.erase();
      for (let kind = RowKind.STATE as number; kind <= RowKind.QUARANTINE; kind++) {
        expect(history.rows(kind as RowKind), `rows of kind ${kind}`).toBe(0);
      }
      expect(history.vault.freeSlots).toBe(history.vault.slots);
    });
  });

  test('a single one, wherever it is in a queue of one value: the others are delivered', () => {
    const prepared = () => {
      const history = makeHistory(5);
      history.putSession(1, 'one');
      for (let message = 0; message < 6; message++) {
        history.putMessage(1, 0, 20, Infinity);
        history.addDelivery(1, 1, NO_BYTES);
      }
      expect(history.commit()).toBe(true);
      return history;
    };
    const key = rowKey(RowKind.QUEUE, 1, 0);
    const { length } = prepared().disk.get(key)!;
    for (let bit = 0; bit < length * 8; bit += 3) {
      const history = prepared();
      history.disk.damage(key, (bytes) => {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      });
      history.checkReads();
      history.check();
      expect(history.damaged.length).toBeLessThanOrEqual(bit < CLEAR_BITS ? 6 : 1);
      expect(history.figures.get(Figure.QUARANTINED)).toBe(history.damaged.length > 0 ? 1 : 0);
      history.crash();
      history.checkReads();
    }
  });

  test('in one of many shared messages: the counts of those around it stay what they are', () => {
    const history = makeHistory(8);
    for (const session of [1, 2]) history.putSession(session, `record ${session}`);
    for (let message = 0; message < 3; message++) {
      history.putMessage(1, 0, 30, Infinity);
      for (const session of [1, 2]) history.addDelivery(session, 1, NO_BYTES);
      expect(history.commit()).toBe(true); // a value of its own
    }
    const { key } = history.disk.entries.filter((entry) => entry.key[0] === RowKind.SHARED)[1]!;
    history.disk.damage(key, (bytes) => {
      bytes[20]! ^= 1;
    });
    history.checkRead(1, 0, Infinity);
    history.dropDelivery(1, 0);
    history.checkRead(2, 0, Infinity);
    history.check();
    history.dropDelivery(2, 0);
    history.check();
    expect(history.commit()).toBe(true);
    history.erase();
    history.checkErased();
    history.crash();
    history.check();
    expect(history.damaged).toHaveLength(2);
  });

  test('what was set aside goes with the retention, and its key is destroyed once, also when the disk is full at that time', () => {
    const history = makeHistory(9);
    history.putSession(1, 'one');
    history.putMessage(1, 0, 30, Infinity);
    history.addDelivery(1, 1, NO_BYTES);
    expect(history.commit()).toBe(true);
    const { key } = history.disk.entries.find((entry) => entry.key[0] === RowKind.QUEUE)!;
    history.disk.damage(key, (bytes) => {
      bytes[130]! ^= 1;
    });
    history.checkReads();
    expect(history.rows(RowKind.QUARANTINE)).toBe(1);
    expect(history.commit()).toBe(true);
    history.pass(RETENTION_MS + 1);
    history.disk.outcome = () => Outcome.FULL;
    history.erase();
    expect(history.rows(RowKind.QUARANTINE)).toBe(1);
    history.disk.outcome = () => Outcome.DONE;
    history.pass(1_000);
    history.putMessage(1, 0, 30, Infinity); // sealed under the first slot that is free
    history.addDelivery(1, 1, NO_BYTES);
    expect(history.commit()).toBe(true);
    for (let runs = 0; runs < 3; runs++) history.erase();
    expect(history.rows(RowKind.QUARANTINE)).toBe(0);
    history.checkErased();
    history.crash();
    history.checkReads();
    expect(history.damaged).toHaveLength(1);
  });

  /** Two sessions with everything that there is, all of it durable and erased. */
  function furnished(seed: number): SpoolHistory {
    const history = makeHistory(seed);
    for (const session of [1, 2]) {
      history.putSession(session, `record ${session}`);
      history.putSubscription(session, 1, `filter/a/${session}`);
      history.putSubscription(session, 2, `filter/b/${session}`);
    }
    for (let message = 0; message < 9; message++) {
      history.putMessage(3, 0, 30, Infinity);
      if (message % 3 !== 1) history.addDelivery(1, 1, NO_BYTES);
      if (message % 3 !== 2) history.addDelivery(2, 1, NO_BYTES);
    }
    history.putRetained(1, 'topic/a', 'payload a', Infinity);
    history.putRetained(2, 'topic/b', 'payload b', Infinity);
    expect(history.commit()).toBe(true);
    history.dropDelivery(1, 0);
    history.dropDelivery(2, 3);
    expect(history.commit()).toBe(true);
    history.erase();
    // Positions that were used and never written.
    for (const session of [1, 2]) {
      history.putMessage(1, 0, 10, Infinity);
      history.addDelivery(session, 1, NO_BYTES);
      history.dropDelivery(session, history.oracle.sessions.get(session)!.next - 1);
    }
    expect(history.commit()).toBe(true);
    return history;
  }

  function bitsOf(seed: number, key: Uint8Array): number {
    return furnished(seed).disk.get(key)!.length * 8;
  }

  const objects: readonly (readonly [string, Uint8Array, (history: SpoolHistory) => void])[] = [
    ['a subscription', rowKey(RowKind.SUBSCRIPTION, 1, 2), ({ oracle }) => oracle.sessions.get(1)!.subscriptions.delete(2)],
    ['a retained message', rowKey(RowKind.RETAINED, 0, 2), ({ oracle }) => oracle.retained.delete(2)],
    ['a session', rowKey(RowKind.SESSION, 1, 0), ({ oracle }) => oracle.sessions.delete(1)],
  ];

  test.each(objects)('in %s: it is lost, told, and everything else is there', (what, key, lose) => {
    const bits = bitsOf(3, key);
    for (let bit = 0; bit < bits; bit += 5) {
      const history = furnished(3);
      history.disk.damage(key, (bytes) => {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      });
      lose(history);
      history.durable = history.oracle;
      history.crash();
      expect(history.troubles).toEqual([
        expect.stringMatching(new RegExp(`^a value of \\d+ bytes in the spool is damaged: ${what}`)),
      ]);
      expect(history.rows(RowKind.QUARANTINE)).toBe(1);
      history.check();
      // It is told once, and its place can be taken by another.
      history.putRetained(2, 'topic/b', 'another', Infinity);
      if (history.oracle.sessions.has(1)) history.putSubscription(1, 2, 'another');
      else history.putSession(1, 'another');
      history.checkRead(1, 0, Infinity);
      history.check();
      expect(history.commit()).toBe(true);
      history.erase();
      history.crash();
      history.check();
      expect(history.troubles).toHaveLength(1);
    }
  });

  test('in the state of a queue: its messages are delivered, those that were not erased yet once more, and the numbers go on behind', () => {
    const key = rowKey(RowKind.STATE, 1, 0);
    const bits = bitsOf(4, key);
    for (let bit = 0; bit < bits; bit += 7) {
      if (bit >= 8 && bit < 64) continue; // says nothing
      const history = furnished(4);
      history.disk.damage(key, (bytes) => {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      });
      history.crash();
      expect(history.troubles).toEqual([
        expect.stringMatching(/^the state of a session's queue is damaged; its \d+ messages are delivered again$/),
      ]);
      history.check();
      history.crash();
      expect(history.troubles).toHaveLength(1);
      history.check();
    }
  });

  test('in the counts of shared messages: they are made anew, and the last one who waits still ends it', () => {
    const first = furnished(6).disk.entries.find(({ key }) => key[0] === RowKind.COUNTS)!;
    for (let bit = 0; bit < first.value.length * 8; bit += 7) {
      if (bit >= 8 && bit < 64) continue; // says nothing
      for (const restarts of [true, false]) {
        const history = furnished(6);
        history.disk.damage(first.key, (bytes) => {
          bytes[bit >> 3]! ^= 1 << (bit & 7);
        });
        if (restarts) history.crash();
        consumeEverything(general(history));
        expect(history.commit()).toBe(true);
        recoverRoom(history);
        history.check();
        expect([history.rows(RowKind.SHARED), history.rows(RowKind.COUNTS)]).toEqual([0, 0]);
        history.checkErased();
      }
    }
  });
});

describe('everything at once', () => {
  test('no room, flipped bits and sudden ends: the spool comes up, and what it gives is true', () => {
    withSeeds(300, (seed) => {
      const history = makeHistory(seed);
      const { random } = history;
      const trouble: Steps = [
        [3, () => damageOne(history, [RowKind.QUEUE, RowKind.SHARED, RowKind.COUNTS])],
        [2, () => killAtRandom(history, random)],
        [
          3,
          () => {
            history.disk.outcome = () => (random.below(3) === 0 ? Outcome.FULL : Outcome.DONE);
          },
        ],
      ];
      live(history, [...INTENTS, ...READS, ...TIME, ...TRIES, ...trouble], 90, () => {});
      history.disk.outcome = () => Outcome.DONE;
      history.file.outcome = () => FileOutcome.DONE;
      history.checkReads();
      recoverRoom(history);
      history.checkReads();
      // What the reads have come upon is put right by the next run of the eraser.
      recoverRoom(history);
      history.check();
      expect(history.figures.state).toBe(SpoolState.GOOD);
      history.crash();
      history.checkReads();
    });
  });

  function killAtRandom(history: SpoolHistory, random: SeededRandom): void {
    const { steps } = history.disk;
    const after = random.below(3);
    const outcome = random.below(2) === 0 ? Outcome.KILLED : Outcome.KILLED_AFTER;
    history.disk.outcome = () => (history.disk.steps > steps + after ? outcome : Outcome.DONE);
    history.killedIn(() => {
      history.commit();
      history.erase();
    });
  }
});
