// What all sessions together are owed: the sum over their queues, kept as they change.
import type { SessionQueue } from './queue.ts';

export class Books {
  messages = 0;
  bytes = 0;
  /** Those of them that share a message with other sessions. */
  references = 0;
  referenceBytes = 0;

  /** Takes the counts of a queue on the books, or off them: off before the queue changes, on after it. */
  account(queue: SessionQueue, sign: 1 | -1): void {
    this.messages += sign * queue.messages;
    this.bytes += sign * queue.bytes;
    this.references += sign * queue.references;
    this.referenceBytes += sign * queue.referenceBytes;
  }
}
