// How a client is named outside of the broker: by a keyed pseudonym, the same for the same client as long as the key is. Who has the key can compute it from a client
// identifier (`lethe pseudonym`), nobody can go the other way, and without the key nobody can try guesses.
//
// The key is in the file that `admin.pseudonym_key_file` names; or in `pseudonym.key` in the data directory (32 bytes, mode 0600); or, where a master key guards a directory without that
// file, it is derived, so that nothing in the directory tells it. A broker with none of them draws one at each start: its pseudonyms end with it.
import { createHmac } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { syncFolder } from '../../storage/sync-folder.ts';
import type { Random } from '../random.ts';

/** What the key is derived for where there is a master key (storage/folder.ts, `folderKey`). */
export const PSEUDONYM_KEY_PURPOSE = 'lethe pseudonyms';

const KEY_FILE = 'pseudonym.key';
const KEY_BYTES = 32;
const PSEUDONYM_BYTES = 16;
/** RFC 4648 §6, in lower case. */
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** HMAC-SHA-256 of the client identifier, its first 16 bytes as 26 characters of base32. */
export function pseudonymOf(key: Uint8Array, clientId: string): string {
  return base32(createHmac('sha256', key).update(clientId, 'utf8').digest().subarray(0, PSEUDONYM_BYTES));
}

/** RFC 4648 §6 in lower case, without padding. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += ALPHABET[(held >>> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + ALPHABET[(held << (5 - bits)) & 31];
}

/** Where the key is: a named file, else a data directory; both empty: nowhere. */
export interface PseudonymKeySource {
  readonly file: string;
  readonly folder: string;
}

/**
 * The key of pseudonyms; made in the data directory when there is none yet, drawn for this process where there is no place for it.
 * @param derived what the master key gives; null: there is none
 * @throws Error in one line that names the file and says what to do
 */
export function pseudonymKey(source: PseudonymKeySource, random: Random, derived: Uint8Array | null): Uint8Array {
  const known = findPseudonymKey(source) ?? derived;
  if (known !== null) return known;
  const key = Uint8Array.from(random.bytes(KEY_BYTES));
  keepPseudonymKey(source, key);
  return key;
}

/** Writes a key into the data directory, where there is one and nothing else gives a key: for a directory whose master key does not give it, or will not any more. */
export function keepPseudonymKey({ file, folder }: PseudonymKeySource, key: Uint8Array): void {
  if (file !== '' || folder === '') return;
  const path = join(folder, KEY_FILE);
  if (existsSync(path)) return;
  const fresh = `${path}.new`;
  // Made under another name: a crash must not leave half a key.
  const descriptor = openSync(fresh, 'w', 0o600);
  writeSync(descriptor, key);
  fsyncSync(descriptor);
  closeSync(descriptor);
  renameSync(fresh, path);
  syncFolder(folder);
}

/** The key if there is one; null when the data directory has none, or there is none. @throws Error in one line */
export function findPseudonymKey({ file, folder }: PseudonymKeySource): Uint8Array | null {
  const path = file !== '' ? file : folder === '' ? '' : join(folder, KEY_FILE);
  if (path === '' || (file === '' && !existsSync(path))) return null;
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new Error(`${path}: the key of pseudonyms cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (bytes.length === KEY_BYTES) return Uint8Array.from(bytes);
  const text = bytes.toString('latin1').trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Uint8Array.from(Buffer.from(text, 'hex'));
  throw new Error(`${path}: is no key of pseudonyms; give ${KEY_BYTES} bytes or 64 hex digits (lethe key new makes one)`);
}
