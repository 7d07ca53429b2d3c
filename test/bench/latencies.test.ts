// Latencies: percentiles are those of the sorted values to three digits, and tallies of several threads add up to exactly what one
// would have counted.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Tally } from '../../bench/raw/tally.ts';
import { Latencies } from '../../bench/result/latencies.ts';
import { check } from '../check.ts';

/** Microseconds on both sides of where a tally stops counting one by one. */
const values = fc.array(
  fc.tuple(
    fc.oneof(fc.nat(200), fc.integer({ min: 16_300, max: 16_500 }), fc.nat(2_000_000_000)),
    fc.integer({ min: 1, max: 5 }),
  ),
  { minLength: 1, maxLength: 200 },
);
const PERCENTILES = [0, 10, 50, 90, 99, 99.9, 100];

test('percentiles are those of the sorted values', () =>
  check(
    fc.property(values, (recorded) => {
      const tally = new Tally();
      for (const [us, count] of recorded) tally.record(us, count);
      const latencies = new Latencies();
      latencies.add(tally.take());
      const sorted = recorded.flatMap(([us, count]) => new Array<number>(count).fill(us)).sort((a, b) => a - b);
      expect(latencies.count).toBe(sorted.length);
      for (const percent of PERCENTILES) {
        const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length));
        const exact = sorted[rank - 1]! / 1_000;
        expect(Math.abs(latencies.percentile(percent) - exact)).toBeLessThanOrEqual(exact * 0.001 + 0.001);
      }
      expect(latencies.max).toBe(sorted.at(-1)! / 1_000);
    }),
    300,
  ));

test('tallies of several threads and intervals add up to one', () =>
  check(
    fc.property(fc.array(fc.tuple(values, fc.nat(2)), { maxLength: 8 }), (parts) => {
      const tallies = [new Tally(), new Tally(), new Tally()];
      const alone = new Tally();
      const together = new Latencies();
      for (const [recorded, thread] of parts) {
        for (const [us, count] of recorded) {
          tallies[thread]!.record(us, count);
          alone.record(us, count);
        }
        if (thread === 1) together.add(tallies[thread]!.take());
      }
      for (const tally of tallies) together.add(tally.take());
      const whole = new Latencies();
      whole.add(alone.take());
      expect(together.summary).toEqual(whole.summary);
      expect(together.curve).toEqual(whole.curve);
    }),
    100,
  ));

test('a tally is empty after it was taken, and clocks that differ cost nothing', () => {
  const tally = new Tally();
  tally.record(-3, 2);
  tally.record(17.9, 1);
  tally.record(20_000, 1);
  expect(tally.count).toBe(4);
  const taken = tally.take();
  expect([taken.linear[0], taken.linear[17], [...taken.pairs]]).toEqual([2, 1, [20_000, 1]]);
  expect(tally.count).toBe(0);
  const empty = new Latencies();
  empty.add(tally.take());
  expect(empty.summary).toBeNull();
});

test('the curve rises, and ends where the deliveries end', () => {
  const tally = new Tally();
  for (let us = 1; us <= 10_000; us++) tally.record(us, 1);
  const latencies = new Latencies();
  latencies.add(tally.take());
  const { curve } = latencies;
  expect(curve.at(-1)![0]).toBeCloseTo(99.99, 5);
  for (let i = 1; i < curve.length; i++) expect(curve[i]![1]).toBeGreaterThanOrEqual(curve[i - 1]![1]);
});
