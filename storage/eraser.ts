// Forgetting: what was consumed, expired or replaced is taken out of the values that hold it, and the keys of the values that go are
// destroyed. Runs several times within the erasure bound, so that what is acknowledged is beyond recovery before the bound is over.
//
// A value that is consumed to the end costs one overwritten slot. One that is consumed in part is sealed anew without the dead
// records, in pieces that double in size from the front: a queue that drains slowly rewrites each message a few times (the
// logarithm of what a value holds), not once for each acknowledgement.
import { Figure, SpoolState } from './figures.ts';
import type { SessionQueue } from './queue.ts';
import { RecordBuffer } from './records.ts';
import { type Due, dueMs, expiryKey, RowKind, readExpiryKey, rowKey, rowNumber, rowSession } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import type { Spool } from './spool.ts';
import { PLAIN_BYTES_TARGET, Step } from './step.ts';
import { GoneReason, SetAside } from './store.ts';

/** Runs within one erasure bound. */
const RUNS_PER_BOUND = 4;
/** Bytes that one step rewrites at the most; more goes into further steps of the same run. */
const STEP_BYTES_MAX = 8 * 1_048_576;
/** Values that are looked at for expiry in one run. */
const DUE_MAX = 10_000;
const EXPIRY_END = Buffer.of(RowKind.EXPIRY + 1);

export class Eraser {
  readonly #spool: Spool;
  readonly #touched = new Set<SessionQueue>();
  #doomed: number[] = [];
  #nextRunMs = 0;
  /** When the oldest of what is not erased yet was consumed; Infinity when all is. */
  #sinceMs = Infinity;
  /** What the disk holds has been counted: only then may anything of it be let go because its time is over. */
  #isCounted = false;
  /** Whether the last look for what has expired saw something that will. */
  #mayExpire = true;
  readonly #survivors = new RecordBuffer(PLAIN_BYTES_TARGET);

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  /** A start has come to its end. */
  counted(): void {
    this.#isCounted = true;
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

  /** Whether everything that was consumed by the last run is erased. */
  get isClean(): boolean {
    return this.#sinceMs === Infinity;
  }

  /** Time in ms until the next run, Infinity when there is nothing to erase or to expire, or no disk to do it on. */
  dueInMs(): number {
    const isIdle = this.#sinceMs === Infinity && !this.#mayExpire;
    if (isIdle || this.#spool.figures.state === SpoolState.BROKEN) return Infinity;
    return Math.max(0, this.#nextRunMs - this.#spool.clock.monotonicMs());
  }

  /** Forgets what is due; `now` whatever the time. */
  run(now: boolean): void {
    const { clock, figures, settings } = this.#spool;
    const startedMs = clock.monotonicMs();
    // What a broken disk holds is erased by the next start.
    if (figures.state === SpoolState.BROKEN || (!now && startedMs < this.#nextRunMs)) return;
    this.#nextRunMs = startedMs + settings.eraseWithinMs / RUNS_PER_BOUND;
    this.#spool.repair.counts();
    const isAll = !this.#isCounted || this.#expire();
    if (this.#sinceMs === Infinity) return;
    const sinceMs = this.#sinceMs;
    // What is taken out of a value must be durably acknowledged first.
    const isDone = (!this.#spool.hasChanges || this.#spool.commit()) && this.#evacuate() && this.#destroy();
    // What is not done is late, and is seen to be.
    const lagMs = clock.monotonicMs() - sinceMs;
    figures.set(Figure.ERASURE_LAG_MS, lagMs);
    if (lagMs > figures.get(Figure.ERASURE_LAG_MAX_MS)) figures.set(Figure.ERASURE_LAG_MAX_MS, lagMs);
    if (!isDone) return;
    if (!isAll) this.#nextRunMs = startedMs;
    this.#sinceMs = this.#touched.size === 0 && this.#doomed.length === 0 ? Infinity : startedMs;
  }

  /** Removes every row of a session's queue, and what was set aside of it. */
  planDrop(step: Step, queue: SessionQueue): void {
    const { session } = queue;
    this.#touched.delete(queue);
    for (const kind of [RowKind.QUEUE, RowKind.QUARANTINE]) {
      this.#spool.ground.disk.range(rowKey(kind, session, 0), rowKey(kind, session + 1, 0), (key, value) => {
        const facts = sealedFacts(value);
        if (facts === null) step.remove(Buffer.from(key));
        else step.forget(kind, session, rowNumber(key), facts);
        return true;
      });
    }
    step.remove(rowKey(RowKind.STATE, session, 0));
  }

  /** Lets go of values that were set aside; returns how many, or -1 when the disk did not take it. One whose head is damaged does not tell its key, which goes with the next start. */
  forgetSetAside(setAside: SetAside): number {
    if (setAside === SetAside.STAYS) return 0;
    const { ground } = this.#spool;
    const step = new Step(ground);
    let count = 0;
    const end = setAside === SetAside.ALL ? rowKey((RowKind.QUARANTINE + 1) as RowKind, 0, 0) : rowKey(RowKind.QUARANTINE, 1, 0);
    ground.disk.range(rowKey(RowKind.QUARANTINE, 0, 0), end, (key, value) => {
      const facts = sealedFacts(value);
      if (facts === null) step.remove(Buffer.from(key));
      else step.forget(RowKind.QUARANTINE, rowSession(key), rowNumber(key), facts);
      count++;
      return true;
    });
    return this.#spool.apply(step) ? count : -1;
  }

  /** Lets go of what has expired by now. False when that is more than one run takes. */
  #expire(): boolean {
    const spool = this.#spool;
    const nowMs = spool.clock.wallMs();
    const due: Due[] = [];
    this.#mayExpire = false;
    spool.ground.disk.range(expiryKey(0, 0 as RowKind, 0, 0), EXPIRY_END, (key) => {
      this.#mayExpire = true;
      const one = readExpiryKey(key);
      if (one.untilMs <= nowMs) due.push(one);
      return one.untilMs <= nowMs && due.length < DUE_MAX;
    });
    if (due.length === 0) return true;
    const orphans = new Step(spool.ground);
    for (const one of due) {
      if (!this.#expireOne(one, nowMs, orphans)) orphans.remove(expiryKey(one.untilMs, one.kind, one.session, one.number));
    }
    spool.apply(orphans);
    this.consumed();
    return due.length < DUE_MAX;
  }

  /** False when the entry names nothing any more. */
  #expireOne(due: Due, nowMs: number, step: Step): boolean {
    const spool = this.#spool;
    const { kind, session, number } = due;
    const value = spool.ground.disk.get(rowKey(kind, session, number));
    if (value === null) return false;
    const facts = sealedFacts(value);
    if (kind === RowKind.QUARANTINE) {
      if (facts === null) step.remove(rowKey(kind, session, number));
      else step.forget(kind, session, number, facts);
      return false;
    }
    // A value that was sealed anew has an entry of its own.
    if (facts !== null && dueMs(facts.untilMs) !== due.untilMs) return false;
    if (kind === RowKind.RETAINED) {
      if (spool.objects.isDue(due)) spool.letGoRetained(number);
    } else if (kind === RowKind.SHARED) {
      // By the time of the entry: references that expire later than it are let go first, by entries that come before theirs.
      if (!spool.shared.expire(number, due.untilMs)) spool.repair.sharedValue(number);
    } else {
      this.#expireQueue(due, nowMs, openValue(spool.ground.vault, value)?.records ?? null, facts?.last ?? number);
    }
    return facts !== null;
  }

  #expireQueue(due: Due, nowMs: number, records: RecordBuffer | null, last: number): void {
    const spool = this.#spool;
    const queue = spool.queues.get(due.session);
    if (queue === undefined) return; // its session goes with the next commit
    for (let at = 0; records !== null && at < records.end; at += records.length(at)) {
      const position = records.number(at);
      if (records.untilMs(at) <= nowMs && spool.isOwed(queue, position)) spool.letGo(queue, position, GoneReason.EXPIRED);
    }
    // Also when every due record was consumed before: the value is sealed anew with the time of the next one. Damage comes out then.
    queue.touchedFrom = Math.min(queue.touchedFrom, due.number);
    queue.touchedTo = Math.max(queue.touchedTo, last);
    this.touched(queue);
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
      let damaged: number[] = [];
      const done = spool.guard(step, () => {
        damaged = this.#plan(step, queue);
      });
      if (!done) return false;
      if (damaged.length > 0) {
        // Its step is thrown away with what it planned: the damage is put right first, and the next run does the rest.
        this.doom(step.taken);
        step = new Step(spool.ground);
        planned = [];
        for (const first of damaged) spool.repair.queueValue(queue, first);
        continue;
      }
      planned.push(queue);
      if (step.writtenBytes > STEP_BYTES_MAX && !flush()) return false;
    }
    if (!flush()) return false;
    return !spool.shared.isTouched || this.#evacuateShared();
  }

  #evacuateShared(): boolean {
    const { shared, repair, ground, figures } = this.#spool;
    const step = new Step(ground);
    let damaged: number[] = [];
    const done = this.#spool.attempt(step, () => {
      damaged = shared.evacuate(step);
    });
    if (!done) return false;
    shared.evacuated(damaged);
    figures.add(Figure.EVACUATED_BYTES, step.writtenBytes);
    for (const first of damaged) if (!repair.sharedValue(first)) return false;
    return true;
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
      if (facts !== null && !queue.hasDone(first, facts.last + 1)) return true;
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
      step.sealPieces(RowKind.QUEUE, session, survivors);
      return true;
    });
    return damaged;
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
    this.#spool.countKeys();
    return true;
  }
}
