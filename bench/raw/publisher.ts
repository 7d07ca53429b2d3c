// One publisher of a closed loop: it is never more than a window of messages ahead of what its receivers have seen (and, at
// QoS 1, of what the broker has acknowledged), so that neither side has a reason to drop. It writes bursts that were encoded before.
import { Burst, PUBACK_BYTES, type PublishShape } from './packets.ts';
import type { Receiver } from './receiver.ts';
import type { Wire } from './wire.ts';

export interface Window {
  /** Most messages ahead. */
  readonly messages: number;
  /** Most messages of one write. */
  readonly burst: number;
  /** Least room in the window for a write: small writes would measure the load. */
  readonly least: number;
}

export class Publisher {
  sent = 0;
  stopped = false;
  readonly #wire: Wire;
  readonly #shape: PublishShape;
  readonly #window: Window;
  readonly #receivers: readonly Receiver[];
  /** Bursts that no write holds. */
  readonly #free: Burst[] = [];
  #ackBytes = 0;

  constructor(wire: Wire, shape: PublishShape, window: Window, receivers: readonly Receiver[]) {
    this.#wire = wire;
    this.#shape = shape;
    this.#window = window;
    this.#receivers = receivers;
    for (let i = 0; i * window.burst <= window.messages; i++) this.#free.push(new Burst(shape, window.burst, wire.headroom));
  }

  /** Writes what the window has room for. */
  pump(): void {
    if (this.stopped) return;
    const { messages, burst, least } = this.#window;
    for (;;) {
      const count = Math.min(burst, messages - (this.sent - this.#seen()));
      if (count < least) return;
      const block = this.#free.pop();
      if (block === undefined) return;
      const end = block.number(this.sent, count);
      this.sent += count;
      this.#wire.send(block.block, end, () => {
        this.#free.push(block);
        this.pump();
      });
    }
  }

  /** The broker's answers: nothing but PUBACKs come to a publisher. */
  takeAcks(from: number, to: number): void {
    this.#ackBytes += to - from;
    this.pump();
  }

  #seen(): number {
    let seen = this.#shape.packetIdAt < 0 ? this.sent : Math.floor(this.#ackBytes / PUBACK_BYTES);
    for (let i = 0; i < this.#receivers.length; i++) seen = Math.min(seen, this.#receivers[i]!.next);
    return seen;
  }
}
