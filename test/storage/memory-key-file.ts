// A key file in memory that forgets like a real one: a crash keeps what was synced, and of each write since then all, nothing or a part, in
// any order. It fails when it is told to.
import { DiskError, DiskFault } from '../../storage/disk.ts';
import type { KeyFile } from '../../storage/vault.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { Killed } from './memory-disk.ts';

/** What becomes of one write, truncation or sync. */
export const FileOutcome = {
  DONE: 'done',
  /** No room; what was written since the last sync is lost, and so it is when the device fails. */
  FULL: 'full',
  BROKEN: 'broken',
  /** The process dies before it. */
  KILLED: 'killed',
} as const;
export type FileOutcome = (typeof FileOutcome)[keyof typeof FileOutcome];

type Change = { readonly at: number; readonly bytes: Buffer } | { readonly truncatedTo: number };

export class MemoryKeyFile implements KeyFile {
  /** Decides the outcome of each write, truncation and sync. */
  outcome: () => FileOutcome = () => FileOutcome.DONE;
  /** Writes, truncations and syncs so far. */
  calls = 0;
  readonly #random: SeededRandom;
  #bytes: Buffer;
  #durable: Buffer;
  #unsynced: Change[] = [];

  constructor(random: SeededRandom, bytes: Buffer = Buffer.alloc(0)) {
    this.#random = random;
    this.#bytes = Buffer.from(bytes);
    this.#durable = Buffer.from(bytes);
  }

  /** What the process sees. */
  get content(): Buffer {
    return this.#bytes;
  }

  /** The file after a crash. */
  crashed(): MemoryKeyFile {
    let bytes: Buffer = Buffer.from(this.#durable);
    for (const change of this.#shuffled()) {
      const fate = this.#random.below(3);
      if (fate === 0) continue;
      if ('truncatedTo' in change) bytes = resized(bytes, change.truncatedTo);
      else bytes = written(bytes, change.at, fate === 1 ? change.bytes : this.#torn(change.bytes));
    }
    return new MemoryKeyFile(this.#random, bytes);
  }

  /** The file after a process that ended without a power cut: everything that was written is there. */
  reopened(): MemoryKeyFile {
    return new MemoryKeyFile(this.#random, this.#bytes);
  }

  size(): number {
    return this.#bytes.length;
  }

  read(at: number, bytes: number): Buffer {
    return Buffer.from(this.#bytes.subarray(at, at + bytes));
  }

  write(at: number, bytes: Uint8Array): void {
    this.#fail();
    this.#bytes = written(this.#bytes, at, bytes);
    this.#unsynced.push({ at, bytes: Buffer.from(bytes) });
  }

  truncate(bytes: number): void {
    this.#fail();
    this.#bytes = resized(this.#bytes, bytes);
    this.#unsynced.push({ truncatedTo: bytes });
  }

  sync(): void {
    try {
      this.#fail();
    } catch (error) {
      // As Linux does: pages that could not be written count as clean, so the next sync does not try them again.
      if (!(error instanceof Killed)) this.#unsynced.length = 0;
      throw error;
    }
    this.#durable = Buffer.from(this.#bytes);
    this.#unsynced.length = 0;
  }

  close(): void {}

  #fail(): void {
    this.calls++;
    const outcome = this.outcome();
    if (outcome === FileOutcome.DONE) return;
    if (outcome === FileOutcome.KILLED) throw new Killed();
    throw new DiskError(outcome === FileOutcome.FULL ? DiskFault.FULL : DiskFault.BROKEN, 'the key file failed (double)');
  }

  #torn(bytes: Buffer): Buffer {
    return bytes.subarray(0, this.#random.below(bytes.length + 1));
  }

  #shuffled(): Change[] {
    const changes = [...this.#unsynced];
    for (let i = changes.length - 1; i > 0; i--) {
      const j = this.#random.below(i + 1);
      [changes[i], changes[j]] = [changes[j]!, changes[i]!];
    }
    return changes;
  }
}

function resized(bytes: Buffer, to: number): Buffer {
  return to <= bytes.length ? Buffer.from(bytes.subarray(0, to)) : Buffer.concat([bytes, Buffer.alloc(to - bytes.length)]);
}

function written(bytes: Buffer, at: number, content: Uint8Array): Buffer {
  const wide = resized(bytes, Math.max(bytes.length, at + content.length));
  wide.set(content, at);
  return wide;
}
