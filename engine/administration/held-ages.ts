// Since when the oldest of what is held has been there, by class, for the metrics and the live page. Who wants to know must have the disk's rows read, so it is remembered, and read
// again only when at least a hundred times as long has passed as the last reading took: whoever asks, and however often, costs the storage thread a hundredth of its time. Where there
// was little to read, and it took long, it had waited its turn, which costs nobody anything. Nobody waits long for it: while the storage thread is busy, what was known before is the answer, and is older than it should be.
import type { Administration } from './administration.ts';
import { within } from './within.ts';

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
/** Longer than a row takes, on a slow disk. */
const ROW_MS_MAX = 0.01;
const WAIT_MS = 1_000;
const NONE: Oldest = { messages: null, retained: null, sessions: null, wills: null, quarantined: null };

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
  #last: Oldest = NONE;
  /** Under way; null: none is. */
  #reading: Promise<void> | null = null;
  /** Monotonic ms from which on it is read again. */
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(administration: Administration) {
    this.#administration = administration;
  }

  async oldest(): Promise<Oldest> {
    const { clock } = this.#administration;
    if (this.#reading === null && clock.monotonicMs() >= this.#untilMs) {
      this.#reading = this.#read().finally(() => {
        this.#reading = null;
      });
    }
    if (this.#reading !== null) await within(clock, WAIT_MS, this.#reading);
    return this.#last;
  }

  async #read(): Promise<void> {
    const { clock, inventory } = this.#administration;
    const beganMs = clock.monotonicMs();
    const { messages, retained, sessions, wills, quarantined } = await inventory();
    const rows = messages.count + retained.count + sessions.count + wills.count + quarantined.count;
    this.#last = {
      messages: messages.oldestMs,
      retained: retained.oldestMs,
      sessions: sessions.oldestMs,
      wills: wills.oldestMs,
      quarantined: quarantined.oldestMs,
    };
    const nowMs = clock.monotonicMs();
    const tookMs = Math.min(nowMs - beganMs, rows * ROW_MS_MAX);
    this.#untilMs = nowMs + Math.max(READ_AGAIN_MS, tookMs * SHARE);
  }
}
