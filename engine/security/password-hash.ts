// The kinds of password hash in a password file, and the work of computing them off the event loop.
//
//   $scrypt$ln=<log2 N>,r=<r>,p=<p>$<salt>$<hash>               scrypt (RFC 7914), in the PHC string format; what `lethe passwd` writes
//   $scram-sha-256$<rounds>$<salt>$<stored key>$<server key>    SCRAM-SHA-256 (RFC 7677); also checks a password that CONNECT brings
//   $7$<iterations>$<salt>$<hash>                               Mosquitto's: PBKDF2-HMAC-SHA512 (RFC 8018), hash of 64 bytes
//   $6$<salt>$<hash>                                            Mosquitto's old one: SHA-512 of password and salt; read, never written
//
// Binary fields are base64 (RFC 4648 §4), without padding in the first kind, with it in the others. Costs of all kinds are counted in one unit, an iteration of
// PBKDF2-HMAC-SHA512 (0.45 µs here): one N·r·p of scrypt costs 0.8 to 1.5 of them, one round of SCRAM half of one.
import { pbkdf2, type ScryptOptions, scrypt, webcrypto } from 'node:crypto';
import { promisify } from 'node:util';
import type { Random } from '../random.ts';
import { preparePassword, scramKeys } from './scram-keys.ts';

/** Parameters of a new scrypt hash, from the OWASP Password Storage Cheat Sheet: 32 MiB and about 0.3 s of one core at every CONNECT. */
const SCRYPT_DEFAULT = { ln: 15, r: 8, p: 3 };
/**
 * Iterations of a new Mosquitto hash: the figure of the same sheet for PBKDF2-HMAC-SHA512, about 0.1 s of one core at every CONNECT. That is for passwords that people choose. A
 * fleet with long random passwords loses nothing with fewer and reconnects sooner, so the count is the operator's to set, and each line of a file keeps its own (mosquitto_passwd writes 101).
 */
export const ITERATIONS_DEFAULT = 210_000;
/** Rounds of new SCRAM keys: the sheet's figure for PBKDF2-HMAC-SHA256. The client has this work, at every CONNECT. */
export const SCRAM_ITERATIONS_DEFAULT = 600_000;
/** RFC 7677 §4. */
export const SCRAM_ITERATIONS_MIN = 4_096;
/** A line that costs more is refused: one CONNECT would hold a thread for seconds. */
export const ITERATIONS_MAX = 10_000_000;
/** A line of scrypt that needs more is refused. As many hashes run at once as Node's pool has threads, four unless told otherwise. */
const SCRYPT_BYTES_MAX = 134_217_728;
const SCRYPT_BLOCKS_MAX = 1_048_576;

const SHA512_BYTES = 64;
const SHA256_BYTES = 32;
const SCRYPT_HASH_BYTES = 32;
const SCRYPT_HASH_BYTES_MIN = 16;
const SALT_BYTES = 16;
const SALT_BYTES_MIN = 8;
const SALT_BYTES_MAX = 256;
/** What mosquitto_passwd uses; 96 bits never repeat by chance. */
const MOSQUITTO_SALT_BYTES = 12;

interface HashCommon {
  readonly salt: Uint8Array;
  /** What `derive` gives for the right password; of SCRAM the stored key. */
  readonly hash: Uint8Array;
  /** Work of checking a password, in iterations of PBKDF2-HMAC-SHA512. */
  readonly cost: number;
}
interface ScryptHash extends HashCommon {
  readonly scheme: 'scrypt';
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}
export interface ScramHash extends HashCommon {
  readonly scheme: 'scram-sha-256';
  readonly iterations: number;
  readonly serverKey: Uint8Array;
}
interface MosquittoHash extends HashCommon {
  readonly scheme: 'pbkdf2-sha512';
  readonly iterations: number;
}
interface Sha512Hash extends HashCommon {
  readonly scheme: 'sha512';
}
export type PasswordHash = ScryptHash | ScramHash | MosquittoHash | Sha512Hash;

/** How a new hash is to be made. */
export type Recipe =
  | { readonly format: 'scrypt'; readonly ln?: number; readonly r?: number; readonly p?: number }
  | { readonly format: 'mosquitto'; readonly iterations?: number }
  | { readonly format: 'scram'; readonly iterations?: number };

export const FORMATS = ['scrypt', 'mosquitto', 'scram'] as const satisfies readonly Recipe['format'][];

/** Computes what a password gives under the salt and the parameters of `known`. Tests count the calls. */
export type Derive = (known: PasswordHash, password: Uint8Array) => Promise<Uint8Array>;

const pbkdf2Async = promisify(pbkdf2);
const scryptAsync = promisify<Uint8Array | string, Uint8Array, number, ScryptOptions, Buffer>(scrypt);

/** Runs in the thread pool. */
export const derive: Derive = async (known, password) => {
  switch (known.scheme) {
    case 'scrypt':
      return scryptAsync(password, known.salt, known.hash.length, scryptOptions(known));
    case 'scram-sha-256':
      return (await scramKeys(password, known.salt, known.iterations)).storedKey;
    case 'pbkdf2-sha512':
      return pbkdf2Async(password, known.salt, known.iterations, SHA512_BYTES, 'sha512');
    case 'sha512':
      return sha512(password, known.salt);
  }
};

/** The text of a password's hash with a new salt. @throws Error when the recipe is outside the bounds, or SCRAM cannot take the password */
export async function hashPassword(password: string, random: Random, recipe: Recipe = { format: 'scrypt' }): Promise<string> {
  const bytes = new TextEncoder().encode(password);
  switch (recipe.format) {
    case 'scrypt': {
      const parameters = { ...SCRYPT_DEFAULT, ...recipe };
      const { ln, r, p } = parameters;
      checkScrypt(ln, r, p);
      const salt = random.bytes(SALT_BYTES);
      const hash = await scryptAsync(bytes, salt, SCRYPT_HASH_BYTES, scryptOptions(parameters));
      return `$scrypt$ln=${ln},r=${r},p=${p}$${unpadded(salt)}$${unpadded(hash)}`;
    }
    case 'scram': {
      const { iterations = SCRAM_ITERATIONS_DEFAULT } = recipe;
      checkIterations(iterations, SCRAM_ITERATIONS_MIN);
      if (preparePassword(bytes) === null) throw new Error('a password for SCRAM has no control characters');
      const salt = random.bytes(SALT_BYTES);
      const { storedKey, serverKey } = await scramKeys(bytes, salt, iterations);
      return `$scram-sha-256$${iterations}$${[salt, storedKey, serverKey].map(padded).join('$')}`;
    }
    case 'mosquitto': {
      const { iterations = ITERATIONS_DEFAULT } = recipe;
      checkIterations(iterations, 1);
      const salt = random.bytes(MOSQUITTO_SALT_BYTES);
      const hash = await pbkdf2Async(bytes, salt, iterations, SHA512_BYTES, 'sha512');
      return `$7$${iterations}$${padded(salt)}$${padded(hash)}`;
    }
  }
}

/** Whether a field claims to be a hash of any kind, this file's or another. */
export function looksHashed(field: string): boolean {
  return /^\$[^$]*\$/.test(field);
}

/** Reads the field behind the user name; throws Error with what is wrong and nothing of the field. */
export function parsePasswordHash(field: string): PasswordHash {
  if (field === '') throw new Error('the password hash is missing; set it with `lethe passwd`');
  if (!looksHashed(field)) throw new Error('a password in plain text; run `lethe passwd -U` on this file');
  const [, kind = '', ...parts] = field.split('$');
  const reader = Object.hasOwn(readers, kind) ? readers[kind] : undefined;
  if (reader === undefined) {
    const kinds = Object.keys(readers).map((name) => `$${name}$`);
    throw new Error(`unknown kind of password hash; ${kinds.join(', ')} are supported, set it anew with \`lethe passwd\``);
  }
  if (parts.length !== reader.fields) throw new Error(`the $${kind}$ hash is broken; set it anew with \`lethe passwd\``);
  return reader.read(parts);
}

/** Of each kind: fields behind its name, and how they are read. */
const readers: Readonly<Record<string, { readonly fields: number; read(parts: readonly string[]): PasswordHash }>> = {
  scrypt: { fields: 3, read: readScrypt },
  'scram-sha-256': { fields: 4, read: readScram },
  7: { fields: 3, read: readMosquitto },
  6: { fields: 2, read: ([salt, hash]) => ({ scheme: 'sha512', cost: 1, ...fieldsOf(salt!, hash!) }) },
};

function readScrypt([text, salt, hash]: readonly string[]): ScryptHash {
  const numbers = /^ln=([1-9]\d?),r=([1-9]\d{0,6}),p=([1-9]\d{0,6})$/.exec(text!);
  if (numbers === null)
    throw new Error('the parameters of the $scrypt$ hash are not ln=…,r=…,p=…; set it anew with `lethe passwd`');
  const [ln, r, p] = numbers.slice(1).map(Number) as [number, number, number];
  const cost = checkScrypt(ln, r, p);
  const bytes = { salt: decodeUnpadded(salt!), hash: decodeUnpadded(hash!) };
  if (!isSalt(bytes.salt) || bytes.hash === null || bytes.hash.length < SCRYPT_HASH_BYTES_MIN || bytes.hash.length > SHA512_BYTES)
    throw broken();
  return { scheme: 'scrypt', ln, r, p, cost, salt: bytes.salt, hash: bytes.hash };
}

function readScram([iterationsText, salt, storedKey, serverKey]: readonly string[]): ScramHash {
  const iterations = iterationsOf(iterationsText!, SCRAM_ITERATIONS_MIN);
  const bytes = { salt: decode(salt!), hash: decode(storedKey!), serverKey: decode(serverKey!) };
  const areKeys = bytes.hash?.length === SHA256_BYTES && bytes.serverKey?.length === SHA256_BYTES;
  if (!isSalt(bytes.salt) || !areKeys) throw broken();
  const { hash, serverKey: key } = bytes as { hash: Uint8Array; serverKey: Uint8Array };
  return { scheme: 'scram-sha-256', iterations, cost: Math.ceil(iterations / 2), salt: bytes.salt, hash, serverKey: key };
}

function readMosquitto([iterationsText, salt, hash]: readonly string[]): MosquittoHash {
  const iterations = iterationsOf(iterationsText!, 1);
  return { scheme: 'pbkdf2-sha512', iterations, cost: iterations, ...fieldsOf(salt!, hash!) };
}

function fieldsOf(saltText: string, hashText: string): { salt: Uint8Array; hash: Uint8Array } {
  const salt = decode(saltText);
  const hash = decode(hashText);
  if (salt === null || hash === null || hash.length !== SHA512_BYTES) throw broken();
  return { salt, hash };
}

function iterationsOf(text: string, min: number): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new Error(`the iterations must be a whole number from ${min} to ${ITERATIONS_MAX}`);
  return checkIterations(Number(text), min);
}

function checkIterations(iterations: number, min: number): number {
  if (Number.isInteger(iterations) && iterations >= min && iterations <= ITERATIONS_MAX) return iterations;
  throw new Error(
    `the iterations must be a whole number from ${min} to ${ITERATIONS_MAX}; set the hash anew with \`lethe passwd\``,
  );
}

/** The cost of these parameters. @throws Error when they need too much memory or time */
function checkScrypt(ln: number, r: number, p: number): number {
  if (![ln, r, p].every((number) => Number.isInteger(number) && number >= 1) || ln > 63)
    throw new Error('the parameters of scrypt must be whole numbers, at least 1; set the hash anew with `lethe passwd`');
  if (vectorBytes(ln, r) > SCRYPT_BYTES_MAX || blockBytes(r, p) > SCRYPT_BLOCKS_MAX) {
    const most = SCRYPT_BYTES_MAX / 1_048_576;
    throw new Error(`the $scrypt$ hash needs more than ${most} MiB of memory; set it anew with \`lethe passwd\``);
  }
  const cost = 2 ** ln * r * p;
  if (cost <= ITERATIONS_MAX) return cost;
  throw new Error(`the $scrypt$ hash costs too much: N·r·p must not exceed ${ITERATIONS_MAX}; set it anew with \`lethe passwd\``);
}

/** Bytes of V and of B in RFC 7914 §5, §6. */
function vectorBytes(ln: number, r: number): number {
  return 128 * r * 2 ** ln;
}

function blockBytes(r: number, p: number): number {
  return 128 * r * p;
}

function scryptOptions({ ln, r, p }: { readonly ln: number; readonly r: number; readonly p: number }): ScryptOptions {
  // OpenSSL counts its working space into the limit: two blocks of r more.
  return { N: 2 ** ln, r, p, maxmem: vectorBytes(ln, r) + blockBytes(r, p) + blockBytes(r, 8) };
}

async function sha512(password: Uint8Array, salt: Uint8Array): Promise<Uint8Array> {
  const salted = new Uint8Array(password.length + salt.length);
  salted.set(password);
  salted.set(salt, password.length);
  try {
    return new Uint8Array(await webcrypto.subtle.digest('SHA-512', salted));
  } finally {
    salted.fill(0);
  }
}

function broken(): Error {
  return new Error('the salt or the hash is broken or cut short; set it anew with `lethe passwd`');
}

function isSalt(salt: Uint8Array | null): salt is Uint8Array {
  return salt !== null && salt.length >= SALT_BYTES_MIN && salt.length <= SALT_BYTES_MAX;
}

function padded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function unpadded(bytes: Uint8Array): string {
  return padded(bytes).replace(/=+$/, '');
}

/** Strict: Buffer.from skips what it does not know. Null for anything but the one encoding of at least one byte. */
function decode(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && padded(bytes) === text ? bytes : null;
}

function decodeUnpadded(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && unpadded(bytes) === text ? bytes : null;
}
