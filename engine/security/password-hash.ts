// The two kinds of password hash in Mosquitto's files, and the work of computing them off the event loop.
//
//   $7$<iterations>$<salt>$<hash>   PBKDF2-HMAC-SHA512 (RFC 8018), hash of 64 bytes
//   $6$<salt>$<hash>                SHA-512 of the password and then the salt; read for old files, never written
//
// Salt and hash are base64 (RFC 4648 §4, padded).
import { pbkdf2, webcrypto } from 'node:crypto';
import { promisify } from 'node:util';
import type { Random } from '../random.ts';

/**
 * Iterations of a new hash: the figure of the OWASP Password Storage Cheat Sheet for PBKDF2-HMAC-SHA512, about 0.1 s of one core at
 * every CONNECT. That is for passwords that people choose. A fleet with long random passwords loses nothing with fewer and reconnects
 * sooner, so the count is the operator's to set, and each line of a file keeps its own (mosquitto_passwd writes 101).
 */
export const ITERATIONS_DEFAULT = 210_000;
/** A line with more is refused: one CONNECT would hold a thread for seconds. */
export const ITERATIONS_MAX = 10_000_000;

const HASH_BYTES = 64;
/** What mosquitto_passwd uses; 96 bits never repeat by chance. */
const SALT_BYTES = 12;

export interface PasswordHash {
  /** Of PBKDF2; 0 for a `$6$` hash. */
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** Computes what a password gives under the salt and iterations of `known`. Tests count the calls. */
export type Derive = (known: PasswordHash, password: Uint8Array) => Promise<Uint8Array>;

const pbkdf2Async = promisify(pbkdf2);

/** Runs in the thread pool. */
export const derive: Derive = async (known, password) => {
  if (known.iterations > 0) return pbkdf2Async(password, known.salt, known.iterations, HASH_BYTES, 'sha512');
  const salted = new Uint8Array(password.length + known.salt.length);
  salted.set(password);
  salted.set(known.salt, password.length);
  try {
    return new Uint8Array(await webcrypto.subtle.digest('SHA-512', salted));
  } finally {
    salted.fill(0);
  }
};

/** The `$7$` text of a password with a new salt. Throws when `iterations` is not an integer from 1 to `ITERATIONS_MAX`. */
export async function hashPassword(password: string, random: Random, iterations: number = ITERATIONS_DEFAULT): Promise<string> {
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > ITERATIONS_MAX) {
    throw new Error(`iterations must be a whole number from 1 to ${ITERATIONS_MAX}`);
  }
  const salt = random.bytes(SALT_BYTES);
  const hash = await pbkdf2Async(password, salt, iterations, HASH_BYTES, 'sha512');
  return `$7$${iterations}$${Buffer.from(salt).toString('base64')}$${hash.toString('base64')}`;
}

/** Whether a field claims to be a hash of any kind, this file's or another. */
export function looksHashed(field: string): boolean {
  return /^\$[^$]*\$/.test(field);
}

/** Reads the field behind the user name; throws Error with what is wrong and nothing of the field. */
export function parsePasswordHash(field: string): PasswordHash {
  if (field === '') throw new Error('the password hash is missing; set it with `lethe passwd`');
  if (!looksHashed(field)) throw new Error('a password in plain text; run `lethe passwd -U` on this file');
  const parts = field.split('$');
  const kind = parts[1];
  if (kind !== '6' && kind !== '7') {
    throw new Error('unknown kind of password hash; $7$ and $6$ are supported, set it anew with `lethe passwd`');
  }
  const [iterationsText, saltText, hashText] = kind === '7' ? parts.slice(2) : ['0', ...parts.slice(2)];
  if (parts.length !== (kind === '7' ? 5 : 4)) throw new Error(`the $${kind}$ hash is broken; set it anew with \`lethe passwd\``);
  const iterations = Number(iterationsText);
  if (kind === '7' && (!/^[1-9]\d*$/.test(iterationsText!) || iterations > ITERATIONS_MAX)) {
    throw new Error(`the iterations must be a whole number from 1 to ${ITERATIONS_MAX}; set the hash anew with \`lethe passwd\``);
  }
  const salt = decodeBase64(saltText!);
  const hash = decodeBase64(hashText!);
  if (salt === null || hash === null || hash.length !== HASH_BYTES) {
    throw new Error('the salt or the hash is broken or cut short; set it anew with `lethe passwd`');
  }
  return { iterations, salt, hash };
}

/** Strict: Buffer.from skips what it does not know. Null for anything but the one encoding of at least one byte. */
function decodeBase64(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : null;
}
