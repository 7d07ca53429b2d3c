// The spool on a disk that fails: no room, errors, half-made steps, flipped bits. Nothing that was acknowledged is lost without a word, a
// full disk recovers, a broken one stops all acknowledging, and damage stays where it is. A failure names its seed:
//   LETHE_SEED=123 npx vitest run --config test/vitest.config.ts test/storage/faulty-disk.test.ts
import { describe, expect, test } from 'vitest';
import type { Disk } from '../../storage/disk.ts';
import { Figure, SpoolState } from '../../storage/figures.ts';
import { RowKind, rowKey } from '../../storage/rows.ts';
import { sealedFacts } from '../../storage/sealed.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { MemoryDisk, Outcome } from './memory-disk.ts';
import { FileOutcome } from './memory-key-file.ts';
import { RETENTION_MS, SpoolHistory } from './spool-history.ts';
import { consumeEverything, INTENTS, printSteps, READS, type Steps, TIME, takeStep, withSeeds } from './spool-steps.ts';

const NO_BYTES = new Uint8Array(0);

function makeHistory(seed: number): SpoolHistory {
  const history = new SpoolHistory(
    seed,
    (random) => new MemoryDisk(random),
    (disk) => disk.reopened(),
  );
  if (process.env['LETHE_SEED'] !== undefined) printSteps(general(history));
  return history;
}

function general(history: SpoolHistory): SpoolHistory<Disk> {
  return history as unknown as SpoolHistory<Disk>;
}

/** What the storage thread does between intents, whatever comes of it. */
const TRIES: Steps = [
  [12, (history) => history.commit()],
  [5, (history) => history.erase()],
  [6, (history) => history.idle()],
];

function live(history: SpoolHistory, steps: Steps, count: number, each: () => void = () => history.check()): void {
  for (let left = count; left > 0; left--) {
    takeStep(general(history), steps);
    each();
  }
}

/** Steps until everything is durable, as the thread does once the disk works again. */
function recoverRoom(history: SpoolHistory): void {
  for (let tries = 0; tries < 4; tries++) {
    history.pass(1_000);
    history.commit();
    history.idle();
    history.erase();
  }
}

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
      expect(history.figures.durable).toBe(history.spool.applied);
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
      const { durable } = history.figures;
      live(history, [...INTENTS, ...READS, ...TRIES], 30);
      history.putSession(90, 'one more');
      expect(history.commit()).toBe(false);
      expect(history.figures.state).toBe(SpoolState.FULL);
      // Batches that left nothing to write were durable without the disk.
      expect(history.durable.sessions.has(90)).toBe(false);
      expect(history.figures.durable).toBeGreaterThanOrEqual(durable);
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
      const { durable } = history.figures;
      const { length } = history.troubles;
      const { steps } = history.disk;
      live(history, [...INTENTS, ...READS, ...TIME, ...TRIES], 15);
      history.putSession(99, 'never');
      expect(history.commit()).toBe(false);
      history.erase();
      expect(history.spool.eraser.dueInMs()).toBe(Infinity);
      expect(history.figures.durable).toBe(durable);
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

interface Hit {
  /** Deliveries that it may cost. */
  readonly costsAtMost: number;
  readonly kind: RowKind;
}

/** Flips one bit of a stored value of one of the kinds; null when there is none. */
function damageOne(history: SpoolHistory, kinds: readonly RowKind[]): Hit | null {
  const { random } = history;
  const entries = history.disk.entries.filter(({ key }) => key.length === 11 && kinds.includes(key[0] as RowKind));
  if (entries.length === 0) return null;
  const { key, value } = entries[random.below(entries.length)]!;
  const bit = random.below(value.length * 8);
  history.damages++;
  history.disk.damage(key, (bytes) => {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  });
  const kind = key[0] as RowKind;
  // A bit in what stands in clear costs the value; any other one costs a record. Several sessions may wait for a shared one.
  const records = bit < CLEAR_BITS ? (sealedFacts(value)?.count ?? 1) : 1;
  const waiting = kind === RowKind.SHARED ? waitingAtMost(history) : 1;
  return { costsAtMost: kind === RowKind.COUNTS ? 0 : records * waiting, kind };
}

const CLEAR_BITS = 56 * 8;

/** Most deliveries that one message has. */
function waitingAtMost({ oracle, durable }: SpoolHistory): number {
  let most = 0;
  for (const one of [oracle, durable]) {
    const counts = new Map<object, number>();
    for (const { deliveries } of one.sessions.values()) {
      for (const { message } of deliveries.values()) if (message !== null) counts.set(message, (counts.get(message) ?? 0) + 1);
    }
    most = Math.max(most, ...counts.values());
  }
  return most;
}

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
