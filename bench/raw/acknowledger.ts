// HOT: no allocation, closures, strings, try or async per message (but for blocks, which are used again).
// Gathers the acknowledgements of what a chunk brought, in its order, and sends them with one write.
import type { Wire } from './stream-wire.ts';

export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBREL = 0x62;
export const PUBCOMP = 0x70;

const BLOCK_BYTES = 4_096;
/** Without reason and properties, at every level. */
const ACK_BYTES = 4;

export class Acknowledger {
  readonly #wire: Wire;
  /** Blocks that no write holds. */
  readonly #free: AckBlock[] = [];
  #block: AckBlock | null = null;
  #end = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** @param kind byte 1 of the packet */
  add(kind: number, packetId: number): void {
    let block = this.#block;
    if (block === null || this.#end + ACK_BYTES > BLOCK_BYTES) {
      this.flush();
      block = this.#free.pop() ?? new AckBlock(this.#free);
      this.#block = block;
      this.#end = this.#wire.headroom;
    }
    const { bytes } = block;
    bytes[this.#end++] = kind;
    bytes[this.#end++] = 2;
    bytes[this.#end++] = packetId >> 8;
    bytes[this.#end++] = packetId;
  }

  flush(): void {
    const block = this.#block;
    if (block === null) return;
    this.#block = null;
    if (this.#wire.send(block.bytes, this.#end, block.sent)) this.#free.push(block);
  }
}

class AckBlock {
  readonly bytes = Buffer.alloc(BLOCK_BYTES);
  readonly sent: () => void;

  constructor(free: AckBlock[]) {
    this.sent = () => free.push(this);
  }
}
