// Since when the oldest of what is held has been there, by class, for the metrics and the live page. Who wants to know must have the disk's rows read, so it is remembered, and read
// again only when at least a hundred times as long has passed as the last reading took: whoever asks, and however often, costs the storage thread a hundredth of its time.
import type { Clock } from '../clock.ts';
import type { Inventory } from './inventory.ts';

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

export class HeldAges {
  readonly #inventory: () => Promise<Inventory>;
  readonly #clock: Clock;
  #known: Promise<Oldest> | null = null;
  /** Monotonic ms from which on what is known is read again. */
  #untilMs = 0;

  constructor(inventory: () => Promise<Inventory>, clock: Clock) {
    this.#inventory = inventory;
    this.#clock = clock;
  }

  oldest(): Promise<Oldest> {
    if (this.#known !== null && this.#clock.monotonicMs() < this.#untilMs) return this.#known;
    // Until it is there, whoever asks waits for the same reading.
    this.#untilMs = Number.POSITIVE_INFINITY;
    this.#known = this.#read();
    return this.#known;
  }

  async #read(): Promise<Oldest> {
    const beganMs = this.#clock.monotonicMs();
    try {
      const { messages, retained, sessions, wills, quarantined } = await this.#inventory();
      return {
        messages: messages.oldestMs,
        retained: retained.oldestMs,
        sessions: sessions.oldestMs,
        wills: wills.oldestMs,
        quarantined: quarantined.oldestMs,
      };
    } finally {
      const nowMs = this.#clock.monotonicMs();
      this.#untilMs = nowMs + Math.max(READ_AGAIN_MS, (nowMs - beganMs) * SHARE);
    }
  }
}
