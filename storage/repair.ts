// Damage: a value that does not open as it was sealed is set aside as it was found, and its records that are whole go on in values of
// their own. A broken record never costs its neighbours. What is lost is told by number and size only.
//
// Everything here begins by writing what was applied: a repair must not make half of a batch durable.
import { Figure } from './figures.ts';
import type { SessionQueue } from './queue.ts';
import { RecordBuffer } from './records.ts';
import { expiryKey, MetaRow, RowKind, rowKey, rowNumber } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import type { Lost } from './shared.ts';
import type { Spool } from './spool.ts';
import { Step } from './step.ts';
import { GoneReason } from './store.ts';

/** Kinds share the number space of quarantined rows. */
const KIND_SPAN = 2 ** 40;
const NOTHING = new Uint8Array(0);
const DOUBTED = Uint8Array.of(1);

/** What the queues say of a shared message. */
export interface References {
  waiting: number;
  readonly messageBytes: number;
}

export class Repair {
  readonly #spool: Spool;
  readonly #doubted = new Set<SessionQueue>();
  #doubtsCounts = false;
  #isDoubtWritten = false;

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  /**
   * Puts a value of a queue right. False when the disk did not take it now. What is lost is durably off the books before the
   * value goes: whenever the process ends, the next start finds either the damage or none.
   */
  queueValue(queue: SessionQueue, first: number): boolean {
    const spool = this.#spool;
    if (!spool.write()) return false;
    const { session } = queue;
    const value = this.#copyOf(RowKind.QUEUE, session, first);
    if (value === null) return true;
    const records = openValue(spool.ground.vault, value)?.records ?? new RecordBuffer(0);
    const survivors = new RecordBuffer(records.end);
    const whole = new Set<number>();
    for (let at = 0; at < records.end; at += records.length(at)) {
      const position = records.number(at);
      if (position < first || position >= queue.end) continue;
      whole.add(position);
      if (spool.isOwed(queue, position)) survivors.copy(records, at);
    }
    const lost = this.#lostOf(queue, first, whole);
    this.#tell(value.length, `${lost.length} messages in it are lost`);
    this.#giveUp(queue, lost);
    // Nobody knows which shared messages the lost ones referred to.
    if (lost.length > 0 && sealedFacts(value)?.flags !== 0) this.doubtCounts();
    if (!spool.write()) return false;
    const step = new Step(spool.ground);
    return spool.attempt(step, () => {
      this.#setAside(step, RowKind.QUEUE, session, first, value);
      step.sealPieces(RowKind.QUEUE, session, survivors);
    });
  }

  /** Puts a value of shared messages right; sessions that wait for one that is lost are told when they come to it. */
  sharedValue(first: number): boolean {
    const spool = this.#spool;
    if (!spool.write()) return false;
    const value = this.#copyOf(RowKind.SHARED, 0, first);
    if (value === null) return true;
    const records = openValue(spool.ground.vault, value)?.records ?? new RecordBuffer(0);
    const step = new Step(spool.ground);
    let lost: Lost | null = null;
    const planned = spool.guard(step, () => {
      this.#setAside(step, RowKind.SHARED, 0, first, value);
      lost = spool.shared.planSalvage(step, first, records);
    });
    if (!planned) return false;
    if (lost === null) this.doubtCounts();
    const count = lost === null ? 'some' : (lost as Lost).messages;
    this.#tell(value.length, `${count} messages in it, each of them for several sessions, are lost`);
    this.plan(step);
    if (!spool.apply(step)) return false;
    this.committed();
    spool.shared.salvaged(first, lost);
    return true;
  }

  /** Writes down that counts are in doubt, until they are certain: whenever the process ends, the next start knows. */
  plan(step: Step): void {
    const key = rowKey(RowKind.META, 0, MetaRow.DOUBT);
    if (this.#doubtsCounts) step.put(key, DOUBTED);
    else if (this.#isDoubtWritten) step.remove(key);
  }

  committed(): void {
    this.#isDoubtWritten = this.#doubtsCounts;
  }

  recover(): void {
    if (this.#spool.ground.disk.get(rowKey(RowKind.META, 0, MetaRow.DOUBT)) === null) return;
    this.#isDoubtWritten = true;
    this.doubtCounts();
  }

  /** Sets a damaged value aside that holds one object; `what` is lost with it. */
  object(kind: RowKind, session: number, number: number, what: string): void {
    const spool = this.#spool;
    const value = this.#copyOf(kind, session, number)!;
    const step = new Step(spool.ground);
    if (spool.write()) spool.attempt(step, () => this.#setAside(step, kind, session, number, value));
    this.#tell(value.length, `${what} is lost`);
  }

  /** Counts anew what is not certain: of queues, and how many sessions wait for shared messages. */
  counts(): void {
    const { shared, events, figures } = this.#spool;
    for (const queue of this.#doubted) if (this.#spool.queues.has(queue.session)) this.#giveUp(queue, []);
    this.#doubted.clear();
    const damaged = shared.damagedCounts.size;
    if (damaged === 0 && !this.#doubtsCounts) return;
    if (damaged > 0) events.trouble(`${damaged} rows of counts in the spool are damaged and are made anew`);
    figures.add(Figure.QUARANTINED, damaged);
    const damagedValues = shared.restore(this.#references(), this.#doubtsCounts);
    this.#doubtsCounts = false;
    for (const first of damagedValues) this.sharedValue(first);
  }

  /** What a queue is owed may not be what its counts say. */
  doubt(queue: SessionQueue): void {
    this.#doubted.add(queue);
    this.doubtCounts();
  }

  /** A reference may have been lost: the next run of the eraser looks for shared messages that nobody refers to any more. */
  doubtCounts(): void {
    this.#doubtsCounts = true;
    this.#spool.eraser.consumed();
  }

  /** Counts what a queue is owed from what is there. */
  recount(queue: SessionQueue): void {
    queue.messages = 0;
    queue.bytes = 0;
    queue.references = 0;
    queue.referenceBytes = 0;
    this.#walk(queue, (records, at) => {
      queue.messages++;
      queue.bytes += records.messageBytes(at);
      if (records.reference(at) < 0) return;
      queue.references++;
      queue.referenceBytes += records.messageBytes(at);
    });
  }

  /** The positions of a damaged value that cannot be read are finished; the books of the queue are made anew from what is there. */
  #giveUp(queue: SessionQueue, lost: readonly number[]): void {
    const spool = this.#spool;
    const before = queue.bytes;
    spool.recount(queue, () => {
      for (const position of lost) queue.finish(position);
      queue.directories.length = 0;
      this.recount(queue);
      queue.stateChanged = true;
    });
    for (const [i, position] of lost.entries()) {
      spool.events.gone(queue.session, position, i === 0 ? before - queue.bytes : 0, GoneReason.DAMAGED);
    }
  }

  /** Positions that are owed and must have stood in a damaged value: they are not among its whole records, and the next value begins behind. */
  #lostOf(queue: SessionQueue, first: number, whole: ReadonlySet<number>): number[] {
    const spool = this.#spool;
    const { session } = queue;
    let end = queue.end;
    spool.ground.disk.range(rowKey(RowKind.QUEUE, session, first + 1), rowKey(RowKind.QUEUE, session, queue.end), (key) => {
      end = rowNumber(key);
      return false;
    });
    const lost: number[] = [];
    for (let position = first; position < end; position++) {
      if (!whole.has(position) && spool.isOwed(queue, position)) lost.push(position);
    }
    return lost;
  }

  /** References of all queues to shared messages, by the message's number. */
  #references(): Map<number, References> {
    const references = new Map<number, References>();
    for (const queue of this.#spool.queues.values()) {
      if (queue.references === 0) continue;
      this.#walk(queue, (records, at) => {
        const number = records.reference(at);
        if (number < 0) return;
        const known = references.get(number);
        if (known === undefined) references.set(number, { waiting: 1, messageBytes: records.messageBytes(at) });
        else known.waiting++;
      });
    }
    return references;
  }

  /** Visits every record of a queue that is owed. */
  #walk(queue: SessionQueue, visit: (records: RecordBuffer, at: number) => void): void {
    const spool = this.#spool;
    const { disk, vault } = spool.ground;
    const { session, pending } = queue;
    disk.range(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session + 1, 0), (_key, value) => {
      const records = openValue(vault, value)?.records;
      for (let at = 0; records !== undefined && at < records.end; at += records.length(at)) {
        if (spool.isOwed(queue, records.number(at))) visit(records, at);
      }
      return true;
    });
    for (const offset of pending?.offsets ?? []) if (offset >= 0) visit(pending!.records, offset);
  }

  #setAside(step: Step, kind: RowKind, session: number, number: number, value: Buffer): void {
    const { clock, settings, ground } = this.#spool;
    const facts = sealedFacts(value);
    // What is set aside of a session goes when the session ends; its own record is kept beyond that.
    const owner = kind === RowKind.SESSION ? 0 : session;
    const aside = kind * KIND_SPAN + (kind === RowKind.SESSION ? session : number);
    const before = ground.disk.get(rowKey(RowKind.QUARANTINE, owner, aside));
    const factsBefore = before === null ? null : sealedFacts(before);
    if (factsBefore !== null) step.forget(RowKind.QUARANTINE, owner, aside, factsBefore);
    step.remove(rowKey(kind, session, number));
    if (facts !== null && facts.untilMs !== Infinity) step.remove(expiryKey(facts.untilMs, kind, session, number));
    step.put(rowKey(RowKind.QUARANTINE, owner, aside), value);
    step.put(expiryKey(clock.wallMs() + settings.retentionMs, RowKind.QUARANTINE, owner, aside), NOTHING);
  }

  #copyOf(kind: RowKind, session: number, number: number): Buffer | null {
    const value = this.#spool.ground.disk.get(rowKey(kind, session, number));
    return value === null ? null : Buffer.from(value);
  }

  #tell(bytes: number, consequence: string): void {
    this.#spool.figures.add(Figure.QUARANTINED, 1);
    this.#spool.events.trouble(`a value of ${bytes} bytes in the spool is damaged: ${consequence}`);
  }
}
