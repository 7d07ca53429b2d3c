// The timing wheel against a list of deadlines, on a clock that is driven by hand.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Timer, TimerWheel } from '../engine/timers.ts';
import { agree, check } from './check.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A deadline is met up to one tick late, and the clock is asked in whole milliseconds. */
const LATE_MAX_MS = 51;
const TIMERS = 8;
const YEAR_MS = 31_536_000_000;

const delayMs = fc.oneof(
  { weight: 4, arbitrary: fc.nat(500) },
  { weight: 4, arbitrary: fc.nat(20_000) },
  { weight: 3, arbitrary: fc.nat(1_000_000) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 49, 50, 51, 3_199, 3_200, 3_201, 204_799, 204_800, 204_801, 13_107_200) },
  { weight: 1, arbitrary: fc.nat(15_000_000) },
);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('set' as const),
      timer: fc.nat(TIMERS - 1),
      delayMs,
      again: fc.option(delayMs, { freq: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), timer: fc.nat(TIMERS - 1) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: delayMs }) },
);

describe('the timing wheel', () => {
  test('fires every timer once, never early, at most a tick late, and none that was cancelled', () =>
    check(
      fc.property(fc.nat(100_000), fc.array(step, { maxLength: 60, size: 'max' }), (startMs, steps) => {
        const clock = new VirtualClock();
        clock.advance(startMs);
        const wheel = new TimerWheel(clock);
        /** When each timer that is set is due, null for one that is not. */
        const due: (number | null)[] = new Array(TIMERS).fill(null);
        const again: (number | null)[] = new Array(TIMERS).fill(null);
        const set = (at: number, afterMs: number) => {
          due[at] = clock.monotonicMs() + afterMs;
          wheel.set(timers[at]!, afterMs);
        };
        const timers = due.map((_, at) => {
          const timer: Timer = new Timer(() => {
            const nowMs = clock.monotonicMs();
            const dueMs = due[at];
            if (dueMs === null || nowMs < dueMs! || nowMs > dueMs! + LATE_MAX_MS) expect({ nowMs, dueMs }).toBe('in time');
            agree(timer.isSet, false);
            due[at] = null;
            const next = again[at]!;
            again[at] = null;
            if (next !== null) set(at, next);
          });
          return timer;
        });
        for (const one of steps) {
          if (one.do === 'set') {
            again[one.timer] = one.again;
            set(one.timer, one.delayMs);
          } else if (one.do === 'cancel') {
            wheel.cancel(timers[one.timer]!);
            due[one.timer] = null;
          } else {
            clock.advance(one.ms);
          }
          const nowMs = clock.monotonicMs();
          for (const [at, timer] of timers.entries()) {
            agree(timer.isSet, due[at] !== null);
            if (due[at] !== null && due[at]! + LATE_MAX_MS < nowMs) expect({ timer: at, dueMs: due[at], nowMs }).toBe('fired');
          }
        }
        again.fill(null);
        clock.advance(30_000_000);
        agree(due.filter((one) => one !== null).length, 0);
        clock.advance(10_000);
        agree(clock.alarms, 0); // an empty wheel wakes nobody
      }),
      100,
    ));

  test('a deadline beyond the span of the wheel does not come round early', () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    let fired = 0;
    const timers = [2, 5, 136].map((years) => {
      const timer = new Timer(() => fired++);
      wheel.set(timer, years * YEAR_MS);
      return timer;
    });
    clock.advance(20_000_000); // past the first turn of every level but the last
    expect([fired, ...timers.map(({ isSet }) => isSet)]).toEqual([0, true, true, true]);
    for (const timer of timers) wheel.cancel(timer);
    clock.advance(10_000);
    expect([fired, clock.alarms]).toEqual([0, 0]);
  });

  test('a timer that fires may cancel another one of the same tick', () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    const fired: string[] = [];
    const one: Timer = new Timer(() => {
      fired.push('one');
      wheel.cancel(other);
    });
    const other: Timer = new Timer(() => {
      fired.push('other');
      wheel.cancel(one);
    });
    wheel.set(one, 100);
    wheel.set(other, 100);
    clock.advance(1_000);
    expect(fired).toHaveLength(1);
    expect([one.isSet, other.isSet]).toEqual([false, false]);
  });

  test('a stopped wheel fires nothing and asks for nothing', () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    let fired = 0;
    const timers = [10, 1_000, 1_000_000].map((ms) => {
      const timer = new Timer(() => fired++);
      wheel.set(timer, ms);
      return timer;
    });
    wheel.stop();
    expect([clock.alarms, ...timers.map(({ isSet }) => isSet)]).toEqual([0, false, false, false]);
    clock.advance(10_000_000);
    expect(fired).toBe(0);
    wheel.set(timers[0]!, 10);
    clock.advance(100);
    expect(fired).toBe(1);
  });
});
