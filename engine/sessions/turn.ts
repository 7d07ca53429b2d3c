// HOT: no allocation, closures, strings, try or async per message.
// The end of the turn. Whoever appends to an outbox, or must be looked at once more, puts itself on the list; the list is
// run once after the sockets that were readable have been read.
import type { Clock } from '../clock.ts';
import { LatencySampler } from '../latency.ts';

/** Something with a duty at the end of the turn. */
export interface Duty {
  /** Whether it is on the list; kept by the turn. */
  due: boolean;
  endTurn(): void;
}

export class Turn {
  readonly #clock: Clock;
  readonly #run: () => void;
  #duties: Duty[] = [];
  #spare: Duty[] = [];
  #asked = false;
  readonly latency = new LatencySampler();
  /** Runs last in each turn. */
  after: (() => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#run = () => this.finish();
  }

  add(duty: Duty): void {
    if (duty.due) return;
    duty.due = true;
    this.#duties.push(duty);
    if (!this.#asked) this.ask();
  }

  /** Asks for an end of the turn, for the sake of `after`. */
  ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#clock.endOfTurn(this.#run);
  }

  /** Runs what is due now. A duty that is added meanwhile waits for the next turn. */
  finish(): void {
    this.#asked = false;
    const duties = this.#duties;
    this.#duties = this.#spare;
    this.#spare = duties;
    for (let i = 0; i < duties.length; i++) {
      const duty = duties[i]!;
      duty.due = false;
      duty.endTurn();
    }
    duties.length = 0;
    const { latency } = this;
    if (latency.arrivedMs >= 0) latency.finish(this.#clock.monotonicMs());
    if (this.after !== null) this.after();
  }
}
