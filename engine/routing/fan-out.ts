// What became of the message under way: filled while it is delivered, read when it is answered.
import { type MessageHandle, NO_MESSAGE } from '../memory/messages.ts';
import type { Later } from './held.ts';
import type { TransferPart } from './transfer.ts';

class FanOut {
  /** Receivers that it was owed to. */
  matched = 0;
  /** Receivers whose queue was full: the publisher is told (reason 0x97). */
  refused = 0;
  /** Intent of the store that the acknowledgement waits for; 0 for none. */
  sequence = 0;
  /** What the acknowledgement waits for elsewhere; 0 for nothing (peers/tickets.ts). */
  ticket = 0;
  /** Copy in the slab, made for the first receiver that needs one. */
  message: MessageHandle = NO_MESSAGE;
  /** Number in the store, likewise; 0 for none, negative when the store refused it. */
  stored = 0;
  /** Made for the first receiver that is not here yet; null for none. */
  later: Later | null = null;
  /** Position of the message among the shard's transfers (transfer.ts), -1 for none, and what goes to which shard. */
  transfer = -1;
  readonly parts: TransferPart[] = [];

  begin(): void {
    this.matched = 0;
    this.refused = 0;
    this.sequence = 0;
    this.ticket = 0;
    this.message = NO_MESSAGE;
    this.stored = 0;
    this.later = null;
    if (this.transfer < 0) return;
    this.transfer = -1;
    this.parts.length = 0;
  }
}

/** The outcome of the last `deliverMessage`. */
export const fanOut = new FanOut();
