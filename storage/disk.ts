// The seam under the spool: an ordered map of bytes that changes in atomic, durable steps, and what it costs in files. LMDB behind
// it in a broker; a double that loses, refuses and corrupts in tests.

/** Changes of one step, valid inside `transact`. Keys and values are borrowed for the call. */
export interface DiskWriter {
  put(key: Uint8Array, value: Uint8Array): void;
  remove(key: Uint8Array): void;
}

export interface Disk {
  /** The value, or null. Borrowed until the next call on this disk. */
  get(key: Uint8Array): Uint8Array | null;
  /** Gives [from, to) in rising order of keys until `visit` returns false. The value is borrowed for the call. */
  range(from: Uint8Array, to: Uint8Array, visit: (key: Uint8Array, value: Uint8Array) => boolean): void;
  /** The last entry in [from, to), or null. Borrowed until the next call on this disk. */
  last(from: Uint8Array, to: Uint8Array): { readonly key: Uint8Array; readonly value: Uint8Array } | null;
  /** All changes of `change`, or none; when it returns they would survive a power cut. Throws DiskError when they were not made. */
  transact(change: (writer: DiskWriter) => void): void;
  /** Bytes of the data file, and the part of it that holds nothing. */
  usage(): { readonly fileBytes: number; readonly freeBytes: number };
  /** Bytes that the file system has left for it. */
  availableBytes(): number;
  /** Writes what is held to a new file that takes the place of the old one; the space of what was removed goes back. */
  compact(): void;
  close(): void;
}

export const DiskFault = {
  /** No room: the same step may succeed later. */
  FULL: 'full',
  /** The device failed; what it holds can no longer be trusted to this process. */
  BROKEN: 'broken',
} as const;
export type DiskFault = (typeof DiskFault)[keyof typeof DiskFault];

export class DiskError extends Error {
  readonly fault: DiskFault;

  constructor(fault: DiskFault, message: string) {
    super(message);
    this.name = 'DiskError';
    this.fault = fault;
  }
}

/** Codes of LMDB and of the system that mean: no room. ENOSPC, EDQUOT, EFBIG, MDB_MAP_FULL. */
const FULL_CODES: readonly unknown[] = [28, 122, 27, -30_792];

/** What LMDB or the system threw, as the fault that it is; `what` failed. */
export function diskError(what: string, error: unknown): DiskError {
  if (error instanceof DiskError) return error;
  const { code, message } = error as { code?: unknown; message?: string };
  const full = FULL_CODES.includes(code) || /ENOSPC|EDQUOT|EFBIG|MAP_FULL|No space left|File too large/i.test(String(message));
  return new DiskError(full ? DiskFault.FULL : DiskFault.BROKEN, `${what} failed: ${String(message)}`);
}
