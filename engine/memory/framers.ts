// HOT: no allocation, closures, strings, try or async per message.
// Framers that are lent to a connection while it is read from. Most reads end with a whole packet, after which a framer is like
// any other: so all connections use the same one, which stays in the processor's cache, and only one with an unfinished packet keeps its own.
import { Framer } from '../../protocol/framer.ts';
import type { BlockPool } from './blocks.ts';

const KEPT_MAX = 64;

export class FramerPool {
  readonly #blocks: BlockPool;
  readonly #free: Framer[] = [];

  constructor(blocks: BlockPool) {
    this.#blocks = blocks;
  }

  /** Lends one that holds nothing; its bound is the caller's to set. */
  acquire(): Framer {
    return this.#free.pop() ?? new Framer(0, this.#blocks);
  }

  /** Takes one back that holds nothing and has found no fault. */
  release(framer: Framer): void {
    if (this.#free.length < KEPT_MAX) this.#free.push(framer);
  }
}
