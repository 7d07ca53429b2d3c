// HOT: no allocation, closures, strings, try or async per message.
// From a routed message to the sessions that are owed it.
//
// QoS 0 is written to a connected receiver or dropped. QoS 1 and 2 enter the session's log of deliveries and leave it when the
// receiver is done. A copy of the message is kept only where it could be needed again: for a session that can outlive its
// connection, for a shared group, and for what cannot be sent at once.
import type { MessageView } from '../../protocol/publish.ts';
import { DropReason } from '../counters.ts';
import { type MessageHandle, NO_MESSAGE } from '../memory/messages.ts';
import { Gauge } from '../peers/gauges.ts';
import { SessionFlag } from '../peers/roster.ts';
import type { Connection } from '../sessions/connection.ts';
import { DeliveryState, deliveryBits } from '../sessions/deliveries.ts';
import { QueueOverflow, type Session } from '../sessions/session.ts';
import { SubscriptionOption, type Target, targetFor } from '../sessions/target.ts';
import { fanOut } from './fan-out.ts';
import { holdForArrival } from './held.ts';
import { noteLive } from './live.ts';
import { isOverMark, Pressure, pressOn } from './pressure.ts';
import { countQueued, finishDelivery, LOADED_MAX, pump, queueBytes } from './queue.ts';
import { sendMessage, sendToMember } from './remote.ts';
import type { Route } from './route.ts';
import { beginFanOut, sendPublish } from './send.ts';
import type { Shard } from './shard.ts';

/** Sends `view` along `route`; `publisher` is null for the broker's own messages. What happened stands in `fanOut`. */
export function deliverMessage(shard: Shard, publisher: Connection | null, view: MessageView, route: Route): void {
  fanOut.begin();
  const own = publisher === null || publisher.session === null ? -1 : publisher.session.handle;
  const { targets, groups, remotes } = route;
  const many = targets.length > 1;
  if (many) beginFanOut();
  for (let i = 0; i < targets.length; i++) {
    let target: Target | null = targets[i]!;
    if (target.subscriber === own && (target.options & SubscriptionOption.NO_LOCAL) !== 0) {
      target = target.ofOwn; // [MQTT-3.8.3-3]
      if (target === null) continue;
    }
    deliverTo(shard, publisher, view, target, many);
  }
  for (let i = 0; i < remotes.length; i++) sendMessage(shard, publisher, view, remotes[i]!);
  for (let i = 0; i < groups.length; i++) deliverToGroup(shard, publisher, view, route, groups[i]!);
  endMessage(shard);
}

/** Sends a message that came from another shard to the receivers that it names. */
export function deliverToTargets(shard: Shard, view: MessageView, targets: readonly Target[]): void {
  fanOut.begin();
  const many = targets.length > 1;
  if (many) beginFanOut();
  for (let i = 0; i < targets.length; i++) deliverTo(shard, null, view, targets[i]!, many);
  endMessage(shard);
}

/** Gives a message that waited for a session to it, now that it is here. */
export function deliverHeld(shard: Shard, message: MessageHandle, view: MessageView, target: Target): void {
  fanOut.begin();
  shard.messages.retain(message);
  fanOut.message = message;
  deliverTo(shard, null, view, target, false);
  endMessage(shard);
}

/** Sends a message to one receiver outside of a fan-out: a retained message for a new subscription. */
export function deliverOne(shard: Shard, view: MessageView, target: Target, qos: number, retain: number): void {
  const session = shard.sessions.at(target.subscriber);
  if (session === null) return;
  fanOut.begin();
  if (qos === 0) sendQos0(shard, null, session, view, retain, target, false);
  else owe(shard, null, session, view, qos, retain, target, false);
  endMessage(shard);
}

/** Owes a message to a session that a start has found; `bits` as it would have been stored. */
export function deliverRecovered(
  shard: Shard,
  session: Session,
  view: MessageView,
  bits: number,
  subscriptionIds: Uint8Array,
): void {
  fanOut.begin();
  const target = targetFor(session.handle, 0, subscriptionIds);
  owe(shard, null, session, view, bits & SubscriptionOption.QOS_MASK, bits >> 2, target, false);
  endMessage(shard);
}

/** Gives a message that the slab holds, and that `view` shows, to another member of its shared group. */
export function deliverAgain(shard: Shard, message: MessageHandle, view: MessageView, route: Route, group: number): void {
  fanOut.begin();
  shard.messages.retain(message);
  fanOut.message = message;
  deliverToGroup(shard, null, view, route, group);
  endMessage(shard);
}

/** Sends a message whose chosen member cannot take it to another member of the shared group. */
export function deliverToAnother(shard: Shard, view: MessageView, route: Route, group: number): void {
  fanOut.begin();
  deliverToGroup(shard, null, view, route, group);
  endMessage(shard);
}

function endMessage(shard: Shard): void {
  if (fanOut.message !== NO_MESSAGE) shard.messages.release(fanOut.message);
}

function deliverTo(shard: Shard, publisher: Connection | null, view: MessageView, target: Target, many: boolean): void {
  const session = shard.sessions.at(target.subscriber);
  if (session === null) {
    if (shard.peers !== null) holdForArrival(shard, publisher, view, target);
    return;
  }
  fanOut.matched++;
  if (view.retain === 1 && session.connection !== null) noteLive(shard, session.connection, view);
  const granted = target.options & SubscriptionOption.QOS_MASK;
  const qos = Math.min(view.qos, granted); // [MQTT-3.8.4-8]
  // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
  const retain = (target.options & SubscriptionOption.RETAIN_AS_PUBLISHED) === 0 ? 0 : view.retain;
  if (qos === 0) sendQos0(shard, publisher, session, view, retain, target, many);
  else owe(shard, publisher, session, view, qos, retain, target, many);
}

/** One member of a shared group gets the message: a connected one that keeps up if there is one. */
export function deliverToGroup(shard: Shard, publisher: Connection | null, view: MessageView, route: Route, group: number): void {
  const { trie } = shard;
  const members = trie.groupMembers(group);
  let fallback = -1;
  for (let tried = 0; tried < members; tried++) {
    const entry = trie.groupNext(group);
    if (entry < 0) break;
    const standing = standingOf(shard, trie.entrySubscriber(entry), view);
    if (standing === Standing.READY) {
      deliverToMember(shard, publisher, view, route, group, entry);
      return;
    }
    if (fallback < 0 && standing === Standing.AWAY) fallback = entry;
  }
  if (fallback >= 0) deliverToMember(shard, publisher, view, route, group, fallback);
  else shard.counters.dropped[DropReason.NO_GROUP_MEMBER]++;
}

/** How a member of a shared group stands to a message. */
const Standing = {
  NONE: 0,
  /** It keeps its session, but is not connected or does not keep up. */
  AWAY: 1,
  READY: 2,
} as const;
type Standing = (typeof Standing)[keyof typeof Standing];

function standingOf(shard: Shard, subscriber: number, view: MessageView): Standing {
  const session = shard.sessions.at(subscriber);
  // One that is leaving belongs to its next host already.
  if (session === null || session.leaving)
    return shard.peers === null ? Standing.NONE : standingElsewhere(shard.peers.roster.flags(subscriber));
  if (!shard.routes.mayReceive(subscriber, view.topic, view.topicFrom, view.topicTo)) return Standing.NONE;
  if (session.connection !== null && !session.connection.slow) return Standing.READY;
  return session.stored === 0 ? Standing.NONE : Standing.AWAY;
}

/** Whether it may read the topic is for its own shard to say. */
function standingElsewhere(flags: number): Standing {
  if ((flags & (SessionFlag.CONNECTED | SessionFlag.SLOW)) === SessionFlag.CONNECTED) return Standing.READY;
  return (flags & SessionFlag.STORED) === 0 ? Standing.NONE : Standing.AWAY;
}

function deliverToMember(
  shard: Shard,
  publisher: Connection | null,
  view: MessageView,
  route: Route,
  group: number,
  entry: number,
): void {
  const target = shard.routes.memberTarget(route, group, entry);
  const { peers } = shard;
  const session = shard.sessions.at(target.subscriber);
  const owner = peers === null || (session !== null && !session.leaving) ? -1 : peers.roster.owner(target.subscriber);
  if (owner < 0 || owner === peers!.index) deliverTo(shard, publisher, view, target, false);
  else sendToMember(shard, publisher, view, owner, target);
}

function sendQos0(
  shard: Shard,
  publisher: Connection | null,
  session: Session,
  view: MessageView,
  retain: number,
  target: Target,
  many: boolean,
): void {
  const { connection } = session;
  if (connection === null) {
    if (session.principal.isBroker === true) shard.counters.dropped[DropReason.NO_LINK]++;
    return;
  }
  if (isOverMark(shard, connection) && pressOn(shard, connection, publisher) === Pressure.DROP) {
    shard.counters.dropped[DropReason.SLOW_RECEIVER]++;
    return;
  }
  sendPublish(shard, connection, view, 0, retain, 0, 0, target.subscriptionIds, many);
}

/** Owes a QoS 1 or 2 message to a session: sent now when the window is open and nothing waits before it, queued otherwise. */
function owe(
  shard: Shard,
  publisher: Connection | null,
  session: Session,
  view: MessageView,
  qos: number,
  retain: number,
  target: Target,
  many: boolean,
): void {
  const { deliveries, connection, stored } = session;
  const pressed = connection !== null && isOverMark(shard, connection);
  const free = connection !== null && !pressed && session.loaded && deliveries.canAppendSent(connection.sendQuota);
  const kept = !free || stored !== 0 || target.group >= 0;
  const bytes = queueBytes(view);
  const bits = deliveryBits(qos, retain);
  if (kept) {
    const room = hasRoom(shard, session, bytes) || makeRoom(shard, session, bytes);
    if (!room || (stored !== 0 && !storeDelivery(shard, session, view, bits, target))) {
      shard.counters.dropped[DropReason.QUEUE_FULL]++;
      if (session.overflow !== QueueOverflow.DROP_NEWEST || room) fanOut.refused++;
      return;
    }
    countQueued(shard, session, 1, bytes);
  }
  const durable = qos !== 2 || stored === 0 || isDurable(shard, session);
  const now = free && durable;
  if (pressed) pressOn(shard, connection, publisher);
  const inMemory = stored === 0 || (connection !== null && session.loaded && (now || deliveries.count < LOADED_MAX));
  session.tail++;
  if (!inMemory) return;
  deliveries.append(kept ? copyOf(shard, view) : NO_MESSAGE, bits, target);
  if (!now) {
    if (connection !== null && !pressed) pump(shard, session);
    return;
  }
  const offset = deliveries.send();
  if (!sendPublish(shard, connection, view, qos, retain, 0, deliveries.packetId(offset), target.subscriptionIds, many)) {
    finishDelivery(shard, session, offset); // [MQTT-3.1.2-25] too large for this receiver: as if it were done
  }
}

/** Whether the delivery that was just stored is durable already; if not, the session is looked at when the watermark moves. */
function isDurable(shard: Shard, session: Session): boolean {
  session.durable.added(session.tail + 1, fanOut.sequence);
  session.durable.moved(shard.store.durable);
  if (!session.durable.isWaiting) return true;
  shard.awaitingDurable.add(session);
  return false;
}

/** Lets the oldest messages go that were not sent, where the session's listener says so. False: there are none. */
function makeRoom(shard: Shard, session: Session, bytes: number): boolean {
  if (session.overflow !== QueueOverflow.DROP_OLDEST) return false;
  const { deliveries } = session;
  while (deliveries.sent < deliveries.count) {
    const offset = firstUnsent(session);
    if (offset < 0) break;
    shard.counters.dropped[DropReason.QUEUE_FULL]++;
    finishDelivery(shard, session, offset);
    if (hasRoom(shard, session, bytes)) return true;
  }
  if (session.loaded || session.stored === 0) return false;
  // The rest lies in the store, which tells what went: the books are put right then.
  const from = deliveries.base + deliveries.count;
  shard.store.trim(session.stored, from);
  if (session.queuedBytes + bytes > shard.limits.queuedBytesPerClientMax) shard.store.trim(session.stored, from);
  return true;
}

function firstUnsent(session: Session): number {
  const { deliveries } = session;
  for (let offset = deliveries.sent; offset < deliveries.count; offset++) {
    if (deliveries.state(offset) === DeliveryState.QUEUED) return offset;
  }
  return -1;
}

function hasRoom(shard: Shard, session: Session, bytes: number): boolean {
  const { limits, elsewhere } = shard;
  return (
    session.queuedMessages < limits.queuedMessagesPerClientMax &&
    session.queuedBytes + bytes <= limits.queuedBytesPerClientMax &&
    shard.queuedMessages + elsewhere[Gauge.QUEUED_MESSAGES]! < limits.queuedMessagesMax &&
    shard.queuedBytes + elsewhere[Gauge.QUEUED_BYTES]! + bytes <= limits.queuedBytesMax
  );
}

function storeDelivery(shard: Shard, session: Session, view: MessageView, bits: number, target: Target): boolean {
  const { store } = shard;
  if (fanOut.stored === 0) fanOut.stored = store.putMessage(view);
  if (fanOut.stored < 0) return false;
  store.addDelivery(session.stored, session.tail, fanOut.stored, bits, target.subscriptionIds);
  fanOut.sequence = store.sequence;
  return true;
}

function copyOf(shard: Shard, view: MessageView): MessageHandle {
  if (fanOut.message === NO_MESSAGE) fanOut.message = shard.messages.add(view);
  shard.messages.retain(fanOut.message);
  return fanOut.message;
}
