// The scanner: what somebody could find of our canaries who has the data directory, everything that the file system still holds of it, and
// whatever keys there are to be had. It reads every file raw and looks for the canaries in several encodings; then it tries the keys on
// every place that could be a sealed value, with the tag (GCM) and without it (bare counter mode, as a salvage would), and looks again.
import { createDecipheriv } from 'node:crypto';
import { SEALED_HEADER_BYTES } from '../../storage/sealed.ts';
import type { Canaries, Sighting } from './canaries.ts';
import { type RawFile, rawFiles } from './files.ts';
import { derive, type FoundKeys, findKeys, NO_KEYS } from './keys.ts';
import { ROW_HEADER_BYTES, type RowPlace, type SealedPlace, sealedPlaces } from './sealed-places.ts';

/** How hard the keys are tried. */
export const Effort = {
  /** No key at all: somebody who has only the data file. */
  NO_KEYS: 0,
  /** On each value the keys that stand in the slot that it names. */
  OWN_KEYS: 1,
  /** On each value every key that was found anywhere. */
  EVERY_KEY: 2,
} as const;
export type Effort = (typeof Effort)[keyof typeof Effort];

export interface ScanOptions {
  /** The process that may hold deleted files open: this one unless told. */
  readonly pid?: number;
  /** Master keys that the searcher knows. A header without a master key needs none. */
  readonly masters?: readonly Uint8Array[];
  readonly effort?: Effort;
}

export interface Found extends Sighting {
  readonly where: string;
}

export interface ScanReport {
  readonly found: readonly Found[];
  /** Names of the canaries that were found, sorted. */
  readonly names: readonly string[];
  readonly files: readonly string[];
  /** Bytes that were searched. */
  readonly bytes: number;
  readonly keys: number;
  /** Places that look like a sealed value; slots of those that a key opened with their tag; rows that were opened. */
  readonly places: number;
  readonly openedSlots: ReadonlySet<number>;
  readonly openedRows: number;
  /** Values and foreign keys that were tried on each other, and how many there were to try. */
  readonly pairs: { readonly tried: number; readonly all: number };
}

/** More pairs of a value and a foreign key than this are sampled evenly. */
const PAIRS_MAX = 400_000;
/** How much of a value a foreign key is tried on. */
const FOREIGN_BYTES = 2_048;
/** The counter block that GCM begins its ciphertext with, after the nonce (NIST SP 800-38D §7.1). */
const FIRST_COUNTER = Buffer.of(0, 0, 0, 2);

export function scan(folder: string, canaries: Canaries, options: ScanOptions = {}): ScanReport {
  return new Scan(canaries, options).run(rawFiles(folder, options.pid ?? process.pid));
}

class Scan {
  readonly #canaries: Canaries;
  readonly #effort: Effort;
  readonly #masters: readonly Uint8Array[];
  readonly #found: Found[] = [];
  readonly #openedSlots = new Set<number>();
  readonly #rowKeys = new Map<string, Buffer>();
  #openedRows = 0;
  #tried = 0;

  constructor(canaries: Canaries, { effort = Effort.OWN_KEYS, masters = [] }: ScanOptions) {
    this.#canaries = canaries;
    this.#effort = effort;
    this.#masters = masters;
  }

  run(files: readonly RawFile[]): ScanReport {
    let bytes = 0;
    for (const { name, stretches } of files) {
      for (const stretch of stretches) {
        bytes += stretch.bytes.length;
        this.#search(stretch.bytes, `${name}, raw`);
      }
    }
    const keys = this.#effort === Effort.NO_KEYS ? NO_KEYS : findKeys(files, this.#masters, this.#effort === Effort.EVERY_KEY);
    const values: [string, SealedPlace][] = [];
    if (keys.all.length > 0) {
      for (const file of files) {
        const places = sealedPlaces(file);
        for (const row of places.rows) this.#tryRow(row, keys, file.name);
        for (const value of places.values) values.push([file.name, value]);
      }
    }
    this.#tryOwnKeys(values, keys);
    const all = this.#effort === Effort.EVERY_KEY ? values.length * keys.all.length : 0;
    if (all > 0) this.#tryForeignKeys(values, keys.all, Math.max(1, Math.ceil(all / PAIRS_MAX)));
    return {
      found: this.#found,
      names: [...new Set(this.#found.map(({ name }) => name))].sort(),
      files: files.map(({ name }) => name),
      bytes,
      keys: keys.all.length,
      places: values.length,
      openedSlots: this.#openedSlots,
      openedRows: this.#openedRows,
      pairs: { tried: this.#tried, all },
    };
  }

  #search(bytes: Buffer, where: string): void {
    for (const sighting of this.#canaries.find(bytes)) this.#found.push({ ...sighting, where });
  }

  /** Opens what its tag says to be whole. Of a value whose tag fits nowhere, bare counter mode gives what is left. */
  #tryOwnKeys(values: readonly (readonly [file: string, value: SealedPlace])[], keys: FoundKeys): void {
    const whole = new Set<string>();
    for (const [file, { slot, bytes, offset, lengths }] of values) {
      for (const key of keys.slots.get(slot) ?? []) {
        for (const length of lengths) {
          const plain = unsealWhole(key, bytes.subarray(0, length));
          if (plain === null) continue;
          whole.add(streamOf(key, bytes));
          this.#openedSlots.add(slot);
          this.#search(plain, `${file} at ${offset}, by the key in slot ${slot}`);
        }
      }
    }
    for (const [file, { slot, bytes, offset }] of values) {
      for (const key of keys.slots.get(slot) ?? []) {
        // The same key and nonce: a remnant of a value that was opened whole, which says nothing more.
        if (whole.has(streamOf(key, bytes))) continue;
        this.#search(counterMode(key, bytes, bytes.length), `${file} at ${offset}, by the key in slot ${slot}, without its tag`);
      }
    }
  }

  #tryForeignKeys(values: readonly (readonly [string, SealedPlace])[], keys: readonly Buffer[], stride: number): void {
    let pair = 0;
    for (const [, { bytes, offset }] of values) {
      for (const key of keys) {
        if (pair++ % stride !== 0) continue;
        this.#tried++;
        if (this.#canaries.find(counterMode(key, bytes, FOREIGN_BYTES)).length === 0) continue;
        this.#search(counterMode(key, bytes, bytes.length), `the value at ${offset}, by a key that stands elsewhere`);
      }
    }
  }

  #tryRow({ bytes, offset, lengths }: RowPlace, keys: FoundKeys, file: string): void {
    const epoch = bytes.subarray(8, 24);
    const nonce = Buffer.concat([bytes.subarray(24, 32), Buffer.alloc(4)]);
    for (const rowKey of keys.rows) {
      const name = rowKey.toString('latin1') + epoch.toString('latin1');
      const key = this.#rowKeys.get(name) ?? derive(rowKey, 'lethe spool v1 row epoch', epoch);
      this.#rowKeys.set(name, key);
      for (const length of lengths) {
        const plain = gcm(key, nonce, bytes.subarray(32, 48), null, bytes.subarray(ROW_HEADER_BYTES, length));
        if (plain !== null) this.#openedRows++;
      }
      this.#search(ctr(key, nonce, bytes.subarray(ROW_HEADER_BYTES)), `${file} at ${offset}, a row`);
    }
  }
}

function streamOf(key: Buffer, value: Buffer): string {
  return key.toString('latin1') + value.toString('latin1', 40, 52);
}

function unsealWhole(key: Buffer, value: Buffer): Buffer | null {
  if (value.length < SEALED_HEADER_BYTES) return null;
  const content = value.subarray(SEALED_HEADER_BYTES);
  return gcm(key, value.subarray(40, 52), value.subarray(56, 72), value.subarray(0, 40), content);
}

function counterMode(key: Buffer, value: Buffer, bytesMax: number): Buffer {
  return ctr(key, value.subarray(40, 52), value.subarray(SEALED_HEADER_BYTES, SEALED_HEADER_BYTES + bytesMax));
}

function gcm(key: Buffer, nonce: Buffer, tag: Buffer, clear: Buffer | null, content: Buffer): Buffer | null {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce);
  if (clear !== null) decipher.setAAD(clear);
  decipher.setAuthTag(tag);
  const plain = decipher.update(content);
  try {
    decipher.final();
    return plain;
  } catch {
    return null;
  }
}

function ctr(key: Buffer, nonce: Buffer, content: Buffer): Buffer {
  return createDecipheriv('aes-256-ctr', key, Buffer.concat([nonce, FIRST_COUNTER])).update(content);
}
