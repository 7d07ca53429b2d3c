// Messages that more than one session waits for: stored once, however many wait, and counted down. Their numbers only rise. A message
// that everybody has consumed before the commit is never written.
import type { MessageView } from '../protocol/publish.ts';
import { RecordBuffer, type RecordContent } from './records.ts';
import { RowKind, rowKey, rowNumber } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import { type Ground, PLAIN_BYTES_TARGET, readNumbers, type Step } from './step.ts';

const NO_BYTES = new Uint8Array(0);
const COUNTS_KEPT_MAX = 1_024;
const VALUES_KEPT_MAX = 64;

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

export class SharedMessages {
  /** Messages held and their bytes, pending ones included. */
  messages = 0;
  bytes = 0;
  readonly #ground: Ground;
  readonly #pending = new Map<number, Pending>();
  #records = new RecordBuffer(65_536);
  #next = 1;
  /** Counts by first number, least recently used first; changed ones stay. */
  readonly #counts = new Map<number, Counts>();
  #recent: Counts | null = null;
  readonly #values = new Map<number, RecordBuffer>();

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** Takes over what a start found. */
  recover(): void {
    const { disk } = this.#ground;
    disk.range(rowKey(RowKind.SHARED, 0, 0), rowKey(RowKind.COUNTS, 0, 0), (_key, value) => {
      const facts = sealedFacts(value);
      if (facts !== null) this.#next = Math.max(this.#next, facts.last + 1);
      return true;
    });
    const firsts: number[] = [];
    disk.range(rowKey(RowKind.COUNTS, 0, 0), rowKey(RowKind.RETAINED, 0, 0), (key) => {
      firsts.push(rowNumber(key));
      return true;
    });
    for (const first of firsts) {
      const row = readNumbers(this.#ground, RowKind.COUNTS, 0, first);
      if (row === null) continue;
      for (let i = 0; i < row.length; i += 3) {
        if (row[i + 1]! <= 0) continue;
        this.messages++;
        this.bytes += row[i + 2]!;
      }
    }
  }

  get hasChanges(): boolean {
    if (this.#pending.size > 0) return true;
    for (const counts of this.#counts.values()) if (counts.changed) return true;
    return false;
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

  /** Points `view` at a message, valid until the next call; false when it is not there any more, or broken. */
  view(number: number, view: MessageView): boolean {
    const pending = this.#pending.get(number);
    if (pending !== undefined) {
      this.#records.view(pending.offset, view);
      return true;
    }
    const counts = this.#countsOf(number);
    const records = counts === null ? null : this.#valueOf(counts.first);
    if (records === null) return false;
    for (let at = 0; at < records.end; at += records.length(at)) {
      if (records.number(at) !== number) continue;
      records.view(at, view);
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
      survivors.copy(this.#records, offset);
      waiting.push(count);
    }
    this.#sealPieces(step, survivors, waiting, () => PLAIN_BYTES_TARGET);
    return this.#pending.size;
  }

  committed(): void {
    for (const counts of this.#counts.values()) counts.changed = false;
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

  /** Nobody waits any longer for the messages of a sealed value that must be forgotten by `nowMs`. */
  expire(first: number, nowMs: number): void {
    const counts = this.#countsOf(first);
    const records = this.#valueOf(first);
    if (counts === null || records === null || counts.first !== first) return;
    for (let at = 0; at < records.end; at += records.length(at)) {
      const index = indexOf(counts.numbers, records.number(at));
      if (records.untilMs(at) > nowMs || index < 0) continue;
      if (counts.waiting[index]! > 0) {
        this.messages--;
        this.bytes -= counts.sizes[index]!;
      }
      counts.waiting[index] = 0;
      counts.changed = true;
    }
    counts.touched = true;
  }

  /** Rewrites sealed values without the messages that nobody waits for any more; the step dooms the old ones. */
  evacuate(step: Step): void {
    for (const counts of [...this.#counts.values()]) {
      if (!counts.touched) continue;
      const value = this.#ground.disk.get(rowKey(RowKind.SHARED, 0, counts.first));
      const facts = value === null ? null : sealedFacts(value);
      if (facts === null) continue;
      const records = this.#valueOf(counts.first);
      step.forget(RowKind.SHARED, 0, counts.first, facts);
      step.remove(rowKey(RowKind.COUNTS, 0, counts.first));
      if (records === null) continue;
      const survivors = new RecordBuffer(PLAIN_BYTES_TARGET);
      const waiting: number[] = [];
      for (let at = 0; at < records.end; at += records.length(at)) {
        const index = indexOf(counts.numbers, records.number(at));
        if (index < 0 || counts.waiting[index]! <= 0) continue;
        survivors.copy(records, at);
        waiting.push(counts.waiting[index]!);
      }
      if (waiting.length > 0) this.#sealPieces(step, survivors, waiting, doubling());
    }
  }

  /** The step of `evacuate` is durable: the values that it replaced are forgotten here too. */
  evacuated(): void {
    for (const [first, counts] of this.#counts) {
      if (!counts.touched) continue;
      this.#counts.delete(first);
      this.#values.delete(first);
    }
    this.#recent = null;
  }

  /** Seals records in pieces, each with the counts of its own; `sizes` says how large the next piece may be. */
  #sealPieces(step: Step, records: RecordBuffer, waiting: readonly number[], sizes: () => number): void {
    let from = 0;
    let index = 0;
    let firstIndex = 0;
    let size = sizes();
    const cut = (to: number, toIndex: number) => {
      step.sealRecords(RowKind.SHARED, 0, records, from, to);
      const row: number[] = [];
      let at = from;
      for (let i = firstIndex; i < toIndex; i++) {
        row.push(records.number(at), waiting[i]!, records.messageBytes(at));
        at += records.length(at);
      }
      step.putNumbers(RowKind.COUNTS, 0, records.number(from), row);
      from = to;
      firstIndex = toIndex;
      size = sizes();
    };
    for (let at = 0; at < records.end; index++) {
      records.finish(at);
      const next = at + records.length(at);
      if (next - from > size && at > from) cut(at, index);
      at = next;
    }
    cut(records.end, index);
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
    const row = readNumbers(this.#ground, RowKind.COUNTS, 0, first);
    if (row === null) return null;
    const counts: Counts = {
      first,
      numbers: row.filter((_, i) => i % 3 === 0),
      waiting: row.filter((_, i) => i % 3 === 1),
      sizes: row.filter((_, i) => i % 3 === 2),
      changed: false,
      touched: false,
    };
    this.#counts.set(first, counts);
    this.#recent = counts;
    return counts;
  }

  #valueOf(first: number): RecordBuffer | null {
    const known = this.#values.get(first);
    if (known !== undefined) return known;
    const value = this.#ground.disk.get(rowKey(RowKind.SHARED, 0, first));
    const records = value === null ? null : openValue(this.#ground.vault, value);
    if (records === null) return null;
    if (this.#values.size >= VALUES_KEPT_MAX) this.#values.delete(this.#values.keys().next().value!);
    this.#values.set(first, records.records);
    return records.records;
  }
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
