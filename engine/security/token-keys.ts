// The keys by which tokens are verified, read from files. A shared secret verifies HS… and nothing else, public keys everything but HS…: what a token says of itself never decides which kind it is
// judged by. A private key where a public one belongs is refused: who has it could make tokens.
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { readSmallFile, readTextFile } from './text-file.ts';
import { PUBLIC_KEY_ALGORITHMS, SHARED_SECRET_ALGORITHMS } from './token-algorithms.ts';

const RSA = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;
const ED = ['EdDSA', 'Ed25519'] as const;
/** By the curve's name in OpenSSL. */
const CURVES: Readonly<Record<string, readonly string[]>> = { prime256v1: ['ES256'], secp384r1: ['ES384'], secp521r1: ['ES512'] };

const SECRET_BYTES_MIN = 32;
const RSA_BITS_MIN = 2_048;
const KEYS_MAX = 100;

export interface TokenKeys {
  /** What the keys are for. */
  readonly algorithms: readonly string[];
  readonly keyOf: JWTVerifyGetKey;
}

/** The bytes of the file, without one line end behind them. @throws Error in one line with the path */
export function loadSecret(path: string): TokenKeys {
  const { bytes } = readSmallFile(path);
  const ends = bytes.at(-1) !== 0x0a ? 0 : bytes.at(-2) === 0x0d ? 2 : 1;
  const secret = bytes.slice(0, bytes.length - ends);
  if (secret.length < SECRET_BYTES_MIN)
    throw new Error(
      `${path}: the secret has ${secret.length} bytes; at least ${SECRET_BYTES_MIN} are needed, as from: openssl rand -hex 32`,
    );
  return { algorithms: SHARED_SECRET_ALGORITHMS, keyOf: () => secret };
}

/** @throws Error in one line with the path */
export function loadPublicKey(path: string): TokenKeys {
  const pem = readTextFile(path).lines.join('\n');
  if (pem.includes('PRIVATE KEY'))
    throw new Error(`${path}: this is a private key; give the public one, made by: openssl pkey -in <key> -pubout`);
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw new Error(`${path}: the file holds no PEM public key or certificate`);
  }
  const algorithms = algorithmsOf(key);
  if (typeof algorithms === 'string') throw new Error(`${path}: ${algorithms}`);
  return { algorithms, keyOf: () => key };
}

/** What a key can be used with; or, in words, why with nothing. */
function algorithmsOf(key: KeyObject): readonly string[] | string {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'rsa') {
    const bits = details?.modulusLength ?? 0;
    return bits < RSA_BITS_MIN ? `the RSA key has ${bits} bits; at least ${RSA_BITS_MIN} are needed` : RSA;
  }
  if (key.asymmetricKeyType === 'ed25519') return ED;
  const forCurve = key.asymmetricKeyType === 'ec' ? CURVES[details?.namedCurve ?? ''] : undefined;
  return forCurve ?? 'keys of this kind verify no tokens; use RSA, EC on P-256, P-384 or P-521, or Ed25519';
}

/** @throws Error in one line with the path */
export function loadKeySet(path: string): TokenKeys {
  const parsed = parseKeySet(readTextFile(path).lines.join('\n'));
  if (typeof parsed === 'string') throw new Error(`${path}: ${parsed}`);
  if (parsed.refused !== null) throw new Error(`${path}: ${parsed.refused}`);
  const algorithms = new Set(
    parsed.set.keys.flatMap((key) => algorithmsOf(createPublicKey({ key: key as JsonWebKey, format: 'jwk' }))),
  );
  return { algorithms: PUBLIC_KEY_ALGORITHMS.filter((name) => algorithms.has(name)), keyOf: createLocalJWKSet(parsed.set) };
}

/** Public keys of a set, and what was wrong with the first one that was left out; a text when it is no such set. */
export function parseKeySet(text: string): { readonly set: JSONWebKeySet; readonly refused: string | null } | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'this is not JSON';
  }
  const keys = (value as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys)) return 'this is no JSON Web Key Set; it is an object with an array "keys"';
  if (keys.length > KEYS_MAX) return `the set has ${keys.length} keys; at most ${KEYS_MAX} are looked at`;
  const problems = keys.map(problemOf);
  const at = problems.findIndex((problem) => problem !== null);
  const set = { keys: keys.filter((_, index) => problems[index] === null) };
  if (set.keys.length === 0) return at < 0 ? 'the set has no key' : `the set has no public key; the first one ${problems[at]}`;
  return { set, refused: at < 0 ? null : `key ${at + 1} ${problems[at]}` };
}

function problemOf(key: unknown): string | null {
  if (typeof key !== 'object' || key === null) return 'is no object';
  const { kty, d } = key as Readonly<Record<string, unknown>>;
  if (kty === 'oct') return 'is a shared secret; use auth.jwt_secret_file for it';
  if (d !== undefined) return 'is a private key; take the private members out';
  try {
    const algorithms = algorithmsOf(createPublicKey({ key: key as JsonWebKey, format: 'jwk' }));
    return typeof algorithms === 'string' ? `cannot be used: ${algorithms}` : null;
  } catch {
    return 'is not a public key that can be read';
  }
}
