// Time as a parameter. The only file that reads the machine's clock or sets a timer; a simulation
// hands in a clock of its own.

/** A source of time and of wake-ups. */
export interface Clock {
  /** Milliseconds on a clock that never steps: for intervals (keep alive, connect timeout). */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC as the machine has it, right or wrong, and it may step: for certificates, tokens, logs. */
  wallMs(): number;
  /**
   * Likewise for what is kept: expiry, retention, ages. It goes on as the monotonic clock does, whatever the machine's wall clock is set to meanwhile, and is continued after a restart (spool/kept-time.ts).
   */
  keptMs(): number;
  /** Calls `wake` once after `delayMs`; the returned function cancels it. Never keeps the process alive by itself. */
  after(delayMs: number, wake: () => void): () => void;
  /** Resolves after `delayMs` and keeps the process alive until then: for a stop that waits. */
  sleep(delayMs: number): Promise<void>;
  /** Calls `wake` once after the sockets that are readable now have been read. */
  endOfTurn(wake: () => void): void;
}

/** What `performance.now()` counts from in this thread, on the monotonic clock that all threads have. */
const ORIGIN_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** How far the kept time of one broker is ahead of the machine's monotonic clock: a double that all of its threads share. It begins with the wall clock of now. */
export function allocateKeptTime(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(8);
  new Float64Array(memory)[0] = Date.now() - ORIGIN_MS - performance.now();
  return memory;
}

/** The machine's clock, with a broker's kept time. */
export function clockWith(keptTime: SharedArrayBuffer): Clock {
  const ahead = new Float64Array(keptTime);
  return { ...machineClock, keptMs: () => performance.now() + ORIGIN_MS + ahead[0]! };
}

/** The wall clock's name for a moment of kept time, for those who read it: the same each time, unless the clock was set. */
export function shownMs(clock: Clock, keptMs: number): number {
  const asideMs = Math.round((clock.wallMs() - clock.keptMs()) / 1_000) * 1_000;
  return Math.floor(keptMs) + asideMs;
}

const machineClock: Omit<Clock, 'keptMs'> = {
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

/** For those who keep nothing. */
export const systemClock: Clock = clockWith(allocateKeptTime());
