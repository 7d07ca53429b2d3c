// A start: what the disk holds is counted, keys without a value are destroyed, and everything is given to the engine. The time it takes
// goes with what is held.
import { MessageView } from '../protocol/publish.ts';
import { Figure } from './figures.ts';
import { SessionQueue } from './queue.ts';
import { RecordBuffer } from './records.ts';
import { RowKind, rowKey, rowNumber, rowSession } from './rows.ts';
import { sealedFacts, unseal } from './sealed.ts';
import { type Spool, SUBSCRIPTION_FIXED_BYTES } from './spool.ts';
import type { RecoveryVisitor } from './store.ts';

const SEALED_KINDS: readonly RowKind[] = [
  RowKind.QUEUE,
  RowKind.SESSION,
  RowKind.SUBSCRIPTION,
  RowKind.SHARED,
  RowKind.RETAINED,
  RowKind.QUARANTINE,
];
const SESSION_KINDS: readonly RowKind[] = [RowKind.STATE, RowKind.QUEUE, RowKind.SESSION, RowKind.SUBSCRIPTION];
/** Rows between two looks at the clock, and the time between two words to the operator. */
const ROWS_PER_LOOK = 1_000;
const PROGRESS_MS = 1_000;

/** Brings a spool back to what its disk holds, and tells `visitor`. */
export function recoverSpool(spool: Spool, visitor: RecoveryVisitor): void {
  const progress = new Progress(spool);
  const sessions = forgetUnused(spool, progress);
  spool.shared.recover();
  const { disk } = spool.ground;
  for (const session of sessions) {
    progress.row();
    const queue = SessionQueue.recover(spool.ground, session, spool.started) ?? rebuilt(spool, session);
    spool.adopt(queue);
    const record = openOne(spool, RowKind.SESSION, session, 0, `a session that is owed ${queue.messages} messages`);
    if (record === null) {
      // Nobody knows whose it is, and its number may be given to another one.
      spool.endSession(queue);
      continue;
    }
    visitor.session(session, record);
    const numbers: number[] = [];
    disk.range(rowKey(RowKind.SUBSCRIPTION, session, 0), rowKey(RowKind.SUBSCRIPTION, session + 1, 0), (key) => {
      numbers.push(rowNumber(key));
      return true;
    });
    for (const number of numbers) {
      const plain = openOne(spool, RowKind.SUBSCRIPTION, session, number, 'a subscription');
      if (plain === null) continue;
      visitor.subscription(
        session,
        number,
        plain.subarray(SUBSCRIPTION_FIXED_BYTES),
        plain.readUInt32LE(0),
        plain.readUInt32LE(4),
      );
    }
    visitor.deliveries(session, queue.base, queue.end, queue.messages, queue.bytes);
    for (const packetId of queue.inbound ?? []) visitor.inbound(session, packetId);
    markConsumed(spool, queue);
  }
  giveRetained(spool, visitor, progress);
  spool.eraser.counted();
  spool.repair.recover();
  spool.repair.counts();
  if (spool.shared.isTouched) spool.eraser.consumed();
  spool.publishIfClean();
  progress.end();
}

/**
 * Every slot that no value names is overwritten: keys of batches that were never finished, and of values that a crash had only
 * removed. Returns the sessions that own a row.
 */
function forgetUnused(spool: Spool, progress: Progress): number[] {
  const { disk, vault } = spool.ground;
  const used = new Uint8Array(vault.slots);
  const sessions = new Set<number>();
  let last = -1;
  for (const kind of [RowKind.STATE, ...SEALED_KINDS]) {
    const isOwned = SESSION_KINDS.includes(kind);
    disk.range(rowKey(kind, 0, 0), rowKey((kind + 1) as RowKind, 0, 0), (key, value) => {
      progress.row();
      if (isOwned) sessions.add(rowSession(key));
      const slot = kind === RowKind.STATE ? undefined : sealedFacts(value)?.slot;
      if (slot === undefined || slot >= used.length) return true;
      used[slot] = 1;
      last = Math.max(last, slot);
      return true;
    });
  }
  vault.keepOnly((slot) => used[slot] === 1, last);
  spool.countKeys();
  return [...sessions].sort((a, b) => a - b);
}

/** The content of a value that holds one object. Null when there is none, and when it is damaged: then it is set aside, and `what` is lost. */
function openOne(spool: Spool, kind: RowKind, session: number, number: number, what: string): Buffer | null {
  const value = spool.ground.disk.get(rowKey(kind, session, number));
  if (value === null) return null;
  const opened = unseal(spool.ground.vault, value);
  if (opened?.whole) return opened.plain;
  spool.repair.object(kind, session, number, what);
  return null;
}

/** A queue whose state row is damaged: every delivery that is still there is owed, which may bring some of them twice. */
function rebuilt(spool: Spool, session: number): SessionQueue {
  const { disk } = spool.ground;
  let first = -1;
  let end = 0;
  disk.range(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session + 1, 0), (key, value) => {
    if (first < 0) first = rowNumber(key);
    end = Math.max(end, (sealedFacts(value)?.last ?? rowNumber(key)) + 1);
    return true;
  });
  const queue = SessionQueue.rebuilt(session, Math.max(0, first), end);
  spool.repair.recount(queue);
  spool.figures.add(Figure.QUARANTINED, 1);
  spool.events.trouble(`the state of a session's queue is damaged; its ${queue.messages} messages are delivered again`);
  return queue;
}

/** What was consumed before the stop and not yet taken out of its values is taken out now. */
function markConsumed(spool: Spool, queue: SessionQueue): void {
  let first = Infinity;
  spool.ground.disk.range(rowKey(RowKind.QUEUE, queue.session, 0), rowKey(RowKind.QUEUE, queue.session + 1, 0), (key) => {
    first = rowNumber(key);
    return false;
  });
  if (first <= queue.touchedTo) {
    queue.touchedFrom = first;
    spool.eraser.touched(queue);
  } else {
    queue.touchedTo = -1;
  }
}

function giveRetained(spool: Spool, visitor: RecoveryVisitor, progress: Progress): void {
  const { disk } = spool.ground;
  const numbers: number[] = [];
  disk.range(rowKey(RowKind.RETAINED, 0, 0), rowKey(RowKind.EXPIRY, 0, 0), (key) => {
    numbers.push(rowNumber(key));
    return true;
  });
  const view = new MessageView();
  for (const number of numbers) {
    progress.row();
    const plain = openOne(spool, RowKind.RETAINED, 0, number, 'a retained message');
    // Also one that has expired, or that is damaged and could not be set aside, is held until it is let go.
    const size = spool.objects.sizeOf(RowKind.RETAINED, 0, number);
    if (size >= 0) spool.adoptRetained(size);
    if (plain === null) continue;
    const records = new RecordBuffer(plain.length);
    records.load(plain);
    if (records.untilMs(0) <= spool.clock.wallMs()) continue;
    records.view(0, view);
    view.retain = 1;
    visitor.retained(number, view);
  }
}

/** Tells the operator that a long start goes on. */
class Progress {
  readonly #spool: Spool;
  readonly #startedMs: number;
  #saidMs: number;
  #rows = 0;

  constructor(spool: Spool) {
    this.#spool = spool;
    this.#startedMs = spool.clock.monotonicMs();
    this.#saidMs = this.#startedMs;
  }

  row(): void {
    if (++this.#rows % ROWS_PER_LOOK !== 0) return;
    const nowMs = this.#spool.clock.monotonicMs();
    if (nowMs - this.#saidMs < PROGRESS_MS) return;
    this.#saidMs = nowMs;
    this.#spool.events.trouble(`reading the spool: ${this.#rows} rows in ${Math.round((nowMs - this.#startedMs) / 1_000)} s`);
  }

  end(): void {
    const tookMs = this.#spool.clock.monotonicMs() - this.#startedMs;
    if (tookMs >= PROGRESS_MS)
      this.#spool.events.trouble(`the spool was read: ${this.#rows} rows in ${(tookMs / 1_000).toFixed(1)} s`);
  }
}
