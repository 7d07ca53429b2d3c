// A sealed value: bytes that must be forgotten one day, encrypted with AES-256-GCM (NIST SP 800-38D) under a key that seals nothing else
// and stands in a slot of the vault. And a sealed row: numbers only, under a key that lives as long as the store.
//
// Sealed value:  0 version u8 | 1 flags u8 | 2 - | 4 slot u32 | 8 count u32 | 12 check u32 | 16 last f64 | 24 since f64 | 32 until f64
//                40 nonce 12 | 52 - u32 | 56 tag 16 | 72 ciphertext         what stands before the nonce is authenticated with it
// Sealed row:    0 version u8 | 1 - | 8 epoch 16 | 24 counter f64 | 32 tag 16 | 48 ciphertext
//
// The check is over what stands before the tag. A value's facts are used without opening it, and a key is destroyed by the slot that
// they name: a broken bit there must not cost another value its key.
//
// A broken bit breaks the tag. The ciphertext is that of counter mode, so what the other bits hold is still there: `salvage` gives it, and
// the checks of the single records tell which of them are whole.
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import type { RandomBytes, Vault } from './vault.ts';

const VERSION = 1;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const CLEAR_BYTES = 40;
const CHECK_AT = 12;
const NONCE_AT = 40;
const TAG_AT = 56;
export const SEALED_HEADER_BYTES = 72;
const ROW_HEADER_BYTES = 48;
const ROW_TAG_AT = 32;

export const SealedFlag = {
  /** Some of its records refer to shared messages. */
  REFERENCES: 1,
} as const;

/** What can be known of a sealed value without its key. */
export interface SealedFacts {
  readonly flags: number;
  readonly slot: number;
  /** Records in it. */
  readonly count: number;
  /** Number of its last record. */
  readonly last: number;
  /** Wall clock in ms: when its oldest record was stored, and when the first of them must be forgotten (Infinity: never). */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** Encrypts `plain` under a fresh slot. The caller owns the slot: it destroys it when the value is removed. */
export function seal(
  vault: Vault,
  random: RandomBytes,
  plain: Uint8Array,
  facts: Omit<SealedFacts, 'slot'>,
): { value: Buffer; slot: number } {
  const slot = vault.take();
  const value = Buffer.allocUnsafe(SEALED_HEADER_BYTES + plain.length);
  value.fill(0, 0, SEALED_HEADER_BYTES);
  value[0] = VERSION;
  value[1] = facts.flags;
  value.writeUInt32LE(slot, 4);
  value.writeUInt32LE(facts.count, 8);
  value.writeDoubleLE(facts.last, 16);
  value.writeDoubleLE(facts.sinceMs, 24);
  value.writeDoubleLE(facts.untilMs, 32);
  value.set(random(NONCE_BYTES), NONCE_AT);
  value.writeInt32LE(factsCheck(new DataView(value.buffer, value.byteOffset, TAG_AT)), CHECK_AT);
  const cipher = createCipheriv('aes-256-gcm', vault.keyOf(slot), value.subarray(NONCE_AT, NONCE_AT + NONCE_BYTES));
  cipher.setAAD(value.subarray(0, CLEAR_BYTES));
  value.set(cipher.update(plain), SEALED_HEADER_BYTES);
  cipher.final();
  value.set(cipher.getAuthTag(), TAG_AT);
  return { value, slot };
}

/** The clear part of a sealed value; null when it is none of this version, or damaged. */
export function sealedFacts(value: Uint8Array): SealedFacts | null {
  if (value.length < SEALED_HEADER_BYTES || value[0] !== VERSION) return null;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (view.getInt32(CHECK_AT, true) !== factsCheck(view)) return null;
  return {
    flags: value[1]!,
    slot: view.getUint32(4, true),
    count: view.getUint32(8, true),
    last: view.getFloat64(16, true),
    sinceMs: view.getFloat64(24, true),
    untilMs: view.getFloat64(32, true),
  };
}

/** Each step is one to one in the word that it takes, so damage within one word is always found. */
function factsCheck(view: DataView): number {
  let hash = TAG_AT;
  for (let at = 0; at < TAG_AT; at += 4) {
    if (at === CHECK_AT) continue;
    hash = Math.imul(hash ^ view.getInt32(at, true), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Decrypts a sealed value. `whole` is false when its tag does not fit: the bytes are then what counter mode gives, to be judged one by one. */
export function unseal(vault: Vault, value: Uint8Array): { plain: Buffer; whole: boolean } | null {
  const facts = sealedFacts(value);
  if (facts === null) return null;
  let key: Buffer;
  try {
    key = vault.keyOf(facts.slot);
  } catch {
    return null;
  }
  const nonce = value.subarray(NONCE_AT, NONCE_AT + NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce);
  decipher.setAAD(value.subarray(0, CLEAR_BYTES));
  decipher.setAuthTag(value.subarray(TAG_AT, TAG_AT + TAG_BYTES));
  const plain = decipher.update(value.subarray(SEALED_HEADER_BYTES));
  try {
    decipher.final();
    return { plain, whole: true };
  } catch {
    // GCM encrypts in counter mode from 2 on; the bytes were decrypted above all the same.
    return { plain, whole: false };
  }
}

/** Seals and opens rows of numbers. One instance writes under one epoch, drawn at random; a counter makes each nonce unique. */
export class RowSealer {
  readonly #vault: Vault;
  readonly #epoch: Buffer;
  readonly #keys = new Map<string, Buffer>();
  readonly #nonce = Buffer.alloc(NONCE_BYTES);
  #counter = 0;

  constructor(vault: Vault, random: RandomBytes) {
    this.#vault = vault;
    this.#epoch = Buffer.from(random(16));
  }

  seal(plain: Uint8Array): Buffer {
    const value = Buffer.alloc(ROW_HEADER_BYTES + plain.length);
    value[0] = VERSION;
    this.#epoch.copy(value, 8);
    value.writeDoubleLE(++this.#counter, 24);
    const cipher = createCipheriv('aes-256-gcm', this.#keyOf(this.#epoch), this.#nonceOf(value));
    value.set(cipher.update(plain), ROW_HEADER_BYTES);
    cipher.final();
    value.set(cipher.getAuthTag(), ROW_TAG_AT);
    return value;
  }

  /** The row's bytes, or null when it is broken. */
  open(value: Uint8Array): Buffer | null {
    if (value.length < ROW_HEADER_BYTES || value[0] !== VERSION) return null;
    const decipher = createDecipheriv('aes-256-gcm', this.#keyOf(value.subarray(8, 24)), this.#nonceOf(value));
    decipher.setAuthTag(value.subarray(ROW_TAG_AT, ROW_TAG_AT + TAG_BYTES));
    const plain = decipher.update(value.subarray(ROW_HEADER_BYTES));
    try {
      decipher.final();
      return plain;
    } catch {
      return null;
    }
  }

  #nonceOf(value: Uint8Array): Buffer {
    this.#nonce.set(value.subarray(24, 32), 0);
    return this.#nonce;
  }

  #keyOf(epoch: Uint8Array): Buffer {
    const name = Buffer.from(epoch.buffer, epoch.byteOffset, epoch.length).toString('latin1');
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = Buffer.from(hkdfSync('sha256', this.#vault.rowKey('rows'), epoch, 'lethe spool v1 row epoch', 32));
      if (this.#keys.size >= 1_024) this.#keys.clear();
      this.#keys.set(name, key);
    }
    return key;
  }
}
