// A folder that belongs to this user alone and holds exactly what the program carries, made once and used again at the next start.
//
// Who could put something of his own there decides over what this process runs, and so nothing is believed for its name: the place
// must be one in which nobody else can rename what is ours, the folder ours and closed to others and no link, each file ours and of the very
// bytes. What fails that is left alone and not used. The folder's name holds the hash of its contents, so that two versions never share one,
// and it gets that name by a rename when it is complete: whoever finds the name finds everything, also when two starts make it at once or a start is killed.
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';

export interface Contents {
  /** SHA-256 of the list of files, in hex. */
  readonly hash: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly hash: string }[];
  /** Lends the bytes of a file. */
  readonly read: (name: string) => Uint8Array;
}

/** Something stands there under the name of ours and is not ours. */
export class NotOurs extends Error {}

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;
const PERMISSIONS = 0o777;
const READ_BYTES = 65_536;
const HASH_LETTERS = 32;

/** Where such a folder may lie, the best first; the operator's own word is the only one where there is one. */
export function placesFor(env: Readonly<Record<string, string | undefined>>, user: number, temporary: string): readonly string[] {
  const told = env['LETHE_RUNTIME_DIR'];
  if (told !== undefined && told !== '') return [told];
  // systemd's CacheDirectory=, then what only root writes, or only this user.
  const own = [env['CACHE_DIRECTORY']?.split(':')[0], user === 0 ? '/var/cache' : env['XDG_RUNTIME_DIR']];
  const places = [...own, temporary, user === 0 ? '/run' : undefined, '/dev/shm'];
  return [...new Set(places.filter((place) => place?.startsWith('/') === true))] as string[];
}

/** Finds or makes it. @throws Error that says in one line why not here */
export function privateFolder(place: string, contents: Contents): { readonly folder: string; readonly isNew: boolean } {
  const user = process.geteuid!();
  judgePlace(place, user);
  const folder = `${place.replace(/\/+$/, '')}/lethe-${user}-${contents.hash.slice(0, HASH_LETTERS)}`;
  if (exists(folder)) {
    judge(folder, user, contents);
    return { folder, isNew: false };
  }
  const unfinished = mkdtempSync(`${folder}.`);
  try {
    for (const { name } of contents.files) write(`${unfinished}/${name}`, contents.read(name));
    renameSync(unfinished, folder);
  } catch (error) {
    removeFolder(unfinished, contents);
    if (!exists(folder)) throw error;
    judge(folder, user, contents); // another start was faster
    return { folder, isNew: false };
  }
  return { folder, isNew: true };
}

/** Takes away what this process has made, as far as that is still there. */
export function removeFolder(folder: string, { files }: Contents): void {
  try {
    for (const { name } of files) if (exists(`${folder}/${name}`)) unlinkSync(`${folder}/${name}`);
    rmdirSync(folder);
  } catch {
    // It stays: a start that cannot clean up can still go on elsewhere.
  }
}

/** Nobody but root and this user may rename what lies in it. */
function judgePlace(place: string, user: number): void {
  const { uid, mode } = statSync(place);
  if (uid !== 0 && uid !== user) throw new Error(`${place} belongs to another user`);
  if ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0) throw new Error(`${place} can be written by others`);
}

function judge(folder: string, user: number, { files }: Contents): void {
  const found = lstatSync(folder);
  if (!found.isDirectory()) throw new NotOurs(`${folder} is no folder`);
  if (found.uid !== user) throw new NotOurs(`${folder} belongs to another user`);
  if ((found.mode & PERMISSIONS) !== 0o700) throw new NotOurs(`${folder} is open to others`);
  for (const { name, bytes, hash } of files) judgeFile(`${folder}/${name}`, user, bytes, hash);
}

function judgeFile(path: string, user: number, bytes: number, hash: string): void {
  const file = opened(path);
  try {
    const found = fstatSync(file);
    const isOurs = found.isFile() && found.uid === user && (found.mode & OTHERS_WRITE) === 0 && found.nlink === 1;
    if (!isOurs || found.size !== bytes || hashOf(file) !== hash)
      throw new NotOurs(`${path} is not what this program has put there`);
  } finally {
    closeSync(file);
  }
}

function opened(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    throw new NotOurs(error instanceof Error ? error.message : path);
  }
}

/** Piece by piece: a file read whole would stay in the memory that the process has taken. */
function hashOf(file: number): string {
  const hash = createHash('sha256');
  const piece = new Uint8Array(READ_BYTES);
  for (let read = readSync(file, piece); read > 0; read = readSync(file, piece)) hash.update(piece.subarray(0, read));
  return hash.digest('hex');
}

function write(path: string, content: Uint8Array): void {
  const file = openSync(path, 'wx', 0o500);
  try {
    for (let written = 0; written < content.length; ) written += writeSync(file, content, written);
    // After a power cut the name must not stand for less than it says.
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
