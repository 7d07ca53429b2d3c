// A disk in memory that keeps its contract to the letter, and breaks when it is told to: what it lends is overwritten once the loan is over,
// a step fails with a fault that the test chooses, and a crash leaves what a real one could leave.
import { type Disk, DiskError, DiskFault, type DiskWriter } from '../../storage/disk.ts';
import type { SeededRandom } from '../seeded-random.ts';

/** What becomes of one step. */
export const Outcome = {
  DONE: 'done',
  /** No room: not made. */
  FULL: 'full',
  /** The device fails: not made. */
  BROKEN: 'broken',
  /** The device fails after it has made the step durable, and says that it failed. */
  BROKEN_AFTER: 'broken after',
  /** The device fails in the middle: some of the step's changes are there, against the contract. */
  TORN: 'torn',
  /** The process dies before the step, or behind it. */
  KILLED: 'killed',
  KILLED_AFTER: 'killed after',
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** The process is gone in the middle of a call: only what is durable counts from here. */
export class Killed extends Error {}

const LOAN_OVER = 0xa5;

export class MemoryDisk implements Disk {
  /** Decides the outcome of each step. */
  outcome: () => Outcome = () => Outcome.DONE;
  /** What the file system has left. */
  roomBytes = 2 ** 40;
  /** Called for each value that is written. */
  written: (key: Uint8Array, value: Uint8Array) => void = () => {};
  steps = 0;
  readonly #random: SeededRandom;
  #keys: string[] = [];
  #values = new Map<string, Buffer>();
  #lent: Uint8Array[] = [];
  /** What a failing device has made all the same: another process will find it. */
  #hidden: (() => void)[] = [];

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** What another process would find: contents without loans, faults or watchers. */
  reopened(): MemoryDisk {
    for (const change of this.#hidden.splice(0)) change();
    const disk = new MemoryDisk(this.#random);
    disk.#keys = [...this.#keys];
    disk.#values = new Map(this.#values);
    return disk;
  }

  get entries(): { readonly key: Buffer; readonly value: Buffer }[] {
    return this.#keys.map((name) => ({ key: Buffer.from(name, 'latin1'), value: this.#values.get(name)! }));
  }

  /** Changes a stored value behind everybody's back; false when there is none. */
  damage(key: Uint8Array, change: (value: Buffer) => void): boolean {
    const name = nameOf(key);
    const value = this.#values.get(name);
    if (value === undefined) return false;
    const copy = Buffer.from(value);
    change(copy);
    this.#values.set(name, copy);
    return true;
  }

  get(key: Uint8Array): Uint8Array | null {
    this.#endLoans();
    const value = this.#values.get(nameOf(key));
    return value === undefined ? null : this.#lend(value);
  }

  range(from: Uint8Array, to: Uint8Array, visit: (key: Uint8Array, value: Uint8Array) => boolean): void {
    this.#endLoans();
    const last = nameOf(to);
    // A step inside the walk may change the keys: it goes on behind the one that it was at.
    for (let at = this.#indexOf(nameOf(from)); at < this.#keys.length; ) {
      const name = this.#keys[at]!;
      if (name >= last) return;
      const value = Buffer.from(this.#values.get(name)!);
      const goesOn = visit(Buffer.from(name, 'latin1'), value);
      value.fill(LOAN_OVER);
      if (!goesOn) return;
      at = this.#indexOf(name);
      if (this.#keys[at] === name) at++;
    }
  }

  last(from: Uint8Array, to: Uint8Array): { readonly key: Uint8Array; readonly value: Uint8Array } | null {
    this.#endLoans();
    const name = this.#keys[this.#indexOf(nameOf(to)) - 1];
    if (name === undefined || name < nameOf(from)) return null;
    return { key: this.#lend(Buffer.from(name, 'latin1')), value: this.#lend(this.#values.get(name)!) };
  }

  transact(change: (writer: DiskWriter) => void): void {
    this.#endLoans();
    this.steps++;
    const changes: (() => void)[] = [];
    change({
      put: (key, value) => {
        const name = nameOf(key);
        const copy = Buffer.from(value);
        changes.push(() => this.#put(name, copy));
      },
      remove: (key) => {
        const name = nameOf(key);
        changes.push(() => this.#remove(name));
      },
    });
    const outcome = this.outcome();
    if (outcome === Outcome.FULL) throw new DiskError(DiskFault.FULL, 'no room (double)');
    if (outcome === Outcome.BROKEN) throw new DiskError(DiskFault.BROKEN, 'input/output error (double)');
    if (outcome === Outcome.KILLED) throw new Killed();
    if (outcome === Outcome.DONE || outcome === Outcome.KILLED_AFTER) for (const one of changes) one();
    if (outcome === Outcome.DONE) return;
    if (outcome === Outcome.KILLED_AFTER) throw new Killed();
    this.#hidden = outcome === Outcome.TORN ? changes.filter(() => this.#random.below(2) === 0) : changes;
    throw new DiskError(DiskFault.BROKEN, 'input/output error (double)');
  }

  usage(): { fileBytes: number; freeBytes: number } {
    let fileBytes = 0;
    for (const value of this.#values.values()) fileBytes += value.length;
    return { fileBytes, freeBytes: 0 };
  }

  availableBytes(): number {
    return this.roomBytes;
  }

  compact(): void {}

  close(): void {
    this.#endLoans();
  }

  #put(name: string, value: Buffer): void {
    if (!this.#values.has(name)) this.#keys.splice(this.#indexOf(name), 0, name);
    this.#values.set(name, value);
    this.written(Buffer.from(name, 'latin1'), value);
  }

  #remove(name: string): void {
    if (this.#values.delete(name)) this.#keys.splice(this.#indexOf(name), 1);
  }

  /** Index of the first key at or behind `name`. */
  #indexOf(name: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #lend(value: Uint8Array): Uint8Array {
    const copy = Uint8Array.from(value);
    this.#lent.push(copy);
    return copy;
  }

  #endLoans(): void {
    for (const lent of this.#lent) lent.fill(LOAN_OVER);
    this.#lent.length = 0;
  }
}

/** Bytes as a string that sorts as they do. */
function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}
