// The packet identifiers of QoS 2 messages that a client has sent and not yet released (MQTT 5.0 §4.3.3): the receiver's half of
// exactly once. A bitmap of 65,536 bits, made when the first identifier arrives.

const WORDS = 2_048;

export class InboundIdentifiers {
  #bits: Uint32Array | null = null;
  count = 0;

  has(packetId: number): boolean {
    return this.#bits !== null && ((this.#bits[packetId >>> 5]! >>> (packetId & 31)) & 1) === 1;
  }

  /** All identifiers that are held, rising. */
  all(): number[] {
    const found: number[] = [];
    if (this.count === 0) return found;
    for (let packetId = 1; packetId < WORDS * 32; packetId++) if (this.has(packetId)) found.push(packetId);
    return found;
  }

  /** Adds an identifier that is not held. */
  add(packetId: number): void {
    this.#bits ??= new Uint32Array(WORDS);
    this.#bits[packetId >>> 5] = this.#bits[packetId >>> 5]! | (1 << (packetId & 31));
    this.count++;
  }

  /** Whether it was held. The bitmap itself goes with the session: a client that used QoS 2 will again. */
  remove(packetId: number): boolean {
    if (!this.has(packetId)) return false;
    this.#bits![packetId >>> 5] = this.#bits![packetId >>> 5]! & ~(1 << (packetId & 31));
    this.count--;
    return true;
  }
}
