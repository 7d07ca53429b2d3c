// Latencies of all threads of a load over some time, and their percentiles: an HDR histogram (three significant digits, 1 µs to 36 min).
// Threads count in tallies; counts are added up here, so that the percentiles are those of every single delivery.
import { build, type Histogram } from 'hdr-histogram-js';
import type { TallyCounts } from '../raw/tally.ts';

const HIGHEST_US = 2 ** 31;
const DIGITS = 3;
/** Points of the curve for each further nine of the percentile. */
const POINTS_PER_NINE = 8;
const ROUNDING = 1e-9;

/** In milliseconds. */
export interface LatencySummary {
  readonly count: number;
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p99_9: number;
  readonly max: number;
}

export class Latencies {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_US,
    numberOfSignificantValueDigits: DIGITS,
    bitBucketSize: 64,
    useWebAssembly: false,
  });

  get count(): number {
    return this.#histogram.totalCount;
  }

  add({ linear, pairs }: TallyCounts): void {
    linear.forEach((count, valueUs) => {
      if (count > 0) this.#histogram.recordValueWithCount(valueUs, count);
    });
    for (let at = 0; at < pairs.length; at += 2) this.#histogram.recordValueWithCount(pairs[at]!, pairs[at + 1]!);
  }

  reset(): void {
    this.#histogram.reset();
  }

  /** Milliseconds; 0 when nothing was recorded. */
  percentile(percent: number): number {
    if (this.count === 0) return 0;
    // The bucket's upper edge may lie above everything that was recorded.
    return Math.min(this.#histogram.getValueAtPercentile(percent), this.#histogram.maxValue) / 1_000;
  }

  get max(): number {
    return this.count === 0 ? 0 : this.#histogram.maxValue / 1_000;
  }

  /** Null when nothing was recorded. */
  get summary(): LatencySummary | null {
    if (this.count === 0) return null;
    return {
      count: this.count,
      min: this.percentile(0),
      mean: Math.round(this.#histogram.mean) / 1_000,
      p50: this.percentile(50),
      p90: this.percentile(90),
      p99: this.percentile(99),
      p99_9: this.percentile(99.9),
      max: this.max,
    };
  }

  /** Percentiles and their milliseconds, closer and closer to 100, as far as there are deliveries beyond. */
  get curve(): [percent: number, ms: number][] {
    const curve: [number, number][] = [];
    for (let point = 0; ; point++) {
      const beyond = 10 ** (-point / POINTS_PER_NINE);
      if (beyond * this.count < 1 - ROUNDING) break;
      const percent = 100 * (1 - beyond);
      curve.push([percent, this.percentile(percent)]);
    }
    return curve;
  }
}
