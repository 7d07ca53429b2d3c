// What the spool is told from outside: how it is set, what time it is, and whom it tells.
import type { GoneReason } from './store.ts';

/** What the spool is told about time and how it is set. */
export interface SpoolSettings {
  /** Longest time that a message is kept, in ms. */
  readonly retentionMs: number;
  /** Time in ms within which what was consumed must be beyond recovery. */
  readonly eraseWithinMs: number;
  /** Bytes that the file system must have left before new messages are taken. */
  readonly diskFloorBytes: number;
}

export interface SpoolClock {
  /** The time by which what is kept grows older, in ms since 1970: the wall clock, without its steps. */
  wallMs(): number;
  monotonicMs(): number;
}

/** What the spool says of its own accord. */
export interface SpoolEvents {
  gone(session: number, position: number, bytes: number, reason: GoneReason): void;
  retainedGone(number: number): void;
  trouble(message: string): void;
}
