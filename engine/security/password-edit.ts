// Changes a password file for the command line. The edits are functions from text to text that keep every other line as it is;
// `rewritePasswordFile` puts the result in place at once, so that a broker reads the old file or the new one and never a part.
import { isUtf8 } from 'node:buffer';
import { type FileHandle, open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { STRING_BYTES_MAX } from '../../protocol/limits.ts';
import { type Random, systemRandom } from '../random.ts';
import { hashPassword, looksHashed, parsePasswordHash, type Recipe } from './password-hash.ts';

/**
 * Replaces the file by `edit` of its text; a file that does not exist is made, mode 0600, from `edit('')`. A link is followed. The owner
 * stays: a file that the broker's account can read must not become root's. When anything fails, the old file stands.
 */
export async function rewritePasswordFile(
  path: string,
  edit: (text: string) => string | Promise<string>,
  random: Random = systemRandom,
): Promise<void> {
  const old = await readOld(path);
  const text = await edit(old?.text ?? '');
  const target = old?.path ?? path;
  const suffix = Buffer.from(random.bytes(8)).toString('hex');
  const temporary = join(dirname(target), `.${basename(target)}.${suffix}`);
  const file = await open(temporary, 'wx', 0o600);
  try {
    try {
      if (old !== null) await keepOwner(file, old);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
  const directory = await open(dirname(target), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

interface OldFile {
  readonly path: string;
  readonly text: string;
  readonly uid: number;
  readonly gid: number;
}

async function readOld(path: string): Promise<OldFile | null> {
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
  const { uid, gid } = await stat(real);
  const bytes = await readFile(real);
  if (!isUtf8(bytes)) throw new Error(`${path}: this is not UTF-8 text; save it as UTF-8`);
  return { path: real, text: bytes.toString('utf8'), uid, gid };
}

async function keepOwner(file: FileHandle, old: OldFile): Promise<void> {
  const { uid, gid } = await file.stat();
  if (uid !== old.uid || gid !== old.gid) await file.chown(old.uid, old.gid);
}

/** Throws on a name that a line of the file cannot hold. */
export function checkUserName(user: string): void {
  if (
    user === '' ||
    Buffer.byteLength(user) > STRING_BYTES_MAX ||
    user.startsWith('#') ||
    /[:\p{Cc}]/u.test(user) ||
    user.trim() === ''
  ) {
    throw new Error('a user name is not empty, does not begin with # and has no colon or control character');
  }
}

/** Gives `user` the hash in `field` (see `hashPassword`): in the place of its line, or in a new last line. Throws on a bad name. */
export function setUser(text: string, user: string, field: string): string {
  checkUserName(user);
  parsePasswordHash(field);
  const line = `${user}:${field}`;
  const lines = linesOf(text);
  const at = lines.findIndex((each) => isLineOf(each, user));
  if (at < 0) lines.push(line);
  else lines[at] = line;
  return textOf(lines);
}

/** Takes the line of `user` out. Throws when there is none. */
export function deleteUser(text: string, user: string): string {
  const lines = linesOf(text);
  const rest = lines.filter((line) => !isLineOf(line, user));
  if (rest.length === lines.length) throw new Error('the file has no such user');
  return textOf(rest);
}

/** Hashes every password in plain text. Throws Error `line N: …` when a line is neither that nor a valid hash. */
export async function upgradePlain(text: string, random: Random, recipe?: Recipe): Promise<string> {
  const lines = linesOf(text);
  for (const [index, line] of lines.entries()) {
    if (line.startsWith('#') || line.trim() === '') continue;
    const colon = line.indexOf(':');
    const field = line.slice(colon + 1).replace(/\r$/, '');
    if (colon < 1 || field === '')
      throw new Error(`line ${index + 1}: the user name or the password is missing; a line is user:password`);
    try {
      if (looksHashed(field)) parsePasswordHash(field);
      else lines[index] = `${line.slice(0, colon)}:${await hashPassword(field, random, recipe)}`;
    } catch (error) {
      throw new Error(`line ${index + 1}: ${error instanceof Error ? error.message : 'broken hash'}`);
    }
  }
  return textOf(lines);
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function textOf(lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function isLineOf(line: string, user: string): boolean {
  return line.startsWith(`${user}:`) && !line.startsWith('#');
}
