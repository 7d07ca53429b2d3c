// Counts by name that hold for all shards together: connections of each user now, connections of each client in this minute. One table in shared memory for each, which whoever
// counts locks; that is done when a client comes or goes, never per message. Names are not in it, only keyed hashes of them.
//
//   header  Int32   0 lock · 1 tokens that were given · 2–5 secret of the hashes
//   slots   Int32   key (two words) · count · window
//
// Whoever holds the lock has put a token of its own there. A thread that ends in between would keep it for ever, so one that has stood there for a long time is taken over; what its thread did not
// finish is one count at the most.
//
// A name has its place among PLACE_SLOTS slots behind its hash. A slot whose count is 0, or was of another window, is free; so nothing has to be taken out or moved.
import { createHash } from 'node:crypto';
import type { Random } from '../random.ts';

const HEADER_BYTES = 32;
const SECRET_BYTES = 16;
const SLOT_BYTES = 16;
const SLOT_WORDS = SLOT_BYTES / 4;
const HEADER_WORDS = HEADER_BYTES / 4;
const Word = { LOCK: 0, TOKENS: 1 } as const;
const TOKEN_MASK = 0x3fff_ffff;
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
  readonly #secret: Buffer;
  readonly #slots: number;
  /** The key under way, taken apart before the lock: under it nothing is allocated. */
  #low = 0;
  #high = 0;
  #from = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#secret = Buffer.from(new Uint8Array(memory, 8, SECRET_BYTES));
    this.#slots = (memory.byteLength - HEADER_BYTES) / SLOT_BYTES;
  }

  /** What a name is counted under. */
  keyOf(name: string): bigint {
    return createHash('sha256').update(this.#secret).update(name).digest().readBigUInt64LE(0);
  }

  /** Counts one more in a window, unless there are `max` in it already, or no slot is left: then false. */
  enter(key: bigint, max: number, window = 0): boolean {
    this.#take(key);
    const token = this.#lock();
    const at = this.#find(window);
    const count = at < 0 || this.#isFree(at, window) ? 0 : this.#words[at + 2]!;
    const enters = at >= 0 && count < max;
    if (enters) {
      this.#words[at] = this.#low;
      this.#words[at + 1] = this.#high;
      this.#words[at + 2] = count + 1;
      this.#words[at + 3] = window;
    }
    this.#unlock(token);
    return enters;
  }

  /** How many there are of a key in a window. */
  count(key: bigint, window = 0): number {
    this.#take(key);
    const token = this.#lock();
    const at = this.#find(window);
    const count = at < 0 || this.#isFree(at, window) ? 0 : this.#words[at + 2]!;
    this.#unlock(token);
    return count;
  }

  /** Counts one less. */
  leave(key: bigint, window = 0): void {
    this.#take(key);
    const token = this.#lock();
    const at = this.#find(window);
    if (at >= 0 && !this.#isFree(at, window)) this.#words[at + 2] = this.#words[at + 2]! - 1;
    this.#unlock(token);
  }

  #take(key: bigint): void {
    this.#low = Number(BigInt.asIntN(32, key));
    this.#high = Number(BigInt.asIntN(32, key >> 32n));
    this.#from = Number(key % BigInt(this.#slots));
  }

  /** Where the slot of the key begins, else a free one, else -1. */
  #find(window: number): number {
    const words = this.#words;
    let free = -1;
    for (let i = 0; i < PLACE_SLOTS; i++) {
      const at = HEADER_WORDS + ((this.#from + i) % this.#slots) * SLOT_WORDS;
      if (this.#isFree(at, window)) free = free < 0 ? at : free;
      else if (words[at] === this.#low && words[at + 1] === this.#high) return at;
    }
    return free;
  }

  #isFree(at: number, window: number): boolean {
    return this.#words[at + 2] === 0 || this.#words[at + 3] !== window;
  }

  /** Returns the token that unlocks. */
  #lock(): number {
    const words = this.#words;
    const token = (Atomics.add(words, Word.TOKENS, 1) & TOKEN_MASK) + 1;
    let holder = Atomics.compareExchange(words, Word.LOCK, 0, token);
    for (let looks = 0; holder !== 0; looks++) {
      if (looks === LOOKS_MAX && Atomics.compareExchange(words, Word.LOCK, holder, token) === holder) break;
      Atomics.wait(words, Word.LOCK, holder, LOCK_LOOK_MS);
      const next = Atomics.compareExchange(words, Word.LOCK, 0, token);
      if (next !== holder) looks = 0;
      holder = next;
    }
    return token;
  }

  /** Leaves the lock alone where it was taken over. */
  #unlock(token: number): void {
    if (Atomics.compareExchange(this.#words, Word.LOCK, token, 0) === token) Atomics.notify(this.#words, Word.LOCK, 1);
  }
}

/** The holder needs less than a microsecond, unless its thread has to wait for a core. */
const LOCK_LOOK_MS = 1;
/** So many looks at one and the same token: its thread has ended. */
const LOOKS_MAX = 1_000;
