// HOT: no allocation, closures, strings, try or async per message.
// The clock of an open loop on one thread: pumps each publisher when a message of it is due. Timers of Node are good to a millisecond, so
// that the last stretch before a message is spent awake, looking after the sockets all the while; a plan may say that it is not.
import { nowUs } from './clock.ts';
import type { Publisher } from './publisher.ts';

/** Closer than this a timer is no use. */
const AWAKE_US = 2_500;

/** Publishers of one group that this thread has, in the order in which they are due. */
export class Round {
  readonly publishers: readonly Publisher[];
  /** Time between two messages of one publisher. */
  readonly everyUs: number;
  readonly #firstUs: Float64Array;
  #next = 0;
  #rounds = 0;

  constructor(publishers: readonly Publisher[], startUs: number, gapUs: number, count: number) {
    this.publishers = publishers;
    this.everyUs = gapUs * count;
    this.#firstUs = Float64Array.from(publishers, ({ seat }) => startUs + gapUs * seat.position);
  }

  /** Pumps whoever is due; returns when the next one is, infinity when there is nothing left to send. */
  turn(now: number): number {
    const { publishers } = this;
    for (let visits = 0; visits < publishers.length; visits++) {
      if (this.#dueUs() > now) return this.#dueUs();
      publishers[this.#next]!.pump();
      this.#advance();
      if (this.#next === 0 && publishers.every(isSpent)) return Number.POSITIVE_INFINITY;
    }
    // Everybody was pumped, and has sent all that was due: what is behind is caught up with.
    this.#rounds = Math.max(this.#rounds, Math.floor((now - this.#firstUs[0]!) / this.everyUs) - 1);
    while (this.#dueUs() <= now) this.#advance();
    return this.#dueUs();
  }

  #advance(): void {
    if (++this.#next < this.publishers.length) return;
    this.#next = 0;
    this.#rounds++;
  }

  #dueUs(): number {
    return this.#firstUs[this.#next]! + this.#rounds * this.everyUs;
  }
}

function isSpent(publisher: Publisher): boolean {
  return publisher.isSpent;
}

export class Pacer {
  readonly #rounds: readonly Round[];
  readonly #spins: boolean;
  #stopped = false;

  constructor(rounds: readonly Round[], spins: boolean) {
    this.#rounds = rounds;
    this.#spins = spins;
  }

  start(): void {
    if (this.#rounds.length > 0) this.#turn();
  }

  stop(): void {
    this.#stopped = true;
  }

  readonly #turn = (): void => {
    if (this.#stopped) return;
    const now = nowUs();
    let next = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#rounds.length; i++) next = Math.min(next, this.#rounds[i]!.turn(now));
    if (next === Number.POSITIVE_INFINITY) return;
    const waitUs = next - nowUs();
    if (this.#spins && waitUs < AWAKE_US) setImmediate(this.#turn);
    else setTimeout(this.#turn, Math.max(1, Math.floor(waitUs / 1_000) - (this.#spins ? 1 : 0)));
  };
}
