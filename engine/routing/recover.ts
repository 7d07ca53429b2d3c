// What a store held when the broker started becomes sessions again: subscriptions in the trie, counters for what is queued,
// timers for expiry and delayed wills. Queued messages stay in the store until their client comes.

import { SESSION_NEVER_EXPIRES, Session, type SessionHandle } from '../sessions/session.ts';
import { cutToCeiling } from './ceilings.ts';
import { endSession, setAwayTimers, setPrincipal, setWill, storeSession } from './lifecycle.ts';
import { countQueued } from './queue.ts';
import { unpackSession } from './record.ts';
import { HiddenSessions } from './resume.ts';
import { amendRetained, recoverRetained } from './retain.ts';
import type { Shard } from './shard.ts';
import { recoverSubscription } from './subscribe.ts';

/** Whether sessions of clients that are away grow older. */
export const Ageing = { ON: 'on', OFF: 'off' } as const;
export type Ageing = (typeof Ageing)[keyof typeof Ageing];

/** Runs before the first listener opens; without ageing where none is going to, and no session ends nor will goes out. */
export async function recover(shard: Shard, ageing: Ageing = Ageing.ON): Promise<void> {
  const found = new Map<number, Session>();
  const wasConnected = new Set<Session>();
  const hidden = new HiddenSessions();
  /** Retained messages that the store has for longer than is allowed now. */
  const overlong: number[] = [];
  let broken = 0;
  await shard.store.recover({
    session(number, bytes) {
      shard.nextStored = Math.max(shard.nextStored, number + 1);
      const record = unpackSession(bytes);
      if (record !== null && hidden.took(number, record.clientId)) return;
      const session = record === null ? null : createSession(shard, record.clientId);
      if (record === null || session === null) {
        broken++;
        return;
      }
      setPrincipal(shard, session, record.principal);
      // What gave it these need not be there any more.
      if (record.principal.roles.length > 0 || record.principal.grants !== null) shard.judgeAll();
      session.level = record.level;
      session.expiryS = record.expiryS;
      setWill(shard, session, record.will);
      session.listener = record.listener ?? '';
      session.overflow = shard.overflows.get(session.listener) ?? record.overflow;
      session.sentBefore = record.sentBefore;
      // A session that was connected when the broker went down has been away since now.
      if (record.disconnectedAtMs === 0) wasConnected.add(session);
      session.disconnectedAtMs = record.disconnectedAtMs === 0 ? shard.clock.keptMs() : record.disconnectedAtMs;
      found.set(number, session);
    },
    subscription(number, own, filter, options, identifier) {
      const session = found.get(number);
      if (session === undefined) return;
      const next = session.nextSubscription;
      recoverSubscription(shard, session, own, filter, options, identifier);
      session.nextSubscription = Math.max(next, own + 1);
    },
    deliveries(number, base, end, messages, bytes) {
      if (hidden.tookDeliveries(number, end)) return;
      const session = found.get(number);
      if (session === undefined) return;
      session.deliveries.reset(base);
      session.tail = end;
      session.durable.reset(end);
      // All of it may have been sent, and may not: the acknowledgements that let the window move on need not have become durable. It
      // goes out with DUP [MQTT-3.3.1-1].
      if (wasConnected.has(session)) session.sentBefore = end;
      countQueued(shard, session, messages, bytes);
    },
    inbound(number, packetId) {
      if (!hidden.tookMark(number, packetId)) found.get(number)?.inbound.add(packetId);
    },
    retained(number, message) {
      if (!recoverRetained(shard, number, message)) overlong.push(number);
    },
  });
  for (const [number, session] of found) {
    // Set last: what is recovered is not written again.
    session.stored = number;
    shard.storedSessions.set(number, session);
    shard.peers?.roster.store(session.handle, number);
    if (ageing === Ageing.OFF) continue;
    const isCut = cutToCeiling(shard.ceilings, session, shard.limits.sessionExpiryMaxS);
    const awayMs = Math.max(0, shard.clock.keptMs() - session.disconnectedAtMs);
    if (session.expiryS !== SESSION_NEVER_EXPIRES && awayMs >= session.expiryS * 1_000) endSession(shard, session);
    else {
      setAwayTimers(shard, session, awayMs);
      if (isCut) storeSession(shard, session);
    }
  }
  for (const number of overlong) amendRetained(shard, number);
  await hidden.resume(shard, found, wasConnected);
  if (broken > 0) shard.log.error('session records could not be read and were left aside', { records: broken });
}

function createSession(shard: Shard, clientId: string): Session | null {
  if (shard.directory === null) return shard.sessions.create(clientId);
  const handle = shard.directory.recover(clientId, 0);
  if (handle < 0) return null;
  const session = new Session(handle as SessionHandle, clientId);
  shard.sessions.enter(session);
  return session;
}
