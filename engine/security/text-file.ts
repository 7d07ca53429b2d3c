// Reads the small files that decide who may do what. Invariant: a file that cannot be read whole and as UTF-8, where it is text, is an error
// that names the path and what to do, never an empty list. What the lines mean is the business of password-file.ts and acl.ts.
import { isUtf8 } from 'node:buffer';
import { readFileSync, statSync } from 'node:fs';

export interface TextFile {
  /** Lines without their ends; the first one is line 1 of the file. */
  readonly lines: readonly string[];
  /** Permission bits, 0 to 0o777. */
  readonly mode: number;
}

const causes: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file; create it or correct the path',
  ENOTDIR: 'there is no such file; create it or correct the path',
  EACCES: 'the file may not be read by this process; correct its owner or mode',
  EPERM: 'the file may not be read by this process; correct its owner or mode',
};

/** Reads a file of any content at once; throws Error `path: what is wrong and what to do`. */
export function readSmallFile(path: string): { readonly bytes: Uint8Array; readonly mode: number } {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new Error(`${path}: this is not a regular file; name a text file`);
    return { bytes: readFileSync(path), mode: stat.mode & 0o777 };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : null;
    if (code === null) throw error;
    throw new Error(`${path}: ${causes[code] ?? `the file could not be read (${code})`}`);
  }
}

/** Reads a file at once; throws Error `path: what is wrong and what to do`. */
export function readTextFile(path: string): TextFile {
  const { bytes, mode } = readSmallFile(path);
  if (!isUtf8(bytes)) throw new Error(`${path}: this is not UTF-8 text; save it as UTF-8`);
  const text = new TextDecoder().decode(bytes); // also takes a byte order mark away
  if (text.includes('\0')) throw new Error(`${path}: the file holds a NUL byte; write it anew as plain text`);
  return { lines: text.split(/\r?\n/), mode };
}
