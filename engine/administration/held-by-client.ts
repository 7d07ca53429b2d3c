// What is held for each client, the largest first: numbers and times beside a pseudonym.
import { shownMs } from '../clock.ts';
import type { Shard } from '../routing/shard.ts';
import type { Session } from '../sessions/session.ts';
import type { Administration } from './administration.ts';

export interface HeldByClient {
  /** Pseudonym of the client identifier. */
  readonly client: string;
  readonly isConnected: boolean;
  /** Wall clock in ms since when the client is away; null while it is connected. */
  readonly awaySinceMs: number | null;
  readonly subscriptions: number;
  /** Deliveries that are owed and not finished, those in flight among them, and their bytes of topic, properties and payload. */
  readonly messages: number;
  readonly bytes: number;
  /** Wall clock in ms since when the oldest of them is held; null when there is none, and for a session that ends with its connection. */
  readonly oldestMs: number | null;
  /** Sent and not acknowledged. */
  readonly inFlight: number;
  readonly hasWill: boolean;
}

export interface ClientsHeld {
  /** Sessions in all; `clients` may be fewer. */
  readonly sessions: number;
  readonly clients: readonly HeldByClient[];
}

/** One session, for the thread that knows the key of pseudonyms: its client's name goes no further. */
export type SessionHeld = Omit<HeldByClient, 'client'> & { readonly clientId: string };

export interface SessionsHeld {
  readonly sessions: number;
  readonly largest: readonly SessionHeld[];
}

/** Questions to the store that are under way at once. */
const ASKED_AT_ONCE = 256;

export async function takeSessionsHeld(shard: Shard, limit: number): Promise<SessionsHeld> {
  const all = [...shard.sessions].sort(byBytes((session) => session.queuedBytes)).slice(0, limit);
  const largest: SessionHeld[] = [];
  for (let at = 0; at < all.length; at += ASKED_AT_ONCE) {
    const some = all.slice(at, at + ASKED_AT_ONCE);
    largest.push(...(await Promise.all(some.map((session) => heldOf(shard, session)))));
  }
  return { sessions: shard.sessions.count, largest };
}

async function heldOf(shard: Shard, session: Session): Promise<SessionHeld> {
  const { clientId, connection, disconnectedAtMs, subscriptions, queuedMessages, queuedBytes, deliveries, will, stored } =
    session;
  const oldestMs = stored === 0 || queuedMessages === 0 ? null : await shard.store.oldest(stored);
  return {
    clientId,
    isConnected: connection !== null,
    awaySinceMs: connection === null && disconnectedAtMs > 0 ? shownMs(shard.clock, disconnectedAtMs) : null,
    subscriptions: subscriptions.size,
    messages: queuedMessages,
    bytes: queuedBytes,
    oldestMs: oldestMs === null ? null : shownMs(shard.clock, oldestMs),
    inFlight: deliveries.inflight,
    hasWill: will !== null,
  };
}

/** The clients of which most is held, up to `limit`. */
export async function heldByClient({ askAll, pseudonym }: Administration, limit: number): Promise<ClientsHeld> {
  const shards = await askAll({ kind: 'sessions-held', limit });
  const largest = shards.flatMap((shard) => shard.largest).sort(byBytes(({ bytes }) => bytes));
  return {
    sessions: shards.reduce((sum, { sessions }) => sum + sessions, 0),
    clients: largest.slice(0, limit).map(({ clientId, ...held }) => ({ client: pseudonym(clientId), ...held })),
  };
}

function byBytes<T>(bytesOf: (one: T) => number): (a: T, b: T) => number {
  return (a, b) => bytesOf(b) - bytesOf(a);
}
