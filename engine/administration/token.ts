// The bearer token of the admin port: what its file must be like, and whether a request has it.
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';

const TOKEN_LENGTH_MIN = 32;
const TOKEN_LENGTH_MAX = 4_096;

/**
 * The token that a file holds, without white space at its ends.
 * @throws Error in one line that names the file and says what to do
 */
export function readToken(path: string): string {
  let text: string;
  let mode: number;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, 'latin1').trim();
  } catch (error) {
    throw new Error(`${path}: the token cannot be read (${(error as NodeJS.ErrnoException).code}); correct admin.token_file`);
  }
  if ((mode & 0o077) !== 0) throw new Error(`${path}: others may read the token; chmod 600 it`);
  // RFC 6750 §2.1
  if (text.length < TOKEN_LENGTH_MIN || text.length > TOKEN_LENGTH_MAX || !/^[A-Za-z0-9._~+/-]+=*$/.test(text)) {
    throw new Error(
      `${path}: is no token; give one line of at least ${TOKEN_LENGTH_MIN} letters, digits or -._~+/ (openssl rand -hex 32 makes one)`,
    );
  }
  return text;
}

/** Whether an Authorization header has the token. How long it takes tells nothing of the token. */
export function hasToken(header: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1] ?? '';
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
