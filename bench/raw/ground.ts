// What all clients of one thread of the load share: the plan, what is counted, and how far everybody is.
//
// Progress is one table in memory shared by all threads, with one writer for each place: how many messages of a publisher an audience
// has behind it, modulo 2^32. Whoever raises it rings the publisher's thread, unless the publisher is its own.
import type { Doorbell } from '../../storage/doorbell.ts';
import type { Plan } from '../plan/plan.ts';
import type { Roster } from '../plan/roster.ts';
import type { Pattern } from './message.ts';
import type { Publisher } from './publisher.ts';
import { Tally } from './tally.ts';

/** Sums over the whole run. */
export class Totals {
  sent = 0;
  acknowledged = 0;
  /** Payloads that came, whatever they were. */
  received = 0;
  /** Deliveries that were owed, each once. */
  distinct = 0;
  receivedBytes = 0;
  connected = 0;
  connectionsLost = 0;
}

export class Ground {
  readonly plan: Plan;
  readonly roster: Roster;
  readonly pattern: Pattern;
  readonly thread: number;
  readonly progress: Int32Array;
  readonly totals = new Totals();
  /** µs from sent, or due, to received; from sent to acknowledged; from the beginning of a connection to its acceptance. */
  readonly deliveries = new Tally();
  readonly acknowledgements = new Tally();
  readonly connects = new Tally();
  /** What went wrong, by message, with how often. */
  readonly troubles = new Map<string, number>();
  /** Publishers of this thread by index; none where another thread has it. */
  readonly publishers: (Publisher | undefined)[] = [];
  /** Of each publisher, 1 once it has lost a connection; behind them 1 once anybody has. */
  readonly interrupted: Uint8Array;
  readonly #bells: readonly Doorbell[];

  constructor(
    plan: Plan,
    roster: Roster,
    pattern: Pattern,
    thread: number,
    shared: {
      readonly progress: SharedArrayBuffer;
      readonly interrupted: SharedArrayBuffer;
      readonly bells: readonly Doorbell[];
    },
  ) {
    this.plan = plan;
    this.roster = roster;
    this.pattern = pattern;
    this.thread = thread;
    this.progress = new Int32Array(shared.progress);
    this.interrupted = new Uint8Array(shared.interrupted);
    this.#bells = shared.bells;
  }

  /** Something came for this publisher: it may have room again. */
  wake(publisher: number): void {
    const own = this.publishers[publisher];
    if (own !== undefined) own.pump();
    else this.#bells[publisher % this.#bells.length]!.ring();
  }

  /** Somebody has lost a connection, or left. */
  interrupt(): void {
    this.interrupted[this.interrupted.length - 1] = 1;
  }

  get wasInterrupted(): boolean {
    return this.interrupted[this.interrupted.length - 1] === 1;
  }

  trouble(message: string): void {
    this.troubles.set(message, (this.troubles.get(message) ?? 0) + 1);
  }
}
