// HOT: no allocation, closures, strings, try or async per message.
// Messages on their way to receivers that other shards host. A message is written once for each such shard, with the receivers named: who gets it was decided here, by
// one look at the trie and the roster, so a session that moves meanwhile gets it exactly once.
import { copyBytes } from '../../protocol/bytes.ts';
import { Level } from '../../protocol/packet.ts';
import type { MessageView } from '../../protocol/publish.ts';
import { DropReason } from '../counters.ts';
import { ALIGNED_ABOVE, LETTER_FIXED_BYTES, Letter, PADDING_MAX, padded, padding, TARGET_WORDS, Word } from '../peers/letter.ts';
import type { RemoteTargets } from '../peers/route-places.ts';
import { type Sender, SPILL_MAX } from '../peers/sender.ts';
import { NO_TICKET } from '../peers/tickets.ts';
import type { Connection } from '../sessions/connection.ts';
import type { Target } from '../sessions/target.ts';
import { fanOut } from './fan-out.ts';
import { holdForPeers } from './pressure.ts';
import type { PublishRun } from './run.ts';
import type { Shard } from './shard.ts';
import { transferRetained, transferTo } from './transfer.ts';

/** Targets that are named in a place at once: so many are worth remembering from the first message on. */
const PLACE_AT_ONCE = 64;
/** Packet of a ticket: identifier | this when the client knows reason codes | that for QoS 2. */
export const TICKET_LEVEL_5 = 1 << 16;
export const TICKET_QOS_2 = 1 << 17;
/** What a message is known by that its publisher sends again: the client may have come back with another level. */
export const TICKET_MASK = 0xffff | TICKET_QOS_2;

/** Sends a message to the receivers of a route that one other shard hosts. */
export function sendMessage(shard: Shard, publisher: Connection | null, view: MessageView, remote: RemoteTargets): void {
  const sender = shard.peers!.senders[remote.shard]!;
  fanOut.matched += remote.targets.length;
  if (isJammed(shard, sender, view.qos, 1)) return;
  const place = placeOf(shard, remote, sender, view.topic, view.topicFrom, view.topicTo);
  const targets = place < 0 ? remote.targets : NO_TARGETS;
  const transfer = transferTo(shard, publisher, view, remote.shard, remote.targets);
  writeMessage(shard, publisher, sender, Letter.MESSAGE, view, place, targets, remote.shard, transfer);
}

/** Sends a message to one receiver, which its shared group has chosen. */
export function sendToMember(shard: Shard, publisher: Connection | null, view: MessageView, owner: number, target: Target): void {
  const sender = shard.peers!.senders[owner]!;
  fanOut.matched++;
  if (isJammed(shard, sender, view.qos, 1)) return;
  one[0] = target;
  const transfer = transferTo(shard, publisher, view, owner, one);
  writeMessage(shard, publisher, sender, Letter.MESSAGE, view, -1, one, owner, transfer);
}

/** Asks the shard that keeps retained messages to keep this one. `retention` is one of retain.ts. */
export function sendRetain(shard: Shard, publisher: Connection | null, view: MessageView, retention: number): void {
  const sender = shard.peers!.senders[0]!;
  // Its receivers are told first (peers/peers.ts, `publish`).
  sender.isLast = true;
  const transfer = transferRetained(shard, publisher, view);
  writeMessage(shard, publisher, sender, Letter.RETAIN, view, retention, NO_TARGETS, 0, transfer);
}

/** Tells another shard what the retained message of a topic is now: none when the payload is empty. */
export function sendRetained(shard: Shard, to: number, view: MessageView): void {
  const sender = shard.peers!.senders[to]!;
  const at = sender.reserve(Letter.RETAINED, letterBytes(view));
  writeView(sender, at, view, 0);
  sender.sent();
}

/** Sends a run to the receivers of its route that one other shard hosts. */
export function sendRunTo(shard: Shard, publisher: Connection, run: PublishRun, remote: RemoteTargets): void {
  const sender = shard.peers!.senders[remote.shard]!;
  if (isJammed(shard, sender, 0, run.messages)) return;
  const { buffer, topicFrom, topicTo, from, to } = run;
  const place = placeOf(shard, remote, sender, buffer, topicFrom, topicTo);
  const targets = place < 0 ? remote.targets : NO_TARGETS;
  const listBytes = targetsBytes(targets);
  const at = sender.reserve(Letter.RUN, listBytes + to - from + PADDING_MAX);
  const { words } = sender;
  const word = at >> 2;
  const start = at + LETTER_FIXED_BYTES + listBytes;
  const pad = padding(buffer, from, start);
  words[word + Word.ROUTE] = place;
  words[word + Word.PUBLISHER] = numberOf(shard, publisher);
  words[word + Word.BITS] = run.level;
  words[word + Word.TOPIC] = topicFrom - from;
  words[word + Word.PROPERTIES] = topicTo - topicFrom;
  words[word + Word.PAYLOAD] = to - from;
  words[word + Word.TARGETS] = listBytes;
  words[word + Word.COUNT] = run.messages;
  words[word + Word.NUMBER] = run.payloadBytes;
  words[word + Word.PADDING] = pad;
  writeTargets(sender, at + LETTER_FIXED_BYTES, targets);
  copyBytes(buffer, from, to, sender.bytes, start + pad);
  sender.sent();
  if (sender.spilledBytes > 0) holdForPeers(shard, publisher);
}

/** Writes a message into a letter that was reserved, behind `before` bytes. */
export function writeView(sender: Sender, at: number, view: MessageView, before: number): void {
  const { words, bytes } = sender;
  const word = at >> 2;
  words[word + Word.TOPIC] = view.topicTo - view.topicFrom;
  words[word + Word.PROPERTIES] = view.propertiesTo - view.propertiesFrom;
  words[word + Word.PAYLOAD] = view.payloadTo - view.payloadFrom;
  words[word + Word.TARGETS] = before;
  sender.floats[(word + Word.EXPIRES) >> 1] = view.expiresAtMs;
  let to = at + LETTER_FIXED_BYTES + before;
  to = copyBytes(view.topic, view.topicFrom, view.topicTo, bytes, to);
  to = copyBytes(view.properties, view.propertiesFrom, view.propertiesTo, bytes, to);
  const pad = view.payloadTo - view.payloadFrom > ALIGNED_ABOVE ? padding(view.payload, view.payloadFrom, to) : 0;
  words[word + Word.BITS] = view.qos | (view.retain << 2) | (pad << PADDING_SHIFT);
  copyBytes(view.payload, view.payloadFrom, view.payloadTo, bytes, to + pad);
}

/** Padding of a payload stands above these bits. */
export const PADDING_SHIFT = 16;

/** Room that a message takes in a letter, at the most. */
export function letterBytes(view: MessageView): number {
  return messageBytes(view) + PADDING_MAX;
}

function messageBytes(view: MessageView): number {
  return view.topicTo - view.topicFrom + view.propertiesTo - view.propertiesFrom + view.payloadTo - view.payloadFrom;
}

function writeMessage(
  shard: Shard,
  publisher: Connection | null,
  sender: Sender,
  kind: Letter,
  view: MessageView,
  place: number,
  targets: readonly Target[],
  to: number,
  transfer: number,
): void {
  const listBytes = targetsBytes(targets);
  const at = sender.reserve(kind, listBytes + letterBytes(view));
  const word = at >> 2;
  writeView(sender, at, view, listBytes);
  sender.words[word + Word.ROUTE] = place;
  sender.words[word + Word.PUBLISHER] = publisher === null ? 0 : numberOf(shard, publisher);
  sender.words[word + Word.COUNT] = transfer;
  sender.words[word + Word.NUMBER] = transfer < 0 ? 0 : shard.transfers!.floor;
  writeTargets(sender, at + LETTER_FIXED_BYTES, targets);
  if (view.qos > 0) shard.peers!.tickets.sent(to, ticketFor(shard, publisher, view));
  sender.sent();
  shard.turn.ask();
  if (publisher !== null && sender.spilledBytes > 0) holdForPeers(shard, publisher);
}

/** The ticket of the message under way; none where nobody waits for an answer. */
export function ticketFor(shard: Shard, publisher: Connection | null, view: MessageView): number {
  if (publisher === null || publisher.session === null || view.qos === 0) return NO_TICKET;
  if (fanOut.ticket === NO_TICKET) {
    const level = publisher.level === Level.V5 ? TICKET_LEVEL_5 : 0;
    const packet = view.packetId | level | (view.qos === 2 ? TICKET_QOS_2 : 0);
    fanOut.ticket = shard.peers!.tickets.give(publisher.session.handle, packet);
  }
  return fanOut.ticket;
}

/** Whether so much waits for room that messages are dropped, or refused where they are to be answered. */
function isJammed(shard: Shard, sender: Sender, qos: number, messages: number): boolean {
  if (sender.spilledBytes < SPILL_MAX) return false;
  shard.counters.dropped[DropReason.SLOW_SHARD] += messages;
  if (qos > 0) fanOut.refused++;
  return true;
}

/** Place by which the other shard knows the receivers; -1 when they are to be named. */
function placeOf(shard: Shard, remote: RemoteTargets, sender: Sender, topic: Uint8Array, from: number, to: number): number {
  const places = shard.peers!.places[remote.shard]!;
  shard.turn.ask();
  if (places.knows(remote)) return remote.place;
  if (remote.uses++ === 0 && remote.targets.length < PLACE_AT_ONCE) return -1;
  if (places.isFullFor(remote)) {
    places.forget();
    sender.reserve(Letter.FORGET_ROUTES, 0);
    sender.sent();
  }
  const place = places.assign(remote);
  const listBytes = targetsBytes(remote.targets);
  const at = sender.reserve(Letter.ROUTE, listBytes + to - from);
  const word = at >> 2;
  sender.words[word + Word.ROUTE] = place;
  sender.words[word + Word.TOPIC] = to - from;
  sender.words[word + Word.TARGETS] = listBytes;
  writeTargets(sender, at + LETTER_FIXED_BYTES, remote.targets);
  copyBytes(topic, from, to, sender.bytes, at + LETTER_FIXED_BYTES + listBytes);
  sender.sent();
  return place;
}

function targetsBytes(targets: readonly Target[]): number {
  let bytes = 0;
  for (let i = 0; i < targets.length; i++) bytes += TARGET_WORDS * 4 + padded(targets[i]!.subscriptionIds.length);
  return bytes;
}

function writeTargets(sender: Sender, from: number, targets: readonly Target[]): void {
  const { words, bytes } = sender;
  let at = from;
  for (let i = 0; i < targets.length; i++) {
    const { subscriber, options, group, subscriptionIds } = targets[i]!;
    const word = at >> 2;
    words[word] = subscriber;
    words[word + 1] = options;
    words[word + 2] = group;
    words[word + 3] = subscriptionIds.length;
    at += TARGET_WORDS * 4;
    copyBytes(subscriptionIds, 0, subscriptionIds.length, bytes, at);
    at += padded(subscriptionIds.length);
  }
}

/** Number by which other shards know a publisher. */
function numberOf(shard: Shard, publisher: Connection): number {
  if (publisher.number === 0) {
    do shard.nextPublisher = shard.nextPublisher === PUBLISHER_MAX ? 1 : shard.nextPublisher + 1;
    while (shard.publishers.has(shard.nextPublisher));
    publisher.number = shard.nextPublisher;
    shard.publishers.set(publisher.number, publisher);
  }
  return publisher.number;
}

const PUBLISHER_MAX = (1 << 24) - 1;
const NO_TARGETS: readonly Target[] = [];
const one: Target[] = [];
