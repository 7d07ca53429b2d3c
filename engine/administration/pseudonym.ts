// Client identifiers outside of the broker: a keyed pseudonym, the same for as long as the key is.
import { createHmac } from 'node:crypto';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const BYTES = 16;

/** HMAC-SHA-256 of the client identifier, its first 16 bytes as 26 lower-case base32 characters. */
export function pseudonymOf(key: Uint8Array, clientId: string): string {
  const digest = createHmac('sha256', key).update(clientId).digest().subarray(0, BYTES);
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of digest) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(held >>> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return text + ALPHABET[(held << (5 - bits)) & 31];
}
