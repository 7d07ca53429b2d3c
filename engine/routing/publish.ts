// HOT: no allocation, closures, strings, try or async per message.
// PUBLISH from a client (MQTT 5.0 §3.3, §4.3): judged, routed, retained, answered.
import { readU16 } from '../../protocol/bytes.ts';
import { fault, Level, PacketType, Reason } from '../../protocol/packet.ts';
import { decodePublish, type MessageView } from '../../protocol/publish.ts';
import { SessionFlag } from '../peers/roster.ts';
import { NO_TICKET, TICKETS_HIGH } from '../peers/tickets.ts';
import type { Connection } from '../sessions/connection.ts';
import { SubscriptionOption } from '../sessions/target.ts';
import { answer, unanswered } from './answer.ts';
import { deliverMessage } from './deliver.ts';
import { fanOut } from './fan-out.ts';
import { holdForPeers } from './pressure.ts';
import { TICKET_MASK, TICKET_QOS_2 } from './remote.ts';
import { retainMessage } from './retain.ts';
import { type Route, sameWay } from './route.ts';
import { flushRun } from './run.ts';
import type { Shard } from './shard.ts';
import { holdForStore } from './stored.ts';
import { keepTransfer } from './transfer.ts';

/** Header of a PUBLISH with QoS 0, no DUP, no RETAIN: the one that can join a run. */
const PLAIN_HEADER = 0x30;
const RIGHTS_KEPT_MAX = 1_024;

/** Handles one PUBLISH that lies in [packetFrom, to) of `buffer`. Returns 0, or a fault that ends the connection. */
export function onPublish(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  packetFrom: number,
  header: number,
  bodyFrom: number,
  to: number,
): number {
  const { level } = connection;
  const topicFrom = bodyFrom + 2;
  const topicTo = topicFrom + readU16(buffer, bodyFrom);
  if (
    header === PLAIN_HEADER &&
    connection.tracer === null &&
    topicTo > topicFrom &&
    (level === Level.V5 ? topicTo < to && buffer[topicTo] === 0 : topicTo <= to && bodyFrom + 2 <= to)
  ) {
    const payloadBytes = to - topicTo - (level === Level.V5 ? 1 : 0);
    return joinRun(shard, connection, buffer, packetFrom, topicFrom, topicTo, payloadBytes, to);
  }
  flushRun(shard, connection);
  return publishOne(shard, connection, buffer, header, bodyFrom, to);
}

/** A plain QoS 0 message: it lengthens the run if it lies behind it and goes where the run goes, and begins a new one otherwise. */
function joinRun(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  packetFrom: number,
  topicFrom: number,
  topicTo: number,
  payloadBytes: number,
  to: number,
): number {
  const { run } = shard;
  const reached = run.reaches(buffer, packetFrom, to);
  if (reached && run.hasTopic(topicFrom, topicTo)) {
    run.extend(payloadBytes, to);
    return 0;
  }
  const found = shard.routes.find(buffer, topicFrom, topicTo);
  if (found < 0) return found;
  const route = shard.routes.found;
  if (!mayPublish(shard, connection, route, buffer, topicFrom, topicTo)) {
    countPublish(shard, 0);
    shard.counters.refusedRights++;
    return 0;
  }
  // Other shards judge what may be read for one topic of a run.
  const judgedElsewhere = shard.rights !== null && route.remotes.length > 0 && route !== run.route;
  if (reached && !judgedElsewhere && sameWay(run.route!, route)) {
    run.extend(payloadBytes, to);
  } else {
    flushRun(shard, connection);
    run.begin(buffer, packetFrom, payloadBytes, to, connection.level, route);
  }
  run.topicFrom = topicFrom;
  run.topicTo = topicTo;
  return 0;
}

function publishOne(shard: Shard, connection: Connection, buffer: Uint8Array, header: number, from: number, to: number): number {
  const view = shard.inbound;
  const { level } = connection;
  if (shard.propertyScratch.length < to - from && level === Level.V5) shard.propertyScratch = new Uint8Array((to - from) * 2);
  const { userPropertiesMax } = shard.limits;
  const decoded = decodePublish(
    buffer,
    header,
    from,
    to,
    level,
    userPropertiesMax,
    shard.properties,
    shard.propertyScratch,
    view,
  );
  if (decoded < 0) return decoded;
  if (view.topicAlias !== 0 || view.topicFrom === view.topicTo) {
    const resolved = resolveAlias(connection, view);
    if (resolved < 0) return resolved;
  }
  const { tracer } = connection;
  if (tracer !== null) tracer.note('from client', view, view.qos, view.retain, view.dup);
  const found = shard.routes.find(view.topic, view.topicFrom, view.topicTo);
  if (found < 0) return found;
  countPublish(shard, view.payloadTo - view.payloadFrom);
  const route = shard.routes.found;
  if (view.qos > shard.offers.maximumQos) return fault(Reason.QOS_NOT_SUPPORTED); // [MQTT-3.2.2-11]
  if (view.retain === 1 && !shard.offers.retainAvailable) return fault(Reason.RETAIN_NOT_SUPPORTED); // [MQTT-3.2.2-14]
  if (view.qos !== 0) return publishAcknowledged(shard, connection, view, route);
  if (mayPublish(shard, connection, route, view.topic, view.topicFrom, view.topicTo)) publish(shard, connection, view, route);
  else shard.counters.refusedRights++;
  return 0;
}

/** QoS 1 and 2: the sender keeps the message until the answer comes (MQTT 5.0 §4.3.2, §4.3.3). */
function publishAcknowledged(shard: Shard, connection: Connection, view: MessageView, route: Route): number {
  const session = connection.session!;
  const { level } = connection;
  const { packetId } = view;
  const type = view.qos === 1 ? PacketType.PUBACK : PacketType.PUBREC;
  if (view.qos === 2 && session.inbound.has(packetId)) {
    // It may still be on its way to other shards, which may refuse it.
    const ticket =
      shard.peers === null ? NO_TICKET : shard.peers.tickets.find(session.handle, packetId | TICKET_QOS_2, TICKET_MASK);
    if (ticket !== NO_TICKET) shard.peers!.tickets.remember(ticket);
    answer(shard, connection, PacketType.PUBREC, packetId, Reason.SUCCESS, shard.store.sequence, ticket); // [MQTT-4.3.3-10]
    return 0;
  }
  if (level5Exceeds(shard, connection)) return fault(Reason.RECEIVE_MAXIMUM_EXCEEDED);
  if (!mayPublish(shard, connection, route, view.topic, view.topicFrom, view.topicTo)) {
    shard.counters.refusedRights++;
    // MQTT 3 has no negative answer: the message is acknowledged and goes nowhere [MQTT3-3.3.5-2].
    answer(shard, connection, type, packetId, Reason.NOT_AUTHORIZED, 0);
    return 0;
  }
  if (shard.store.isRefusing && owesStored(shard, view, route)) {
    shard.counters.refusedQuota++;
    // MQTT 3 has no negative answer, and none would be a promise: the client keeps the message and comes back with it.
    if (level !== Level.V5) return fault(Reason.QUOTA_EXCEEDED);
    answer(shard, connection, type, packetId, Reason.QUOTA_EXCEEDED, 0);
    return 0;
  }
  const reason = publish(shard, connection, view, route);
  const { ticket } = fanOut;
  if (fanOut.transfer >= 0) keepTransfer(shard, view);
  let { sequence } = fanOut;
  if (ticket !== NO_TICKET) {
    shard.peers!.tickets.done(ticket); // all that it waits for is known
    if (shard.peers!.tickets.open > TICKETS_HIGH) holdForPeers(shard, connection);
  }
  // The store can start to refuse at any moment: what it did not take is not acknowledged to one who would believe it.
  if (reason === Reason.QUOTA_EXCEEDED && level !== Level.V5 && (fanOut.stored < 0 || shard.store.isRefusing)) {
    if (ticket !== NO_TICKET) shard.peers!.tickets.forget(ticket);
    return fault(reason);
  }
  if (sequence !== 0 && shard.store.isBehind) holdForStore(shard, connection);
  if (view.qos === 2 && (reason < Reason.UNSPECIFIED || level !== Level.V5)) {
    session.inbound.add(packetId); // [MQTT-4.3.3-8]
    if (session.stored !== 0) {
      shard.store.addInbound(session.stored, packetId);
      sequence = shard.store.sequence;
    }
  }
  answer(shard, connection, type, packetId, reason, sequence, ticket);
  return 0;
}

/** Whether a store would have to keep the message: for a session that it knows, or as a retained one. */
function owesStored(shard: Shard, view: MessageView, route: Route): boolean {
  if (view.retain === 1 || route.groups.length > 0) return true;
  for (let i = 0; i < route.targets.length; i++) {
    const target = route.targets[i]!;
    if ((target.options & SubscriptionOption.QOS_MASK) === 0) continue;
    const session = shard.sessions.at(target.subscriber);
    if (session !== null && session.stored !== 0) return true;
  }
  for (const { targets } of route.remotes)
    for (const { options, subscriber } of targets)
      if ((options & SubscriptionOption.QOS_MASK) !== 0 && shard.peers!.roster.flags(subscriber) & SessionFlag.STORED)
        return true;
  return false;
}

function level5Exceeds(shard: Shard, connection: Connection): boolean {
  return connection.level === Level.V5 && !connection.isOwn && unanswered(connection) >= shard.limits.receiveMaximum;
}

/** Routes a message that the client may publish, and retains it when asked; returns the reason for the answer. */
function publish(shard: Shard, connection: Connection, view: MessageView, route: Route): Reason {
  const isBounded = connection.messageExpiryMaxMs !== Infinity && (view.qos > 0 || view.retain === 1);
  if (view.expiryS >= 0 || isBounded) setExpiry(shard, view, isBounded ? connection.messageExpiryMaxMs : Infinity);
  deliverMessage(shard, connection, view, route);
  const { matched, refused } = fanOut;
  if (view.retain === 1) {
    const retained = retainMessage(shard, connection, view);
    if (retained < 0) return Reason.QUOTA_EXCEEDED;
    if (shard.store.sequence > fanOut.sequence) fanOut.sequence = shard.store.sequence;
  }
  if (refused > 0) {
    shard.counters.refusedQuota++;
    return Reason.QUOTA_EXCEEDED;
  }
  return matched === 0 && route.isEmpty ? Reason.NO_MATCHING_SUBSCRIBERS : Reason.SUCCESS;
}

/** What is published under a ceiling, and may be kept, gets an expiry where it has none or a longer one. */
function setExpiry(shard: Shard, view: MessageView, maxMs: number): void {
  const askedMs = view.expiryS >= 0 ? view.expiryS * 1_000 : Infinity;
  view.expiresAtMs = shard.clock.keptMs() + Math.min(askedMs, maxMs);
}

function resolveAlias(connection: Connection, view: MessageView): number {
  const { aliasesIn } = connection;
  if (view.topicAlias === 0) return fault(connection.level === Level.V5 ? Reason.PROTOCOL_ERROR : Reason.TOPIC_NAME_INVALID);
  if (aliasesIn === null || view.topicAlias > aliasesIn.maximum) return fault(Reason.TOPIC_ALIAS_INVALID); // [MQTT-3.3.2-9]
  if (view.topicTo > view.topicFrom) {
    aliasesIn.set(view.topicAlias, view.topic, view.topicFrom, view.topicTo);
    return 0;
  }
  const topic = aliasesIn.get(view.topicAlias);
  if (topic === null) return fault(Reason.PROTOCOL_ERROR);
  view.topic = topic;
  view.topicFrom = 0;
  view.topicTo = topic.length;
  return 0;
}

/** Whether the client may publish to the topic of a route; asked once for each route and connection. */
function mayPublish(shard: Shard, connection: Connection, route: Route, topic: Uint8Array, from: number, to: number): boolean {
  if (route.reserved) return false;
  if (shard.rights === null) return true;
  connection.rights ??= new Map();
  const known = connection.rights.get(route.number);
  if (known !== undefined) return known;
  const session = connection.session!;
  const may = shard.rights.mayPublish(session.principal, session.clientId, topic, from, to);
  if (connection.rights.size >= RIGHTS_KEPT_MAX) connection.rights.clear();
  connection.rights.set(route.number, may);
  return may;
}

function countPublish(shard: Shard, payloadBytes: number): void {
  shard.counters.publishReceived++;
  shard.counters.publishBytesReceived += payloadBytes;
}
