// The open loop: when messages are due, that everything due is pumped and nothing else, and that latencies count from when a message was
// due and not from when it could at last be sent.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { localPlan, publisherGroup, subscriberGroup } from '../../bench/plan/local-plan.ts';
import { Round } from '../../bench/raw/pacer.ts';
import type { Publisher } from '../../bench/raw/publisher.ts';
import { Schedule } from '../../bench/raw/schedule.ts';
import { settleAccounts } from '../../bench/result/accounts.ts';
import { type Outcome, run } from '../../bench/run.ts';
import type { Broker } from '../../engine/lethe.ts';
import { startBroker } from '../broker.ts';
import { Meddler } from './meddler.ts';

describe('schedule', () => {
  test('the messages of a group come evenly, its publishers in turn', () => {
    const schedules = [0, 1, 2, 3].map((position) => new Schedule(1_000, 10, position, 4));
    const due = schedules.flatMap((schedule, publisher) =>
      [0, 1, 2].map((number) => [schedule.dueAt(number), publisher] as const),
    );
    const times = due.toSorted(([a], [b]) => a - b);
    expect(times.map(([time]) => time)).toEqual(Array.from({ length: 12 }, (_, i) => 1_000 + 10 * i));
    expect(times.map(([, publisher]) => publisher)).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
  });

  test('a message is due from its time on', () => {
    const schedule = new Schedule(1_000, 10, 2, 4);
    expect([0, 1_019, 1_020, 1_059, 1_060, 1_100].map((now) => schedule.due(now))).toEqual([0, 0, 1, 1, 2, 3]);
    for (let number = 0; number < 1_000; number++) expect(schedule.due(schedule.dueAt(number))).toBe(number + 1);
  });
});

describe('round', () => {
  /** Counts what it was pumped for. */
  function fake(position: number, schedule: Schedule, clock: { now: number }, limit = Number.POSITIVE_INFINITY) {
    const own = {
      seat: { position },
      sent: 0,
      pumps: 0,
      get isSpent() {
        return own.sent >= limit;
      },
      pump() {
        own.pumps++;
        own.sent = Math.min(limit, schedule.due(clock.now));
      },
    };
    return own;
  }

  test('pumps each publisher when it is due, and says when the next one is', () => {
    const clock = { now: 0 };
    const publishers = [0, 1, 2].map((position) => fake(position, new Schedule(1_000, 10, position, 3), clock));
    const round = new Round(publishers as unknown as Publisher[], 1_000, 10, 3);
    const sent: number[][] = [];
    for (const now of [999, 1_000, 1_005, 1_011, 1_020, 1_030, 1_095, 5_000]) {
      clock.now = now;
      const next = round.turn(now);
      sent.push(publishers.map((own) => own.sent));
      expect(next).toBeGreaterThan(now);
      expect(next).toBe(1_000 + Math.max(0, Math.floor((now - 1_000) / 10) + 1) * 10);
    }
    expect(sent).toEqual([
      [0, 0, 0],
      [1, 0, 0],
      [1, 0, 0],
      [1, 1, 0],
      [1, 1, 1],
      [2, 1, 1],
      [4, 3, 3],
      [134, 134, 133],
    ]);
    // A backlog is worked off in one visit each.
    expect(Math.max(...publishers.map(({ pumps }) => pumps))).toBeLessThan(8);
  });

  test('ends when nobody has anything left to send', () => {
    const clock = { now: 2_000 };
    const publishers = [0, 1].map((position) => fake(position, new Schedule(1_000, 10, position, 2), clock, 3));
    expect(new Round(publishers as unknown as Publisher[], 1_000, 10, 2).turn(2_000)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('a broker that stands still', () => {
  const RATE = 500;
  const STILL_MS = 600;
  let broker: Broker;
  beforeAll(async () => {
    broker = await startBroker();
  });
  afterAll(() => broker.stop());

  /** 1.2 s of which nothing is delivered or acknowledged for 600 ms. */
  async function stillstand(rate: number, level: 4 | 5, qos: 0 | 1, window: number): Promise<Outcome> {
    const meddler = await Meddler.start(broker.tcp);
    const timers: NodeJS.Timeout[] = [];
    try {
      const plan = localPlan({
        port: meddler.port,
        broker: { level },
        publishers: [publisherGroup({ topic: 'still/%i', count: 2, qos, rate, window })],
        subscribers: [subscriberGroup({ filter: 'still/+', qos })],
        durationS: 1.2,
      });
      return await run(plan, {
        stage: (name, edge) => {
          if (name !== 'measured' || edge !== 'begin') return;
          meddler.hold();
          timers.push(setTimeout(() => meddler.letGo(), STILL_MS));
        },
      });
    } finally {
      for (const timer of timers) clearTimeout(timer);
      await meddler.stop();
    }
  }

  /** Deliveries that took at least so long; the curve has eight points to each nine, and rises. */
  function slower(outcome: Outcome, ms: number): number {
    const { deliveries } = outcome.stages.find(({ stage }) => stage.name === 'measured')!.stage;
    const [percent = 100] = deliveries.curve.find(([, value]) => value >= ms) ?? [];
    return deliveries.count * (1 - percent / 100);
  }

  // With five messages unacknowledged a publisher has to wait, and what it sends late is late from when it was due.
  test.each([
    [4, 0, 1_000],
    [5, 1, 5],
  ] as const)('MQTT %i, QoS %i, window %i: an open loop counts everything that was due meanwhile', async (level, qos, window) => {
    const outcome = await stillstand(RATE, level, qos, window);
    expect(settleAccounts(outcome)).toMatchObject({ lost: 0, duplicated: 0, outOfOrder: 0 });
    // In 600 ms 300 messages were due, half of them more than 300 ms before the end. The curve is coarse by a quarter.
    expect(slower(outcome, STILL_MS / 2)).toBeGreaterThan(100);
  });

  test('a closed loop with a window of one has one slow message for each publisher', async () => {
    const outcome = await stillstand(0, 4, 0, 1);
    expect(slower(outcome, STILL_MS / 2)).toBeLessThan(10);
  });
});
