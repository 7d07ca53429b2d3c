// What the suites put in the place of the world: a clock that is told the time, a link that leads nowhere, and dice that
// fall the same way in every run.
import type { Clock } from '../../engine/clock.ts';
import { Lent, type Link } from '../../engine/link.ts';

/** Turns are ended by hand, and time passes when it is told to. */
export class HandClock implements Clock {
  nowMs = 0;
  monotonicMs = () => this.nowMs;
  wallMs = () => this.nowMs;
  keptMs = () => this.nowMs;
  sleep = () => Promise.resolve();
  after(): () => void {
    return () => {};
  }
  endOfTurn(): void {}
}

/** Takes whatever is written at once, and counts it. */
export class NoLink implements Link {
  readonly peer = {
    transport: 'memory',
    listener: '',
    address: '',
    port: 0,
    secure: false,
    certificate: null,
  } as const;
  bytes = 0;
  closed = false;

  write(_block: Uint8Array, from: number, to: number): Lent {
    this.bytes += to - from;
    return Lent.RETURNED;
  }
  flush(): Lent {
    return Lent.RETURNED;
  }
  unsentBytes(): number {
    return 0;
  }
  untakenBytes(): number {
    return 0;
  }
  pause(): boolean {
    return true;
  }
  resume(): void {}
  end(): void {
    this.closed = true;
  }
  destroy(): void {
    this.closed = true;
  }
}

/** A step of a full-period generator: visits are random enough to defeat the processor's caches, and the same in every run. */
export class Dice {
  #state = 1;

  below(bound: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) | 0;
    return (this.#state >>> 8) % bound;
  }
}
