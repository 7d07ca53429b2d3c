// Puts together what the threads of a load tell: by stage of the run, and by second.

import type { Interval, Sums } from '../raw/account.ts';
import { Latencies } from './latencies.ts';

/** One second of a run, all threads together. */
export interface Second {
  /** From the beginning of the run. */
  readonly second: number;
  /** Time that it covers: less than 1 at the end of a run. */
  readonly spanS: number;
  readonly stage: string;
  readonly sent: number;
  readonly acknowledged: number;
  readonly received: number;
  readonly connected: number;
  /** Milliseconds; null when nothing was delivered. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

export class Stage {
  readonly name: string;
  readonly deliveries: Latencies;
  readonly acknowledgements: Latencies;
  readonly connects = new Latencies();
  /** Whether its messages count as those of the stage before, in which they were sent. */
  readonly isTail: boolean;
  /** Mean of all intervals and threads, weighted equally. */
  busy = 0;
  intervals = 0;

  /** @param before the stage that it is the tail of; null: none */
  constructor(name: string, before: Stage | null) {
    this.name = name;
    this.isTail = before !== null;
    this.deliveries = before?.deliveries ?? new Latencies();
    this.acknowledgements = before?.acknowledgements ?? new Latencies();
  }
}

type Counter = 'sent' | 'acknowledged' | 'received';

/** A second that not every thread has told to its end. */
interface Open {
  readonly stage: string;
  spanS: number;
  readonly counts: Record<Counter, number>;
  readonly connected: number[];
  readonly deliveries: Latencies;
}

export class Recorder {
  readonly seconds: Second[] = [];
  readonly stages: Stage[] = [];
  readonly #told: (second: Second) => void;
  readonly #last: (Pick<Sums, Counter> | undefined)[] = [];
  /** The last second of each thread that it has told to its end. */
  readonly #wholeTo: number[];
  readonly #open = new Map<number, Open>();
  /** Histograms to be used again: each holds 200 KB. */
  readonly #spare: Latencies[] = [];

  /** @param told called for each second that is complete */
  constructor(threads: number, told: (second: Second) => void) {
    this.#told = told;
    this.#wholeTo = new Array<number>(threads).fill(-1);
  }

  /** What is told from now on belongs to this stage; `isTail`: the latencies to the one before, so that what comes late is not left out. */
  enter(name: string, isTail = false): Stage {
    const stage = new Stage(name, isTail ? this.stages.at(-1)! : null);
    this.stages.push(stage);
    return stage;
  }

  take(thread: number, interval: Interval): void {
    const stage = this.stages.at(-1);
    if (stage === undefined) return;
    stage.deliveries.add(interval.deliveries);
    stage.acknowledgements.add(interval.acknowledgements);
    stage.connects.add(interval.connects);
    stage.busy = (stage.busy * stage.intervals + interval.busy) / (stage.intervals + 1);
    stage.intervals++;
    const second = this.#at(interval.second, stage.name);
    second.deliveries.add(interval.deliveries);
    second.connected[thread] = interval.connected;
    second.spanS = Math.max(second.spanS, interval.spanS);
    const before = this.#last[thread];
    for (const counter of ['sent', 'acknowledged', 'received'] as const)
      second.counts[counter] += interval.sums[counter] - (before?.[counter] ?? 0);
    this.#last[thread] = interval.sums;
    if (!interval.isWhole) return;
    this.#wholeTo[thread] = interval.second;
    this.#close(Math.min(...this.#wholeTo));
  }

  /** Everything is told: closes what is open. */
  finish(): void {
    this.#close(Number.POSITIVE_INFINITY);
  }

  #at(second: number, stage: string): Open {
    let open = this.#open.get(second);
    if (open === undefined) {
      const counts = { sent: 0, acknowledged: 0, received: 0 };
      open = { stage, spanS: 0, counts, connected: [], deliveries: this.#spare.pop() ?? new Latencies() };
      this.#open.set(second, open);
    }
    return open;
  }

  /** Closes the seconds up to `last`, of which every thread has told all. */
  #close(last: number): void {
    for (const number of [...this.#open.keys()].filter((key) => key <= last).sort((a, b) => a - b)) {
      const { stage, spanS, counts, connected, deliveries } = this.#open.get(number)!;
      const hasAny = deliveries.count > 0;
      const second = {
        second: number,
        spanS,
        stage,
        ...counts,
        connected: connected.reduce((sum, count) => sum + count, 0),
        p50: hasAny ? deliveries.percentile(50) : null,
        p99: hasAny ? deliveries.percentile(99) : null,
        max: hasAny ? deliveries.max : null,
      };
      this.#open.delete(number);
      deliveries.reset();
      this.#spare.push(deliveries);
      this.seconds.push(second);
      this.#told(second);
    }
  }
}
