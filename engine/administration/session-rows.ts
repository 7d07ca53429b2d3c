// Sessions and their connections as an operator may see them: counts, sizes and times, and the client as a pseudonym; no name, no topic, no address.
import { Level, Reason } from '../../protocol/packet.ts';
import { shownMs } from '../clock.ts';
import { endConnection } from '../routing/close.ts';
import { isHeld } from '../routing/pressure.ts';
import type { Shard } from '../routing/shard.ts';
import type { Connection } from '../sessions/connection.ts';
import { SESSION_NEVER_EXPIRES, type Session } from '../sessions/session.ts';
import { pseudonymOf } from './pseudonym.ts';

export interface ConnectionRow {
  /** Name of the listener in the configuration. */
  readonly listener: string;
  readonly transport: string;
  readonly since: string;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Bytes that the client has not taken yet. */
  readonly bytesUnsent: number;
  /** It does not keep up: QoS 0 to it is dropped. */
  readonly slow: boolean;
  /** It is not read from until somebody else, or the store, has caught up. */
  readonly held: boolean;
}

export interface SessionRow {
  /** Pseudonym of the client identifier. */
  readonly client: string;
  readonly shard: number;
  /** Version of MQTT. */
  readonly protocol: string;
  /** Null while the client is away. */
  readonly connection: ConnectionRow | null;
  /** When the connection ended; null while there is one. */
  readonly disconnectedAt: string | null;
  /** Session Expiry Interval in seconds; null: never. */
  readonly expiryS: number | null;
  readonly subscriptions: number;
  /** Deliveries that are owed and not finished, those in flight among them. */
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Sent and not acknowledged. */
  readonly inFlight: number;
  /** QoS 2 messages of the client that it has not released. */
  readonly inbound: number;
  readonly hasWill: boolean;
}

export interface SessionsAsked {
  /** Which sessions are wanted. */
  readonly which: 'all' | 'connected';
  readonly key: Uint8Array;
  readonly shard: number;
  /** Place in the table to begin at. */
  readonly from: number;
  readonly limit: number;
}

export interface SessionPage {
  readonly rows: readonly SessionRow[];
  /** Place to go on at; null: that was the last. */
  readonly next: number | null;
}

const PROTOCOLS: Readonly<Record<Level, string>> = { [Level.V31]: '3.1', [Level.V311]: '3.1.1', [Level.V5]: '5.0' };
/** Pseudonyms that are computed between two looks at the sockets: about a millisecond. */
const STEP = 512;

export async function listSessions(
  shard: Shard,
  { which, key, shard: wanted, from, limit }: SessionsAsked,
): Promise<SessionPage | null> {
  if (indexOf(shard) !== wanted) return null;
  const rows: SessionRow[] = [];
  let place = from;
  for (; place < shard.sessions.places && rows.length < limit; place++) {
    const session = shard.sessions.atPlace(place);
    if (session === null || (which === 'connected' && session.connection === null)) continue;
    rows.push(rowOf(shard, session, key));
  }
  return { rows, next: place < shard.sessions.places ? place : null };
}

export async function findSession(shard: Shard, key: Uint8Array, client: string): Promise<SessionRow | null> {
  const session = await find(shard, key, client);
  return session === null ? null : rowOf(shard, session, key);
}

/** Ends the connection as an administrative action [MQTT-4.13.1]; a session that outlives it stays. */
export async function endClient(shard: Shard, key: Uint8Array, client: string): Promise<boolean | null> {
  const session = await find(shard, key, client);
  if (session === null) return null;
  if (session.connection === null) return false;
  endConnection(shard, session.connection, Reason.ADMINISTRATIVE_ACTION);
  return true;
}

/** Nobody keeps pseudonyms: they are made until the right one is found, in steps, so that nobody waits for it. */
async function find(shard: Shard, key: Uint8Array, client: string): Promise<Session | null> {
  const { sessions, clock } = shard;
  let made = 0;
  for (let place = 0; place < sessions.places; place++) {
    const session = sessions.atPlace(place);
    if (session === null) continue;
    if (pseudonymOf(key, session.clientId) === client) return session;
    if (++made % STEP === 0) await clock.sleep(0);
  }
  return null;
}

function rowOf(shard: Shard, session: Session, key: Uint8Array): SessionRow {
  const { connection, deliveries } = session;
  return {
    client: pseudonymOf(key, session.clientId),
    shard: indexOf(shard),
    protocol: PROTOCOLS[session.level],
    connection: connection === null ? null : connectionRowOf(shard, connection),
    disconnectedAt:
      session.disconnectedAtMs === 0 ? null : new Date(shownMs(shard.clock, session.disconnectedAtMs)).toISOString(),
    expiryS: session.expiryS === SESSION_NEVER_EXPIRES ? null : session.expiryS,
    subscriptions: session.subscriptions.size,
    queuedMessages: session.queuedMessages,
    queuedBytes: session.queuedBytes,
    inFlight: deliveries.inflight,
    inbound: session.inbound.count,
    hasWill: session.will !== null,
  };
}

function connectionRowOf(shard: Shard, connection: Connection): ConnectionRow {
  const { link, outbox } = connection;
  const { clock } = shard;
  const openedMs = clock.wallMs() - clock.monotonicMs() + connection.openedAtS * 1_000;
  return {
    listener: link.peer.listener,
    transport: link.peer.transport,
    since: new Date(Math.round(openedMs / 1_000) * 1_000).toISOString(),
    bytesReceived: connection.bytesReceived,
    bytesSent: outbox.sentBytes,
    bytesUnsent: outbox.pendingBytes,
    slow: connection.slow,
    held: isHeld(connection) || shard.waitingForStore.has(connection) || shard.waitingForPeers.has(connection),
  };
}

function indexOf({ peers }: Shard): number {
  return peers === null ? 0 : peers.index;
}
