// HOT: no allocation, closures, strings, try or async per message.
// What one connection is about to say. Packets are written straight into pooled blocks; at the end of the turn the blocks
// are lent to the link, one write for each, and come back when the kernel has taken them. An idle connection holds none.
//
//   block         the block that is being filled, [0, end) written; null when there is nothing to say
//   #full         filled blocks of this turn, oldest first, with their ends
//   #kept         blocks lent to the link and not yet returned, oldest first, from #keptFirst on
import { copyBytes } from '../../protocol/bytes.ts';
import type { Counters } from '../counters.ts';
import { Lent, type Link } from '../link.ts';
import { type BlockPool, LARGE_BLOCK_BYTES, MEDIUM_BLOCK_BYTES, SMALL_BLOCK_BYTES } from '../memory/blocks.ts';
import type { Duty, Turn } from './turn.ts';

export class Outbox implements Duty {
  due = false;
  /** The block under the pen; valid after `reserve`. */
  block: Uint8Array = NO_BLOCK;
  /** Bytes appended and not yet taken by the kernel, as last seen. */
  pendingBytes = 0;
  /** Bytes handed to the link so far; a double from the start, as `bytesReceived` of the connection. */
  sentBytes = -0;
  #end = 0;
  #fullBytes = 0;
  #unsentBytes = 0;
  #closed = false;
  readonly #full: Uint8Array[] = [];
  readonly #fullEnds: number[] = [];
  readonly #kept: Uint8Array[] = [];
  #keptFirst = 0;
  readonly #link: Link;
  readonly #pool: BlockPool;
  readonly #turn: Turn;
  readonly #counters: Counters;

  constructor(link: Link, pool: BlockPool, turn: Turn, counters: Counters) {
    this.#link = link;
    this.#pool = pool;
    this.#turn = turn;
    this.#counters = counters;
  }

  /** Makes room for a packet of `bytes` in one piece and returns their offset in `block`; the caller writes all of them before anything else happens. */
  reserve(bytes: number): number {
    let at = this.#end;
    if (at + bytes > this.block.length) {
      this.#nextBlock(bytes);
      at = 0;
    }
    this.#end = at + bytes;
    this.pendingBytes += bytes;
    this.#pool.unsentBytes += bytes;
    this.#counters.packetsSent++;
    if (!this.due) this.#turn.add(this);
    return at;
  }

  append(bytes: Uint8Array, from: number, to: number): void {
    const at = this.reserve(to - from);
    copyBytes(bytes, from, to, this.block, at);
  }

  /** Lends everything to the link now. */
  endTurn(): void {
    if (this.#closed) {
      this.#drop();
      return;
    }
    if (this.#full.length > 0) this.#lendFull();
    const { block } = this;
    const lent = this.#end > 0 ? this.#write(block, this.#end) : Lent.RETURNED;
    this.block = NO_BLOCK;
    this.#end = 0;
    // Mostly it is the only one, and the kernel takes it.
    if (this.#flush() === Lent.KEPT && lent === Lent.KEPT) this.#kept.push(block);
    else if (block !== NO_BLOCK) this.#pool.release(block);
    this.look();
  }

  /** The link returned its oldest block. */
  returned(): void {
    const block = this.#kept[this.#keptFirst]!;
    this.#keptFirst++;
    if (this.#keptFirst === this.#kept.length) this.#forgetKept();
    this.#pool.release(block);
    this.look();
  }

  /** Lends what was written so far to the link, before the turn ends: what is pending then is what the kernel does not take now, and its taking will be told of. */
  handOver(): void {
    if (this.#end > 0 || this.#full.length > 0) this.endTurn();
  }

  /** Bytes that the kernel has taken of what was handed to the link so far; one write of many is told of as a whole, this goes on while it lasts. */
  takenBytes(): number {
    return this.sentBytes - this.#link.untakenBytes();
  }

  /** Asks the link how much it still holds. */
  look(): void {
    this.#unsentBytes = this.#closed ? 0 : this.#link.unsentBytes();
    this.#count(this.#unsentBytes + this.#fullBytes + this.#end);
  }

  /** The link is gone: every block goes back to the pool, and what is written from now on is dropped. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (let i = this.#keptFirst; i < this.#kept.length; i++) this.#pool.release(this.#kept[i]!);
    this.#forgetKept();
    this.#drop();
  }

  /** Forgets what was written and not lent. */
  #drop(): void {
    for (const block of this.#full) this.#pool.release(block);
    if (this.block !== NO_BLOCK) this.#pool.release(this.block);
    this.#full.length = 0;
    this.#fullEnds.length = 0;
    this.#fullBytes = 0;
    this.block = NO_BLOCK;
    this.#end = 0;
    this.#count(0);
  }

  #count(pendingBytes: number): void {
    this.#pool.unsentBytes += pendingBytes - this.pendingBytes;
    this.pendingBytes = pendingBytes;
  }

  #nextBlock(bytes: number): void {
    let size = bytes;
    if (this.block !== NO_BLOCK) {
      this.#full.push(this.block);
      this.#fullEnds.push(this.#end);
      this.#fullBytes += this.#end;
      size = Math.max(bytes, this.block.length < MEDIUM_BLOCK_BYTES ? MEDIUM_BLOCK_BYTES : LARGE_BLOCK_BYTES);
      // A turn that has much to say to one connection need not hold it all: the kernel can start.
      if (!this.#closed && this.#full.length >= 4) this.#flushFull();
    } else {
      size = Math.max(bytes, SMALL_BLOCK_BYTES);
    }
    this.block = this.#pool.acquire(size);
    this.#end = 0;
  }

  #lendFull(): void {
    for (let i = 0; i < this.#full.length; i++) this.#lend(this.#full[i]!, this.#fullEnds[i]!);
    this.#full.length = 0;
    this.#fullEnds.length = 0;
    this.#fullBytes = 0;
  }

  /** What the link says of the blocks that it has. */
  #flush(): Lent {
    if (this.#link.flush() === Lent.KEPT) return Lent.KEPT;
    if (this.#kept.length > 0) {
      for (let i = this.#keptFirst; i < this.#kept.length; i++) this.#pool.release(this.#kept[i]!);
      this.#forgetKept();
    }
    return Lent.RETURNED;
  }

  #forgetKept(): void {
    this.#kept.length = 0;
    this.#keptFirst = 0;
  }

  #flushFull(): void {
    this.#lendFull();
    this.#flush();
    this.#unsentBytes = this.#closed ? 0 : this.#link.unsentBytes();
    this.#end = 0;
    this.#count(this.#unsentBytes);
  }

  #lend(block: Uint8Array, end: number): void {
    if (this.#write(block, end) === Lent.KEPT) this.#kept.push(block);
    else this.#pool.release(block);
  }

  #write(block: Uint8Array, end: number): Lent {
    this.#counters.bytesSent += end;
    this.sentBytes += end;
    return this.#link.write(block, 0, end);
  }
}

const NO_BLOCK = new Uint8Array(0);
