// Figures of each shard where the others can read them: limits hold for the broker, so a shard must know what stands elsewhere. Each row is written by its shard alone, once a
// turn. The sum of the others' rows is worked out when the shard asks for it (`gather`), so that looking at it costs nothing per message; how old it may be is for
// the one who asks.
import { Counters } from '../counters.ts';

export const Gauge = {
  CONNECTIONS: 0,
  SESSIONS: 1,
  QUEUED_MESSAGES: 2,
  QUEUED_BYTES: 3,
  SESSION_BYTES: 4,
  SHARED_SUBSCRIPTIONS: 5,
  CONNECTED: 6,
  STORED_MESSAGES: 7,
  STORED_BYTES: 8,
  CACHE_HITS: 9,
  CACHE_MISSES: 10,
  /** Counters follow, as `Counters.copyTo` writes them. */
  COUNTERS: 11,
} as const;
export type Gauge = (typeof Gauge)[keyof typeof Gauge];

/** Figures of a row: as few cache lines as will do, because the others read them all. */
const ROW = 64;
if (Gauge.COUNTERS + Counters.places > ROW) throw new Error('gauges: the counters do not fit a row');

export function allocateGauges(count: number): SharedArrayBuffer {
  return new SharedArrayBuffer(count * ROW * 8);
}

/** The rows of all shards, seen by one of them. */
export class Gauges {
  /** This shard's row. */
  readonly own: Float64Array;
  /** What the other shards' rows come to, as of the last `gather`. */
  readonly elsewhere = new Float64Array(ROW);
  readonly #rows: readonly Float64Array[];
  readonly #index: number;

  constructor(memory: SharedArrayBuffer, count: number, index: number) {
    this.#rows = Array.from({ length: count }, (_, at) => new Float64Array(memory, at * ROW * 8, ROW));
    this.#index = index;
    this.own = this.#rows[index]!;
  }

  /** Sums the rows of the others. */
  gather(): void {
    const { elsewhere } = this;
    elsewhere.fill(0);
    for (let shard = 0; shard < this.#rows.length; shard++) {
      if (shard === this.#index) continue;
      const row = this.#rows[shard]!;
      for (let gauge = 0; gauge < ROW; gauge++) elsewhere[gauge] = elsewhere[gauge]! + row[gauge]!;
    }
  }

  /** One figure of one shard. */
  of(shard: number, gauge: number): number {
    return this.#rows[shard]![gauge]!;
  }

  /** One figure of all shards together. */
  total(gauge: number): number {
    let sum = 0;
    for (const row of this.#rows) sum += row[gauge]!;
    return sum;
  }
}
