// One line on a terminal that tells how a run goes, written over itself once a second. Where standard error is no terminal it is silent.
import { showCount, showMs } from './plan/quantity.ts';
import type { Second } from './result/recorder.ts';

/** To the beginning of the line, and away with what stands on it. */
const CLEAR = '\r\u001b[K';

export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #startedMs = performance.now();
  readonly #expectedS: number;
  #stage = '';
  #second: Second | null = null;

  /** @param expectedS how long the run is to take; 0: not known */
  constructor(stream: NodeJS.WriteStream, expectedS: number) {
    this.#stream = stream;
    this.#expectedS = expectedS;
  }

  stage(name: string): void {
    this.#stage = name;
    this.#show();
  }

  second(second: Second): void {
    this.#second = second;
    this.#show();
  }

  end(): void {
    if (this.#stream.isTTY) this.#stream.write(CLEAR);
  }

  #show(): void {
    if (!this.#stream.isTTY) return;
    const elapsed = Math.floor((performance.now() - this.#startedMs) / 1_000);
    const parts = [`${elapsed}${this.#expectedS > 0 ? ` of ${Math.ceil(this.#expectedS)}` : ''} s`, this.#stage];
    const second = this.#second;
    if (second !== null) {
      parts.push(`${showCount(second.connected)} connected`);
      if (second.sent > 0) parts.push(`${showCount(second.sent / second.spanS)}/s sent`);
      if (second.received > 0) parts.push(`${showCount(second.received / second.spanS)}/s received`);
      if (second.p50 !== null) parts.push(`p50 ${showMs(second.p50)}, p99 ${showMs(second.p99!)}`);
    }
    // A line that wraps could not be written over.
    this.#stream.write(`${CLEAR}${parts.join('  ').slice(0, Math.max(20, (this.#stream.columns || 80) - 1))}`);
  }
}
