// The keys of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677): what a password gives under a salt and a number of rounds. The exchange is scram.ts.
import { createHash, createHmac, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';

const KEY_BYTES = 32;
const pbkdf2Async = promisify(pbkdf2);

export interface ScramKeys {
  /** H(ClientKey): checks a client's proof, and cannot make one. */
  readonly storedKey: Uint8Array;
  /** Signs the server's last word. */
  readonly serverKey: Uint8Array;
}

export function hmacSha256(key: Uint8Array, data: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

export function sha256(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}

/**
 * A password as it is hashed: a copy in NFKC, null for one that is empty, is not UTF-8 or has a control character. Of SASLprep (RFC 4013) this is the part
 * that keyboards differ in; its tables of Unicode 3.2 are not followed. A password of ASCII passes through no string, which could not be overwritten.
 */
export function preparePassword(password: Uint8Array): Uint8Array | null {
  let isPrintable = password.length > 0;
  for (const byte of password) isPrintable &&= byte >= 0x20 && byte < 0x7f;
  if (isPrintable) return Uint8Array.from(password);
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(password).normalize('NFKC');
    return text === '' || /\p{Cc}/u.test(text) ? null : new TextEncoder().encode(text);
  } catch {
    return null;
  }
}

/**
 * Runs in the thread pool. A password that could not be prepared gives keys that belong to none: HMAC fills a short key with zeros, so `pencil` and `pencil\0` would have the same ones,
 * and no text in UTF-8 begins with FF.
 */
export async function scramKeys(password: Uint8Array, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
  const prepared = preparePassword(password) ?? Uint8Array.of(0xff, ...password);
  const salted = await pbkdf2Async(prepared, salt, iterations, KEY_BYTES, 'sha256');
  const clientKey = hmacSha256(salted, 'Client Key');
  const keys = { storedKey: sha256(clientKey), serverKey: hmacSha256(salted, 'Server Key') };
  for (const secret of [prepared, salted, clientKey]) secret.fill(0);
  return keys;
}
