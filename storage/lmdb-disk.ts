// LMDB as the spool's disk. Every step is one synchronous transaction that returns after the file was flushed: the caller is a thread
// of its own. No compression, no lmdb encryption, no shared structures: values arrive sealed.
//
// lmdb must never find the disk full: it writes its words about a failed write past the end of a buffer (lmdb 3.5.6, mdb.c, `last_error`),
// which can end the process. So each step is measured before it is made. While the file system has plenty, that is all. When it has
// not, the file is made longer beforehand, with zeros, so that lmdb's own writes find their blocks in place:
//
//     0             last page             file size
//     |  lmdb's pages  |  tail: zeros, room  |
import { chmodSync, closeSync, existsSync, openSync, renameSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { mapBytes } from './address-space.ts';
import { checkDataFile } from './data-file.ts';
import { type Disk, DiskError, DiskFault, type DiskWriter, diskError } from './disk.ts';
import { syncFolder } from './sync-folder.ts';

export const DATA_FILE = 'spool.mdb';
const META_PAGES = 2;
const PAGE_BYTES = 4_096;
/** With so much left beyond what a step needs, the file system is not asked twice. */
const PLENTY_BYTES = 16 * 1_048_576;
/** Room in the file that only small steps may use: acknowledgements and removals, which give room back. */
const TAIL_BYTES = 1_048_576;
const SMALL_STEP_BYTES = 65_536;
/** What any step needs for branches, the root and lmdb's list of free pages. */
const STEP_BYTES = 16 * PAGE_BYTES;
/** Pages that are touched for small rows are no more than this: they stand together. */
const TOUCHED_PAGES_MAX = 4_096;
const ZEROS = Buffer.alloc(65_536);
/** What lmdb's statistics say of pages; the types of the package leave them out. */
interface PageCounts {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly root: { readonly treeBranchPageCount: number; readonly treeLeafPageCount: number; readonly overflowPages: number };
}

type Environment = RootDatabase<Buffer, Buffer>;

export class LmdbDisk implements Disk {
  readonly #folder: string;
  #environment: Environment;

  /** Opens or makes the data file in `folder`, which exists. @throws DiskError */
  constructor(folder: string) {
    this.#folder = folder;
    removeBoth(join(folder, `${DATA_FILE}.new`)); // of a compaction that a crash ended
    this.#environment = this.#open(DATA_FILE);
  }

  get(key: Uint8Array): Uint8Array | null {
    const value = this.#environment.getBinaryFast(key as Buffer);
    // lmdb lends one buffer for all values; only its `length` is that of the value.
    return value === undefined ? null : value.subarray(0, value.length);
  }

  range(from: Uint8Array, to: Uint8Array, visit: (key: Uint8Array, value: Uint8Array) => boolean): void {
    for (const { key, value } of this.#environment.getRange({ start: from as Buffer, end: to as Buffer, snapshot: false })) {
      if (!visit(key, value)) break;
    }
  }

  last(from: Uint8Array, to: Uint8Array): { key: Uint8Array; value: Uint8Array } | null {
    // Backwards, lmdb's start is included and its end is not; `to` itself never exists with these keys' lengths.
    for (const entry of this.#environment.getRange({ start: to as Buffer, reverse: true, limit: 2, snapshot: false })) {
      if (Buffer.compare(entry.key, to) >= 0) continue;
      return Buffer.compare(entry.key, from) < 0 ? null : entry;
    }
    return null;
  }

  transact(change: (writer: DiskWriter) => void): void {
    const environment = this.#environment;
    // Measured first: lmdb may write pages out while it is still being told of others.
    const changes: (readonly [key: Uint8Array, value: Uint8Array | null])[] = [];
    let bytes = 0;
    let largest = 0;
    change({
      put: (key, value) => {
        changes.push([key, value]);
        bytes += key.length + value.length;
        largest = Math.max(largest, value.length);
      },
      remove: (key) => void changes.push([key, null]),
    });
    let isTight = false;
    try {
      isTight = this.#findRoom(bytes, changes.length, largest);
      environment.transactionSync(() => {
        for (const [key, value] of changes) {
          if (value === null) environment.removeSync(key as Buffer);
          else environment.putSync(key as Buffer, value as Buffer);
        }
      });
    } catch (error) {
      const failed = diskError('the data file', error);
      // A write of which only a part found room is an input/output error to lmdb.
      throw isTight ? new DiskError(DiskFault.FULL, failed.message) : failed;
    } finally {
      environment.resetReadTxn();
    }
  }

  usage(): { fileBytes: number; freeBytes: number } {
    const stats = this.#environment.getStats() as PageCounts;
    const used = stats.root.treeBranchPageCount + stats.root.treeLeafPageCount + stats.root.overflowPages + META_PAGES;
    const fileBytes = statSync(join(this.#folder, DATA_FILE)).size;
    return { fileBytes, freeBytes: Math.max(0, fileBytes - used * stats.pageSize) };
  }

  availableBytes(): number {
    const { bavail, bsize } = statfsSync(this.#folder);
    return bavail * bsize;
  }

  /** Sees to it that a step of so many changes finds its pages; returns whether that is close. @throws DiskError when it would not */
  #findRoom(bytes: number, changes: number, largest: number): boolean {
    const needed = STEP_BYTES + 2 * bytes + Math.min(changes, TOUCHED_PAGES_MAX) * PAGE_BYTES;
    if (this.availableBytes() >= needed + PLENTY_BYTES) return false;
    const { lastPageNumber, pageSize } = this.#environment.getStats() as PageCounts;
    const { fileBytes, freeBytes } = this.usage();
    const tail = fileBytes - (lastPageNumber + 1) * pageSize;
    const isSmall = bytes <= SMALL_STEP_BYTES;
    if (tail >= needed + (isSmall ? 0 : TAIL_BYTES)) return true;
    try {
      this.#lengthen(fileBytes, needed + TAIL_BYTES - tail);
    } catch (error) {
      // Pages that hold nothing are as good if there are many, so that some lie in a row, and no value needs many of them.
      const isSparse = largest <= SMALL_STEP_BYTES && freeBytes - tail >= fileBytes / 4 + 4 * needed + TAIL_BYTES;
      if (!isSparse && !(isSmall && tail >= needed)) throw error;
    }
    return true;
  }

  /** Makes the file longer by `bytes` of zeros. @throws what the system says when it cannot */
  #lengthen(fileBytes: number, bytes: number): void {
    const descriptor = openSync(join(this.#folder, DATA_FILE), 'r+');
    try {
      for (let at = fileBytes, end = fileBytes + bytes; at < end; ) {
        at += writeSync(descriptor, ZEROS, 0, Math.min(ZEROS.length, end - at), at);
      }
    } finally {
      closeSync(descriptor);
    }
  }

  compact(): void {
    const path = join(this.#folder, DATA_FILE);
    const freshPath = `${path}.new`;
    removeBoth(freshPath);
    try {
      const { fileBytes, freeBytes } = this.usage();
      if (this.availableBytes() < 2 * (fileBytes - freeBytes) + PLENTY_BYTES)
        throw new DiskError(DiskFault.FULL, 'there is no room for a second data file');
      const fresh = this.#open(`${DATA_FILE}.new`);
      fresh.transactionSync(() => {
        for (const { key, value } of this.#environment.getRange({ snapshot: false })) fresh.putSync(key, value);
      });
      fresh.close();
    } catch (error) {
      removeBoth(freshPath);
      throw diskError('the data file', error);
    }
    this.#environment.close();
    renameSync(freshPath, path);
    syncFolder(this.#folder);
    removeBoth(freshPath);
    this.#environment = this.#open(DATA_FILE);
  }

  close(): void {
    this.#environment.close();
  }

  #open(file: string): Environment {
    const path = join(this.#folder, file);
    const options = {
      path,
      noSubdir: true,
      encoding: 'binary',
      keyEncoding: 'binary',
      mapSize: mapBytes(),
      // A commit returns when it is durable.
      overlappingSync: false,
      noReadAhead: true,
    };
    checkDataFile(path);
    try {
      const environment = open<Buffer, Buffer>(options as Parameters<typeof open>[0] & { path: string });
      for (const name of [path, `${path}-lock`]) if (existsSync(name)) chmodSync(name, 0o600);
      return environment as unknown as Environment;
    } catch (error) {
      throw diskError('the data file', error);
    }
  }
}

function removeBoth(path: string): void {
  rmSync(path, { force: true });
  rmSync(`${path}-lock`, { force: true });
}
