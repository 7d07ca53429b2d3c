// Every key that can be had from what lies in a data directory, and from the master keys that the searcher was given. It is written from
// the description of the key file, not with the vault's code: it looks for headers and slots wherever they may be, old copies included.
import { createDecipheriv, hkdfSync } from 'node:crypto';
import type { RawFile } from './files.ts';

export interface FoundKeys {
  /** Keys by the number of the slot in which they stand: more than one when there are several key files. */
  readonly slots: ReadonlyMap<number, readonly Buffer[]>;
  /** Keys of rows that hold numbers only. */
  readonly rows: readonly Buffer[];
  /** All of them, whatever they were made for. */
  readonly all: readonly Buffer[];
}

export const NO_KEYS: FoundKeys = { slots: new Map(), rows: [], all: [] };

const MAGIC = Buffer.from('LETHEKEY');
const HEADER_BYTES = 76;
const SALT_AT = 16;
const WRAPPED_AT = 32;
const SLOTS_FROM = 4_096;
const WRAPPED_BYTES = 40;
const NOTHING = new Uint8Array(0);
/** Wrapped keys are looked for at every eighth byte of a key file that is no larger. */
const EVERYWHERE_BYTES_MAX = 131_072;

/** @param everywhere looks for wrapped keys between the slots too */
export function findKeys(files: readonly RawFile[], masters: readonly Uint8Array[], everywhere: boolean): FoundKeys {
  const slots = new Map<number, Buffer[]>();
  const rows: Buffer[] = [];
  const all: Buffer[] = [...masters.map((master) => Buffer.from(master))];
  const wrapping: Buffer[] = [];
  const keyFiles: Buffer[] = [];
  for (const { stretches } of files) {
    for (const { bytes } of stretches) {
      let hasHeader = false;
      for (let at = bytes.indexOf(MAGIC); at >= 0; at = bytes.indexOf(MAGIC, at + 1)) {
        if (at + HEADER_BYTES > bytes.length) continue;
        hasHeader = true;
        for (const storeKey of openHeader(bytes.subarray(at, at + HEADER_BYTES), masters, all)) {
          const slotKey = derive(storeKey, 'lethe spool v1 slots');
          const rowKey = derive(storeKey, 'lethe spool v1 rows');
          all.push(storeKey, slotKey, rowKey);
          rows.push(rowKey);
          wrapping.push(slotKey);
        }
      }
      if (hasHeader) keyFiles.push(bytes);
    }
  }
  const wrappingKeys = distinct(everywhere ? all : wrapping);
  for (const bytes of keyFiles) {
    const step = everywhere && bytes.length <= EVERYWHERE_BYTES_MAX ? 8 : WRAPPED_BYTES;
    for (let at = step === 8 ? 0 : SLOTS_FROM; at + WRAPPED_BYTES <= bytes.length; at += step) {
      for (const key of unwrapWithAny(wrappingKeys, bytes.subarray(at, at + WRAPPED_BYTES))) {
        all.push(key);
        const slot = (at - SLOTS_FROM) / WRAPPED_BYTES;
        if (Number.isInteger(slot) && slot >= 0) slots.set(slot, [...(slots.get(slot) ?? []), key]);
      }
    }
  }
  return { slots, rows: distinct(rows), all: distinct(all) };
}

/** Store keys in a header, by each master key and by none; the keys that wrap them are noted too. */
function openHeader(header: Buffer, masters: readonly Uint8Array[], all: Buffer[]): Buffer[] {
  const salt = header.subarray(SALT_AT, WRAPPED_AT);
  const found: Buffer[] = [];
  for (const master of [NOTHING, ...masters]) {
    const headerKey = Buffer.from(hkdfSync('sha256', master, salt, 'lethe spool v1 header', 32));
    all.push(headerKey);
    found.push(...unwrapWithAny([headerKey], header.subarray(WRAPPED_AT, WRAPPED_AT + WRAPPED_BYTES)));
  }
  return found;
}

/** RFC 3394: what unwraps is a key, but for one case in 2^64. */
function unwrapWithAny(wrappingKeys: readonly Buffer[], wrapped: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (const wrappingKey of wrappingKeys) {
    const decipher = createDecipheriv('id-aes256-wrap', wrappingKey, Buffer.alloc(8, 0xa6));
    try {
      found.push(Buffer.concat([decipher.update(wrapped), decipher.final()]));
    } catch {
      // not by this one
    }
  }
  return found;
}

export function derive(key: Uint8Array, purpose: string, salt: Uint8Array = NOTHING): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, purpose, 32));
}

function distinct(keys: readonly Buffer[]): Buffer[] {
  return [...new Map(keys.map((key) => [key.toString('latin1'), key])).values()];
}
