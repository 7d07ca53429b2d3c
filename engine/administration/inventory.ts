// What the broker holds, by class, with the age of the oldest: for the operator who must show it.
import type { StoreInventory } from '../../storage/store.ts';
import type { Shard } from '../routing/shard.ts';

/** What the store counts by class, and what sessions are owed of it. */
export interface Inventory extends StoreInventory {
  /** Deliveries that wait to be sent, as often as sessions wait for them. */
  readonly queued: { readonly deliveries: number; readonly bytes: number };
  /** Deliveries that were sent and are not acknowledged, per session that has them. */
  readonly inFlight: { readonly deliveries: number };
  /** Whether a master key wraps the keys of the spool; without one, or without a spool, nothing but file modes does. */
  readonly hasMasterKey: boolean;
}

export async function takeInventory(shard: Shard, hasMasterKey: boolean): Promise<Inventory> {
  const stored = await shard.store.inventory();
  let inFlight = 0;
  for (const session of shard.sessions) inFlight += session.deliveries.inflight;
  return {
    ...stored,
    queued: { deliveries: shard.queuedMessages, bytes: shard.queuedBytes },
    inFlight: { deliveries: inFlight },
    hasMasterKey,
  };
}
