// LMDB as the spool's disk. Every step is one synchronous transaction that returns after the file was flushed: the caller is a thread
// of its own. No compression, no lmdb encryption, no shared structures: values arrive sealed.
import { chmodSync, closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { type Disk, type DiskWriter, diskError } from './disk.ts';

export const DATA_FILE = 'spool.mdb';
/** Address space, not disk: far more than a file may grow to. */
const MAP_BYTES = 2 ** 40;
const META_PAGES = 2;
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
    const writer: DiskWriter = {
      put: (key, value) => void environment.putSync(key as Buffer, value as Buffer),
      remove: (key) => void environment.removeSync(key as Buffer),
    };
    try {
      environment.transactionSync(() => change(writer));
    } catch (error) {
      throw diskError('the data file', error);
    } finally {
      environment.resetReadTxn();
    }
  }

  usage(): { fileBytes: number; freeBytes: number } {
    const stats = this.#environment.getStats() as PageCounts;
    const used = stats.root.treeBranchPageCount + stats.root.treeLeafPageCount + stats.root.overflowPages + META_PAGES;
    const freeBytes = Math.max(0, stats.lastPageNumber + 1 - used) * stats.pageSize;
    return { fileBytes: statSync(join(this.#folder, DATA_FILE)).size, freeBytes };
  }

  availableBytes(): number {
    const { bavail, bsize } = statfsSync(this.#folder);
    return bavail * bsize;
  }

  compact(): void {
    const path = join(this.#folder, DATA_FILE);
    const freshPath = `${path}.new`;
    removeBoth(freshPath);
    try {
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
      mapSize: MAP_BYTES,
      // A commit returns when it is durable.
      overlappingSync: false,
      noReadAhead: true,
    };
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

/** Makes names durable: which files a folder has, and what they are called. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
