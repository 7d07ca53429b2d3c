// One read of a session's queue: sealed values from where the position lies, then what came since the last commit, with the positions that
// were received in their places between.
import { MessageView } from '../protocol/publish.ts';
import type { SessionQueue } from './queue.ts';
import type { RecordBuffer } from './records.ts';
import { RowKind, rowKey, rowNumber } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import type { ReadVisitor, Spool } from './spool.ts';

export class Reading {
  readonly #spool: Spool;
  readonly #queue: SessionQueue;
  readonly #visit: ReadVisitor;
  /** Position from which to go on. */
  #next: number;
  #left: number;
  /** The visitor has no room, or has enough. */
  #stopped = false;
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
    const pendingFirst = queue.pending?.first ?? queue.end;
    for (let broken = this.#readSealed(pendingFirst); broken >= 0; broken = this.#readSealed(pendingFirst)) {
      this.#spool.eraser.quarantine(queue, broken);
    }
    const { pending } = queue;
    if (pending !== null) {
      for (const offset of pending.offsets) {
        if (this.#stopped) return this.#next;
        if (offset >= 0) this.#give(pending.records, offset);
      }
    }
    this.#giveReceived(queue.end);
    return this.#stopped ? this.#next : Math.max(this.#next, queue.end);
  }

  /** Gives what is sealed below `end`; returns the first number of a value that is damaged, or -1. */
  #readSealed(end: number): number {
    const { disk, vault } = this.#spool.ground;
    const { session } = this.#queue;
    const start = disk.last(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session, this.#next + 1));
    const first = start === null ? this.#next : rowNumber(start.key);
    let broken = -1;
    disk.range(rowKey(RowKind.QUEUE, session, first), rowKey(RowKind.QUEUE, session, end), (key, value) => {
      const facts = sealedFacts(value);
      if (facts !== null && facts.last < this.#next) return true;
      const opened = openValue(vault, value);
      if (opened === null || opened.lost > 0) {
        broken = rowNumber(key);
        return false;
      }
      this.#spool.remember(this.#queue, opened.records);
      const { records } = opened;
      for (let at = 0; at < records.end && !this.#stopped; at += records.length(at)) this.#give(records, at);
      return !this.#stopped;
    });
    return broken;
  }

  #give(records: RecordBuffer, at: number): void {
    const position = records.number(at);
    if (position < this.#next) return;
    this.#giveReceived(position);
    if (this.#stopped || !this.#spool.isOwed(this.#queue, position)) return;
    const expired = records.untilMs(at) <= this.#spool.clock.wallMs();
    const reference = records.reference(at);
    const view = this.#view;
    if (expired || (reference >= 0 && !this.#spool.shared.view(reference, view))) return;
    if (reference < 0) records.view(at, view);
    const from = records.idsFrom(at);
    this.#offer(position, records.bits(at), records.bytes.subarray(from, from + records.idsBytes(at)), view);
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
