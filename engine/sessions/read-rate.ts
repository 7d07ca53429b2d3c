// HOT: no allocation, closures, strings, try or async per message.
// How fast one client is read from: two token buckets, of PUBLISH packets and of bytes, each with room for what one second allows. They are looked at once for each chunk that was read, so a chunk
// may overdraw them; then the client is not read from until both have come back to nothing owed. Over time no more is read than the limits say, and nothing is lost.
import type { Timer } from '../timers.ts';

const SECOND_MS = 1_000;

export class ReadRate {
  /** Not read from now. */
  isHolding = false;
  /** The log knows. */
  wasTold = false;
  /** Wakes it. */
  readonly timer: Timer;
  /** What may still be taken at once; below zero: owed. */
  #messages: number;
  #bytes: number;
  #filledMs: number;

  /** @param messagesPerS and bytesPerS: 0 for no bound */
  constructor(timer: Timer, nowMs: number, messagesPerS: number, bytesPerS: number) {
    this.timer = timer;
    this.#filledMs = nowMs;
    this.#messages = messagesPerS;
    this.#bytes = bytesPerS;
  }

  /** Takes what was read; returns for how many ms nothing more may be, 0 when it may at once. */
  spend(nowMs: number, messages: number, bytes: number, messagesPerS: number, bytesPerS: number): number {
    const passedS = (nowMs - this.#filledMs) / SECOND_MS;
    this.#filledMs = nowMs;
    this.#messages = Math.min(messagesPerS, this.#messages + passedS * messagesPerS) - messages;
    this.#bytes = Math.min(bytesPerS, this.#bytes + passedS * bytesPerS) - bytes;
    return Math.max(dueMs(this.#messages, messagesPerS), dueMs(this.#bytes, bytesPerS));
  }
}

function dueMs(left: number, perS: number): number {
  return perS === 0 || left >= 0 ? 0 : Math.ceil((-left / perS) * SECOND_MS);
}
