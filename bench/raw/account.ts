// What one thread of the load says to the thread that leads it, and what it is told: plain data, sent between threads.
import type { Plan } from '../plan/plan.ts';
import type { CoverageParts } from './coverage-union.ts';
import type { JoinFailure } from './joiner.ts';
import type { TallyCounts } from './tally.ts';

/** What a thread is started with. */
export interface LoadData {
  readonly plan: Plan;
  readonly thread: number;
  readonly progress: SharedArrayBuffer;
  /** Of each publisher, whether it has lost a connection; behind them, whether anybody has. */
  readonly interrupted: SharedArrayBuffer;
  readonly gauges: SharedArrayBuffer;
  /** Of each thread. */
  readonly bells: readonly SharedArrayBuffer[];
}

export const Who = { SUBSCRIBERS: 'subscribers', PUBLISHERS: 'publishers', IDLE: 'idle' } as const;
export type Who = (typeof Who)[keyof typeof Who];

export type Command =
  /** Intervals are counted in seconds from then on. */
  | { readonly do: 'begin'; readonly startUs: number }
  | { readonly do: 'join'; readonly who: Who; readonly needsAll: boolean }
  | { readonly do: 'leave'; readonly who: Who }
  | { readonly do: 'publish'; readonly startUs: number }
  | { readonly do: 'stop' }
  /** All subscribers lose their connections and come back. */
  | { readonly do: 'storm' }
  /** Tells the interval so far, and the sums. */
  | { readonly do: 'mark' }
  /** Deliveries that its publishers' messages come to. */
  | { readonly do: 'owed' }
  | { readonly do: 'accounts' }
  | { readonly do: 'end' };

export interface Answers {
  readonly begin: null;
  readonly join: JoinFailure | null;
  readonly leave: null;
  readonly publish: null;
  readonly stop: null;
  readonly storm: null;
  readonly mark: Sums;
  readonly owed: number;
  readonly accounts: ThreadAccounts;
  readonly end: null;
}

/** Since the beginning. */
export interface Sums {
  readonly atUs: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly received: number;
  readonly receivedBytes: number;
}

/** What happened since the last one. */
export interface Interval {
  readonly second: number;
  /** Whether nothing more comes of this second. */
  readonly isWhole: boolean;
  /** Time from the beginning of the second: more than 1 where the thread was too busy to tell in time. */
  readonly spanS: number;
  readonly sums: Sums;
  readonly connected: number;
  readonly deliveries: TallyCounts;
  readonly acknowledgements: TallyCounts;
  readonly connects: TallyCounts;
  /** Share of its time that the thread was not idle. */
  readonly busy: number;
}

export type FromThread =
  | { readonly kind: 'interval'; readonly interval: Interval }
  | { readonly kind: 'answer'; readonly number: number; readonly answer: Answers[keyof Answers] }
  | { readonly kind: 'failed'; readonly number: number; readonly message: string };

export interface ToThread {
  readonly number: number;
  readonly command: Command;
}

export interface PublisherAccount {
  readonly index: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** QoS 1 and 2 without a last word of the broker. */
  readonly unacknowledged: number;
  readonly stalls: number;
  /** Of each of its streams. */
  readonly sentOf: Float64Array;
  readonly refusedOf: Float64Array;
}

export interface SubscriberAccount {
  readonly index: number;
  readonly received: number;
  readonly duplicated: number;
  readonly redelivered: number;
  readonly outOfOrder: number;
  readonly corrupt: number;
  readonly misdelivered: number;
  readonly foreign: number;
  readonly sessionsLost: number;
  /** Of each of its streams, numbers that came, each once. */
  readonly distinctOf: Float64Array;
  /** Numbers that were jumped over and never came: all that can be said where the publishers are not of this run. */
  readonly gaps: number;
}

export interface ShareAccount {
  readonly share: number;
  /** Of each of its streams. */
  readonly partsOf: readonly CoverageParts[];
}

export interface ThreadAccounts {
  readonly publishers: readonly PublisherAccount[];
  readonly subscribers: readonly SubscriberAccount[];
  readonly shares: readonly ShareAccount[];
  readonly connectionsLost: number;
  readonly troubles: ReadonlyMap<string, number>;
}
