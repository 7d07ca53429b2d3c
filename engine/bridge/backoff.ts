// How long a bridge waits before it tries again: doubled each time up to a bound, less a random part, so that many bridges do not come back to one broker at once.
import type { Random } from '../random.ts';

export class Backoff {
  readonly #baseMs: number;
  readonly #capMs: number;
  readonly #random: Random;
  #tries = 0;

  constructor(baseS: number, capS: number, random: Random) {
    this.#baseMs = baseS * 1_000;
    this.#capMs = capS * 1_000;
    this.#random = random;
  }

  /** Between half and the whole of what doubling gives. */
  nextMs(): number {
    const wholeMs = Math.min(this.#capMs, this.#baseMs * 2 ** this.#tries);
    if (wholeMs < this.#capMs) this.#tries++;
    const [high = 0, low = 0] = this.#random.bytes(2);
    return wholeMs * (0.5 + (high * 256 + low) / 131_072);
  }

  /** The link stood for so long. */
  stoodMs(ms: number): void {
    if (ms >= this.#baseMs) this.#tries = 0;
  }
}
