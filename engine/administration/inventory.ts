// What the broker holds, by class, with the age of the oldest: for the operator who must show it.
import type { HeldClass, StoreInventory } from '../../storage/store.ts';
import { type Clock, shownMs } from '../clock.ts';
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

/** What one shard holds, for the inventory of all. */
export interface HeldByShard {
  readonly inFlight: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Sessions of the store that are no client's (routing/transfer.ts). */
  readonly hiddenSessions: number;
  /** Of a store of its own; null where the first shard's store is everybody's. */
  readonly stored: StoreInventory | null;
}

export async function takeHeld(shard: Shard): Promise<HeldByShard> {
  const { queuedMessages, queuedBytes, store } = shard;
  let inFlight = 0;
  for (const session of shard.sessions) inFlight += session.deliveries.inflight;
  const isElsewhere = store.isShared && shard.peers !== null && shard.peers.index !== 0;
  const hiddenSessions = shard.transfers?.sessions ?? 0;
  return { inFlight, queuedMessages, queuedBytes, hiddenSessions, stored: isElsewhere ? null : await storedBy(shard) };
}

/** What a shard's store holds, and the one of retained messages that never touch a disk. */
async function storedBy({ store, retainedStore, clock }: Shard): Promise<StoreInventory> {
  const stored = await store.inventory();
  const retained =
    retainedStore === store ? stored.retained : addClass(stored.retained, (await retainedStore.inventory()).retained);
  return shownInventory(clock, { ...stored, retained });
}

/** With ages by the wall clock, as people read them. */
export function shownInventory(
  clock: Clock,
  { messages, retained, sessions, wills, quarantined }: StoreInventory,
): StoreInventory {
  const one = (held: HeldClass): HeldClass => ({
    ...held,
    oldestMs: held.oldestMs === null ? null : shownMs(clock, held.oldestMs),
  });
  return {
    messages: one(messages),
    retained: one(retained),
    sessions: one(sessions),
    wills: one(wills),
    quarantined: one(quarantined),
  };
}

/** The inventory of a broker from what its shards hold. */
export function sumInventory(shards: readonly HeldByShard[], hasMasterKey: boolean): Inventory {
  const stored = shards.flatMap((shard) => (shard.stored === null ? [] : [shard.stored]));
  const sum = (figure: (shard: HeldByShard) => number) => shards.reduce((total, shard) => total + figure(shard), 0);
  const classOf = (name: keyof StoreInventory) => stored.map((one) => one[name]).reduce(addClass);
  const sessions = classOf('sessions');
  return {
    messages: classOf('messages'),
    retained: classOf('retained'),
    sessions: { ...sessions, count: sessions.count - sum((shard) => shard.hiddenSessions) },
    wills: classOf('wills'),
    quarantined: classOf('quarantined'),
    queued: { deliveries: sum((shard) => shard.queuedMessages), bytes: sum((shard) => shard.queuedBytes) },
    inFlight: { deliveries: sum((shard) => shard.inFlight) },
    hasMasterKey,
  };
}

function addClass(a: HeldClass, b: HeldClass): HeldClass {
  const ages = [a.oldestMs, b.oldestMs].filter((age) => age !== null);
  return { count: a.count + b.count, bytes: a.bytes + b.bytes, oldestMs: ages.length === 0 ? null : Math.min(...ages) };
}
