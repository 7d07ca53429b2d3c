// One subscriber's account: every packet that arrives must be the PUBLISH that was asked for and carry a number, and the numbers
// must go up by one. Packets are all of one size, so they are found by walking, over the borders of chunks too.
import { PUBACK_BYTES, type PublishShape } from './packets.ts';
import type { Wire } from './wire.ts';

export class Receiver {
  received = 0;
  /** The number that comes next. */
  next = 0;
  /** Numbers that were jumped over. */
  lost = 0;
  /** Messages whose number had passed: duplicates, or out of order. */
  behind = 0;
  /** What arrived that should not have; nothing is read after it. */
  fault: string | null = null;
  readonly #shape: PublishShape;
  readonly #template: Uint8Array;
  readonly #acknowledger: Acknowledger | null;
  /** The packet that a chunk left unfinished. */
  readonly #carry: Uint8Array;
  #carried = 0;

  constructor(shape: PublishShape, acknowledger: Acknowledger | null) {
    this.#shape = shape;
    this.#template = shape.templates[0]!;
    this.#acknowledger = acknowledger;
    this.#carry = new Uint8Array(shape.bytes);
  }

  take(chunk: Uint8Array, from: number, to: number): void {
    if (this.fault !== null) return;
    const { bytes } = this.#shape;
    let at = from;
    if (this.#carried > 0) {
      at = this.#carryOn(chunk, from, to);
      if (this.#carried < bytes) return;
      this.#carried = 0;
      this.#account(this.#carry, 0);
    }
    for (; at + bytes <= to; at += bytes) this.#account(chunk, at);
    this.#carryOn(chunk, at, to);
    this.#acknowledger?.flush();
  }

  /** Messages that were sent and neither arrived nor were jumped over. */
  missing(sent: number): number {
    return sent - this.next;
  }

  #carryOn(chunk: Uint8Array, from: number, to: number): number {
    let at = from;
    while (at < to && this.#carried < this.#shape.bytes) this.#carry[this.#carried++] = chunk[at++]!;
    return at;
  }

  #account(block: Uint8Array, at: number): void {
    const { bytes, numberAt, packetIdAt } = this.#shape;
    const template = this.#template;
    const last = bytes - 1;
    if (block[at] !== template[0] || block[at + 1] !== template[1] || block[at + last] !== template[last]) {
      this.fault ??= `byte 0x${block[at]!.toString(16)} where a PUBLISH was due, after ${this.received} messages`;
      return;
    }
    const to = at + numberAt;
    const number = ((block[to]! << 24) | (block[to + 1]! << 16) | (block[to + 2]! << 8) | block[to + 3]!) >>> 0;
    this.received++;
    if (packetIdAt >= 0) this.#acknowledger?.add(block[at + packetIdAt]!, block[at + packetIdAt + 1]!);
    if (number < this.next) {
      this.behind++;
      return;
    }
    this.lost += number - this.next;
    this.next = number + 1;
  }
}

/** Answers what a chunk brought with one write of PUBACKs. */
export class Acknowledger {
  readonly #wire: Wire;
  /** Blocks that no write holds. */
  readonly #free: Buffer[] = [];
  #block: Buffer | null = null;
  #end = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  add(packetIdHigh: number, packetIdLow: number): void {
    let block = this.#block;
    if (block === null || this.#end + PUBACK_BYTES > block.length) {
      this.flush();
      block = this.#free.pop() ?? Buffer.alloc(ACK_BLOCK_BYTES);
      this.#block = block;
      this.#end = this.#wire.headroom;
    }
    block[this.#end++] = 0x40;
    block[this.#end++] = 2;
    block[this.#end++] = packetIdHigh;
    block[this.#end++] = packetIdLow;
  }

  flush(): void {
    const block = this.#block;
    if (block === null) return;
    this.#block = null;
    this.#wire.send(block, this.#end, () => this.#free.push(block));
  }
}

const ACK_BLOCK_BYTES = 4_096;
