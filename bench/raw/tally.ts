// HOT: no allocation, closures, strings, try or async per message.
// Latencies of one thread and one interval, as they come: a count for each microsecond up to 16 ms, and pairs of value and count
// above. Recording is one addition; percentiles are made elsewhere (latencies.ts), from the counts of all threads.
import { IntList } from '../../engine/memory/int-list.ts';

const LINEAR_US = 16_384;

/** What a tally held, to be sent to another thread. */
export interface TallyCounts {
  /** Count of each microsecond from 0. */
  readonly linear: Uint32Array;
  /** Values of at least `linear.length` µs, each followed by its count. */
  readonly pairs: Int32Array;
}

export class Tally {
  /** Recorded since the last `take`. */
  count = 0;
  readonly #linear = new Uint32Array(LINEAR_US);
  readonly #pairs = new IntList();

  /** Clocks of threads differ by a few µs: what came before it was sent came at once. */
  record(valueUs: number, count: number): void {
    this.count += count;
    const value = Math.max(Math.floor(valueUs), 0);
    if (value < LINEAR_US) this.#linear[value]! += count;
    else {
      this.#pairs.push(value);
      this.#pairs.push(count);
    }
  }

  /** Copies what is held, and begins anew. */
  take(): TallyCounts {
    const counts = { linear: this.#linear.slice(), pairs: this.#pairs.values.slice(0, this.#pairs.count) };
    this.#linear.fill(0);
    this.#pairs.clear();
    this.count = 0;
    return counts;
  }
}
