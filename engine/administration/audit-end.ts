// Where an audit log ends, and what its head says of that: looked up when it is opened, and again when somebody else has touched it.
import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '../../storage/sync-folder.ts';
import { checkSeal, entryOf, type Head, hashOf, headLine, headOf, NO_LINE, Seal } from './audit-chain.ts';
import { asideFiles, headName, readLines, tornName } from './audit-files.ts';

export interface End {
  readonly head: Head;
  /** The last line of the file; null: it has none. */
  readonly line: string | null;
  readonly bytes: number;
  /** Bytes of a torn line that was set aside. */
  readonly torn: number;
  /** Number of the first entry in the file. */
  readonly first: number;
  /** Names the file, whatever is at its path later. */
  readonly inode: number;
  readonly mode: number;
}

/** Where the log ends; a file that is not there is made. A torn line is cut off and kept beside it. */
export function findEnd(file: string): End {
  const aside = asideFiles(file).at(-1);
  const before = aside === undefined ? { sequence: 0, hash: NO_LINE } : headIn(readLines(aside.path).lines);
  const isNew = !existsSync(file);
  const descriptor = openSync(file, 'a+', 0o600);
  try {
    const { ino: inode, mode, isFile } = describe(descriptor);
    if (!isFile) throw new Error('it is not a file');
    if (isNew) syncFolder(dirname(file));
    const { lines, rest, bytes } = readLines(file);
    const head = lines.length === 0 ? before : headIn(lines);
    if (rest.length > 0) {
      writeFileSync(tornName(file, head.sequence), rest, { mode: 0o600 });
      ftruncateSync(descriptor, bytes);
      fsyncSync(descriptor);
    }
    const first = lines.length === 0 ? head.sequence + 1 : (entryOf(lines[0]!)?.sequence ?? head.sequence);
    return { head, line: lines.at(-1) ?? null, bytes, torn: rest.length, first, inode, mode };
  } finally {
    closeSync(descriptor);
  }
}

function describe(descriptor: number): { readonly ino: number; readonly mode: number; readonly isFile: boolean } {
  const found = fstatSync(descriptor);
  return { ino: found.ino, mode: found.mode & 0o777, isFile: found.isFile() };
}

/** The last entry of some lines. A line that is none has a hash all the same: the chain goes on, and a verification finds it. */
function headIn(lines: readonly string[]): Head {
  const last = lines.findLastIndex((line) => entryOf(line) !== null);
  const sequence = last < 0 ? 0 : entryOf(lines[last]!)!.sequence;
  return { sequence, hash: lines.length === 0 ? NO_LINE : hashOf(lines.at(-1)!) };
}

/** Why a head file says nothing. It is written before the first entry and before the first seal: it was there, and somebody has had it. */
export const HeadFault = { MISSING: 'missing', INVALID: 'invalid' } as const;
export type HeadFault = (typeof HeadFault)[keyof typeof HeadFault];

/** What the head of a log names; null: there is none, and no entry either. */
export function readHead(file: string, { head, line }: End, key: Uint8Array | null): Head | HeadFault | null {
  const path = headName(file);
  if (!existsSync(path)) return head.sequence === 0 ? null : HeadFault.MISSING;
  const found = headOf(readFileSync(path, 'utf8'), key);
  if (found === null) return HeadFault.INVALID;
  const isStripped = key !== null && !found.isSealed && line !== null && checkSeal(line, key) === Seal.GOOD;
  return isStripped ? HeadFault.INVALID : found;
}

/** Flushed under another name first: a power cut leaves the old one or the new one. */
export async function writeHead(file: string, head: Head, key: Uint8Array | null): Promise<void> {
  const fresh = `${headName(file)}.new`;
  let handle: FileHandle | null = null;
  try {
    handle = await open(fresh, 'w', 0o600);
    await handle.writeFile(headLine(head, key));
    await handle.datasync();
  } finally {
    await handle?.close();
  }
  await rename(fresh, headName(file));
}
