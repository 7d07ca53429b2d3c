// HOT: no allocation, closures, strings, try or async per message.
// How long messages take through this shard, by sampling: of each turn the first chunk that held a PUBLISH and led to one being sent carries its time of arrival to the end of the turn,
// when every outbox has been written. So it costs two comparisons a chunk and one look at the clock a turn, and nothing a message.
//
// Measured is the time from the moment the bytes were read to the moment the last of the turn's writes was handed to the kernel. Not in it: what the bytes waited for in the kernel before
// they were read (the event loop's delay tells of that) and after they were written, and deliveries of a later turn (from a queue, or
// behind the store's watermark) or of another shard.
//
// What was measured lies in counts by upper bound, the last one without; not cumulative.

/** Upper bounds in ms. */
export const LATENCY_BOUNDS_MS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500] as const;
const BOUNDS = Float64Array.from(LATENCY_BOUNDS_MS);

export class LatencySampler {
  /** By bound; one more for what is above all of them. */
  readonly counts = new Float64Array(BOUNDS.length + 1);
  sumMs = 0;
  /** PUBLISH packets that went out for another reason than one that came: a receiver has acknowledged or subscribed, and what it gets came earlier. A double from the start. */
  sentOtherwise = -0;
  /** When the turn's sample came, in monotonic ms; -1: the turn has none yet. */
  arrivedMs = -1;

  /** A chunk that came then has been handled, and something that was published in it has been sent. */
  took(arrivedMs: number): void {
    if (this.arrivedMs < 0) this.arrivedMs = arrivedMs;
  }

  /** The turn has ended. */
  finish(nowMs: number): void {
    const ms = nowMs - this.arrivedMs;
    this.arrivedMs = -1;
    let at = 0;
    while (at < BOUNDS.length && ms > BOUNDS[at]!) at++;
    this.counts[at] = this.counts[at]! + 1;
    this.sumMs += ms;
  }
}
