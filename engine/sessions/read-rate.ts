// HOT: no allocation, closures, strings, try or async per message.
// How fast one client is read from: two token buckets, of PUBLISH packets and of bytes, each with room for what one second allows. They are looked at after each packet, so one packet may overdraw
// them; then the client is not read from until both have come back to nothing owed. Over time no more is read than the limits say, and nothing is lost. A bucket without a bound stays empty: a bound
// that comes later finds no debt.
import type { Timer } from '../timers.ts';

const SECOND_MS = 1_000;

export class ReadRate {
  /** Not read from now. */
  isHolding = false;
  /** The log knows. */
  wasTold = false;
  /** Wakes it. */
  readonly timer: Timer;
  /** The bounds as of the last `fill`; 0 for none. */
  #messagesPerS: number;
  #bytesPerS: number;
  /** What may still be taken at once; below zero: owed. */
  #messages: number;
  #bytes: number;
  #filledMs: number;

  /** @param messagesPerS and bytesPerS: 0 for no bound */
  constructor(timer: Timer, nowMs: number, messagesPerS: number, bytesPerS: number) {
    this.timer = timer;
    this.#filledMs = nowMs;
    this.#messagesPerS = messagesPerS;
    this.#bytesPerS = bytesPerS;
    this.#messages = messagesPerS;
    this.#bytes = bytesPerS;
  }

  /** Puts in what time has allowed, by the bounds of now. */
  fill(nowMs: number, messagesPerS: number, bytesPerS: number): void {
    const passedS = (nowMs - this.#filledMs) / SECOND_MS;
    this.#filledMs = nowMs;
    this.#messagesPerS = messagesPerS;
    this.#bytesPerS = bytesPerS;
    this.#messages = messagesPerS === 0 ? 0 : Math.min(messagesPerS, this.#messages + passedS * messagesPerS);
    this.#bytes = bytesPerS === 0 ? 0 : Math.min(bytesPerS, this.#bytes + passedS * bytesPerS);
  }

  /** Takes what was read; whether something is owed now. */
  take(messages: number, bytes: number): boolean {
    if (this.#messagesPerS !== 0) this.#messages -= messages;
    if (this.#bytesPerS !== 0) this.#bytes -= bytes;
    return this.#messages < 0 || this.#bytes < 0;
  }

  /** For how many ms from the last `fill` nothing more may be read, 0 when it may at once. */
  get waitMs(): number {
    return Math.max(dueMs(this.#messages, this.#messagesPerS), dueMs(this.#bytes, this.#bytesPerS));
  }
}

function dueMs(left: number, perS: number): number {
  return perS === 0 || left >= 0 ? 0 : Math.ceil((-left / perS) * SECOND_MS);
}
