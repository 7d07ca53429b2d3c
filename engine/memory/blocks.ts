// HOT: no allocation, closures, strings, try or async per message.
// The shared pool of byte blocks: what connections are about to say, and packets that cross reads. A block is owned by whoever
// acquired it until it is released; a released block is never touched again by its former owner. Small blocks are for a
// connection that says little in a turn, medium and large ones for a busy one, and huge ones, in four sizes, for a large message.
// What is larger is made to measure and not pooled.
//
// Used again, a block is still in the processor's cache; made anew, its pages come from the kernel one fault at a time.

export const SMALL_BLOCK_BYTES = 2_048;
export const MEDIUM_BLOCK_BYTES = 16_384;
/** A payload of 64 KiB with its topic name fits. */
export const LARGE_BLOCK_BYTES = 66_560;
export const HUGE_BLOCK_BYTES_MAX = 1_048_576;
const HUGE_BLOCK_BYTES_MIN = 131_072;
const SMALL_KEPT_MAX = 4_096;
/** A fan-out takes one a receiver at once. */
const MEDIUM_KEPT_MAX = 1_024;
const LARGE_KEPT_MAX = 256;
/** Of all huge blocks together. */
const HUGE_KEPT_BYTES_MAX = 8_388_608;

export class BlockPool {
  readonly #small: Uint8Array[] = [];
  readonly #medium: Uint8Array[] = [];
  readonly #large: Uint8Array[] = [];
  /** By the power of two over the least size. */
  readonly #huge: readonly Uint8Array[][] = [[], [], [], []];
  #hugeKeptBytes = 0;
  /** Blocks handed out and not yet released. */
  lent = 0;
  /** Bytes that connections were to be sent and no kernel has taken, of all outboxes of the pool together; a double from the start. */
  unsentBytes = -0;

  /** Lends a block of at least `bytes`; the caller owns it until `release`. */
  acquire(bytes: number): Uint8Array {
    this.lent++;
    if (bytes <= SMALL_BLOCK_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BLOCK_BYTES);
    if (bytes <= MEDIUM_BLOCK_BYTES) return this.#medium.pop() ?? Buffer.allocUnsafeSlow(MEDIUM_BLOCK_BYTES);
    if (bytes <= LARGE_BLOCK_BYTES) return this.#large.pop() ?? Buffer.allocUnsafeSlow(LARGE_BLOCK_BYTES);
    return this.#acquireHuge(bytes);
  }

  release(block: Uint8Array): void {
    this.lent--;
    if (block.length === SMALL_BLOCK_BYTES) {
      if (this.#small.length < SMALL_KEPT_MAX) this.#small.push(block);
    } else if (block.length === MEDIUM_BLOCK_BYTES) {
      if (this.#medium.length < MEDIUM_KEPT_MAX) this.#medium.push(block);
    } else if (block.length === LARGE_BLOCK_BYTES) {
      if (this.#large.length < LARGE_KEPT_MAX) this.#large.push(block);
    } else {
      this.#releaseHuge(block);
    }
  }

  #acquireHuge(bytes: number): Uint8Array {
    if (bytes > HUGE_BLOCK_BYTES_MAX) return Buffer.allocUnsafeSlow(bytes);
    const size = hugeSize(bytes);
    const block = this.#huge[sizeOrder(size)]!.pop();
    if (block === undefined) return Buffer.allocUnsafeSlow(size);
    this.#hugeKeptBytes -= size;
    return block;
  }

  #releaseHuge(block: Uint8Array): void {
    const size = block.length;
    // What was made to measure is larger.
    if (size > HUGE_BLOCK_BYTES_MAX || this.#hugeKeptBytes + size > HUGE_KEPT_BYTES_MAX) return;
    this.#hugeKeptBytes += size;
    this.#huge[sizeOrder(size)]!.push(block);
  }
}

/** The least power of two that holds so many bytes, of those that huge blocks have. */
function hugeSize(bytes: number): number {
  return Math.max(HUGE_BLOCK_BYTES_MIN, 2 ** (32 - Math.clz32(bytes - 1)));
}

function sizeOrder(size: number): number {
  return Math.clz32(HUGE_BLOCK_BYTES_MIN) - Math.clz32(size);
}
