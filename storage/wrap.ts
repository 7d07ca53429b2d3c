// Wraps 32-byte keys under another one with AES-256 (RFC 3394), many at once. The runtime's own cipher takes one key a call, most of which is
// spent on setting it up; here each of the 24 steps is one call for all of them.
//
// A key is four blocks R1..R4 of 8 bytes; A begins as IV. In step t = 1..24, for R of 1..4 in turn:  A | R = AES(A | R);  A = A xor t
import { type Cipher, createCipheriv, createDecipheriv, type Decipher } from 'node:crypto';

export const KEY_BYTES = 32;
export const WRAPPED_BYTES = 40;
const BLOCK = 8;
const PAIR = 16;
const BLOCKS = KEY_BYTES / BLOCK;
const STEPS = 6 * BLOCKS;
const IV = 0xa6;

export class KeyWrap {
  readonly #cipher: Cipher;
  readonly #decipher: Decipher;

  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
    this.#decipher = createDecipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  }

  /** `keys`, wrapped, one behind the other. */
  wrap(keys: readonly Uint8Array[]): Buffer {
    const wrapped = Buffer.allocUnsafe(keys.length * WRAPPED_BYTES);
    for (const [i, key] of keys.entries()) {
      wrapped.fill(IV, i * WRAPPED_BYTES, i * WRAPPED_BYTES + BLOCK);
      wrapped.set(key, i * WRAPPED_BYTES + BLOCK);
    }
    const pairs = Buffer.allocUnsafe(keys.length * PAIR);
    for (let t = 1; t <= STEPS; t++) {
      const block = BLOCK * (1 + ((t - 1) % BLOCKS));
      gather(wrapped, block, pairs, 0);
      scatter(this.#cipher.update(pairs), wrapped, block, t);
    }
    return wrapped;
  }

  /** The keys of what `wrap` gave; null for one that was not wrapped under this key, or is damaged. */
  unwrap(wrapped: Uint8Array): (Buffer | null)[] {
    const keys = Buffer.from(wrapped);
    const pairs = Buffer.allocUnsafe((keys.length / WRAPPED_BYTES) * PAIR);
    for (let t = STEPS; t >= 1; t--) {
      const block = BLOCK * (1 + ((t - 1) % BLOCKS));
      gather(keys, block, pairs, t);
      scatter(this.#decipher.update(pairs), keys, block, 0);
    }
    const found: (Buffer | null)[] = [];
    for (let at = 0; at < keys.length; at += WRAPPED_BYTES) {
      let difference = 0;
      for (let i = 0; i < BLOCK; i++) difference |= keys[at + i]! ^ IV;
      found.push(difference === 0 ? Buffer.from(keys.subarray(at + BLOCK, at + WRAPPED_BYTES)) : null);
    }
    return found;
  }
}

/** Brings A and one block of each key together, A with the step's number taken in. */
function gather(keys: Buffer, block: number, pairs: Buffer, t: number): void {
  for (let from = 0, to = 0; from < keys.length; from += WRAPPED_BYTES, to += PAIR) {
    for (let i = 0; i < BLOCK; i++) {
      pairs[to + i] = keys[from + i]!;
      pairs[to + BLOCK + i] = keys[from + block + i]!;
    }
    pairs[to + BLOCK - 1]! ^= t;
  }
}

function scatter(pairs: Buffer, keys: Buffer, block: number, t: number): void {
  for (let from = 0, to = 0; to < keys.length; from += PAIR, to += WRAPPED_BYTES) {
    for (let i = 0; i < BLOCK; i++) {
      keys[to + i] = pairs[from + i]!;
      keys[to + block + i] = pairs[from + BLOCK + i]!;
    }
    keys[to + BLOCK - 1]! ^= t;
  }
}
