// HOT: no allocation, closures, strings, try or async per message.
// Cuts a byte stream into control packets (MQTT 5.0 §2.1) and judges the fixed header's length, nothing else.
//
// A packet that lies whole in the chunk is shown where it lies. One that crosses chunks is gathered in a carry buffer,
// which grows with the bytes that came, never to what the length claims. A carry buffer is used for one packet and
// then left to whoever still looks at it: what `next` showed is not overwritten by a later `next` or `feed`. Large ones come
// from a pool when there is one, and go back to it by `settle`.
import { copyBytes } from './bytes.ts';
import { fault, Reason } from './packet.ts';

export const Frame = { NEED_MORE: 0, PACKET: 1 } as const;

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const TOO_LARGE = fault(Reason.PACKET_TOO_LARGE);
const NONE = new Uint8Array(0);
/** V8 keeps typed arrays of up to 64 bytes on its own heap, where they cost next to nothing. */
const CARRY_BYTES_MIN = 64;
/** A carry buffer of this many bytes is worth a pool, whose blocks may be twice as large. */
const POOLED_BYTES_MIN = 33_280;

/** Where large carry buffers come from. */
export interface CarryPool {
  /** Of at least so many bytes, whatever is in them; owned until `release`. */
  acquire(bytes: number): Uint8Array;
  release(block: Uint8Array): void;
}

export class Framer {
  /** Largest packet accepted, fixed header included, in bytes. Read when a packet's length becomes known. */
  packetBytesMax: number;

  /** The packet that `next` found: byte 1 at `packetFrom` of `buffer`, variable header from `bodyFrom`, end at `bodyTo`. */
  buffer: Uint8Array = NONE;
  header = 0;
  packetFrom = 0;
  bodyFrom = 0;
  bodyTo = 0;

  /** The lent chunk: what of it was not looked at is [#at, #end). */
  #chunk: Uint8Array = NONE;
  #at = 0;
  #end = 0;
  /** The unfinished packet: its first #carried bytes. */
  #carry: Uint8Array = NONE;
  #carried = 0;
  /** The carry buffer of the packet that was completed last, while it may be looked at and is the pool's. */
  #spent: Uint8Array = NONE;
  readonly #pool: CarryPool | null;
  #fault = 0;

  constructor(packetBytesMax: number, pool: CarryPool | null = null) {
    this.packetBytesMax = packetBytesMax;
    this.#pool = pool;
  }

  /** Memory kept between chunks, in bytes. */
  get heldBytes(): number {
    return this.#carry.length;
  }

  /** Lends bytes [from, to) of `chunk`, until `next` says NEED_MORE or a fault. The chunk before must be used up. */
  feed(chunk: Uint8Array, from: number, to: number): void {
    if (this.#at !== this.#end) throw new Error('framer: fed before the last chunk was used up');
    if (this.#fault !== 0) return;
    this.#chunk = chunk;
    this.#at = from;
    this.#end = to;
  }

  /**
   * Finds the next packet. Returns PACKET and describes it in the fields; NEED_MORE when the chunk is used up and no
   * longer referenced; or a fault, which stays: MALFORMED_PACKET for a length of more than four bytes or not in its
   * shortest form [MQTT-1.5.5-1], PACKET_TOO_LARGE once the length is known and before the body is kept.
   */
  next(): number {
    if (this.#carried !== 0) return this.#nextCarried();
    const chunk = this.#chunk;
    const from = this.#at;
    const bytes = packetBytes(chunk, from, this.#end);
    if (bytes <= 0 || bytes > this.packetBytesMax || from + bytes > this.#end) return this.#nextPartial(bytes);
    this.#at = from + bytes;
    this.#show(chunk, from, bytes);
    return Frame.PACKET;
  }

  /** Where in the chunk the next packet begins; its end once it is used up. */
  get at(): number {
    return this.#at;
  }

  /** Leaves the rest of the chunk, which then counts as used up: where it begins. */
  leave(): number {
    const from = this.#at;
    this.#at = this.#end;
    this.#chunk = NONE;
    return from;
  }

  /** To be called once what `next` has shown is no longer looked at, whatever became of the connection. */
  settle(): void {
    if (this.#spent === NONE) return;
    this.#pool!.release(this.#spent);
    this.#spent = NONE;
    this.buffer = NONE;
  }

  /** Drops every byte and buffer but those that were shown and that `settle` gives back; a fault stays. */
  release(): void {
    this.#giveBack(this.#carry);
    this.buffer = NONE;
    this.#chunk = NONE;
    this.#at = 0;
    this.#end = 0;
    this.#carry = NONE;
    this.#carried = 0;
  }

  #show(buffer: Uint8Array, from: number, bytes: number): void {
    // Storing a reference costs a write barrier, and most packets lie in the buffer of the one before.
    if (this.buffer !== buffer) this.buffer = buffer;
    this.header = buffer[from]!;
    this.packetFrom = from;
    let bodyFrom = from + 2;
    while (buffer[bodyFrom - 1]! >= 128) bodyFrom++;
    this.bodyFrom = bodyFrom;
    this.bodyTo = from + bytes;
  }

  /** The chunk ends inside a packet of `bytes` bytes (0: not known yet), or shows a fault. */
  #nextPartial(bytes: number): number {
    if (bytes < 0) return this.#fail(bytes);
    if (this.#fault !== 0) return this.#fault;
    if (bytes > this.packetBytesMax) return this.#fail(TOO_LARGE);
    this.#gather(this.#end - this.#at, bytes);
    this.#chunk = NONE;
    this.buffer = NONE;
    return Frame.NEED_MORE;
  }

  /** Completes the packet in the carry buffer, copying no byte beyond it. */
  #nextCarried(): number {
    let bytes = packetBytes(this.#carry, 0, this.#carried);
    while (bytes === 0 && this.#at < this.#end) {
      this.#gather(1, 0);
      bytes = packetBytes(this.#carry, 0, this.#carried);
    }
    if (bytes < 0) return this.#fail(bytes);
    if (bytes > this.packetBytesMax) return this.#fail(TOO_LARGE);
    if (bytes > 0) this.#gather(Math.min(bytes - this.#carried, this.#end - this.#at), bytes);
    if (bytes === 0 || this.#carried < bytes) {
      this.#chunk = NONE;
      this.buffer = NONE;
      return Frame.NEED_MORE;
    }
    this.#show(this.#carry, 0, bytes);
    if (this.#isPooled(this.#carry)) this.#spent = this.#carry;
    this.#carry = NONE;
    this.#carried = 0;
    return Frame.PACKET;
  }

  /** Moves `count` bytes of the chunk to the carry buffer, which grows at least twofold but not past a known length. */
  #gather(count: number, packetBytesKnown: number): void {
    const needed = this.#carried + count;
    if (needed > this.#carry.length) {
      const doubled = Math.max(CARRY_BYTES_MIN, needed, this.#carry.length * 2);
      const grown = this.#acquire(packetBytesKnown > 0 ? Math.min(doubled, packetBytesKnown) : doubled);
      copyBytes(this.#carry, 0, this.#carried, grown, 0);
      this.#giveBack(this.#carry);
      this.#carry = grown;
    }
    copyBytes(this.#chunk, this.#at, this.#at + count, this.#carry, this.#carried);
    this.#carried = needed;
    this.#at += count;
  }

  #acquire(bytes: number): Uint8Array {
    return this.#pool === null || bytes < POOLED_BYTES_MIN ? new Uint8Array(bytes) : this.#pool.acquire(bytes);
  }

  #giveBack(carry: Uint8Array): void {
    if (this.#isPooled(carry)) this.#pool!.release(carry);
  }

  #isPooled(carry: Uint8Array): boolean {
    return this.#pool !== null && carry.length >= POOLED_BYTES_MIN;
  }

  #fail(reason: number): number {
    this.release();
    this.#fault = reason;
    return reason;
  }
}

/** Size of the packet at `from`, fixed header included; 0 while its length is not known by `to`; or MALFORMED_PACKET. */
function packetBytes(buffer: Uint8Array, from: number, to: number): number {
  let at = from + 1;
  if (at >= to) return 0;
  let byte = buffer[at++]!;
  if (byte < 128) return 2 + byte;
  let length = byte & 127;
  for (let shift = 7; shift <= 21; shift += 7) {
    if (at >= to) return 0;
    byte = buffer[at++]!;
    length |= (byte & 127) << shift;
    if (byte < 128) return byte === 0 ? MALFORMED : at - from + length;
  }
  return MALFORMED;
}
