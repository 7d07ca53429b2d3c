// A delivery that the store has let go of its own accord.
import { GoneReason as Gone, type GoneReason } from '../../storage/store.ts';
import { DropReason } from '../counters.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import type { Session } from '../sessions/session.ts';
import { countQueued } from './queue.ts';
import type { Shard } from './shard.ts';

const REASONS: Readonly<Record<GoneReason, DropReason>> = {
  [Gone.EXPIRED]: DropReason.EXPIRED,
  [Gone.TRIMMED]: DropReason.QUEUE_FULL,
  [Gone.DAMAGED]: DropReason.DAMAGED,
};

/** Takes a delivery off the books. False when its session is not here: it has moved, and its host is to be told. */
export function onGone(shard: Shard, stored: number, position: number, bytes: number, reason: GoneReason): boolean {
  const session = shard.storedSessions.get(stored);
  if (session === undefined) return false;
  shard.counters.dropped[REASONS[reason]]++;
  deliveryGone(shard, session, position, bytes);
  return true;
}

/** A delivery that is loaded here goes its way and is taken off the books when it is done; any other one is taken off now. */
function deliveryGone(shard: Shard, session: Session, position: number, bytes: number): void {
  const { deliveries } = session;
  const offset = position - deliveries.base;
  if (offset < 0) return;
  if (offset >= deliveries.count) countQueued(shard, session, -1, -bytes);
  else if (deliveries.state(offset) !== DeliveryState.DONE) deliveries.setGone(offset);
}
