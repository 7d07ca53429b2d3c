// One atomic change of the spool: what is sealed, what is removed, and which keys die once it is durable. Everything that one commit does
// goes through one step, so a crash leaves all of it or nothing.
import type { Disk } from './disk.ts';
import type { RecordBuffer } from './records.ts';
import { expiryKey, type RowKind, rowKey } from './rows.ts';
import { type RowSealer, SEALED_HEADER_BYTES, type SealedFacts, seal } from './sealed.ts';
import type { RandomBytes, Vault } from './vault.ts';

/** What a sealed value is cut to: four pages of LMDB with its own header. One record may be larger. */
export const SEALED_BYTES_TARGET = 16_320;
export const PLAIN_BYTES_TARGET = SEALED_BYTES_TARGET - SEALED_HEADER_BYTES;

/** What the parts of the spool work on. */
export interface Ground {
  readonly disk: Disk;
  readonly vault: Vault;
  readonly sealer: RowSealer;
  readonly random: RandomBytes;
}

const NOTHING = new Uint8Array(0);

export class Step {
  /** Slots whose values this step removes: to be destroyed once it is durable. */
  readonly doomed: number[] = [];
  /** Slots that this step took: to be destroyed when it fails, since some of it may have reached the file. */
  readonly taken: number[] = [];
  writtenBytes = 0;
  readonly #ground: Ground;
  readonly #puts: (readonly [key: Uint8Array, value: Uint8Array])[] = [];
  readonly #removed: Uint8Array[] = [];

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  get checkSeed(): number {
    return this.#ground.vault.checkSeed;
  }

  get isEmpty(): boolean {
    return this.#puts.length === 0 && this.#removed.length === 0;
  }

  /** Seals `plain` as the value of a row, and notes when it must be looked at for expiry. */
  seal(kind: RowKind, session: number, number: number, plain: Uint8Array, facts: Omit<SealedFacts, 'slot'>): void {
    const { value, slot } = seal(this.#ground.vault, this.#ground.random, plain, facts);
    this.taken.push(slot);
    this.put(rowKey(kind, session, number), value);
    if (facts.untilMs !== Infinity) this.put(expiryKey(facts.untilMs, kind, session, number), NOTHING);
  }

  /** Seals records [from, to) of `records`, whose checks are written, by their first number. */
  sealRecords(kind: RowKind, session: number, records: RecordBuffer, from: number, to: number): void {
    let count = 0;
    let flags = 0;
    let sinceMs = Infinity;
    let untilMs = Infinity;
    let last = 0;
    for (let at = from; at < to; at += records.length(at)) {
      count++;
      last = records.number(at);
      if (records.reference(at) >= 0) flags = 1;
      sinceMs = Math.min(sinceMs, records.sinceMs(at));
      untilMs = Math.min(untilMs, records.untilMs(at));
    }
    this.seal(kind, session, records.number(from), records.bytes.subarray(from, to), { flags, count, last, sinceMs, untilMs });
  }

  /** Seals what is left of a value. */
  sealPieces(kind: RowKind, session: number, records: RecordBuffer): void {
    cutPieces(records, doubling(), (from, to) => this.sealRecords(kind, session, records, from, to));
  }

  /** Puts a row of numbers. */
  putNumbers(kind: RowKind, session: number, number: number, numbers: readonly number[]): void {
    const plain = Float64Array.from(numbers);
    this.put(rowKey(kind, session, number), this.#ground.sealer.seal(new Uint8Array(plain.buffer)));
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#puts.push([key, value]);
    this.writtenBytes += key.length + value.length;
  }

  remove(key: Uint8Array): void {
    this.#removed.push(key);
  }

  /** Removes a sealed value and dooms its key. */
  forget(kind: RowKind, session: number, number: number, facts: SealedFacts): void {
    this.remove(rowKey(kind, session, number));
    if (facts.untilMs !== Infinity) this.remove(expiryKey(facts.untilMs, kind, session, number));
    this.doomed.push(facts.slot);
  }

  /** Makes the change. @throws DiskError when it was not made; the taken slots must then be destroyed */
  apply(): void {
    if (this.isEmpty) return;
    this.#ground.disk.transact((writer) => {
      // Removed first: a value that is sealed anew may keep its key in the map.
      for (const key of this.#removed) writer.remove(key);
      for (const [key, value] of this.#puts) writer.put(key, value);
    });
  }
}

/** Numbers of a row that `putNumbers` wrote; null when it is missing or broken. */
export function readNumbers(ground: Ground, kind: RowKind, session: number, number: number): number[] | null {
  const value = ground.disk.get(rowKey(kind, session, number));
  const plain = value === null ? null : ground.sealer.open(value);
  if (plain === null || plain.length % 8 !== 0) return null;
  return Array.from({ length: plain.length / 8 }, (_, i) => plain.readDoubleLE(i * 8));
}

/** Cuts records into pieces of the sizes that `sizes` gives in turn; a record that is larger is a piece of its own. */
export function cutPieces(records: RecordBuffer, sizes: () => number, cut: (from: number, to: number) => void): void {
  let size = sizes();
  let from = 0;
  for (let at = 0; at < records.end; ) {
    const next = at + records.length(at);
    if (next - from > size && at > from) {
      cut(from, at);
      from = at;
      size = sizes();
    }
    at = next;
  }
  if (from < records.end) cut(from, records.end);
}

/** Sizes of the pieces in which the rest of a value is sealed anew: what is consumed next stands in small ones, so that little is rewritten again. */
export function doubling(): () => number {
  let size = PIECE_BYTES_MIN / 2;
  return () => {
    size = Math.min(size * 2, PLAIN_BYTES_TARGET);
    return size;
  };
}

const PIECE_BYTES_MIN = 1_024;
