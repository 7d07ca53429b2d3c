// The doorbell: nobody sleeps while there is work, in either kind of sleep, whichever thread is faster.
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { allocateDoorbell, Doorbell, Sleep } from '../../storage/doorbell.ts';
import { SeededRandom } from '../seeded-random.ts';
import { type EchoJob, SLEEP_MS } from './ring-worker.ts';

const SCRIPT = new URL('../../dist/test/storage/ring-worker.js', import.meta.url);
const ROUNDS = 30_000;
const SPINS_MAX = 20_000;
const PAUSE_MAX = 40;

function startEcho(deep: boolean, rounds: number): { job: EchoJob; worker: Worker; words: Int32Array } {
  const job: EchoJob = {
    kind: 'echo',
    rounds,
    words: new SharedArrayBuffer(8),
    ownBell: allocateDoorbell(),
    callerBell: allocateDoorbell(),
    deep,
  };
  return { job, worker: new Worker(SCRIPT, { workerData: job }), words: new Int32Array(job.words) };
}

describe('no wake-up is lost', () => {
  test.each([
    ['ring', false],
    ['ringUrgently, to a deep sleeper', true],
  ])('%s', async (_name, deep) => {
    const { job, worker, words } = startEcho(deep, ROUNDS);
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    const bell = new Doorbell(job.ownBell);
    const answered = new Doorbell(job.callerBell);
    try {
      const random = new SeededRandom(5);
      let lost = 0;
      for (let round = 1; round <= ROUNDS; round++) {
        Atomics.store(words, 0, round);
        if (deep) bell.ringUrgently();
        else bell.ring();
        const startedMs = performance.now();
        // Answers at once, or a moment later, so that the next ring meets the other thread at every step of its way to sleep.
        for (let spins = 0; spins < SPINS_MAX && Atomics.load(words, 1) < round; ) spins++;
        while (Atomics.load(words, 1) < round) answered.sleep(Sleep.LIGHT, () => Atomics.load(words, 1) >= round, SLEEP_MS);
        for (let pause = random.below(PAUSE_MAX); pause > 0; pause--) Atomics.load(words, 1);
        // A round takes microseconds, and at worst a few time slices; one that waited for the sleep to end has lost a ring. The first
        // one waits for the thread to start.
        if (round > 1 && performance.now() - startedMs >= SLEEP_MS) lost++;
        if (lost > 2) break;
      }
      expect(lost).toBe(0);
      expect(await ended).toBe(0);
    } finally {
      await worker.terminate();
    }
  });

  test('sleepAsync', async () => {
    const rounds = 5_000;
    const { job, worker, words } = startEcho(false, rounds);
    const bell = new Doorbell(job.ownBell);
    const answered = new Doorbell(job.callerBell);
    try {
      for (let round = 1; round <= rounds; round++) {
        Atomics.store(words, 0, round);
        bell.ring();
        const hasWork = () => Atomics.load(words, 1) >= round;
        // A late ring for the round before may wake it too: whoever wakes looks again.
        while (!hasWork()) {
          await new Promise<void>((resolve) => {
            if (!answered.sleepAsync(hasWork, resolve)) resolve();
          });
        }
        expect(Atomics.load(words, 1)).toBe(round);
      }
    } finally {
      await worker.terminate();
    }
  });
});

test('work that is there already keeps everybody awake', () => {
  const bell = new Doorbell(allocateDoorbell());
  const startedMs = performance.now();
  bell.sleep(Sleep.DEEP, () => true, 60_000);
  expect(
    bell.sleepAsync(
      () => true,
      () => expect.unreachable('nobody sleeps'),
    ),
  ).toBe(false);
  expect(performance.now() - startedMs).toBeLessThan(60_000);
});

describe('a ring between the last look and the sleep', () => {
  const rings = [
    ['LIGHT', 'ring', 1],
    ['LIGHT', 'ringUrgently', 1],
    ['DEEP', 'ring', 0],
    ['DEEP', 'ringUrgently', 1],
  ] as const;

  test.each(rings)('%s, %s: counts %i', (depth, ring, counted) => {
    const memory = allocateDoorbell();
    const bell = new Doorbell(memory);
    const hasWork = () => {
      bell[ring]();
      return false;
    };
    // One that is not counted is slept through, which must not take long here.
    bell.sleep(Sleep[depth], hasWork, counted === 0 ? 1 : 600_000);
    expect([...new Int32Array(memory)]).toEqual([counted, Sleep.NONE]);
  });

  test('wakes an asynchronous sleeper too', async () => {
    const bell = new Doorbell(allocateDoorbell());
    let woken = 0;
    const asleep = bell.sleepAsync(
      () => {
        bell.ring();
        return false;
      },
      () => woken++,
    );
    expect(asleep).toBe(false); // it has seen the ring, and goes on at once
    const sleeps = new Promise<void>((resolve) => bell.sleepAsync(() => false, resolve));
    bell.ring();
    await sleeps;
    expect(woken).toBe(0);
  });
});

test('a ring to somebody who is awake does nothing', () => {
  const memory = allocateDoorbell();
  const bell = new Doorbell(memory);
  bell.ring();
  bell.ringUrgently();
  expect([...new Int32Array(memory)]).toEqual([0, Sleep.NONE]);
});
