// One cell of the comparison: a kind of load, the figures that it yields, and what Lethe aims at in each of them.
import type { Certificate } from '../contestants/certificate.ts';
import type { Contestant, RunningBroker } from '../contestants/contestant.ts';

export type Aim =
  /** Beside the best peer: at least so many times as good. */
  { readonly timesBest: number } | { readonly atLeast: number } | { readonly atMost: number };

export interface Figure {
  readonly key: string;
  /** Behind the cell's own title; empty where it has one figure. */
  readonly title: string;
  readonly better: 'more' | 'less';
  readonly show: (value: number) => string;
  readonly aims: readonly Aim[];
}

/** What one start of a broker has yielded. */
export interface Sample {
  readonly figures: Readonly<Record<string, number>>;
  /** CPU seconds of the broker for a million deliveries; null: not known, or nothing is delivered. */
  readonly cpuPerMillionS: number | null;
  readonly residentBytes: number | null;
  /** What became of messages, over the whole of it, by name; what is 0 may be missing. */
  readonly wrongs: Readonly<Record<string, number>>;
  /** Why the figure may be the load's rather than the broker's; null: it is not. */
  readonly bound: string | null;
}

export interface Times {
  readonly warmUpS: number;
  readonly measureS: number;
}

/** What a cell has to work with. */
export interface Stand {
  readonly contestant: Contestant;
  readonly times: Times;
  /** Starts the broker; it is ended after the cell at the latest. */
  start(security?: 'plain' | 'secure'): Promise<RunningBroker>;
  readonly certificate: () => Certificate;
  /** The best peer's figure in the cell that this one needs. */
  readonly needed: number;
  /** Everything under way is to end when it is aborted. */
  readonly giveUp: AbortSignal;
}

export interface Cell {
  readonly key: string;
  readonly group: string;
  readonly title: string;
  readonly figures: readonly Figure[];
  /** Key of the cell that must come before it. */
  readonly needs?: string;
  /** Most rounds that it is worth. */
  readonly roundsMax?: number;
  /** Longest time of one sample without what is measured. */
  readonly limitS: number;
  /** It is about Lethe's own inside. */
  readonly isInside?: true;
  /** A relay that does not know what it passes on can do it too. */
  readonly hasLimit?: true;
  /** @throws Failure with the reason where the broker cannot do it */
  measure(stand: Stand): Promise<Sample>;
}
