// How the event loop of a thread is doing. Its delay is watched from the first question on, so that a broker that nobody asks is not woken for it.
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';

export interface LoopFigures {
  /** Time in ms in which the loop was not idle, since the thread began. */
  readonly busyMs: number;
  /** How late the loop came to a timer, in ms, over the last 10 to 20 seconds. */
  readonly delayP50Ms: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
}

type Delay = Pick<LoopFigures, 'delayP50Ms' | 'delayP99Ms' | 'delayMaxMs'>;

const RESOLUTION_MS = 20;
const WINDOW_MS = 10_000;
const NO_DELAY: Delay = { delayP50Ms: 0, delayP99Ms: 0, delayMaxMs: 0 };

let monitor: IntervalHistogram | null = null;
/** Of the window before this one. */
let before = NO_DELAY;
let windowBeganMs = 0;

export function takeLoopFigures(nowMs: number): LoopFigures {
  const busyMs = performance.eventLoopUtilization().active;
  if (monitor === null) {
    monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    monitor.enable();
    windowBeganMs = nowMs;
    return { busyMs, ...NO_DELAY };
  }
  const now = delayOf(monitor);
  const worst = {
    delayP50Ms: Math.max(before.delayP50Ms, now.delayP50Ms),
    delayP99Ms: Math.max(before.delayP99Ms, now.delayP99Ms),
    delayMaxMs: Math.max(before.delayMaxMs, now.delayMaxMs),
  };
  if (nowMs - windowBeganMs >= WINDOW_MS) {
    before = now;
    windowBeganMs = nowMs;
    monitor.reset();
  }
  return { busyMs, ...worst };
}

/** Node counts the interval as a part of the delay. */
function delayOf(histogram: IntervalHistogram): Delay {
  if (histogram.count === 0) return NO_DELAY;
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  return {
    delayP50Ms: late(histogram.percentile(50)),
    delayP99Ms: late(histogram.percentile(99)),
    delayMaxMs: late(histogram.max),
  };
}
