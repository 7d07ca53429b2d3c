// Messages that more than one session waits for: stored once, however many wait, and counted down. Their numbers only rise. A message
// that everybody has consumed before the commit is never written.
import type { MessageView } from '../protocol/publish.ts';
import { RecordBuffer, type RecordContent } from './records.ts';
import type { References } from './repair.ts';
import { MetaRow, RowKind, rowKey, rowNumber } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import { cutPieces, doubling, type Ground, PLAIN_BYTES_TARGET, readNumbers, type Step } from './step.ts';

const NO_BYTES = new Uint8Array(0);
const COUNTS_KEPT_MAX = 1_024;
const VALUES_KEPT_MAX = 64;
/** Numbers that may be given out before a row must say so. */
const NUMBERS_RESERVED = 2 ** 20;

/** What became of a look for a message. */
export const View = {
  FOUND: 0,
  /** It is not there any more. */
  MISSING: 1,
  /** It lies in a value that is damaged and must be put right first. */
  DAMAGED: 2,
} as const;
export type View = (typeof View)[keyof typeof View];

interface Pending {
  readonly offset: number;
  waiting: number;
}

/** How many sessions wait for each message of one sealed value. */
interface Counts {
  readonly first: number;
  /** Rising. */
  readonly numbers: readonly number[];
  readonly sizes: readonly number[];
  readonly waiting: number[];
  changed: boolean;
  /** Some message of the value is no longer waited for. */
  touched: boolean;
}

/** Messages that damage has cost. */
export interface Lost {
  messages: number;
  bytes: number;
}

export class SharedMessages {
  /** Messages held and their bytes, pending ones included. */
  messages = 0;
  bytes = 0;
  readonly #ground: Ground;
  readonly #pending = new Map<number, Pending>();
  #records = new RecordBuffer(65_536);
  #next = 1;
  /** A start goes on here: a number never means two messages to a reference that outlived its message. */
  #reserved = 1;
  /** First numbers of values whose row of counts is damaged: nobody is counted down there until they are made anew. */
  readonly damagedCounts = new Set<number>();
  /** First number of the value that a look found damaged. */
  damagedFirst = 0;
  /** Counts by first number, least recently used first; changed ones stay. */
  readonly #counts = new Map<number, Counts>();
  #recent: Counts | null = null;
  readonly #values = new Map<number, RecordBuffer>();
  /** Where the last look found its message: queues refer to shared messages in order, so the next one stands behind it. */
  #cursor: { readonly records: RecordBuffer; at: number } | null = null;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** Takes over what a start found. */
  recover(): void {
    this.#next = readNumbers(this.#ground, RowKind.META, 0, MetaRow.SHARED_NUMBERS)?.[0] ?? 1;
    this.#visitValues((first, value) => {
      this.#next = Math.max(this.#next, (sealedFacts(value)?.last ?? first) + 1);
      this.damagedCounts.add(first);
    });
    this.#reserved = this.#next;
    for (const first of this.#firstsOfCounts()) {
      const counts = this.#readCounts(first);
      if (counts === null) continue;
      if (!this.damagedCounts.delete(first)) counts.waiting.fill(0); // their value is not there
      this.#take(counts);
      // The process ended between the last acknowledgement and the erasure.
      counts.touched = counts.waiting.some((waiting) => waiting <= 0);
      if (counts.touched) this.#counts.set(first, counts);
    }
  }

  get hasChanges(): boolean {
    if (this.#pending.size > 0) return true;
    for (const counts of this.#counts.values()) if (counts.changed) return true;
    return false;
  }

  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  /** Whether a sealed value holds messages that nobody waits for. */
  get isTouched(): boolean {
    for (const counts of this.#counts.values()) if (counts.touched) return true;
    return false;
  }

  /** Keeps a message for `waiting` sessions; returns its number. */
  hold(content: RecordContent, bits: number, waiting: number): number {
    const number = this.#next++;
    const offset = this.#records.append(number, bits, NO_BYTES, 0, 0, content);
    this.#pending.set(number, { offset, waiting });
    this.messages++;
    this.bytes += this.#records.messageBytes(offset);
    return number;
  }

  /** One session less waits for a message. */
  release(number: number, messageBytes: number): void {
    const pending = this.#pending.get(number);
    if (pending !== undefined) {
      if (--pending.waiting > 0) return;
      this.#pending.delete(number);
    } else {
      const counts = this.#countsOf(number);
      const at = counts === null ? -1 : indexOf(counts.numbers, number);
      if (counts === null || at < 0 || counts.waiting[at]! <= 0) return;
      counts.waiting[at] = counts.waiting[at]! - 1;
      counts.changed = true;
      if (counts.waiting[at]! > 0) return;
      counts.touched = true;
    }
    this.messages--;
    this.bytes -= messageBytes;
  }

  /** Points `view` at a message, valid until the next call. */
  view(number: number, view: MessageView): View {
    const pending = this.#pending.get(number);
    if (pending !== undefined) {
      this.#records.view(pending.offset, view);
      return View.FOUND;
    }
    if (this.#viewNext(number, view)) return View.FOUND;
    const first = this.#firstOf(number);
    const value = first < 0 ? null : this.#valueOf(first);
    if (value === null) return View.MISSING;
    if (value === DAMAGED) {
      this.damagedFirst = first;
      return View.DAMAGED;
    }
    for (let at = 0; at < value.end; at += value.length(at)) {
      if (value.number(at) !== number) continue;
      value.view(at, view);
      this.#cursor = { records: value, at };
      return View.FOUND;
    }
    return View.MISSING;
  }

  /** Looks at the message of the cursor and a few behind it. */
  #viewNext(number: number, view: MessageView): boolean {
    const cursor = this.#cursor;
    if (cursor === null) return false;
    const { records } = cursor;
    for (let at = cursor.at, tried = 0; at < records.end && tried < CURSOR_STEPS; at += records.length(at), tried++) {
      if (records.number(at) !== number) continue;
      records.view(at, view);
      cursor.at = at;
      return true;
    }
    return false;
  }

  /** Writes what came and what was counted down; returns how many messages were written. */
  plan(step: Step): number {
    for (const counts of this.#counts.values()) if (counts.changed) this.#planCounts(step, counts);
    if (this.#pending.size === 0) return 0;
    const survivors = new RecordBuffer(PLAIN_BYTES_TARGET);
    const waiting: number[] = [];
    for (const [, { offset, waiting: count }] of this.#pending) {
      this.#records.finish(offset, step.checkSeed);
      survivors.copy(this.#records, offset);
      waiting.push(count);
    }
    this.#sealPieces(step, survivors, waiting, () => PLAIN_BYTES_TARGET);
    if (this.#next > this.#reserved) step.putNumbers(RowKind.META, 0, MetaRow.SHARED_NUMBERS, [this.#next + NUMBERS_RESERVED]);
    return this.#pending.size;
  }

  committed(): void {
    for (const counts of this.#counts.values()) counts.changed = false;
    if (this.#pending.size > 0 && this.#next > this.#reserved) this.#reserved = this.#next + NUMBERS_RESERVED;
    this.releasePending();
  }

  releasePending(): void {
    this.#pending.clear();
    if (this.#records.bytes.length > RECORDS_KEPT_BYTES) this.#records = new RecordBuffer(65_536);
    this.#records.clear();
    while (this.#counts.size > COUNTS_KEPT_MAX) {
      const [first, counts] = this.#counts.entries().next().value!;
      if (counts.touched || counts.changed) break;
      this.#counts.delete(first);
      if (this.#recent === counts) this.#recent = null;
    }
  }

  /**
   * Nobody waits any longer for the messages of a sealed value that must be forgotten by `untilMs`. False when the value is
   * damaged and must be put right first.
   */
  expire(first: number, untilMs: number): boolean {
    const value = this.#valueOf(first);
    if (value === DAMAGED) return false;
    const counts = this.#countsOf(first);
    if (counts === null || value === null || counts.first !== first) return true;
    for (let at = 0; at < value.end; at += value.length(at)) {
      const index = indexOf(counts.numbers, value.number(at));
      if (value.untilMs(at) > untilMs || index < 0) continue;
      if (counts.waiting[index]! > 0) {
        this.messages--;
        this.bytes -= counts.sizes[index]!;
      }
      counts.waiting[index] = 0;
      counts.changed = true;
    }
    counts.touched = true;
    return true;
  }

  /**
   * Rewrites sealed values without the messages that nobody waits for any more; the step dooms the old ones. Returns the first
   * numbers of those that are damaged: they stay as they are.
   */
  evacuate(step: Step): number[] {
    const damaged: number[] = [];
    for (const counts of [...this.#counts.values()]) {
      if (!counts.touched) continue;
      const { first } = counts;
      const value = this.#ground.disk.get(rowKey(RowKind.SHARED, 0, first));
      const facts = value === null ? null : sealedFacts(value);
      const records = this.#valueOf(first);
      if (records === DAMAGED || (value !== null && facts === null)) {
        damaged.push(first);
        continue;
      }
      step.remove(rowKey(RowKind.COUNTS, 0, first));
      if (facts === null || records === null) continue;
      step.forget(RowKind.SHARED, 0, first, facts);
      this.#sealSurvivors(step, records, counts);
    }
    return damaged;
  }

  /** The step of `evacuate` is durable: the values that it replaced are forgotten here too. */
  evacuated(damaged: readonly number[]): void {
    for (const [first, counts] of this.#counts) if (counts.touched && !damaged.includes(first)) this.#forget(first);
  }

  /**
   * Plans what takes the place of a damaged value: its records that are whole, with their counts. Returns how many and how much of those
   * that somebody waits for are lost; null when the counts are damaged too, and must be made anew.
   */
  planSalvage(step: Step, first: number, whole: RecordBuffer): Lost | null {
    const counts = this.#countsAt(first);
    step.remove(rowKey(RowKind.COUNTS, 0, first));
    this.damagedCounts.delete(first);
    if (counts === null) {
      step.sealPieces(RowKind.SHARED, 0, whole);
      return null;
    }
    const found = new Set<number>();
    for (let at = 0; at < whole.end; at += whole.length(at)) found.add(whole.number(at));
    this.#sealSurvivors(step, whole, counts);
    const lost = { messages: 0, bytes: 0 };
    for (const [i, number] of counts.numbers.entries()) {
      if (counts.waiting[i]! <= 0 || found.has(number)) continue;
      lost.messages++;
      lost.bytes += counts.sizes[i]!;
    }
    return lost;
  }

  /** The step of `planSalvage` is durable; `lost` are gone. */
  salvaged(first: number, lost: Lost | null): void {
    this.messages -= lost?.messages ?? 0;
    this.bytes -= lost?.bytes ?? 0;
    this.#forget(first);
  }

  /**
   * Makes the damaged rows of counts anew from what the queues refer to; `all`: every one. Returns the first numbers of values that are
   * damaged themselves.
   */
  restore(references: ReadonlyMap<number, References>, all: boolean): number[] {
    const damaged: number[] = [];
    this.#visitValues((first) => this.damagedCounts.add(first));
    if (!all) for (const first of this.damagedCounts) if (this.#countsAt(first) !== null) this.damagedCounts.delete(first);
    for (const first of this.damagedCounts) {
      const known = this.#countsAt(first) ?? this.#numbersOf(this.#valueOf(first));
      if (known === null) {
        damaged.push(first);
        continue;
      }
      const { numbers, sizes } = known;
      const waiting = numbers.map((number) => references.get(number)?.waiting ?? 0);
      this.#counts.set(first, { first, numbers, sizes, waiting, changed: true, touched: waiting.includes(0) });
    }
    this.damagedCounts.clear();
    this.#recent = null;
    this.#recount();
    return damaged;
  }

  /** Numbers and sizes of the messages in a value; null when it cannot be read. */
  #numbersOf(value: RecordBuffer | typeof DAMAGED | null): { numbers: number[]; sizes: number[] } | null {
    if (value === null || value === DAMAGED) return null;
    const numbers: number[] = [];
    const sizes: number[] = [];
    for (let at = 0; at < value.end; at += value.length(at)) {
      numbers.push(value.number(at));
      sizes.push(value.messageBytes(at));
    }
    return { numbers, sizes };
  }

  #visitValues(visit: (first: number, value: Uint8Array) => void): void {
    this.#ground.disk.range(rowKey(RowKind.SHARED, 0, 0), rowKey(RowKind.COUNTS, 0, 0), (key, value) => {
      visit(rowNumber(key), value);
      return true;
    });
  }

  /** Counts what is held from what is there. */
  #recount(): void {
    this.messages = this.#pending.size;
    this.bytes = 0;
    for (const { offset } of this.#pending.values()) this.bytes += this.#records.messageBytes(offset);
    const firsts = new Set(this.#counts.keys());
    for (const first of this.#firstsOfCounts()) firsts.add(first);
    for (const first of firsts) {
      const counts = this.#countsAt(first);
      if (counts !== null) this.#take(counts);
    }
  }

  #firstsOfCounts(): number[] {
    const firsts: number[] = [];
    this.#ground.disk.range(rowKey(RowKind.COUNTS, 0, 0), rowKey(RowKind.RETAINED, 0, 0), (key) => {
      firsts.push(rowNumber(key));
      return true;
    });
    return firsts;
  }

  #countsAt(first: number): Counts | null {
    return this.#counts.get(first) ?? this.#readCounts(first);
  }

  /** Takes the messages of a value that somebody waits for on the books. */
  #take({ waiting, sizes }: Counts): void {
    for (const [i, count] of waiting.entries()) {
      if (count <= 0) continue;
      this.messages++;
      this.bytes += sizes[i]!;
    }
  }

  #forget(first: number): void {
    this.#counts.delete(first);
    this.#values.delete(first);
    this.#cursor = null;
    this.#recent = null;
  }

  /** Seals those of `records` that somebody waits for, each piece with its counts. */
  #sealSurvivors(step: Step, records: RecordBuffer, counts: Counts): void {
    const survivors = new RecordBuffer(PLAIN_BYTES_TARGET);
    const waiting: number[] = [];
    for (let at = 0; at < records.end; at += records.length(at)) {
      const index = indexOf(counts.numbers, records.number(at));
      if (index < 0 || counts.waiting[index]! <= 0) continue;
      survivors.copy(records, at);
      waiting.push(counts.waiting[index]!);
    }
    this.#sealPieces(step, survivors, waiting, doubling());
  }

  /** Seals records in pieces, each with the counts of its own; `sizes` says how large the next piece may be. */
  #sealPieces(step: Step, records: RecordBuffer, waiting: readonly number[], sizes: () => number): void {
    let index = 0;
    cutPieces(records, sizes, (from, to) => {
      step.sealRecords(RowKind.SHARED, 0, records, from, to);
      const row: number[] = [];
      for (let at = from; at < to; at += records.length(at)) {
        row.push(records.number(at), waiting[index++]!, records.messageBytes(at));
      }
      step.putNumbers(RowKind.COUNTS, 0, records.number(from), row);
    });
  }

  #planCounts(step: Step, counts: Counts): void {
    const row = counts.numbers.flatMap((number, i) => [number, counts.waiting[i]!, counts.sizes[i]!]);
    step.putNumbers(RowKind.COUNTS, 0, counts.first, row);
  }

  #countsOf(number: number): Counts | null {
    const recent = this.#recent;
    if (recent !== null && number >= recent.first && number <= recent.numbers[recent.numbers.length - 1]!) return recent;
    for (const counts of this.#counts.values()) {
      if (number >= counts.first && number <= counts.numbers[counts.numbers.length - 1]!) {
        this.#recent = counts;
        return counts;
      }
    }
    const entry = this.#ground.disk.last(rowKey(RowKind.COUNTS, 0, 0), rowKey(RowKind.COUNTS, 0, number + 1));
    if (entry === null) return null;
    const first = rowNumber(entry.key);
    if (this.#counts.has(first)) return null; // known already, and the number is not there
    const counts = this.#readCounts(first);
    if (counts === null) {
      this.damagedCounts.add(first);
      return null;
    }
    this.#counts.set(first, counts);
    this.#recent = counts;
    return counts;
  }

  #readCounts(first: number): Counts | null {
    const row = readNumbers(this.#ground, RowKind.COUNTS, 0, first);
    if (row === null) return null;
    return {
      first,
      numbers: row.filter((_, i) => i % 3 === 0),
      waiting: row.filter((_, i) => i % 3 === 1),
      sizes: row.filter((_, i) => i % 3 === 2),
      changed: false,
      touched: false,
    };
  }

  /** First number of the sealed value that holds a message, if any does; -1 when there is none. */
  #firstOf(number: number): number {
    const recent = this.#recent;
    if (recent !== null && number >= recent.first && number <= recent.numbers[recent.numbers.length - 1]!) return recent.first;
    const entry = this.#ground.disk.last(rowKey(RowKind.SHARED, 0, 0), rowKey(RowKind.SHARED, 0, number + 1));
    return entry === null ? -1 : rowNumber(entry.key);
  }

  /** The records of a sealed value; null when there is none. */
  #valueOf(first: number): RecordBuffer | typeof DAMAGED | null {
    const known = this.#values.get(first);
    if (known !== undefined) return known;
    const value = this.#ground.disk.get(rowKey(RowKind.SHARED, 0, first));
    if (value === null) return null;
    const opened = openValue(this.#ground.vault, value);
    if (opened === null || opened.lost > 0) return DAMAGED;
    if (this.#values.size >= VALUES_KEPT_MAX) this.#values.delete(this.#values.keys().next().value!);
    this.#values.set(first, opened.records);
    return opened.records;
  }
}

const DAMAGED = 'damaged';
const CURSOR_STEPS = 4;
const RECORDS_KEPT_BYTES = 4 * 1_048_576;

/** Index of a value in a rising list, -1 when it is not there. */
function indexOf(rising: readonly number[], value: number): number {
  let low = 0;
  let high = rising.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if (rising[middle]! < value) low = middle + 1;
    else if (rising[middle]! > value) high = middle - 1;
    else return middle;
  }
  return -1;
}
