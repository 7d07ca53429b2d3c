// What the broker costs while it is under load: CPU and memory by stage and by second.
import type { BrokerProcess } from '../broker-process.ts';
import type { ProcessCost } from '../process-cost.ts';

export interface Usage {
  readonly cpuUserS: number;
  readonly cpuSystemS: number;
  /** CPU seconds a second. */
  readonly cpuCores: number;
  /** At its end. */
  readonly residentBytes: number;
}

export interface BrokerUse {
  readonly address: string;
  /** As $SYS/broker/version says; null: it does not. */
  readonly version: string | null;
  readonly pid: number | null;
  /** CPU seconds a second in the stage that the figures are of; null: not known. */
  readonly cpuCores: number | null;
  readonly residentBytesMax: number | null;
}

interface Sample {
  readonly cost: ProcessCost;
  readonly atMs: number;
}

export class UsageWatch {
  readonly stages = new Map<string, Usage>();
  readonly seconds: (Usage | null)[] = [];
  residentBytesMax: number | null = null;
  readonly #broker: BrokerProcess | null;
  readonly #begun = new Map<string, Sample>();
  #last: Sample | null = null;

  constructor(broker: BrokerProcess | null) {
    this.#broker = broker;
    this.#last = this.#sample();
  }

  stage(name: string, edge: 'begin' | 'end'): void {
    const sample = this.#sample();
    const begun = this.#begun.get(name);
    if (edge === 'begin' && sample !== null) this.#begun.set(name, sample);
    else if (sample !== null && begun !== undefined) this.stages.set(name, between(begun, sample));
  }

  second(number: number): void {
    const sample = this.#sample();
    this.seconds[number] = sample === null || this.#last === null ? null : between(this.#last, sample);
    this.#last = sample;
  }

  #sample(): Sample | null {
    const cost = this.#broker?.cost() ?? null;
    if (cost === null) return null;
    this.residentBytesMax = Math.max(this.residentBytesMax ?? 0, cost.residentBytes);
    return { cost, atMs: performance.now() };
  }
}

function between(from: Sample, to: Sample): Usage {
  const cpuUserS = to.cost.userS - from.cost.userS;
  const cpuSystemS = to.cost.systemS - from.cost.systemS;
  const seconds = (to.atMs - from.atMs) / 1_000;
  const cpuCores = seconds > 0 ? (cpuUserS + cpuSystemS) / seconds : 0;
  return { cpuUserS, cpuSystemS, cpuCores, residentBytes: to.cost.residentBytes };
}
