// One read of a session's queue: sealed values from where the position lies, then what came since the last commit, with the positions that
// were received in their places between.
import { MessageView } from '../protocol/publish.ts';
import type { SessionQueue } from './queue.ts';
import type { RecordBuffer } from './records.ts';
import { RowKind, rowKey, rowNumber } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import { View } from './shared.ts';
import type { Spool } from './spool.ts';
import { GoneReason } from './store.ts';

/** One delivery that a read found; `view` is borrowed for the call, null when the message was received. False: no room, stop here. */
export type ReadVisitor = (position: number, bits: number, ids: Uint8Array, view: MessageView | null) => boolean;

export class Reading {
  readonly #spool: Spool;
  readonly #queue: SessionQueue;
  readonly #visit: ReadVisitor;
  /** Position from which to go on. */
  #next: number;
  #left: number;
  /** The visitor has no room, or has enough; or damage must be put right first. */
  #stopped = false;
  /** First numbers of damaged values that were met, of the queue and among the shared messages; -1 for none. */
  #damaged = -1;
  #damagedShared = -1;
  /** The disk does not take a repair now: what is whole is given. */
  #asItIs = false;
  /** Positions whose shared message is lost. */
  readonly #lost: number[] = [];
  readonly #view = new MessageView();

  constructor(spool: Spool, queue: SessionQueue, from: number, limit: number, visit: ReadVisitor) {
    this.#spool = spool;
    this.#queue = queue;
    this.#visit = visit;
    this.#next = Math.max(from, queue.base);
    this.#left = limit;
  }

  /** Reads; returns the position from which the next read goes on. */
  run(): number {
    const queue = this.#queue;
    this.#readAll();
    while (this.#damaged >= 0 || this.#damagedShared >= 0) {
      const { repair } = this.#spool;
      const done = this.#damaged >= 0 ? repair.queueValue(queue, this.#damaged) : repair.sharedValue(this.#damagedShared);
      if (!done) this.#asItIs = true;
      this.#stopped = false;
      this.#damaged = -1;
      this.#damagedShared = -1;
      this.#readAll();
    }
    for (const position of this.#lost) {
      if (this.#spool.isOwed(queue, position)) this.#spool.letGo(queue, position, GoneReason.DAMAGED);
    }
    return this.#stopped ? this.#next : Math.max(this.#next, queue.end);
  }

  #readAll(): void {
    const queue = this.#queue;
    const { pending } = queue;
    this.#readSealed(pending?.first ?? queue.end);
    if (pending !== null) {
      for (const offset of pending.offsets) {
        if (this.#stopped) return;
        if (offset >= 0) this.#give(pending.records, offset);
      }
    }
    this.#giveReceived(queue.end);
  }

  /** Gives what is sealed below `end`, up to the first damage. */
  #readSealed(end: number): void {
    const { disk, vault } = this.#spool.ground;
    const { session } = this.#queue;
    const start = disk.last(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session, this.#next + 1));
    const first = start === null ? this.#next : rowNumber(start.key);
    disk.range(rowKey(RowKind.QUEUE, session, first), rowKey(RowKind.QUEUE, session, end), (key, value) => {
      const facts = sealedFacts(value);
      if (facts !== null && facts.last < this.#next) return true;
      const opened = openValue(vault, value);
      if ((opened === null || opened.lost > 0) && !this.#asItIs) {
        this.#damaged = rowNumber(key);
        this.#stopped = true;
        return false;
      }
      if (opened === null) return true;
      this.#spool.remember(this.#queue, opened.records);
      const { records } = opened;
      for (let at = 0; at < records.end && !this.#stopped; at += records.length(at)) this.#give(records, at);
      return !this.#stopped;
    });
  }

  #give(records: RecordBuffer, at: number): void {
    const position = records.number(at);
    if (position < this.#next) return;
    this.#giveReceived(position);
    if (this.#stopped || !this.#spool.isOwed(this.#queue, position)) return;
    if (records.untilMs(at) <= this.#spool.clock.wallMs()) return;
    const reference = records.reference(at);
    if (reference < 0) records.view(at, this.#view);
    else if (!this.#hasShared(position, reference)) return;
    const from = records.idsFrom(at);
    this.#offer(position, records.bits(at), records.bytes.subarray(from, from + records.idsBytes(at)), this.#view);
  }

  /** Points the view at a shared message. */
  #hasShared(position: number, reference: number): boolean {
    const { shared } = this.#spool;
    const found = shared.view(reference, this.#view);
    if (found === View.MISSING) this.#lost.push(position);
    if (found === View.DAMAGED && !this.#asItIs) {
      this.#damagedShared = shared.damagedFirst;
      this.#stopped = true;
    }
    return found === View.FOUND;
  }

  /** Gives the positions below `before` whose message the receiver already has. */
  #giveReceived(before: number): void {
    const { received } = this.#queue;
    if (received === null) return;
    for (const position of received) {
      if (this.#stopped || position >= before) return;
      if (position >= this.#next) this.#offer(position, RECEIVED_BITS, NO_IDS, null);
    }
  }

  #offer(position: number, bits: number, ids: Uint8Array, view: MessageView | null): void {
    if (this.#left <= 0 || !this.#visit(position, bits, ids, view)) {
      this.#stopped = true;
      this.#next = position;
      return;
    }
    this.#left--;
    this.#next = position + 1;
  }
}

/** Only QoS 2 knows PUBREC. */
const RECEIVED_BITS = 2;
const NO_IDS = new Uint8Array(0);
