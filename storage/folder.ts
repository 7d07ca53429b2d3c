// The data directory: who may read it, which format it has, and what of it belongs together. Opening looks first and writes last: a key
// that is wrong, a format that is newer or a part that is missing is refused with nothing touched.
import {
  chmodSync,
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DiskError, diskError } from './disk.ts';
import { DATA_FILE, LmdbDisk } from './lmdb-disk.ts';
import { MetaRow, RowKind, rowKey } from './rows.ts';
import { RowSealer } from './sealed.ts';
import { FORMAT, noteStart, readStarts } from './starts.ts';
import type { Ground } from './step.ts';
import { syncFolder } from './sync-folder.ts';
import { type KeyFile, type RandomBytes, Vault, VaultError } from './vault.ts';

export const KEYS_FILE = 'spool.keys';
const ROOM_BYTES_MIN = 1_048_576;

/** The data directory cannot be used; nothing was changed in it. The message says what to do. */
export class FolderError extends Error {}

export interface OpenedFolder {
  readonly ground: Ground;
  /** Number of this start (starts.ts). */
  readonly started: number;
}

/**
 * Opens or makes the spool in `folder`. `master` wraps the keys; null: the mode of the files protects them.
 * @throws FolderError in one line that says what to do
 */
export function openFolder(folder: string, master: Uint8Array | null, random: RandomBytes): OpenedFolder {
  const isNew = !existsSync(join(folder, DATA_FILE));
  const hasKeys = existsSync(join(folder, KEYS_FILE));
  if (!isNew && !hasKeys) {
    throw new FolderError(
      `${folder}: ${KEYS_FILE} is missing, and without it ${DATA_FILE} cannot be read; restore both or remove both`,
    );
  }
  makeFolder(folder);
  if (isNew) checkRoom(folder);
  const vault = openVault(folder, master, random, isNew && !hasKeys);
  const disk = openDisk(folder);
  const ground: Ground = { disk, vault, sealer: new RowSealer(vault, random), random };
  try {
    return { ground, started: noteStart(ground, readMeta(ground, folder)) };
  } catch (error) {
    disk.close();
    vault.close();
    throw error instanceof DiskError ? new FolderError(`${folder}: ${error.message}; see to the disk and start again`) : error;
  }
}

/** Wraps the keys of a spool under another master key; a broker that runs on it goes on undisturbed. @throws FolderError */
export function rotateMaster(folder: string, master: Uint8Array | null, next: Uint8Array | null, random: RandomBytes): void {
  const path = join(folder, KEYS_FILE);
  if (!existsSync(path)) throw new FolderError(`${folder}: there is no ${KEYS_FILE} here`);
  const file = new DiskKeyFile(path);
  try {
    Vault.rotate(file, master, next, random);
  } catch (error) {
    throw error instanceof VaultError ? new FolderError(`${path}: ${error.message}`) : error;
  } finally {
    file.close();
  }
}

/** Makes the directory ours alone; one that others use too is refused rather than closed to them. */
function makeFolder(folder: string): void {
  let isShared = false;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    isShared =
      (statSync(folder).mode & 0o077) !== 0 &&
      readdirSync(folder).some((name) => !/^(spool\.|lethe\.sock|pseudonym\.key|audit\.log)/.test(name));
    if (!isShared) chmodSync(folder, 0o700);
  } catch (error) {
    throw new FolderError(
      `${folder}: cannot be made or entered (${(error as NodeJS.ErrnoException).code}); give a directory that the broker may write`,
    );
  }
  if (isShared)
    throw new FolderError(`${folder}: others may enter this directory, and it holds more than a spool; give one of its own`);
}

/** A new spool needs some pages before it can say that it has no room for them. */
function checkRoom(folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < ROOM_BYTES_MIN) throw new FolderError(`${folder}: the disk is full; make room, or give another directory`);
}

function openVault(folder: string, master: Uint8Array | null, random: RandomBytes, fresh: boolean): Vault {
  const path = join(folder, KEYS_FILE);
  let file: DiskKeyFile | null = null;
  try {
    if (!fresh) {
      file = new DiskKeyFile(path);
      const vault = Vault.open(file, master, random);
      chmodSync(path, 0o600);
      return vault;
    }
    // Made under another name: a crash must not leave half a key file that the next start would refuse.
    const freshPath = `${path}.new`;
    rmSync(freshPath, { force: true });
    file = new DiskKeyFile(freshPath);
    const vault = Vault.create(file, master, random);
    renameSync(freshPath, path);
    syncFolder(folder);
    return vault;
  } catch (error) {
    file?.close();
    if (error instanceof VaultError) throw new FolderError(`${path}: ${error.message}`);
    throw new FolderError(`${path}: cannot be used (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`);
  }
}

function openDisk(folder: string): LmdbDisk {
  try {
    const disk = new LmdbDisk(folder);
    syncFolder(folder);
    return disk;
  } catch (error) {
    throw new FolderError(`${join(folder, DATA_FILE)}: ${(error as Error).message}`);
  }
}

/** Number of the last start, 0 when there was none. */
function readMeta(ground: Ground, folder: string): number {
  if (ground.disk.get(rowKey(RowKind.META, 0, MetaRow.STARTS)) === null) {
    let isEmpty = true;
    ground.disk.range(Buffer.of(0), Buffer.of(0xff), () => {
      isEmpty = false;
      return false;
    });
    if (isEmpty) return 0;
  }
  const meta = readStarts(ground);
  if (meta === null)
    throw new FolderError(`${folder}: ${KEYS_FILE} does not belong to ${DATA_FILE}; restore the pair that was saved together`);
  if (meta.format > FORMAT) {
    throw new FolderError(
      `${folder}: the spool has format ${meta.format}, this version reads up to ${FORMAT}; use the version that wrote it, or a later one`,
    );
  }
  return meta.started;
}

/** The key file on a real disk. */
class DiskKeyFile implements KeyFile {
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = openSync(path, existsSync(path) ? 'r+' : 'wx+', 0o600);
  }

  size(): number {
    return attempt(() => fstatSync(this.#descriptor).size);
  }

  read(at: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    return buffer.subarray(
      0,
      attempt(() => readSync(this.#descriptor, buffer, 0, bytes, at)),
    );
  }

  write(at: number, bytes: Uint8Array): void {
    for (let written = 0; written < bytes.length; ) {
      const from = written;
      written += attempt(() => writeSync(this.#descriptor, bytes, from, bytes.length - from, at + from));
    }
  }

  truncate(bytes: number): void {
    attempt(() => ftruncateSync(this.#descriptor, bytes));
  }

  sync(): void {
    attempt(() => fdatasyncSync(this.#descriptor));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

function attempt<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw diskError('the key file', error);
  }
}

/**
 * A key for a purpose beside the spool's own, which lives as long as the store and which only the master key opens; null where there is no master key, or no spool.
 * @throws FolderError when `master` is not the key that wraps the spool
 */
export function folderKey(folder: string, master: Uint8Array | null, purpose: string): Uint8Array | null {
  const path = join(folder, KEYS_FILE);
  if (master === null || !existsSync(path)) return null;
  let file: DiskKeyFile | null = null;
  try {
    file = new DiskKeyFile(path);
    return Vault.keyOf(file, master, purpose);
  } catch (error) {
    if (error instanceof VaultError) throw new FolderError(`${path}: ${error.message}`);
    throw new FolderError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`);
  } finally {
    file?.close();
  }
}
