// HOT: no allocation, closures, strings, try or async per message.
// The shared pool of outbox blocks. A block is owned by whoever acquired it until it is released; a released block is
// never touched again by its former owner. Two sizes: small for a connection that says little in a turn, large for a busy one.
// What is larger than a large block is made to measure and not pooled.

export const SMALL_BLOCK_BYTES = 2_048;
export const LARGE_BLOCK_BYTES = 65_536;
const SMALL_KEPT_MAX = 4_096;
const LARGE_KEPT_MAX = 256;

export class BlockPool {
  readonly #small: Uint8Array[] = [];
  readonly #large: Uint8Array[] = [];
  /** Blocks handed out and not yet released. */
  lent = 0;

  /** Lends a block of at least `bytes`; the caller owns it until `release`. */
  acquire(bytes: number): Uint8Array {
    this.lent++;
    if (bytes <= SMALL_BLOCK_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BLOCK_BYTES);
    if (bytes <= LARGE_BLOCK_BYTES) return this.#large.pop() ?? Buffer.allocUnsafeSlow(LARGE_BLOCK_BYTES);
    return Buffer.allocUnsafeSlow(bytes);
  }

  release(block: Uint8Array): void {
    this.lent--;
    if (block.length === SMALL_BLOCK_BYTES) {
      if (this.#small.length < SMALL_KEPT_MAX) this.#small.push(block);
    } else if (block.length === LARGE_BLOCK_BYTES) {
      if (this.#large.length < LARGE_KEPT_MAX) this.#large.push(block);
    }
  }
}
