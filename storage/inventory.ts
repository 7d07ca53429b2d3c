// What the spool holds, by class: counted from the disk's rows, so that it says what is there and not what is believed to be.
import { RowKind, rowKey } from './rows.ts';
import { sealedFacts } from './sealed.ts';
import type { Spool } from './spool.ts';
import type { HeldClass, StoreInventory } from './store.ts';

/** Counts what is held now. What was consumed and waits for its key to be destroyed is not counted as held. */
export function takeInventory(spool: Spool): StoreInventory {
  const held = spool.held();
  const queued = scan(spool, RowKind.QUEUE);
  const shared = scan(spool, RowKind.SHARED);
  const retained = scan(spool, RowKind.RETAINED);
  const sessions = scan(spool, RowKind.SESSION);
  const quarantined = scan(spool, RowKind.QUARANTINE);
  const oldestMs = held.messages === 0 ? null : earliest(queued.oldestMs, shared.oldestMs);
  return {
    messages: { count: held.messages, bytes: held.messageBytes, oldestMs },
    retained: { count: held.retained, bytes: held.retainedBytes, oldestMs: retained.oldestMs },
    sessions: { count: held.sessions, bytes: sessions.bytes, oldestMs: sessions.oldestMs },
    wills: scan(spool, RowKind.SESSION, 1),
    quarantined: { count: quarantined.count, bytes: quarantined.bytes, oldestMs: quarantined.oldestMs },
  };
}

/** Since when the oldest message is held that is owed to a session; null when there is none. Messages stand in the order in which they came. */
export function oldestOf(spool: Spool, session: number): number | null {
  const queue = spool.queues.get(session);
  if (queue === undefined || queue.messages === 0) return null;
  let oldestMs: number | null = null;
  spool.ground.disk.range(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session + 1, 0), (_key, value) => {
    const facts = sealedFacts(value);
    // A value without a delivery that is still owed waits for the eraser.
    if (facts !== null && facts.last >= queue.base) oldestMs = facts.sinceMs;
    return oldestMs === null;
  });
  if (oldestMs !== null || queue.pending === null) return oldestMs;
  const { records, offsets } = queue.pending;
  const first = offsets.find((offset) => offset >= 0);
  return first === undefined ? null : records.sinceMs(first);
}

/** Values of a kind, the ones with `flag` if it is given. */
function scan(spool: Spool, kind: RowKind, flag = 0): HeldClass {
  let count = 0;
  let bytes = 0;
  let oldestMs: number | null = null;
  spool.ground.disk.range(rowKey(kind, 0, 0), rowKey((kind + 1) as RowKind, 0, 0), (_key, value) => {
    const facts = sealedFacts(value);
    if (facts === null || (facts.flags & flag) !== flag) return true;
    count++;
    bytes += value.length;
    oldestMs = earliest(oldestMs, facts.sinceMs);
    return true;
  });
  return { count, bytes, oldestMs };
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null) return b;
  return b === null ? a : Math.min(a, b);
}
