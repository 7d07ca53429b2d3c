// Counts by name that hold for all shards together: connections of each user now, connections of each client in this minute. One table in shared memory for each, which whoever
// counts locks; that is done when a client comes or goes, never per message. Names are not in it, only keyed hashes of them.
//
//   header  Int32   0 lock · 1 unused · 2–5 secret of the hashes
//   slots           of SLOT_BYTES: key (BigUint64), count (Int32), window (Int32)
//
// A name has its place among PLACE_SLOTS slots behind its hash. A slot whose count is 0, or was of another window, is free; so nothing has to be taken out or moved.
import { createHash } from 'node:crypto';
import type { Random } from '../random.ts';

const HEADER_BYTES = 32;
const SECRET_BYTES = 16;
const SLOT_BYTES = 16;
const PLACE_SLOTS = 32;

/** Memory of a table with room for `names` counts at one time; touched as it is used. */
export function allocateTallies(names: number, random: Random): SharedArrayBuffer {
  let slots = PLACE_SLOTS * 2;
  // Half full at most: so that the slots of one place are enough.
  while (slots < names * 2) slots *= 2;
  const memory = new SharedArrayBuffer(HEADER_BYTES + slots * SLOT_BYTES);
  new Uint8Array(memory, 8, SECRET_BYTES).set(random.bytes(SECRET_BYTES));
  return memory;
}

export class Tallies {
  readonly #words: Int32Array;
  readonly #keys: BigUint64Array;
  readonly #secret: Buffer;
  readonly #slots: number;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#keys = new BigUint64Array(memory);
    this.#secret = Buffer.from(new Uint8Array(memory, 8, SECRET_BYTES));
    this.#slots = (memory.byteLength - HEADER_BYTES) / SLOT_BYTES;
  }

  /** What a name is counted under. */
  keyOf(name: string): bigint {
    return createHash('sha256').update(this.#secret).update(name).digest().readBigUInt64LE(0);
  }

  /** Counts one more in a window, unless there are `max` in it already, or no slot is left: then false. */
  enter(key: bigint, max: number, window = 0): boolean {
    this.#lock();
    const slot = this.#find(key, window);
    const word = this.#wordOf(slot);
    const count = slot < 0 || this.#isFree(slot, window) ? 0 : this.#words[word]!;
    const enters = slot >= 0 && count < max;
    if (enters) {
      this.#keys[word / 2 - 1] = key;
      this.#words[word] = count + 1;
      this.#words[word + 1] = window;
    }
    this.#unlock();
    return enters;
  }

  /** How many there are of a key in a window. */
  count(key: bigint, window = 0): number {
    this.#lock();
    const slot = this.#find(key, window);
    const count = slot < 0 || this.#isFree(slot, window) ? 0 : this.#words[this.#wordOf(slot)]!;
    this.#unlock();
    return count;
  }

  /** Counts one less. */
  leave(key: bigint, window = 0): void {
    this.#lock();
    const slot = this.#find(key, window);
    const word = this.#wordOf(slot);
    if (slot >= 0 && !this.#isFree(slot, window)) this.#words[word] = this.#words[word]! - 1;
    this.#unlock();
  }

  /** The slot of a key, else a free one, else -1. */
  #find(key: bigint, window: number): number {
    const from = Number(key % BigInt(this.#slots));
    let free = -1;
    for (let i = 0; i < PLACE_SLOTS; i++) {
      const slot = (from + i) % this.#slots;
      if (this.#isFree(slot, window)) free = free < 0 ? slot : free;
      else if (this.#keys[this.#wordOf(slot) / 2 - 1] === key) return slot;
    }
    return free;
  }

  #isFree(slot: number, window: number): boolean {
    const word = this.#wordOf(slot);
    return this.#words[word] === 0 || this.#words[word + 1] !== window;
  }

  /** Where the count of a slot stands; its key stands before it, its window behind it. */
  #wordOf(slot: number): number {
    return (HEADER_BYTES + slot * SLOT_BYTES) / 4 + 2;
  }

  #lock(): void {
    while (Atomics.compareExchange(this.#words, 0, 0, 1) !== 0) Atomics.wait(this.#words, 0, 1, LOCK_LOOK_MS);
  }

  #unlock(): void {
    Atomics.store(this.#words, 0, 0);
    Atomics.notify(this.#words, 0, 1);
  }
}

/** The holder needs less than a microsecond, unless its thread has to wait for a core. */
const LOCK_LOOK_MS = 1;
