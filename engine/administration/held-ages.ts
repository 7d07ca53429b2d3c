// Since when the oldest of what is held has been there, by class, for the metrics and the live page. Who wants to know must have the disk's rows read, so it is remembered, and read
// again only when at least a hundred times as long has passed as the last reading took: whoever asks, and however often, costs the storage thread a hundredth of its time.
import type { Administration } from './administration.ts';

/** In wall-clock ms; null: nothing is held. */
export interface Oldest {
  readonly messages: number | null;
  readonly retained: number | null;
  readonly sessions: number | null;
  readonly wills: number | null;
  readonly quarantined: number | null;
}

const READ_AGAIN_MS = 2_000;
const SHARE = 100;

/** Those of a broker, whoever asks. */
const known = new WeakMap<Administration, HeldAges>();

export function oldestHeld(administration: Administration): Promise<Oldest> {
  let ages = known.get(administration);
  if (ages === undefined) {
    ages = new HeldAges(administration);
    known.set(administration, ages);
  }
  return ages.oldest();
}

class HeldAges {
  readonly #administration: Administration;
  #known: Promise<Oldest> | null = null;
  /** Monotonic ms from which on what is known is read again. */
  #untilMs = 0;

  constructor(administration: Administration) {
    this.#administration = administration;
  }

  oldest(): Promise<Oldest> {
    if (this.#known !== null && this.#administration.clock.monotonicMs() < this.#untilMs) return this.#known;
    // Until it is there, whoever asks waits for the same reading.
    this.#untilMs = Number.POSITIVE_INFINITY;
    this.#known = this.#read();
    return this.#known;
  }

  async #read(): Promise<Oldest> {
    const { clock, inventory } = this.#administration;
    const beganMs = clock.monotonicMs();
    try {
      const { messages, retained, sessions, wills, quarantined } = await inventory();
      return {
        messages: messages.oldestMs,
        retained: retained.oldestMs,
        sessions: sessions.oldestMs,
        wills: wills.oldestMs,
        quarantined: quarantined.oldestMs,
      };
    } finally {
      const nowMs = clock.monotonicMs();
      this.#untilMs = nowMs + Math.max(READ_AGAIN_MS, (nowMs - beganMs) * SHARE);
    }
  }
}
