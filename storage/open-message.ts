// The message under way: what was put last, and who is owed it so far. It borrows its bytes until they are kept.
import type { RecordContent } from './records.ts';

interface Addition {
  readonly session: number;
  readonly position: number;
  readonly bits: number;
  readonly ids: Uint8Array;
}

export class OpenMessage implements RecordContent {
  bytes: Uint8Array = new Uint8Array(0);
  from = 0;
  topicBytes = 0;
  propertyBytes = 0;
  payloadBytes = 0;
  sinceMs = 0;
  untilMs = 0;
  expires = false;
  /** Deliveries that are not booked yet. */
  readonly additions: Addition[] = [];
  #isBorrowed = false;

  begin(bytes: Uint8Array, from: number, topicBytes: number, propertyBytes: number, payloadBytes: number): void {
    this.bytes = bytes;
    this.from = from;
    this.topicBytes = topicBytes;
    this.propertyBytes = propertyBytes;
    this.payloadBytes = payloadBytes;
    this.#isBorrowed = true;
  }

  keepUntil(nowMs: number, expiresAtMs: number, retentionMs: number): void {
    this.sinceMs = nowMs;
    this.untilMs = Math.min(expiresAtMs, nowMs + retentionMs);
    this.expires = expiresAtMs !== Infinity;
  }

  get messageBytes(): number {
    return this.topicBytes + this.propertyBytes + this.payloadBytes;
  }

  /** Takes it into bytes of its own: what it borrowed ends, and more of its deliveries may come. */
  keep(): void {
    if (!this.#isBorrowed) return;
    this.#isBorrowed = false;
    this.bytes = this.bytes.slice(this.from, this.from + this.messageBytes);
    this.from = 0;
  }
}
