// The clock of the load: microseconds of the machine's monotonic clock, the same in every thread and every process of a machine, so
// that what one thread stamps another can judge. Payloads carry its low 32 bits, which come round in 71 minutes.

const PROBES = 16;

/** `performance.now()` counts from the start of its own thread; `process.hrtime()` does not, and costs an array. */
const originUs = origin();

function origin(): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < PROBES; i++) {
    const [seconds, nanoseconds] = process.hrtime();
    // The thread may have been interrupted between the two: the probe with the least gap is the closest.
    const gapUs = seconds * 1e6 + nanoseconds / 1e3 - performance.now() * 1e3;
    if (gapUs < least) least = gapUs;
  }
  return least;
}

export function nowUs(): number {
  return performance.now() * 1e3 + originUs;
}

/** Microseconds from a stamp of 32 bits to `now`, below zero only by what the threads' clocks differ. */
export function sinceUs(stamp: number, now: number): number {
  return (now - stamp) | 0;
}
