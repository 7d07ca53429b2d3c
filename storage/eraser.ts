// Forgetting: what was consumed, expired or replaced is taken out of the values that hold it, and the keys of the values that go are
// destroyed. Runs several times within the erasure bound, so that what is acknowledged is beyond recovery before the bound is over.
//
// A value that is consumed to the end costs one overwritten slot. One that is consumed in part is sealed anew without the dead
// records, in pieces that double in size from the front: a queue that drains slowly rewrites each message a few times (the
// logarithm of what a value holds), not once for each acknowledgement.
import { Figure } from './figures.ts';
import type { SessionQueue } from './queue.ts';
import { RecordBuffer } from './records.ts';
import { type Due, expiryKey, RowKind, readExpiryKey, rowKey, rowNumber } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import { doubling } from './shared.ts';
import type { Spool } from './spool.ts';
import { PLAIN_BYTES_TARGET, Step } from './step.ts';
import { GoneReason } from './store.ts';

/** Runs within one erasure bound. */
const RUNS_PER_BOUND = 4;
/** Bytes that one step rewrites at the most; more goes into further steps of the same run. */
const STEP_BYTES_MAX = 8 * 1_048_576;
/** Values that are looked at for expiry in one run. */
const DUE_MAX = 10_000;
/** Kinds share the number space of quarantined rows. */
const KIND_SPAN = 2 ** 40;

export class Eraser {
  readonly #spool: Spool;
  readonly #touched = new Set<SessionQueue>();
  #doomed: number[] = [];
  #nextRunMs = 0;
  /** When the oldest of what is not erased yet was consumed; Infinity when all is. */
  #sinceMs = Infinity;
  readonly #survivors = new RecordBuffer(PLAIN_BYTES_TARGET);

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  /** Something that may be on the disk was consumed now. */
  consumed(): void {
    if (this.#sinceMs === Infinity) this.#sinceMs = this.#spool.clock.monotonicMs();
  }

  touched(queue: SessionQueue): void {
    this.#touched.add(queue);
    this.consumed();
  }

  /** Keys of values that are durably removed. */
  doom(slots: readonly number[]): void {
    if (slots.length === 0) return;
    for (const slot of slots) this.#doomed.push(slot);
    this.consumed();
  }

  /** Time in ms until the next run, Infinity when there is nothing to erase. */
  dueInMs(): number {
    return this.#sinceMs === Infinity ? Infinity : Math.max(0, this.#nextRunMs - this.#spool.clock.monotonicMs());
  }

  /** Forgets what is due; `now` whatever the time. */
  run(now: boolean): void {
    const { clock, figures, settings } = this.#spool;
    const startedMs = clock.monotonicMs();
    if (!now && startedMs < this.#nextRunMs) return;
    this.#nextRunMs = startedMs + settings.eraseWithinMs / RUNS_PER_BOUND;
    this.#expire();
    if (this.#sinceMs === Infinity) return;
    const sinceMs = this.#sinceMs;
    // What is taken out of a value must be durably acknowledged first.
    if (this.#spool.hasChanges && !this.#spool.commit()) return;
    if (!this.#evacuate() || !this.#destroy()) return;
    this.#sinceMs = this.#touched.size === 0 && this.#doomed.length === 0 ? Infinity : startedMs;
    const lagMs = clock.monotonicMs() - sinceMs;
    figures.set(Figure.ERASURE_LAG_MS, lagMs);
    if (lagMs > figures.get(Figure.ERASURE_LAG_MAX_MS)) figures.set(Figure.ERASURE_LAG_MAX_MS, lagMs);
  }

  /** Removes every row of a session's queue. */
  planDrop(step: Step, queue: SessionQueue): void {
    const { session } = queue;
    this.#touched.delete(queue);
    this.#spool.ground.disk.range(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session + 1, 0), (key, value) => {
      const facts = sealedFacts(value);
      if (facts === null) step.remove(Buffer.from(key));
      else step.forget(RowKind.QUEUE, session, rowNumber(key), facts);
      return true;
    });
    step.remove(rowKey(RowKind.STATE, session, 0));
  }

  /**
   * Sets a damaged value of a queue aside as it is, and goes on with the records of it that are whole. What is lost is told by
   * number and size only.
   */
  quarantine(queue: SessionQueue, first: number): void {
    const spool = this.#spool;
    const { disk, vault } = spool.ground;
    const { session } = queue;
    const found = disk.get(rowKey(RowKind.QUEUE, session, first));
    if (found === null) return;
    const value = Buffer.from(found);
    const facts = sealedFacts(value);
    const opened = openValue(vault, value);
    const step = new Step(spool.ground);
    const untilMs = spool.clock.wallMs() + spool.settings.retentionMs;
    const aside = RowKind.QUEUE * KIND_SPAN + first;
    step.put(rowKey(RowKind.QUARANTINE, session, aside), value);
    step.put(expiryKey(untilMs, RowKind.QUARANTINE, session, aside), new Uint8Array(0));
    step.remove(rowKey(RowKind.QUEUE, session, first));
    const whole = new Set<number>();
    this.#survivors.clear();
    for (let at = 0; opened !== null && at < opened.records.end; at += opened.records.length(at)) {
      const position = opened.records.number(at);
      if (position < first || position >= queue.end) continue;
      whole.add(position);
      if (spool.isOwed(queue, position)) this.#survivors.copy(opened.records, at);
    }
    this.#sealPieces(step, queue, this.#survivors);
    if (!spool.apply(step)) return;
    let following = queue.pending?.first ?? queue.tail;
    disk.range(rowKey(RowKind.QUEUE, session, first + 1), rowKey(RowKind.QUEUE, session, following), (key) => {
      if (whole.has(rowNumber(key))) return true;
      following = rowNumber(key);
      return false;
    });
    this.#giveUp(queue, first, following, whole);
    spool.figures.add(Figure.QUARANTINED, 1);
    const lost = facts === null ? 'an unknown number of' : String(facts.count - whole.size);
    spool.events.trouble(
      `a value of ${value.length} bytes in the spool is damaged and was set aside: ${lost} messages in it are lost`,
    );
  }

  /** The positions of a damaged value that cannot be read are finished; the books of the queue are made anew from what is there. */
  #giveUp(queue: SessionQueue, first: number, end: number, whole: ReadonlySet<number>): void {
    const spool = this.#spool;
    const lost: number[] = [];
    for (let position = first; position < end; position++) {
      if (!whole.has(position) && spool.isOwed(queue, position)) lost.push(position);
    }
    const before = queue.bytes;
    spool.recount(queue, () => {
      for (const position of lost) queue.finish(position);
      queue.directories.length = 0;
      this.recount(queue);
      queue.stateChanged = true;
    });
    lost.forEach((position, i) => {
      spool.events.gone(queue.session, position, i === 0 ? before - queue.bytes : 0, GoneReason.DAMAGED);
    });
  }

  /** Counts what a queue is owed from what is there. */
  recount(queue: SessionQueue): void {
    const { disk, vault } = this.#spool.ground;
    const { session } = queue;
    queue.messages = 0;
    queue.bytes = 0;
    queue.references = 0;
    queue.referenceBytes = 0;
    const count = (records: RecordBuffer, at: number) => {
      if (!this.#spool.isOwed(queue, records.number(at))) return;
      queue.messages++;
      queue.bytes += records.messageBytes(at);
      if (records.reference(at) < 0) return;
      queue.references++;
      queue.referenceBytes += records.messageBytes(at);
    };
    disk.range(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session + 1, 0), (_key, value) => {
      const records = openValue(vault, value)?.records;
      for (let at = 0; records !== undefined && at < records.end; at += records.length(at)) count(records, at);
      return true;
    });
    for (const offset of queue.pending?.offsets ?? []) if (offset >= 0) count(queue.pending!.records, offset);
  }

  /** Lets go of what has expired by now. */
  #expire(): void {
    const spool = this.#spool;
    const nowMs = spool.clock.wallMs();
    const due: Due[] = [];
    spool.ground.disk.range(expiryKey(0, 0 as RowKind, 0, 0), expiryKey(nowMs + 1, 0 as RowKind, 0, 0), (key) => {
      due.push(readExpiryKey(key));
      return due.length < DUE_MAX;
    });
    if (due.length === 0) return;
    const orphans = new Step(spool.ground);
    for (const one of due) {
      if (!this.#expireOne(one, nowMs, orphans)) orphans.remove(expiryKey(one.untilMs, one.kind, one.session, one.number));
    }
    spool.apply(orphans);
    this.consumed();
  }

  /** False when the entry names nothing any more. */
  #expireOne(due: Due, nowMs: number, step: Step): boolean {
    const spool = this.#spool;
    if (due.kind === RowKind.RETAINED) {
      if (spool.objects.isDue(due)) spool.letGoRetained(due.number);
      return spool.ground.disk.get(rowKey(due.kind, due.session, due.number)) !== null;
    }
    const value = spool.ground.disk.get(rowKey(due.kind, due.session, due.number));
    const facts = value === null ? null : sealedFacts(value);
    if (value === null || facts === null) return false;
    if (due.kind === RowKind.QUARANTINE) {
      step.remove(rowKey(due.kind, due.session, due.number));
      this.#doomed.push(facts.slot);
      return false;
    }
    if (due.kind === RowKind.SHARED) {
      spool.shared.expire(due.number, nowMs);
      return true;
    }
    const queue = spool.queues.get(due.session);
    if (queue === undefined) return false;
    const records = openValue(spool.ground.vault, value)?.records;
    for (let at = 0; records !== undefined && at < records.end; at += records.length(at)) {
      const position = records.number(at);
      if (records.untilMs(at) <= nowMs && spool.isOwed(queue, position)) spool.letGo(queue, position, GoneReason.EXPIRED);
    }
    // Also when every due record was consumed before: the value is sealed anew with the time of the next one.
    queue.touchedFrom = Math.min(queue.touchedFrom, due.number);
    queue.touchedTo = Math.max(queue.touchedTo, facts.last);
    this.touched(queue);
    return true;
  }

  /** Seals touched values anew, without what is finished in them. False when the disk did not take it. */
  #evacuate(): boolean {
    const spool = this.#spool;
    let step = new Step(spool.ground);
    let planned: SessionQueue[] = [];
    const flush = (): boolean => {
      if (!spool.apply(step)) return false;
      for (const queue of planned) {
        queue.touchedFrom = Infinity;
        queue.touchedTo = -1;
        this.#touched.delete(queue);
      }
      spool.figures.add(Figure.EVACUATED_BYTES, step.writtenBytes);
      step = new Step(spool.ground);
      planned = [];
      return true;
    };
    for (const queue of [...this.#touched]) {
      const damaged = this.#plan(step, queue);
      if (damaged.length > 0) {
        // Its step is thrown away with what it planned: the damage is put right first, and the next run does the rest.
        this.doom(step.taken);
        step = new Step(spool.ground);
        planned = [];
        for (const first of damaged) this.quarantine(queue, first);
        continue;
      }
      planned.push(queue);
      if (step.writtenBytes > STEP_BYTES_MAX && !flush()) return false;
    }
    if (spool.shared.isTouched) {
      spool.shared.evacuate(step);
      if (!flush()) return false;
      spool.shared.evacuated();
      return true;
    }
    return flush();
  }

  /** Plans one queue; returns the first numbers of values that are damaged. */
  #plan(step: Step, queue: SessionQueue): number[] {
    const spool = this.#spool;
    const { disk, vault } = spool.ground;
    const { session } = queue;
    const damaged: number[] = [];
    if (queue.touchedTo < 0) return damaged;
    const start = disk.last(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session, queue.touchedFrom + 1));
    const from = start === null ? queue.touchedFrom : rowNumber(start.key);
    disk.range(rowKey(RowKind.QUEUE, session, from), rowKey(RowKind.QUEUE, session, queue.touchedTo + 1), (key, value) => {
      const first = rowNumber(key);
      const facts = sealedFacts(value);
      if (facts !== null && facts.last < queue.base) {
        step.forget(RowKind.QUEUE, session, first, facts);
        return true;
      }
      const opened = facts === null ? null : openValue(vault, value);
      if (facts === null || opened === null || opened.lost > 0) {
        damaged.push(first);
        return true;
      }
      const { records } = opened;
      const survivors = this.#survivors;
      survivors.clear();
      let kept = 0;
      for (let at = 0; at < records.end; at += records.length(at)) {
        if (!spool.isOwed(queue, records.number(at))) continue;
        survivors.copy(records, at);
        kept++;
      }
      if (kept === facts.count) return true;
      step.forget(RowKind.QUEUE, session, first, facts);
      this.#sealPieces(step, queue, survivors);
      return true;
    });
    return damaged;
  }

  #sealPieces(step: Step, queue: SessionQueue, records: RecordBuffer): void {
    const sizes = doubling();
    let size = sizes();
    let from = 0;
    for (let at = 0; at < records.end; ) {
      const next = at + records.length(at);
      if (next - from > size && at > from) {
        step.sealRecords(RowKind.QUEUE, queue.session, records, from, at);
        from = at;
        size = sizes();
      }
      at = next;
    }
    if (from < records.end) step.sealRecords(RowKind.QUEUE, queue.session, records, from, records.end);
  }

  /** Destroys the keys of what is gone. False when the key file did not take it: they are tried again. */
  #destroy(): boolean {
    const doomed = this.#doomed;
    if (doomed.length === 0) return true;
    this.#doomed = [];
    try {
      this.#spool.ground.vault.destroy(doomed);
    } catch (error) {
      this.#doomed = doomed.concat(this.#doomed);
      this.#spool.health.failed(error);
      return false;
    }
    this.#spool.figures.add(Figure.KEYS_DESTROYED, doomed.length);
    this.#spool.figures.set(Figure.KEY_SLOTS, this.#spool.ground.vault.slots);
    return true;
  }
}
