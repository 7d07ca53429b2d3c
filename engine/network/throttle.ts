// How many connections may be in the middle of a handshake (TLS, WebSocket upgrade, PROXY header), and how many may start one
// in a second. A handshake is what a stranger can make the broker pay for before it has said who it is.
import type { Clock } from '../clock.ts';

export interface HandshakeLimits {
  /** Handshakes started in a second, with a burst of the same size; 0 for no bound. */
  readonly perSecondMax: number;
  /** Handshakes under way at one time; 0 for no bound. */
  readonly pendingMax: number;
}

export const defaultHandshakeLimits: HandshakeLimits = { perSecondMax: 0, pendingMax: 1_024 };

/** A token bucket and a counter. */
export class HandshakeThrottle {
  /** Calls of `begin` that are not yet settled. */
  pending = 0;
  #tokens: number;
  #filledMs: number;
  readonly #limits: HandshakeLimits;
  readonly #clock: Clock;

  constructor(limits: HandshakeLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#tokens = limits.perSecondMax;
    this.#filledMs = clock.monotonicMs();
  }

  /** Counts a handshake in until `settle`, refused ones too; false when there are too many and it must be refused. */
  begin(): boolean {
    this.pending++;
    const { pendingMax } = this.#limits;
    return pendingMax === 0 || this.pending <= pendingMax;
  }

  settle(): void {
    this.pending--;
  }

  /** Takes a token of this second; false when there is none and the handshake must be refused. */
  take(): boolean {
    const { perSecondMax } = this.#limits;
    if (perSecondMax === 0) return true;
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(perSecondMax, this.#tokens + ((nowMs - this.#filledMs) * perSecondMax) / 1_000);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
