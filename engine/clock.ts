// Time as a parameter. The only file that reads the machine's clock or sets a timer; a simulation
// hands in a clock of its own.

/** A source of time and of wake-ups. */
export interface Clock {
  /** Milliseconds on a clock that never steps: for intervals (keep alive, connect timeout). */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC: for what must survive a restart (expiry). */
  wallMs(): number;
  /** Calls `wake` once after `delayMs`; the returned function cancels it. Never keeps the process alive by itself. */
  after(delayMs: number, wake: () => void): () => void;
  /** Resolves after `delayMs` and keeps the process alive until then: for a stop that waits. */
  sleep(delayMs: number): Promise<void>;
  /** Calls `wake` once after the sockets that are readable now have been read. */
  endOfTurn(wake: () => void): void;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, wake) {
    const timer = setTimeout(wake, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
  sleep: (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs)),
  endOfTurn: (wake) => {
    setImmediate(wake);
  },
};
