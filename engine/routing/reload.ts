// New settings for a shard that runs: everything that was worked out with the old ones is cut to them, or let go. Nobody is disconnected here but by name (`endLinks`); subscriptions stay.
import type { Limits } from '../../protocol/limits.ts';
import type { Reason } from '../../protocol/packet.ts';
import { DropReason } from '../counters.ts';
import type { Authenticator, ExchangeMethods, LoginGuard, Rights } from '../gate.ts';
import type { Link } from '../link.ts';
import type { Connection } from '../sessions/connection.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import { QueueOverflow, type Session } from '../sessions/session.ts';
import { type Ceilings, cutToCeiling, setCeilings } from './ceilings.ts';
import { endConnection } from './close.ts';
import { mayPublishWill, setAwayTimers, setWill, storeSession } from './lifecycle.ts';
import { countQueued, finishDelivery, queueBytes } from './queue.ts';
import type { Offers, Shard } from './shard.ts';

/** What a shard can be given while it runs. */
export interface ShardSettings {
  readonly limits: Limits;
  readonly offers: Offers;
  readonly authenticator: Authenticator;
  readonly exchanges: ExchangeMethods | null;
  readonly rights: Rights | null;
  readonly givenRights: Rights | null;
  readonly guard: LoginGuard | null;
  readonly overflows: ReadonlyMap<string, QueueOverflow>;
  readonly ceilings: Ceilings;
}

/** Deliveries that are looked at in one go, and sessions that are. */
const LOOKED_AT_ONCE = 256;

/** Puts settings in force. What sessions have asked for under others, and what is queued, are another matter: `refitAll`, `dropForbidden`. */
export function applySettings(shard: Shard, settings: ShardSettings): void {
  const mayHaveChanged = shard.rights !== null || settings.rights !== null;
  Object.assign(shard.limits, settings.limits);
  shard.offers = settings.offers;
  shard.authenticator = settings.authenticator;
  shard.exchanges = settings.exchanges;
  shard.rights = settings.rights;
  shard.givenRights = settings.givenRights;
  shard.guard = settings.guard;
  shard.routes.rights = settings.rights;
  shard.overflows = settings.overflows;
  shard.ceilings = settings.ceilings;
  for (const connection of shard.connections) refitRate(shard, connection);
  // Routes were made with the rights of before, and with names that may be too long now.
  shard.trie.bump();
  if (!mayHaveChanged) return;
  for (const connection of shard.connections) connection.rights = null;
}

/** Cuts every session to the settings of now, a part of them at a time. */
export async function refitAll(shard: Shard): Promise<void> {
  let looked = 0;
  for (const session of [...shard.sessions]) {
    if (++looked % LOOKED_AT_ONCE === 0) await shard.clock.sleep(0);
    if (isHere(shard, session, session.stored)) refit(shard, session);
  }
}

/** Ends the connections of these links. Returns how many there were. */
export function endLinks(shard: Shard, links: ReadonlySet<Link>, reason: Reason): number {
  let ended = 0;
  for (const connection of [...shard.connections]) {
    if (!links.has(connection.link) || connection.isClosed) continue;
    endConnection(shard, connection, reason);
    ended++;
  }
  return ended;
}

/** A client that is held for its pace is held by the limits of now. */
function refitRate(shard: Shard, { rate, isOpen }: Connection): void {
  if (rate === null) return;
  const { clientMessagesPerS, clientBytesPerS } = shard.limits;
  rate.fill(shard.clock.monotonicMs(), clientMessagesPerS, clientBytesPerS);
  if (rate.isHolding && isOpen) shard.timers.set(rate.timer, rate.waitMs);
}

/** Cuts a session to the settings of now: its expiry, and a will that its client may not publish any more. */
export function refit(shard: Shard, session: Session): void {
  const { connection } = session;
  session.overflow = shard.overflows.get(session.listener) ?? QueueOverflow.REFUSE;
  const isCut = cutToCeiling(shard.ceilings, session, shard.limits.sessionExpiryMaxS);
  const losesWill = session.will !== null && !mayPublishWill(shard, session);
  if (losesWill) {
    setWill(shard, session, null);
    shard.counters.refusedRights++;
  }
  if (connection !== null) {
    setCeilings(shard.ceilings, connection, session.username);
    if (shard.limits.connectionsPerUser > 0 && connection.userTally === null && session.username !== null) {
      const key = shard.users.keyOf(session.username);
      // Those that are here stay, however many.
      if (shard.users.enter(key, Infinity)) connection.userTally = key;
    }
  } else if (isCut) {
    setAwayTimers(shard, session, Math.max(0, shard.clock.keptMs() - session.disconnectedAtMs));
  }
  if (session.stored !== 0 && (isCut || losesWill)) storeSession(shard, session);
}

/** Lets go, here and in the store, of what is queued for sessions that may not receive it any more. What was sent stays until it is answered. Returns how many deliveries were dropped. */
export async function dropForbidden(shard: Shard): Promise<number> {
  if (shard.rights === null) return 0;
  const before = shard.counters.dropped[DropReason.NOT_AUTHORIZED];
  const looks: Looks = { left: LOOKED_AT_ONCE };
  for (const session of [...shard.sessions]) {
    if (shard.stopping) break;
    if (!isHere(shard, session, session.stored)) continue;
    await dropLoaded(shard, session, looks);
    if (session.stored !== 0) await dropStored(shard, session);
  }
  return shard.counters.dropped[DropReason.NOT_AUTHORIZED] - before;
}

/** How much more may be looked at before others have their turn. */
interface Looks {
  left: number;
}

async function dropLoaded(shard: Shard, session: Session, looks: Looks): Promise<void> {
  const { deliveries, stored } = session;
  looks.left--;
  // Positions, because finished deliveries at the beginning leave the log.
  const end = deliveries.base + deliveries.count;
  for (let position = deliveries.base + deliveries.sent; position < end; position++) {
    if (--looks.left <= 0) {
      await shard.clock.sleep(0);
      looks.left = LOOKED_AT_ONCE;
      if (!isHere(shard, session, stored)) return;
    }
    const offset = position - deliveries.base;
    if (offset >= deliveries.count) return;
    if (offset < 0 || deliveries.state(offset) !== DeliveryState.QUEUED) continue;
    if (!shard.messages.view(deliveries.message(offset), shard.replayed)) continue;
    const { topic, topicFrom, topicTo } = shard.replayed;
    if (!shard.routes.mayReceive(session.handle, topic, topicFrom, topicTo)) dropDelivery(shard, session, offset);
  }
}

function dropDelivery(shard: Shard, session: Session, offset: number): void {
  shard.counters.dropped[DropReason.NOT_AUTHORIZED]++;
  finishDelivery(shard, session, offset);
}

/** Looks through the part of the queue that lies in the store alone. */
async function dropStored(shard: Shard, session: Session): Promise<void> {
  const { stored } = session;
  let from = session.deliveries.base + session.deliveries.count;
  while (isHere(shard, session, stored) && from < session.tail && !shard.stopping) {
    const next = await new Promise<number>((resolve) => {
      shard.store.read(stored, from, LOOKED_AT_ONCE, {
        delivery(position, _bits, _ids, _received, message) {
          if (message === null || !isHere(shard, session, stored)) return;
          const { topic, topicFrom, topicTo } = message;
          if (!shard.routes.mayReceive(session.handle, topic, topicFrom, topicTo))
            dropUnloaded(shard, session, position, queueBytes(message));
        },
        end: resolve,
      });
    });
    if (next <= from) return;
    from = next;
  }
}

/** One that its client's coming has loaded meanwhile, or is about to, is judged when it is sent. */
function dropUnloaded(shard: Shard, session: Session, position: number, bytes: number): void {
  const { deliveries } = session;
  if (session.reading || position < deliveries.base + deliveries.count) return;
  shard.counters.dropped[DropReason.NOT_AUTHORIZED]++;
  shard.store.dropDelivery(session.stored, position);
  countQueued(shard, session, -1, -bytes);
}

/** Whether a session still lives and is this shard's. */
function isHere(shard: Shard, session: Session, stored: number): boolean {
  return shard.sessions.at(session.handle) === session && !session.leaving && session.stored === stored;
}
