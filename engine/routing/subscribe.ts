// SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8 to §3.11).
import { Level, Reason, reasonOf } from '../../protocol/packet.ts';
import {
  decodeSubscribe,
  decodeUnsubscribe,
  encodeSuback,
  encodeUnsuback,
  type SubscribePacket,
} from '../../protocol/subscribe.ts';
import { shareFilterFrom } from '../../protocol/topic.ts';
import { Gauge } from '../peers/gauges.ts';
import type { Connection } from '../sessions/connection.ts';
import type { Session } from '../sessions/session.ts';
import { SubscriptionOption } from '../sessions/target.ts';
import { answerPacket } from './answer.ts';
import { dropFromTrie } from './lifecycle.ts';
import { beginReplay, oweReplay } from './replay.ts';
import { encodeIdentifiers } from './route.ts';
import type { Shard } from './shard.ts';

/** Answer of MQTT 3.1.1 to a filter that is refused; MQTT 3.1 has none (see `onSubscribe`). */
const SUBACK_FAILURE = 0x80;

type FilterRequest = SubscribePacket['filters'][number];

/** Handles one SUBSCRIBE. Returns 0, or a fault that ends the connection. */
export function onSubscribe(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
): number {
  const packet = decodeSubscribe(buffer, header, from, to, connection.level, shard.limits);
  if (typeof packet === 'number') return packet;
  const session = connection.session!;
  const subscriptionIds = encodeIdentifiers([packet.subscriptionId]);
  const reasons: number[] = [];
  for (const request of packet.filters) {
    if (connection.isBridge) makeOneWay(request);
    const key = filterKey(request.filter);
    const known = session.subscriptions.has(key);
    const reason = subscribeOne(shard, session, request, packet.subscriptionId);
    reasons.push(reason < Reason.UNSPECIFIED || connection.level === Level.V5 ? reason : SUBACK_FAILURE);
    if (reason >= Reason.UNSPECIFIED) continue;
    // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11], and none for a shared subscription (§4.8.2)
    const replays = request.retainHandling === 0 || (request.retainHandling === 1 && !known);
    if (replays && shareFilterFrom(request.filter, 0, request.filter.length) === 0) {
      oweReplay(connection, key, { bytes: request.filter, options: optionsOf(request, reason), subscriptionIds });
    }
  }
  // MQTT 3.1 §3.9 knows granted QoS only: a refusal can only be told by closing.
  if (connection.level === Level.V31 && reasons.includes(SUBACK_FAILURE)) return -Reason.NOT_AUTHORIZED;
  // A subscription that is confirmed must not be forgotten by a crash: what is acknowledged to publishers from now on is owed to it.
  answerPacket(shard, connection, encodeSuback(connection.level, packet.packetId, reasons), storedSequence(shard, session));
  beginReplay(shard, connection);
  return 0;
}

/** What a bridge of MQTT 5 asks for itself: nothing comes back to it, and what is retained here is to be retained there. A shared subscription cannot have No Local [MQTT-3.8.3-4]. */
function makeOneWay(request: FilterRequest): void {
  request.noLocal = shareFilterFrom(request.filter, 0, request.filter.length) === 0;
  request.retainAsPublished = true;
}

/** Handles one UNSUBSCRIBE. Returns 0, or a fault that ends the connection. */
export function onUnsubscribe(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
): number {
  const packet = decodeUnsubscribe(buffer, header, from, to, connection.level, shard.limits);
  if (typeof packet === 'number') return packet;
  const session = connection.session!;
  const reasons = packet.filters.map((filter, index) => {
    if (packet.results[index]! < 0) return reasonOf(packet.results[index]!);
    return unsubscribeOne(shard, session, filter) ? Reason.SUCCESS : Reason.NO_SUBSCRIPTION_EXISTED;
  });
  answerPacket(shard, connection, encodeUnsuback(connection.level, packet.packetId, reasons), storedSequence(shard, session));
  return 0;
}

/** Intent that an answer about a session's subscriptions waits for. */
function storedSequence(shard: Shard, session: Session): number {
  return session.stored === 0 ? 0 : shard.store.sequence;
}

/** Enters one filter; returns the granted QoS or the reason for the refusal. */
function subscribeOne(shard: Shard, session: Session, request: FilterRequest, identifier: number): Reason {
  const { filter } = request;
  if (request.result < 0) return reasonOf(request.result);
  const { offers, limits, rights } = shard;
  const from = shareFilterFrom(filter, 0, filter.length);
  if (from < 0) return reasonOf(from);
  if (from > 0 && !offers.sharedSubscriptions) return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
  if (!offers.wildcardSubscriptions && hasWildcard(filter, from)) return Reason.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
  if (rights !== null && !rights.maySubscribe(session.principal, session.clientId, filter, from, filter.length)) {
    return Reason.NOT_AUTHORIZED;
  }
  const key = filterKey(filter);
  const known = session.subscriptions.get(key);
  const { subscriptionsPerClientMax, sessionBytesMax } = limits;
  const isFull =
    session.subscriptions.size >= subscriptionsPerClientMax || sessionBytesOf(shard) + filter.length > sessionBytesMax;
  if (known === undefined && isFull) return Reason.QUOTA_EXCEEDED;
  const granted = Math.min(request.qos, offers.maximumQos) as Reason;
  const options = optionsOf(request, granted);
  const entry = known === undefined ? enterTrie(shard, session, filter, from, options, identifier) : known.entry;
  if (entry < 0) return reasonOf(entry);
  if (known !== undefined) shard.trie.change(entry, options, identifier);
  if (from > 0 && known === undefined) shard.sharedSubscriptions++;
  if (known === undefined) shard.sessionBytes += filter.length;
  const number = known?.number ?? session.nextSubscription++;
  session.subscriptions.set(key, { filter, options, identifier, number, entry }); // [MQTT-3.8.4-3] replaces an earlier one
  if (session.stored !== 0) shard.store.putSubscription(session.stored, number, filter, options, identifier);
  return granted;
}

function sessionBytesOf({ sessionBytes, elsewhere }: Shard): number {
  return sessionBytes + elsewhere[Gauge.SESSION_BYTES]!;
}

/** Enters a filter whose own part begins at `from` in the trie: its entry, or a fault. */
function enterTrie(
  shard: Shard,
  session: Session,
  filter: Uint8Array,
  from: number,
  options: number,
  identifier: number,
): number {
  const { trie } = shard;
  const to = filter.length;
  if (from === 0) return trie.subscribe(filter, 0, to, session.handle, options, identifier);
  return trie.subscribeShared(filter, SHARE_PREFIX_BYTES, from - 1, filter, from, to, session.handle, options, identifier);
}

/** Bytes of `$share/`: the group name stands between it and the slash before the filter. */
const SHARE_PREFIX_BYTES = 7;

function unsubscribeOne(shard: Shard, session: Session, filter: Uint8Array): boolean {
  const key = filterKey(filter);
  const known = session.subscriptions.get(key);
  if (known === undefined) return false;
  session.subscriptions.delete(key);
  shard.sessionBytes -= filter.length;
  dropFromTrie(shard, known);
  if (session.stored !== 0) shard.store.dropSubscription(session.stored, known.number);
  return true;
}

/** Enters a subscription that a store remembers under `number`. */
export function recoverSubscription(
  shard: Shard,
  session: Session,
  number: number,
  filter: Uint8Array,
  options: number,
  identifier: number,
): void {
  const request: FilterRequest = {
    filter: filter.slice(),
    qos: options & SubscriptionOption.QOS_MASK,
    noLocal: (options & SubscriptionOption.NO_LOCAL) !== 0,
    retainAsPublished: (options & SubscriptionOption.RETAIN_AS_PUBLISHED) !== 0,
    retainHandling: 2,
    result: 0,
  };
  session.nextSubscription = number;
  subscribeOne(shard, session, request, identifier);
}

function optionsOf(request: FilterRequest, grantedQos: number): number {
  return (
    grantedQos |
    (request.noLocal ? SubscriptionOption.NO_LOCAL : 0) |
    (request.retainAsPublished ? SubscriptionOption.RETAIN_AS_PUBLISHED : 0)
  );
}

function hasWildcard(filter: Uint8Array, from: number): boolean {
  for (let i = from; i < filter.length; i++) if (filter[i] === 0x2b || filter[i] === 0x23) return true;
  return false;
}

function filterKey(filter: Uint8Array): string {
  return Buffer.from(filter.buffer, filter.byteOffset, filter.length).toString('latin1');
}
