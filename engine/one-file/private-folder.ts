// A folder that belongs to this user alone and holds exactly what the program carries, made once and used again at the next start.
//
// Who could put something of his own there decides over what this process runs, and so nothing is believed for its name: the place
// must be one in which nobody else can rename what is ours, the folder ours and closed to others and no link, each file ours and of the very
// bytes. A folder of ours that fails that is made anew. Somebody else's under the name of ours is left alone, and this process takes one whose name nobody can guess, until it ends.
// The folder's name holds the hash of its contents, so that two versions never share one, and it gets that name by a rename when it is complete: whoever finds the name finds everything,
// also when two starts make it at once or a start is killed.
//
// What earlier versions have left is removed when it is a day old, and at once what belonged to a process that has ended. Another one may still run from it, in another namespace of processes too: what is loaded
// stays loaded, and what it loads later it looks for again (addon.ts), as it does when somebody has cleaned up /tmp.
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { systemClock } from '../clock.ts';

export interface Contents {
  /** SHA-256 of the list of files, in hex. */
  readonly hash: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly hash: string }[];
  /** Lends the bytes of a file. */
  readonly read: (name: string) => Uint8Array;
}

/** Something stands there under the name of ours and is not what this program has put there. */
class NotOurs extends Error {}

export interface PrivateFolder {
  readonly folder: string;
  readonly isNew: boolean;
  /** Why it is of this process alone, to be removed when that ends; null for one that later starts find. */
  readonly forNow: string | null;
}

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;
const PERMISSIONS = 0o777;
const READ_BYTES = 65_536;
const HASH_LETTERS = 32;
const DAY_MS = 86_400_000;

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
export function privateFolder(place: string, contents: Contents): PrivateFolder {
  const user = process.geteuid!();
  judgePlace(place, user);
  const path = place.replace(/\/+$/, '');
  const folder = `${path}/lethe-${user}-${contents.hash.slice(0, HASH_LETTERS)}`;
  const wrong = whatIsWrong(folder, user, contents);
  if (wrong === null) return { folder, isNew: false, forNow: null };
  removeLeftovers(path, folder, user);
  if (isOwnFolder(folder, user)) setAside(folder);
  const unfinished = unpack(folder, contents);
  try {
    renameSync(unfinished, folder);
  } catch {
    // Another start was faster, or somebody stands in the way.
    const inTheWay = whatIsWrong(folder, user, contents);
    if (inTheWay !== null) return { folder: unfinished, isNew: true, forNow: inTheWay };
    removeFolder(unfinished);
    return { folder, isNew: false, forNow: null };
  }
  return { folder, isNew: true, forNow: null };
}

/** Whether a folder that has been judged is still there: nobody else can have put another one of this user's in its place. */
export function isStillOurs(folder: string): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === process.geteuid!() && (found.mode & PERMISSIONS) === 0o700;
}

/** Takes away a folder of this user's that holds files only, as far as that is still there. */
export function removeFolder(folder: string): void {
  try {
    for (const name of readdirSync(folder)) unlinkSync(`${folder}/${name}`);
    rmdirSync(folder);
  } catch {
    // It stays: a start that cannot clean up can still go on.
  }
}

/** Returns the path of a new folder with everything in it. */
function unpack(folder: string, contents: Contents): string {
  const unpacked = mkdtempSync(ofThisProcess(folder));
  try {
    for (const { name } of contents.files) write(`${unpacked}/${name}`, contents.read(name));
  } catch (error) {
    removeFolder(unpacked);
    throw error;
  }
  return unpacked;
}

/** How names begin that nobody can foresee; the number of the process says to later starts when it is left. */
function ofThisProcess(folder: string): string {
  return `${folder}.${process.pid}.`;
}

/** Makes room for a new one. Others may have been able to write in it, and cannot any more once its mode is set. */
function setAside(folder: string): void {
  const aside = mkdtempSync(ofThisProcess(folder));
  try {
    renameSync(folder, aside);
    chmodSync(aside, 0o700);
  } catch {
    // It is gone already, or stays: then the new one cannot have its name.
  }
  removeFolder(aside);
}

/** Only this user's own folders of that kind, of which this process has none yet. */
function removeLeftovers(place: string, folder: string, user: number): void {
  const kind = new RegExp(`^lethe-${user}-[0-9a-f]{${HASH_LETTERS}}(?:\\.(\\d+)\\.[A-Za-z0-9]{6})?$`);
  try {
    for (const name of readdirSync(place)) {
      const path = `${place}/${name}`;
      const match = kind.exec(name);
      if (match === null || path === folder || !isStillOurs(path)) continue;
      if (isOld(path) || (match[1] !== undefined && !isRunning(Number(match[1])))) removeFolder(path);
    }
  } catch {
    // They stay: it is the folder of this start that matters.
  }
}

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return true;
  } catch {
    return false; // this user's own: it would be allowed to ask
  }
}

function isOld(folder: string): boolean {
  return Math.abs(systemClock.wallMs() - lstatSync(folder).mtimeMs) > DAY_MS;
}

function isOwnFolder(folder: string, user: number): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === user;
}

/** Why a folder is not used; null when nothing is wrong with it. @throws Error when it cannot be read */
function whatIsWrong(folder: string, user: number, contents: Contents): string | null {
  try {
    judge(folder, user, contents);
    return null;
  } catch (error) {
    if (!(error instanceof NotOurs)) throw error;
    return error.message;
  }
}

/** Nobody but root and this user may rename what lies in it. */
function judgePlace(place: string, user: number): void {
  const { uid, mode } = statSync(place);
  if (uid !== 0 && uid !== user) throw new Error(`${place} belongs to another user`);
  if ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0) throw new Error(`${place} can be written by others`);
}

function judge(folder: string, user: number, { files }: Contents): void {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (found === undefined) throw new NotOurs(`${folder} is not there`);
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
