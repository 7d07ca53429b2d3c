// What the spool knows of one session's queue: counters and cursors, whatever its length, and what came since the last commit.
//
//     base              pending              end                reserved
//      |  sealed values  |  since the commit  |                  |
//
// Positions below base are finished; `finished` holds those behind it. A position that was received (PUBREC) has no message any more
// and waits for its PUBCOMP. Positions up to `reserved` may be used without a row being written: after a crash the queue goes on there, so a
// position, and with it a packet identifier, never means two messages to a client that remembers it (MQTT 5.0 §4.3.3).
import type { Directory } from './directory.ts';
import { Ranges } from './ranges.ts';
import { RecordBuffer } from './records.ts';
import { RowKind } from './rows.ts';
import { type Ground, PLAIN_BYTES_TARGET, readNumbers, type Step } from './step.ts';

const RESERVE = 8_192;
/** A start that follows another without a row in between begins one reserve further on, round a few, so that the gap stays narrow. */
const RESERVES_SKIPPED = 3;
const PENDING_BYTES_MIN = 1_024;
const PENDING_BYTES_KEPT_MAX = 65_536;
/** Numbers of a state row before its three lists of ranges, whose lengths stand last among them. */
const RANGES = 3;
const FIXED_NUMBERS = 11;

/** Deliveries since the last commit, by position from `first` on. */
class PendingDeliveries {
  readonly first: number;
  readonly records: RecordBuffer;
  /** Offset of each record, -1 for one that was dropped. */
  readonly offsets: number[] = [];
  alive = 0;

  constructor(first: number) {
    this.first = first;
    this.records = spare.pop() ?? new RecordBuffer(PENDING_BYTES_MIN);
  }
}

const spare: RecordBuffer[] = [];
const SPARE_MAX = 1_024;

export class SessionQueue {
  readonly session: number;
  base = 0;
  end = 0;
  reserved = 0;
  /** Messages that are owed and kept, and their bytes. */
  messages = 0;
  bytes = 0;
  /** Those of them that are shared with other sessions. */
  references = 0;
  referenceBytes = 0;
  finished: Ranges | null = null;
  received: Ranges | null = null;
  inbound: Ranges | null = null;
  pending: PendingDeliveries | null = null;
  /** The state row says something else than this. */
  stateChanged = false;
  /** The reserve should be renewed when nothing else is to be written: sooner would write what may be consumed in a moment. */
  isReserveDue = false;
  /** After a clean stop the next start would go on right here. */
  isExact = false;
  /** Sealed positions that were finished or received since values were last rewritten. */
  touchedFrom = Infinity;
  touchedTo = -1;
  /** Where the messages of sealed positions that were looked at lately stand, and how large they are. */
  readonly directories: Directory[] = [];

  constructor(session: number) {
    this.session = session;
  }

  /** A queue as its row tells it; `started` is the number of this start. Null when the row is broken. */
  static recover(ground: Ground, session: number, started: number): SessionQueue | null {
    const row = readNumbers(ground, RowKind.STATE, session, 0);
    if (row === null || row.length < FIXED_NUMBERS) return null;
    const [startedThen, base, tail, reserved, messages, bytes, references, referenceBytes] = row as number[] & { length: 8 };
    const counts = row.slice(FIXED_NUMBERS - RANGES, FIXED_NUMBERS);
    if (row.length !== counts.reduce((sum, count) => sum + count, FIXED_NUMBERS)) return null;
    const queue = new SessionQueue(session);
    queue.base = base!;
    queue.messages = messages!;
    queue.bytes = bytes!;
    queue.references = references!;
    queue.referenceBytes = referenceBytes!;
    let at = FIXED_NUMBERS;
    const take = (count: number) => {
      at += count;
      return count === 0 ? null : Ranges.of(row.slice(at - count, at));
    };
    queue.finished = take(counts[0]!);
    queue.received = take(counts[1]!);
    queue.inbound = take(counts[2]!);
    queue.touchedTo = Math.max(base!, queue.finished?.end ?? 0, queue.received?.end ?? 0) - 1;
    // A row that an end in order has written reserves nothing: it is exact for the start behind it, and for no other one.
    const starts = started - startedThen! - (reserved === tail ? 0 : 1);
    queue.end = reserved! + (Math.max(0, starts) % RESERVES_SKIPPED) * RESERVE;
    queue.reserved = queue.end;
    queue.#pass(tail!);
    queue.isExact = reserved === tail && startedThen === started;
    return queue;
  }

  /** A queue whose row is broken: [first, end) is owed as far as it is there, and it goes on behind what may have been used. */
  static rebuilt(session: number, first: number, end: number): SessionQueue {
    const queue = new SessionQueue(session);
    queue.base = first;
    queue.end = end + RESERVE;
    queue.reserved = queue.end;
    queue.#pass(end);
    queue.stateChanged = true;
    return queue;
  }

  get hasChanges(): boolean {
    return this.stateChanged || (this.pending !== null && this.pending.alive > 0);
  }

  /** Takes the next position; the caller appends its record to the returned buffer and says where to `placed`. */
  place(position: number): RecordBuffer {
    if (position > this.end) {
      this.finished ??= new Ranges();
      this.finished.addRange(this.end, position);
    }
    this.pending ??= new PendingDeliveries(position);
    while (this.pending.first + this.pending.offsets.length < position) this.pending.offsets.push(-1);
    this.end = position + 1;
    if (this.end > this.reserved - RESERVE / 2) this.isReserveDue = true;
    if (this.isReserveShort) this.stateChanged = true;
    return this.pending.records;
  }

  /** Positions are about to be used that no row has reserved: one must be written before that. */
  get isReserveShort(): boolean {
    return this.end > this.reserved - RESERVE / 8;
  }

  placed(offset: number): void {
    const pending = this.pending!;
    pending.offsets.push(offset);
    pending.alive++;
    this.#count(1, pending.records.messageBytes(offset), pending.records.reference(offset) >= 0);
  }

  isFinished(position: number): boolean {
    return position < this.base || position >= this.end || (this.finished?.has(position) ?? false);
  }

  isReceived(position: number): boolean {
    return this.received?.has(position) ?? false;
  }

  /** Whether a position in [from, to) is finished or received. */
  hasDone(from: number, to: number): boolean {
    return from < this.base || (this.finished?.intersects(from, to) ?? false) || (this.received?.intersects(from, to) ?? false);
  }

  /** Offset of a delivery that came since the last commit, -1 when it did not or was dropped. */
  pendingOffset(position: number): number {
    const { pending } = this;
    return pending === null || position < pending.first ? -1 : (pending.offsets[position - pending.first] ?? -1);
  }

  /** Takes a delivery out that was never written. */
  elide(position: number, messageBytes: number, isReference: boolean): void {
    const pending = this.pending!;
    pending.offsets[position - pending.first] = -1;
    pending.alive--;
    this.#count(-1, messageBytes, isReference);
  }

  /** Takes the message of a sealed delivery off the books; its value is to be rewritten or removed. */
  touch(position: number, messageBytes: number, isReference: boolean): void {
    this.#count(-1, messageBytes, isReference);
    this.suspect(position);
  }

  /** The value that holds a position must be looked at. */
  suspect(position: number): void {
    this.touchedFrom = Math.min(this.touchedFrom, position);
    this.touchedTo = Math.max(this.touchedTo, position);
    this.stateChanged = true;
  }

  finish(position: number): void {
    if (this.received?.has(position)) {
      this.received.remove(position);
      this.stateChanged = true;
    }
    if (position === this.base) {
      this.base++;
      this.#advance();
    } else {
      this.finished ??= new Ranges();
      this.finished.add(position);
    }
  }

  receive(position: number): void {
    this.received ??= new Ranges();
    this.received.add(position);
    this.stateChanged = true;
  }

  /** Writes what came since the last commit, and the state, into `values` and `state` of a step. Nothing changes here until `committed`. */
  plan(step: Step, started: number): number {
    const { pending } = this;
    let written = 0;
    if (pending !== null && pending.alive > 0) written = this.#sealPending(step, pending);
    const reserved = this.end + RESERVE;
    this.#planState(step, started, reserved);
    return written;
  }

  /** Writes the state so that the queue goes on exactly here. */
  planStop(step: Step, started: number): void {
    this.#planState(step, started, this.end);
  }

  committed(): void {
    this.stateChanged = false;
    this.isReserveDue = false;
    this.isExact = false;
    this.reserved = this.end + RESERVE;
    this.releasePending();
  }

  /** Lets go of what came since the last commit: it is written, or was all taken back. */
  releasePending(): void {
    const { pending } = this;
    if (pending === null) return;
    this.pending = null;
    if (spare.length >= SPARE_MAX || pending.records.bytes.length > PENDING_BYTES_KEPT_MAX) return;
    pending.records.clear();
    spare.push(pending.records);
  }

  #sealPending(step: Step, pending: PendingDeliveries): number {
    const { records } = pending;
    let survivors = records;
    let end = records.end;
    if (pending.alive !== pending.offsets.length) {
      survivors = gathered;
      survivors.clear();
      for (const offset of pending.offsets) if (offset >= 0) survivors.copy(records, offset);
      end = survivors.end;
    }
    let from = 0;
    for (let at = 0; at < end; ) {
      survivors.finish(at, step.checkSeed);
      const next = at + survivors.length(at);
      if (next - from > PLAIN_BYTES_TARGET && at > from) {
        step.sealRecords(RowKind.QUEUE, this.session, survivors, from, at);
        from = at;
      }
      at = next;
    }
    step.sealRecords(RowKind.QUEUE, this.session, survivors, from, end);
    return pending.alive;
  }

  #planState(step: Step, started: number, reserved: number): void {
    const finished = this.finished?.bounds ?? [];
    const received = this.received?.bounds ?? [];
    const inbound = this.inbound?.bounds ?? [];
    step.putNumbers(RowKind.STATE, this.session, 0, [
      started,
      this.base,
      this.end,
      reserved,
      this.messages,
      this.bytes,
      this.references,
      this.referenceBytes,
      finished.length,
      received.length,
      inbound.length,
      ...finished,
      ...received,
      ...inbound,
    ]);
  }

  #count(messages: number, messageBytes: number, isReference: boolean): void {
    this.messages += messages;
    this.bytes += messages * messageBytes;
    if (!isReference) return;
    this.references += messages;
    this.referenceBytes += messages * messageBytes;
  }

  /** What lies between `from` and the end was never written, and is not used again. */
  #pass(from: number): void {
    if (this.end > from) {
      this.finished ??= new Ranges();
      this.finished.addRange(from, this.end);
    }
    this.#advance();
  }

  /** Moves base past what is finished. */
  #advance(): void {
    if (this.finished === null) return;
    this.base = this.finished.firstAbsent(this.base);
    this.finished.removeBelow(this.base);
    if (this.finished.isEmpty) this.finished = null;
  }
}

const gathered = new RecordBuffer(PLAIN_BYTES_TARGET);
