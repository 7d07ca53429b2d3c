// How a run stands, for who has to wait for something: a row of numbers for each thread in shared memory, written by that thread a few
// times a second and read at any time. Nothing is settled by them: what counts is asked for.

export const Gauge = {
  SENT: 0,
  ACKNOWLEDGED: 1,
  RECEIVED: 2,
  /** Deliveries that were owed, each once. */
  DISTINCT: 3,
  CONNECTED: 4,
  /** QoS 1 and 2 on their way to the broker. */
  UNACKNOWLEDGED: 5,
  /** Publishers that have nothing left to send. */
  SPENT: 6,
} as const;
export type Gauge = (typeof Gauge)[keyof typeof Gauge];

const COUNT = Object.keys(Gauge).length;

export function allocateGauges(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * COUNT * Float64Array.BYTES_PER_ELEMENT);
}

export class Gauges {
  readonly #values: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#values = new Float64Array(memory);
  }

  set(thread: number, gauge: Gauge, value: number): void {
    this.#values[thread * COUNT + gauge] = value;
  }

  /** Of all threads. */
  sum(gauge: Gauge): number {
    let sum = 0;
    for (let at = gauge as number; at < this.#values.length; at += COUNT) sum += this.#values[at]!;
    return sum;
  }
}
