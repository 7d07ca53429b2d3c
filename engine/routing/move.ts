// A session moves to the shard that has its client's new connection. In this order, which is why nothing is lost, nothing comes twice and nothing out of order:
//
//   1. the old connection ends, and with it everything that only lives with a connection;
//   2. the roster names the next host: messages that are routed from now on go there, and wait (held.ts);
//   3. a fence: what the others had routed here before is here, and in the session's queue;
//   4. the store is durable up to all of it, and what its client published is settled elsewhere;
//   5. the session goes over, after it the messages where each shard has a store of its own;
//   6. the next host enters it, gives it what waited, and seats the client.

import { Reason } from '../../protocol/packet.ts';
import { MessageView } from '../../protocol/publish.ts';
import type { Claim, MovedSession } from '../peers/control.ts';
import { LETTER_FIXED_BYTES, Letter, padded, Word } from '../peers/letter.ts';
import type { Refusal } from '../peers/tickets.ts';
import { principalBytes } from '../principal.ts';
import { type QueueOverflow, Session, type SessionHandle, type Will } from '../sessions/session.ts';
import { mayTakeOver, seatMoved } from './claim.ts';
import { endConnection } from './close.ts';
import { sendControl } from './control.ts';
import { deliverHeld } from './deliver.ts';
import { fanOut } from './fan-out.ts';
import { FenceWay, raiseFence } from './fence.ts';
import { refusalOf } from './held.ts';
import { endSession, setPrincipal, setWill, storeSession } from './lifecycle.ts';
import { countQueued } from './queue.ts';
import { refit } from './reload.ts';
import { letterBytes, writeView } from './remote.ts';
import type { Shard } from './shard.ts';
import { markTransfer } from './transfer.ts';

/** A session that is ready to go once the store and the other shards have caught up. */
export interface Departure {
  readonly session: Session;
  readonly claim: Claim;
  /** Intent of the store and ticket up to which they must have. */
  readonly sequence: number;
  readonly ticket: number;
}

/** The directory wants a session for another shard. */
export function releaseSession(shard: Shard, handle: number, claim: Claim): void {
  const session = shard.sessions.at(handle);
  if (session === null) return; // it has ended, and the directory is on its way to know
  if (!mayTakeOver(shard, session, claim.username)) {
    sendControl(shard, 0, { kind: 'kept', handle, host: shard.peers!.index });
    return;
  }
  const { connection } = session;
  if (connection !== null) {
    shard.counters.takeovers++;
    endConnection(shard, connection, Reason.SESSION_TAKEN_OVER); // [MQTT-3.1.4-3]
  }
  if (shard.sessions.at(handle) !== session) return;
  if (claim.clean) {
    endSession(shard, session); // [MQTT-3.1.2-4]
    return;
  }
  if (session.expiryTimer !== null) shard.timers.cancel(session.expiryTimer);
  if (session.willTimer !== null) shard.timers.cancel(session.willTimer);
  session.leaving = true;
  const { peers, store } = shard;
  const ticket = peers!.tickets.next - 1;
  peers!.roster.move(handle, claim.shard);
  shard.trie.bump();
  raiseFence(shard, FenceWay.DIRECT, () => {
    shard.departures.push({ session, claim, sequence: store.sequence, ticket });
    shard.turn.ask();
  });
}

/** Sends the sessions on their way that need not wait any longer. */
export function sendDepartures(shard: Shard): void {
  if (shard.departures.length === 0) return;
  const { written } = shard.store;
  const { first } = shard.peers!.tickets;
  shard.departures = shard.departures.filter((departure) => {
    const mustWait = departure.sequence > written || departure.ticket >= first;
    if (!mustWait) depart(shard, departure);
    return mustWait;
  });
}

function depart(shard: Shard, { session, claim }: Departure): void {
  const { shard: to, request } = claim;
  const { handle, stored } = session;
  sendControl(shard, to, { kind: 'moved', session: pack(session) });
  if (!shard.store.isShared) {
    sendStored(shard, to, session);
    shard.store.dropSession(stored);
  }
  sendControl(shard, to, { kind: 'moved-end', handle, request });
  for (const { filter } of session.subscriptions.values()) {
    shard.sessionBytes -= filter.length;
    if (isShared(filter)) shard.sharedSubscriptions--;
  }
  setWill(shard, session, null);
  shard.sessionBytes -= principalBytes(session.principal);
  session.unload(shard.messages);
  countQueued(shard, session, -session.queuedMessages, -session.queuedBytes);
  shard.storedSessions.delete(stored);
  shard.awaitingDurable.delete(session);
  shard.sessions.remove(session);
}

function pack(session: Session): MovedSession {
  const { handle, clientId, principal, level, expiryS, stored, tail, sentBefore, queuedMessages, queuedBytes } = session;
  const { overflow, listener, disconnectedAtMs, will, nextSubscription } = session;
  return {
    handle,
    clientId,
    principal,
    level,
    expiryS,
    stored,
    base: session.deliveries.base,
    tail,
    sentBefore,
    queuedMessages,
    queuedBytes,
    overflow,
    listener,
    disconnectedAtMs,
    inbound: session.inbound.all(),
    will,
    nextSubscription,
    subscriptions: [...session.subscriptions.values()],
  };
}

/** Sends what is queued for a session, for a store of the next host's own. */
function sendStored(shard: Shard, to: number, session: Session): void {
  const sender = shard.peers!.senders[to]!;
  shard.store.read(session.stored, session.deliveries.base, Infinity, {
    delivery(position, bits, subscriptionIds, received, message) {
      const view = message ?? new MessageView();
      const before = padded(subscriptionIds.length);
      const at = sender.reserve(Letter.DELIVERY, before + letterBytes(view));
      writeView(sender, at, view, before);
      const word = at >> 2;
      sender.words[word + Word.ROUTE] = session.handle;
      sender.words[word + Word.PUBLISHER] = received ? 1 : 0;
      sender.words[word + Word.NUMBER] = subscriptionIds.length;
      sender.words[word + Word.COUNT] = position - session.deliveries.base;
      sender.words[word + Word.BITS] = sender.words[word + Word.BITS]! | (bits << DELIVERY_BITS_SHIFT);
      sender.bytes.set(subscriptionIds, at + LETTER_FIXED_BYTES);
      sender.sent();
    },
    end() {},
  });
}

/** Bits of a delivery stand above those of its message. */
export const DELIVERY_BITS_SHIFT = 8;
export const DELIVERY_BITS_MASK = 0xff;

/** A session comes from another shard. It is entered when all of it is here. */
export function takeMoved(shard: Shard, moved: MovedSession): void {
  const session = new Session(moved.handle as SessionHandle, moved.clientId);
  setPrincipal(shard, session, moved.principal);
  session.level = moved.level as Session['level'];
  session.expiryS = moved.expiryS;
  session.overflow = moved.overflow as QueueOverflow;
  session.listener = moved.listener;
  session.sentBefore = moved.sentBefore;
  session.disconnectedAtMs = moved.disconnectedAtMs;
  session.nextSubscription = moved.nextSubscription;
  session.tail = moved.tail;
  session.deliveries.reset(moved.base);
  session.durable.reset(moved.tail);
  for (const packetId of moved.inbound) session.inbound.add(packetId);
  for (const subscription of moved.subscriptions) {
    const filter = new Uint8Array(subscription.filter);
    session.subscriptions.set(Buffer.from(filter).toString('latin1'), { ...subscription, filter });
    shard.sessionBytes += filter.length;
    if (isShared(filter)) shard.sharedSubscriptions++;
  }
  setWill(shard, session, moved.will as Will | null);
  countQueued(shard, session, moved.queuedMessages, moved.queuedBytes);
  session.stored = moved.stored;
  if (!shard.store.isShared) {
    storeMoved(shard, session);
    // From now on the store tells this shard what it lets go of the session.
    shard.storedSessions.set(session.stored, session);
  }
  shard.moving.set(moved.handle, session);
}

/** Puts a session into a store that does not know it, messages apart. */
function storeMoved(shard: Shard, session: Session): void {
  const { store } = shard;
  storeSession(shard, session);
  for (const { number, filter, options, identifier } of session.subscriptions.values())
    store.putSubscription(session.stored, number, filter, options, identifier);
  for (const packetId of session.inbound.all()) store.addInbound(session.stored, packetId);
  // Positions of messages that have gone count too: the end of the queue is where it was.
  if (session.tail === session.deliveries.base) return;
  const last = session.tail - 1;
  store.addDelivery(session.stored, last, store.putMessage(new MessageView()), 0, new Uint8Array(0));
  store.dropDelivery(session.stored, last);
}

/** One message of a session that moves. */
export function takeMovedDelivery(
  shard: Shard,
  handle: number,
  offset: number,
  bits: number,
  subscriptionIds: Uint8Array,
  received: boolean,
  view: MessageView,
): void {
  const session = shard.moving.get(handle);
  if (session === undefined) return;
  const position = session.deliveries.base + offset;
  shard.store.addDelivery(session.stored, position, shard.store.putMessage(view), bits, subscriptionIds);
  if (received) shard.store.markReceived(session.stored, position);
}

/** All of a session is here: it is entered, given what waited for it, and seated. */
export function endMove(shard: Shard, handle: number, request: number): void {
  const session = shard.moving.get(handle);
  if (session === undefined) return;
  shard.moving.delete(handle);
  shard.sessions.enter(session);
  // Routes that were made while it was on its way were made without its rights.
  if (shard.rights !== null) shard.trie.bump();
  shard.storedSessions.set(session.stored, session);
  shard.peers!.roster.store(handle, session.stored);
  // It was in neither shard while a reload looked through both.
  refit(shard, session);
  // Said before anything else is: from now on the store tells this shard of the session.
  storeSession(shard, session);
  deliverAllHeld(shard, handle);
  sendControl(shard, 0, { kind: 'arrived', handle });
  seatMoved(shard, session, request);
}

/** The session is here: what waited for it goes in. */
function deliverAllHeld(shard: Shard, handle: number): void {
  const held = shard.held.get(handle);
  if (held === undefined) return;
  shard.held.delete(handle);
  const view = new MessageView();
  const { stored } = shard.sessions.at(handle)!;
  for (const { message, target, later } of held) {
    if (shard.messages.view(message, view)) deliverHeld(shard, message, view, target);
    if (later !== null && later.transfer >= 0)
      markTransfer(shard, later.from < 0 ? shard.peers!.index : later.from, later.transfer, stored);
    shard.messages.release(message);
    if (later === null) continue;
    if (fanOut.refused > 0) later.refusal = Math.max(later.refusal, refusalOf(shard)) as Refusal;
    if (--later.waiting === 0) shard.laters.push({ later, sequence: shard.store.sequence });
  }
}

function isShared(filter: Uint8Array): boolean {
  return filter[0] === 0x24 && Buffer.from(filter.subarray(0, SHARE_PREFIX.length)).equals(SHARE_PREFIX);
}

const SHARE_PREFIX = Buffer.from('$share/');
