// HOT: no allocation, closures, strings, try or async per message.
// The slab of messages that must outlive the packet that brought them: queued, in flight to a session that can
// come back, or retained. Each is counted; the last release frees its bytes at once.
//
// A handle is index (24 bits) | generation (6 bits): a stale one finds nothing. Columns by index:
//   references  Int32   0 = free
//   generation  Uint8
//   page        Int32   index into #pages; the bytes lie at [offset, offset + length)
//   offset      Int32
//   topicBytes, propertyBytes, payloadBytes  Int32
//   flags       Uint8   QoS (2 bits) | retain << 2
//   expiresAt   Float64 wall clock ms, Infinity = never
//   stored      Int32   number under which a store keeps it, 0 for none
// Bytes are laid out as topic | properties | payload. Sizes up to 64 KiB are cells of 256 KiB pages, one size class (powers of
// two) to a page; larger ones have a page to themselves. A page goes back to the runtime with its last message, but for one of
// each class: what one size took must not be lost to the others.
import { copyBytes } from '../../protocol/bytes.ts';
import type { MessageView } from '../../protocol/publish.ts';

const INDEX_BITS = 24;
const INDEX_MASK = (1 << INDEX_BITS) - 1;
const GENERATION_MASK = 63;
const PAGE_BYTES = 262_144;
const CLASS_MIN_SHIFT = 6;
const CLASS_MAX_SHIFT = 16;

/** A handle in the slab; -1 stands for none. */
export type MessageHandle = number & { readonly __message: unique symbol };
export const NO_MESSAGE = -1 as MessageHandle;

/** The cells of one page that are free, as a stack of their numbers. */
class Cells {
  readonly free: Uint16Array;
  count: number;
  /** Place among the pages of the class that have a free cell; -1 while there is none. */
  at = -1;

  constructor(cells: number) {
    this.free = new Uint16Array(cells);
    this.count = cells;
    for (let cell = 0; cell < cells; cell++) this.free[cell] = cells - 1 - cell;
  }
}

export class MessageSlab {
  #capacity = 1_024;
  #references = new Int32Array(this.#capacity);
  #generation = new Uint8Array(this.#capacity);
  #page = new Int32Array(this.#capacity);
  #offset = new Int32Array(this.#capacity);
  #topicBytes = new Int32Array(this.#capacity);
  #propertyBytes = new Int32Array(this.#capacity);
  #payloadBytes = new Int32Array(this.#capacity);
  #flags = new Uint8Array(this.#capacity);
  #expiresAt = new Float64Array(this.#capacity);
  #stored = new Int32Array(this.#capacity);
  #freeIndexes: number[] = [];
  #next = 0;
  readonly #pages: (Uint8Array | null)[] = [];
  readonly #freePages: number[] = [];
  /** By page; null for one that holds a single message. */
  readonly #cells: (Cells | null)[] = [];
  /** Pages with a free cell, by size class. */
  readonly #open: number[][] = Array.from({ length: CLASS_MAX_SHIFT + 1 }, () => []);
  count = 0;
  bytes = 0;
  /** Bytes of all pages. */
  heldBytes = 0;

  /** Copies what `view` borrows; the caller holds the one reference. NO_MESSAGE when the slab's 16 million are in use. */
  add(view: MessageView): MessageHandle {
    const topicBytes = view.topicTo - view.topicFrom;
    const propertyBytes = view.propertiesTo - view.propertiesFrom;
    const payloadBytes = view.payloadTo - view.payloadFrom;
    const length = topicBytes + propertyBytes + payloadBytes;
    let index = this.#freeIndexes.pop();
    if (index === undefined) {
      if (this.#next > INDEX_MASK) return NO_MESSAGE;
      if (this.#next === this.#capacity) this.#grow();
      index = this.#next++;
    }
    this.#place(index, length);
    const page = this.#pages[this.#page[index]!]!;
    let at = this.#offset[index]!;
    at = copyBytes(view.topic, view.topicFrom, view.topicTo, page, at);
    at = copyBytes(view.properties, view.propertiesFrom, view.propertiesTo, page, at);
    copyBytes(view.payload, view.payloadFrom, view.payloadTo, page, at);
    this.#references[index] = 1;
    this.#topicBytes[index] = topicBytes;
    this.#propertyBytes[index] = propertyBytes;
    this.#payloadBytes[index] = payloadBytes;
    this.#flags[index] = view.qos | (view.retain << 2);
    this.#expiresAt[index] = view.expiresAtMs;
    this.#stored[index] = 0;
    this.count++;
    this.bytes += length;
    return ((this.#generation[index]! << INDEX_BITS) | index) as MessageHandle;
  }

  /** True and one more reference when the handle is live. */
  retain(handle: MessageHandle): boolean {
    const index = this.#indexOf(handle);
    if (index < 0) return false;
    this.#references[index] = this.#references[index]! + 1;
    return true;
  }

  /** Gives one reference back; the last one frees the bytes. A stale handle is ignored. */
  release(handle: MessageHandle): void {
    const index = this.#indexOf(handle);
    if (index < 0) return;
    const left = this.#references[index]! - 1;
    this.#references[index] = left;
    if (left !== 0) return;
    const length = this.#lengthOf(index);
    this.count--;
    this.bytes -= length;
    this.#generation[index] = (this.#generation[index]! + 1) & GENERATION_MASK;
    const page = this.#page[index]!;
    const cells = this.#cells[page]!;
    if (cells === null) this.#dropPage(page);
    else this.#freeCell(page, cells, classShift(length), this.#offset[index]!);
    this.#freeIndexes.push(index);
  }

  /** Points `view` at the message; it borrows until the handle's last release. False for a stale handle. */
  view(handle: MessageHandle, view: MessageView): boolean {
    const index = this.#indexOf(handle);
    if (index < 0) return false;
    const page = this.#pages[this.#page[index]!]!;
    const topicFrom = this.#offset[index]!;
    const propertiesFrom = topicFrom + this.#topicBytes[index]!;
    const payloadFrom = propertiesFrom + this.#propertyBytes[index]!;
    view.topic = page;
    view.topicFrom = topicFrom;
    view.topicTo = propertiesFrom;
    view.properties = page;
    view.propertiesFrom = propertiesFrom;
    view.propertiesTo = payloadFrom;
    view.payload = page;
    view.payloadFrom = payloadFrom;
    view.payloadTo = payloadFrom + this.#payloadBytes[index]!;
    view.qos = this.#flags[index]! & 3;
    view.retain = (this.#flags[index]! >> 2) & 1;
    view.dup = 0;
    view.packetId = 0;
    view.topicAlias = 0;
    view.expiryS = -1;
    view.expiresAtMs = this.#expiresAt[index]!;
    return true;
  }

  /** Size of topic, properties and payload together; 0 for a stale handle. */
  length(handle: MessageHandle): number {
    const index = this.#indexOf(handle);
    return index < 0 ? 0 : this.#lengthOf(index);
  }

  /** Number under which a store keeps the message; 0 for none, and for a stale handle. */
  stored(handle: MessageHandle): number {
    const index = this.#indexOf(handle);
    return index < 0 ? 0 : this.#stored[index]!;
  }

  setStored(handle: MessageHandle, number: number): void {
    const index = this.#indexOf(handle);
    if (index >= 0) this.#stored[index] = number;
  }

  expiresAtMs(handle: MessageHandle): number {
    const index = this.#indexOf(handle);
    return index < 0 ? Infinity : this.#expiresAt[index]!;
  }

  #indexOf(handle: MessageHandle): number {
    if (handle < 0) return -1;
    const index = handle & INDEX_MASK;
    return this.#references[index]! > 0 && this.#generation[index] === handle >>> INDEX_BITS ? index : -1;
  }

  #lengthOf(index: number): number {
    return this.#topicBytes[index]! + this.#propertyBytes[index]! + this.#payloadBytes[index]!;
  }

  #place(index: number, length: number): void {
    const shift = classShift(length);
    if (shift > CLASS_MAX_SHIFT) {
      this.#page[index] = this.#addPage(length, null);
      this.#offset[index] = 0;
      return;
    }
    const open = this.#open[shift]!;
    if (open.length === 0) this.#openPage(open, this.#addPage(PAGE_BYTES, new Cells(PAGE_BYTES >> shift)));
    const page = open[open.length - 1]!;
    const cells = this.#cells[page]!;
    cells.count--;
    this.#page[index] = page;
    this.#offset[index] = cells.free[cells.count]! << shift;
    if (cells.count > 0) return;
    open.pop();
    cells.at = -1;
  }

  #freeCell(page: number, cells: Cells, shift: number, offset: number): void {
    const open = this.#open[shift]!;
    cells.free[cells.count++] = offset >>> shift;
    if (cells.at < 0) this.#openPage(open, page);
    if (cells.count < cells.free.length || open.length === 1) return;
    const last = open.pop()!;
    if (last !== page) {
      open[cells.at] = last;
      this.#cells[last]!.at = cells.at;
    }
    this.#dropPage(page);
  }

  #openPage(open: number[], page: number): void {
    this.#cells[page]!.at = open.length;
    open.push(page);
  }

  #addPage(bytes: number, cells: Cells | null): number {
    const page = this.#freePages.pop() ?? this.#pages.length;
    this.#pages[page] = Buffer.allocUnsafeSlow(bytes);
    this.heldBytes += bytes;
    this.#cells[page] = cells;
    return page;
  }

  #dropPage(page: number): void {
    this.heldBytes -= this.#pages[page]!.length;
    this.#pages[page] = null;
    this.#cells[page] = null;
    this.#freePages.push(page);
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#references = widen(this.#references, new Int32Array(this.#capacity));
    this.#generation = widen(this.#generation, new Uint8Array(this.#capacity));
    this.#page = widen(this.#page, new Int32Array(this.#capacity));
    this.#offset = widen(this.#offset, new Int32Array(this.#capacity));
    this.#topicBytes = widen(this.#topicBytes, new Int32Array(this.#capacity));
    this.#propertyBytes = widen(this.#propertyBytes, new Int32Array(this.#capacity));
    this.#payloadBytes = widen(this.#payloadBytes, new Int32Array(this.#capacity));
    this.#flags = widen(this.#flags, new Uint8Array(this.#capacity));
    this.#expiresAt = widen(this.#expiresAt, new Float64Array(this.#capacity));
    this.#stored = widen(this.#stored, new Int32Array(this.#capacity));
  }
}

/** Exponent of the size class that holds `length` bytes; above CLASS_MAX_SHIFT it has no class. */
function classShift(length: number): number {
  if (length <= 1 << CLASS_MIN_SHIFT) return CLASS_MIN_SHIFT;
  return 32 - Math.clz32(length - 1);
}

function widen<T extends Int32Array | Uint8Array | Float64Array>(old: T, wide: T): T {
  wide.set(old);
  return wide;
}
