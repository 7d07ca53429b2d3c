// HOT: no allocation, closures, strings, try or async per message.
// How far the queue of a stored session is known to be durable. A QoS 2 message may not be sent before: were it lost in a crash, its
// publisher would send it again, and the receiver, who has it under a packet identifier that nobody else remembers, would take the
// second one for a new message (MQTT 5.0 §4.3.3: the identifier is stored before the message goes on).
//
// One look at the watermark is under way at a time, for the end of the queue when it began; what is added meanwhile waits for the next one. A
// look takes one commit, so a message waits for two at the most.

export class DurableTail {
  /** Positions below this are durable. */
  position = 0;
  #awaitedPosition = 0;
  #awaitedSequence = 0;
  #lastPosition = 0;
  #lastSequence = 0;

  /** Whether positions that were added are not durable yet. */
  get isWaiting(): boolean {
    return this.#awaitedSequence !== 0;
  }

  /** Starts anew with a queue that is durable up to `position`. */
  reset(position: number): void {
    this.position = position;
    this.#awaitedSequence = 0;
  }

  /** The queue was extended up to `position` by intent `sequence`. */
  added(position: number, sequence: number): void {
    this.#lastPosition = position;
    this.#lastSequence = sequence;
    if (this.#awaitedSequence === 0) this.#lookAgain();
  }

  /** The watermark stands at `durable`; true when the tail moved. */
  moved(durable: number): boolean {
    if (this.#awaitedSequence === 0 || this.#awaitedSequence > durable) return false;
    if (this.#lastSequence <= durable) {
      this.position = this.#lastPosition;
      this.#awaitedSequence = 0;
    } else {
      this.position = this.#awaitedPosition;
      this.#lookAgain();
    }
    return true;
  }

  #lookAgain(): void {
    this.#awaitedPosition = this.#lastPosition;
    this.#awaitedSequence = this.#lastSequence;
  }
}
