// The files of an audit log: the one that is written, and those put aside before it, each by the number of its first entry, so that no file is ever renamed twice.
//
//   audit.log                  being written
//   audit.log.000000000001     entries from 1 on, and so forth
//   audit.log.head             number and hash of the last entry
//   audit.log.torn-000000000042   what a crash left of a line, behind entry 42
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const DIGITS = 12;

/** Files that were put aside, oldest first. */
export function asideFiles(file: string): readonly { readonly path: string; readonly first: number }[] {
  const folder = dirname(file);
  const prefix = `${basename(file)}.`;
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix) && /^\d{12,}$/.test(name.slice(prefix.length)))
    .map((name) => ({ path: join(folder, name), first: Number(name.slice(prefix.length)) }))
    .sort((a, b) => a.first - b.first);
}

export function asideName(file: string, first: number): string {
  return `${file}.${String(first).padStart(DIGITS, '0')}`;
}

export function tornName(file: string, sequence: number): string {
  return `${file}.torn-${String(sequence).padStart(DIGITS, '0')}`;
}

export function headName(file: string): string {
  return `${file}.head`;
}

/** The lines of a file, and the bytes behind the last of them: what a crash left, or what is being written now. */
export function readLines(path: string): { readonly lines: readonly string[]; readonly rest: Buffer; readonly bytes: number } {
  const bytes = readFileSync(path);
  const end = bytes.lastIndexOf(0x0a) + 1;
  const lines = end === 0 ? [] : bytes.toString('utf8', 0, end - 1).split('\n');
  return { lines, rest: bytes.subarray(end), bytes: end };
}
