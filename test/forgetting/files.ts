// Every byte that a data directory has on the disk: all files in it, and files that a process still has open, or mapped, after they were
// deleted. Holes are skipped, so a sparse file costs what it holds.
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';

/** A stretch of a file between two holes. */
export interface Stretch {
  readonly from: number;
  readonly bytes: Buffer;
}

export interface RawFile {
  readonly name: string;
  readonly stretches: readonly Stretch[];
}

const PIECE_BYTES = 1_048_576;
/** A file with more in it is refused rather than searched in part. */
const HELD_BYTES_MAX = 2 ** 30;
const SIZE_MAX = 2 ** 32;
const ZEROS = Buffer.alloc(PIECE_BYTES);

/** The regular files below `folder`, and those that process `pid` has open without a name. */
export function rawFiles(folder: string, pid: number): RawFile[] {
  const files: RawFile[] = [];
  const seen = new Set<string>();
  const take = (path: string, name: string) => {
    const descriptor = openForReading(path);
    if (descriptor < 0) return;
    try {
      const stats = fstatSync(descriptor);
      const identity = `${stats.dev}:${stats.ino}`;
      if (!stats.isFile() || seen.has(identity)) return;
      seen.add(identity);
      files.push({ name, stretches: readStretches(descriptor, stats, name) });
    } finally {
      closeSync(descriptor);
    }
  };
  for (const path of walk(folder)) take(path, path);
  for (const [path, was] of deletedFiles(pid)) take(path, `${was} (deleted)`);
  return files;
}

/** Paths below /proc under which deleted files of a process can still be read, and the names that they had. */
export function deletedFiles(pid: number): [path: string, was: string][] {
  const found: [string, string][] = [];
  for (const kind of ['fd', 'map_files']) {
    const folder = `/proc/${pid}/${kind}`;
    for (const name of list(folder)) {
      const link = read(join(folder, name));
      // Memory that has the form of a file is not on the disk.
      if (!link.endsWith(' (deleted)') || /^\/(memfd:|dev\/|SYSV)/.test(link)) continue;
      found.push([join(folder, name), link.slice(0, -' (deleted)'.length)]);
    }
  }
  return found;
}

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return walk(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Names in a folder of /proc; none where the kernel does not let us look. */
function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return ''; // closed meanwhile
  }
}

/** -1 for a file that has gone meanwhile, or is no regular one. */
function openForReading(path: string): number {
  try {
    return statSync(path).isFile() ? openSync(path, 'r') : -1;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // What is mapped is open to root alone; LMDB keeps its descriptor as long as its map.
    if (code === 'ENOENT' || (code === 'EPERM' && path.startsWith('/proc/'))) return -1;
    throw error;
  }
}

function readStretches(descriptor: number, stats: Stats, name: string): Stretch[] {
  if (stats.blocks * 512 > HELD_BYTES_MAX || stats.size > SIZE_MAX) throw new Error(`${name} is too large to be searched`);
  const stretches: Stretch[] = [];
  let pieces: Buffer[] = [];
  let from = 0;
  const end = (to: number) => {
    if (pieces.length > 0) stretches.push({ from, bytes: pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces) });
    pieces = [];
    from = to;
  };
  const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, stats.size));
  for (let at = 0; at < stats.size; at += PIECE_BYTES) {
    const bytes = piece.subarray(0, readSync(descriptor, piece, 0, piece.length, at));
    if (bytes.equals(ZEROS.subarray(0, bytes.length))) end(at + PIECE_BYTES);
    else pieces.push(Buffer.from(bytes));
  }
  end(stats.size);
  return stretches;
}
