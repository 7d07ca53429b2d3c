// The keys of the spool, in one small file that is overwritten in place. Each sealed value has a key of its own in a slot; when the value
// is no longer needed its slot is overwritten with a fresh random key and flushed. That is the erasure: whatever the file system or
// LMDB's free pages still hold of the value is ciphertext without a key from then on. The fresh key serves the next value, so
// sealing a value writes nothing here.
//
//   0     header    magic 8 | version u32 | flags u32 (1: a master key wraps it) | salt 16 | wrapped store key 40 | check u32
//   2048  header    the same again: one of the two is whole at every moment of a rotation
//   4096  slots     40 bytes each: a 32-byte key, wrapped (RFC 3394) under a key that is derived from the store key
//
// Invariants: a key seals one value, ever; a slot is either free or named by exactly one value; a slot's key is durable before it is
// used. At start every slot that no value names is made anew, so what a crash left half done is erased too.
import { createHash, hkdfSync } from 'node:crypto';
import { KEY_BYTES, KeyWrap, WRAPPED_BYTES } from './wrap.ts';

const MAGIC = Buffer.from('LETHEKEY');
const VERSION = 1;
const FLAG_MASTER = 1;
const HEADER_BYTES = 76;
const HEADER_COPIES = [0, 2_048] as const;
const SLOTS_FROM = 4_096;
export const SLOT_BYTES = WRAPPED_BYTES;
const SLOTS_MIN = 1_024;
const SLOTS_MAX = 0x7fff_ffff;

/** A file as the vault needs it: `sync` returns once every earlier write would survive a power cut. All of it may throw DiskError. */
export interface KeyFile {
  size(): number;
  read(at: number, bytes: number): Buffer;
  write(at: number, bytes: Uint8Array): void;
  truncate(bytes: number): void;
  sync(): void;
  close(): void;
}

/** Random bytes of cryptographic quality. */
export type RandomBytes = (bytes: number) => Uint8Array;

/** The key file cannot be used; nothing was written. `code` says why. */
export class VaultError extends Error {
  readonly code: 'wrong master key' | 'master key missing' | 'master key not expected' | 'broken';

  constructor(code: VaultError['code'], message: string) {
    super(message);
    this.name = 'VaultError';
    this.code = code;
  }
}

interface Header {
  readonly storeKey: Buffer;
  readonly hasMaster: boolean;
}

export class Vault {
  /** Whether a master key wraps the slots; otherwise the file's mode alone protects them. */
  readonly hasMaster: boolean;
  /** What the checks of records begin with (records.ts). */
  readonly checkSeed: number;
  readonly #file: KeyFile;
  readonly #random: RandomBytes;
  readonly #wrap: KeyWrap;
  readonly #storeKey: Buffer;
  readonly #slotsMin: number;
  #slots = 0;
  /** Free slots and the keys that stand in them, durable, never used. */
  readonly #free: number[] = [];
  readonly #freeKeys: Buffer[] = [];
  /** Taken since the last start and read often: a slot's key by its number, bounded. */
  readonly #recent = new Map<number, Buffer>();

  private constructor(file: KeyFile, header: Header, random: RandomBytes, slotsMin: number) {
    this.#file = file;
    this.#random = random;
    this.#slotsMin = slotsMin;
    this.hasMaster = header.hasMaster;
    this.#storeKey = header.storeKey;
    this.checkSeed = derive(header.storeKey, 'record checks').readInt32LE(0);
    this.#wrap = new KeyWrap(derive(header.storeKey, 'slots'));
    this.#slots = Math.max(0, Math.floor((file.size() - SLOTS_FROM) / SLOT_BYTES));
  }

  /** Makes a new key file. `master` is null for none; `slotsMin`: the file holds so many slots at least, and grows by so many. */
  static create(file: KeyFile, master: Uint8Array | null, random: RandomBytes, slotsMin = SLOTS_MIN): Vault {
    const storeKey = Buffer.from(random(KEY_BYTES));
    const header = encodeHeader(storeKey, master, random);
    file.truncate(0);
    file.write(0, new Uint8Array(SLOTS_FROM));
    for (const at of HEADER_COPIES) file.write(at, header);
    file.sync();
    return new Vault(file, { storeKey, hasMaster: master !== null }, random, slotsMin);
  }

  /** Opens a key file; writes nothing. @throws VaultError */
  static open(file: KeyFile, master: Uint8Array | null, random: RandomBytes, slotsMin = SLOTS_MIN): Vault {
    return new Vault(file, readHeader(file, master), random, slotsMin);
  }

  /**
   * Wraps the store key under another master key, one header copy after the other. The slots stay as they are, and so does a broker
   * that runs on them. @throws VaultError when `master` is not the key that wraps it now
   */
  static rotate(file: KeyFile, master: Uint8Array | null, next: Uint8Array | null, random: RandomBytes): void {
    const { storeKey } = readHeader(file, master);
    const header = encodeHeader(storeKey, next, random);
    for (const at of HEADER_COPIES) {
      file.write(at, header);
      file.sync();
    }
  }

  /** A key for a purpose outside of the spool; the master key may be rotated meanwhile. @throws VaultError */
  static keyOf(file: KeyFile, master: Uint8Array | null, purpose: string): Uint8Array {
    const { storeKey } = readHeader(file, master);
    const key = derive(storeKey, purpose);
    storeKey.fill(0);
    return key;
  }

  /** Slots in the file, free ones included. */
  get slots(): number {
    return this.#slots;
  }

  get freeSlots(): number {
    return this.#free.length;
  }

  /** Key for rows that hold numbers only, by purpose; lives as long as the store. */
  rowKey(purpose: string): Buffer {
    return derive(this.#storeKey, purpose);
  }

  /** Makes every slot anew that `isUsed` does not name, and gives back what stands behind the last used one. Once, at start. */
  keepOnly(isUsed: (slot: number) => boolean, lastUsed: number): void {
    const unused: number[] = [];
    for (let slot = 0; slot < this.#slots; slot++) if (!isUsed(slot)) unused.push(slot);
    // The lowest ones are taken first: the file stays short.
    this.#refresh(unused.reverse());
    const kept = Math.max(lastUsed + 1, this.#slotsMin);
    if (kept < this.#slots) {
      this.#file.truncate(SLOTS_FROM + kept * SLOT_BYTES);
      this.#slots = kept;
    }
    for (let i = this.#free.length - 1; i >= 0; i--) {
      if (this.#free[i]! < this.#slots) continue;
      this.#free.splice(i, 1);
      this.#freeKeys.splice(i, 1);
    }
  }

  /** Takes a free slot; its key has sealed nothing before. The caller destroys it. */
  take(): number {
    if (this.#free.length === 0) this.#grow();
    const slot = this.#free.pop()!;
    this.#remember(slot, this.#freeKeys.pop()!);
    return slot;
  }

  /** The key of a taken slot. */
  keyOf(slot: number): Buffer {
    const recent = this.#recent.get(slot);
    if (recent !== undefined) return recent;
    if (slot >= this.#slots) throw new VaultError('broken', `the key file has no slot ${slot}`);
    // Values that were written together stand in slots side by side, and are read together.
    const count = Math.min(AHEAD, this.#slots - slot);
    const keys = this.#wrap.unwrap(this.#file.read(SLOTS_FROM + slot * SLOT_BYTES, count * SLOT_BYTES));
    for (const [i, key] of keys.entries()) if (key !== null && !this.#recent.has(slot + i)) this.#remember(slot + i, key);
    const found = keys[0] ?? null;
    if (found === null) throw new VaultError('broken', 'a key of the spool does not unwrap');
    return found;
  }

  /** Overwrites the keys of `slots` and flushes: after this returns what they sealed cannot be read by anybody. */
  destroy(slots: readonly number[]): void {
    if (slots.length === 0) return;
    for (const slot of slots) this.#recent.delete(slot);
    this.#refresh(slots);
  }

  close(): void {
    for (const key of this.#freeKeys) key.fill(0);
    for (const key of this.#recent.values()) key.fill(0);
    this.#storeKey.fill(0);
    this.#file.close();
  }

  /** Writes fresh keys into slots, neighbours in one write, and lists them as free once they are durable. */
  #refresh(slots: readonly number[]): void {
    const drawn = Buffer.from(this.#random(slots.length * KEY_BYTES));
    const keys = slots.map((_, i) => drawn.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES));
    const rising = slots.map((_, i) => i).sort((a, b) => slots[a]! - slots[b]!);
    for (let i = 0; i < rising.length; ) {
      const first = slots[rising[i]!]!;
      const side: Buffer[] = [];
      for (; i < rising.length && slots[rising[i]!] === first + side.length; i++) side.push(keys[rising[i]!]!);
      this.#file.write(SLOTS_FROM + first * SLOT_BYTES, this.#wrap.wrap(side));
    }
    this.#file.sync();
    for (const slot of slots) this.#free.push(slot);
    for (const key of keys) this.#freeKeys.push(key);
  }

  #remember(slot: number, key: Buffer): void {
    if (this.#recent.size >= RECENT_MAX) this.#recent.delete(this.#recent.keys().next().value!);
    this.#recent.set(slot, key);
  }

  #grow(): void {
    const from = this.#slots;
    if (from >= SLOTS_MAX) throw new Error('vault: the key file is full');
    const count = Math.min(Math.max(this.#slotsMin, from >> 2), SLOTS_MAX - from);
    this.#refresh(Array.from({ length: count }, (_, i) => from + count - 1 - i));
    this.#slots += count;
  }
}

/** Keys of values that may be read again soon are remembered; the rest is unwrapped when it is needed. */
const RECENT_MAX = 4_096;
/** Slots that are read and unwrapped at once. */
const AHEAD = 16;

function derive(key: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), `lethe spool v1 ${purpose}`, KEY_BYTES));
}

/** Key Encryption Key of the header; without a master key it protects nothing, and the flag says so. */
function headerKey(master: Uint8Array | null, salt: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', master ?? new Uint8Array(0), salt, 'lethe spool v1 header', KEY_BYTES));
}

function encodeHeader(storeKey: Uint8Array, master: Uint8Array | null, random: RandomBytes): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const salt = random(16);
  MAGIC.copy(header, 0);
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(master === null ? 0 : FLAG_MASTER, 12);
  header.set(salt, 16);
  new KeyWrap(headerKey(master, salt)).wrap([storeKey]).copy(header, 32);
  header.writeUInt32LE(headerCheck(header), HEADER_BYTES - 4);
  return header;
}

function headerCheck(header: Buffer): number {
  return createHash('sha256')
    .update(header.subarray(0, HEADER_BYTES - 4))
    .digest()
    .readUInt32LE(0);
}

function readHeader(file: KeyFile, master: Uint8Array | null): Header {
  const copies = HEADER_COPIES.map((at) => file.read(at, HEADER_BYTES)).filter(
    (copy) =>
      copy.length === HEADER_BYTES &&
      copy.subarray(0, 8).equals(MAGIC) &&
      copy.readUInt32LE(HEADER_BYTES - 4) === headerCheck(copy),
  );
  if (copies.length === 0) throw new VaultError('broken', 'the key file is not one of Lethe, or its header is broken');
  const version = copies[0]!.readUInt32LE(8);
  if (version !== VERSION)
    throw new VaultError('broken', `the key file has format ${version}; this version reads format ${VERSION}`);
  // During a rotation the two copies can belong to two master keys: either will do.
  for (const copy of copies) {
    const hasMaster = (copy.readUInt32LE(12) & FLAG_MASTER) !== 0;
    if (hasMaster !== (master !== null)) continue;
    const [storeKey] = new KeyWrap(headerKey(master, copy.subarray(16, 32))).unwrap(copy.subarray(32, 72));
    if (storeKey) return { storeKey, hasMaster }; // otherwise the other copy may have it
  }
  const wants = copies.some((copy) => (copy.readUInt32LE(12) & FLAG_MASTER) !== 0);
  if (wants && master === null)
    throw new VaultError('master key missing', 'the spool is wrapped by a master key, and none is configured');
  if (!wants) throw new VaultError('master key not expected', 'a master key is configured, and the spool was made without one');
  throw new VaultError('wrong master key', 'the configured master key is not the one that wraps this spool');
}
