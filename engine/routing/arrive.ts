// HOT: no allocation, closures, strings, try or async per message.
// Letters from other shards: opened where they lie in the ring, in order, and acted on like packets from a client. `exchange` is what follows at the end of each turn.
import { copyBytes } from '../../protocol/bytes.ts';
import type { Level } from '../../protocol/packet.ts';
import type { MessageView } from '../../protocol/publish.ts';
import { ALIGNED_ABOVE, LETTER_FIXED_BYTES, Letter, PADDING_MAX, padded, padding, TARGET_WORDS, Word } from '../peers/letter.ts';
import type { Receiver } from '../peers/peers.ts';
import { Refusal, TICKETS_HIGH } from '../peers/tickets.ts';
import { type Target, targetFor } from '../sessions/target.ts';
import { onControlBytes } from './administer.ts';
import { deliverToAnother, deliverToTargets } from './deliver.ts';
import { fanOut } from './fan-out.ts';
import { refusalOf, settleLaters } from './held.ts';
import { isBeingErased } from './lifecycle.ts';
import { DELIVERY_BITS_MASK, DELIVERY_BITS_SHIFT, sendDepartures, takeMovedDelivery } from './move.ts';
import { sendNotice } from './notice.ts';
import { heldByPeer, letGoByPeer, resumeForPeers } from './pressure.ts';
import { refuseTicket } from './refused.ts';
import { releaseGated } from './release.ts';
import { PADDING_SHIFT } from './remote.ts';
import { fenceReplays } from './replay.ts';
import { type Retention, retainMessage, takeRetained } from './retain.ts';
import { sendRun } from './run.ts';
import type { Shard, Source } from './shard.ts';
import { endTransfers, markTransfer, unmarkTransfers } from './transfer.ts';

/** Bytes that are taken from one shard before the others, and the sockets, have their turn. */
const BUDGET_BYTES = 524_288;
/** Room is given back at least so often. */
const RELEASE_BYTES = 65_536;

/** Looks at what the other shards have sent. Whether there was anything. */
export function poll(shard: Shard): boolean {
  const peers = shard.peers!;
  const { index, count } = peers;
  const { settledCounts } = shard;
  // Counts first: a refusal is in the ring before the count that covers it. What was looked at may be more than one turn takes: the next look waits, and the count too. The first shard is
  // looked at when all others are through, and before them: what it passes on of retained messages is never ahead of the messages themselves (replay.ts).
  const isBehind = !peers.areThrough;
  for (let from = 0; from < count; from++) {
    if (from === index || !isThrough(shard, from) || (from === 0 && isBehind)) continue;
    settledCounts[from] = peers.settledBy(from);
    peers.receivers[from]!.ring.look();
  }
  let any = false;
  for (let from = 0; from < count; from++) if (from !== index && take(shard, from)) any = true;
  let settled = false;
  for (let from = 0; from < count; from++) {
    if (from !== index && isThrough(shard, from) && peers.applySettled(from, settledCounts[from]!)) settled = true;
  }
  if (settled) releaseGated(shard);
  if (!any && !settled && !peers.isSpilled) return false;
  shard.turn.finish();
  return any || settled;
}

/** Whether all is taken that the last look at a shard's ring has found. */
function isThrough(shard: Shard, from: number): boolean {
  return shard.peers!.receivers[from]!.ring.nextWord === 0;
}

/** The end of a turn, as far as other shards are concerned. */
export function exchange(shard: Shard): void {
  const peers = shard.peers!;
  if (shard.fencedReplays.length > 0) fenceReplays(shard);
  if (settleLaters(shard)) releaseGated(shard);
  sendDepartures(shard);
  if (shard.transfers !== null) endTransfers(shard);
  // Letters rest on intents that may have been taken since the store had its turn: they are shown first.
  if (shard.transfers !== null) shard.store.flush();
  peers.publish();
  peers.settle(shard.store.durable);
  if (shard.waitingForPeers.size > 0 && !peers.isSpilled && peers.tickets.open < TICKETS_HIGH / 2) resumeForPeers(shard);
  shard.showGauges();
  shard.trie.quiesce();
}

function take(shard: Shard, from: number): boolean {
  const peers = shard.peers!;
  const receiver = peers.receivers[from]!;
  const { ring, debts } = receiver;
  const taken = debts.taken;
  let bytes = 0;
  let unreleased = 0;
  const { source } = shard;
  shard.source = shard.sources[from]!;
  while (bytes < BUDGET_BYTES && ring.next()) {
    open(shard, receiver, shard.source, ring.bytes, ring.words, ring.floats, ring.from);
    bytes += ring.to - ring.from;
    unreleased += ring.to - ring.from;
    if (unreleased < RELEASE_BYTES) continue;
    unreleased = 0;
    peers.release(from);
  }
  shard.source = source;
  if (bytes === 0) return false;
  peers.release(from);
  if (debts.taken !== taken) debts.owe(shard.store.sequence);
  return true;
}

function open(
  shard: Shard,
  receiver: Receiver,
  source: Source,
  bytes: Uint8Array,
  words: Int32Array,
  floats: Float64Array,
  at: number,
): void {
  const word = at >> 2;
  source.publisher = words[word + Word.PUBLISHER]!;
  source.number = 0;
  source.transfer = -1;
  const kind = words[word + Word.KIND]! as Letter;
  switch (kind) {
    case Letter.RUN:
      openRun(shard, receiver, bytes, words, at);
      return;
    case Letter.MESSAGE:
      openMessage(shard, receiver, source, bytes, words, floats, at);
      return;
    case Letter.ROUTE:
      openRoute(shard, receiver, bytes, words, at);
      return;
    case Letter.FORGET_ROUTES:
      receiver.routes.length = 0;
      receiver.unjudged.clear();
      return;
    case Letter.RETAIN:
      openRetain(shard, receiver, source, bytes, words, floats, at);
      return;
    case Letter.RETAINED:
      takeRetained(shard, viewLetter(shard, bytes, words, floats, at));
      return;
    case Letter.HOLD:
      heldByPeer(shard, source.publisher);
      return;
    case Letter.LET_GO:
      letGoByPeer(shard, source.publisher);
      return;
    case Letter.PART:
      openPart(shard, receiver, source, bytes, words, at);
      return;
    case Letter.CONTROL:
      onControlBytes(shard, bytes.slice(at + LETTER_FIXED_BYTES, at + LETTER_FIXED_BYTES + words[word + Word.PAYLOAD]!));
      return;
    case Letter.DELIVERY:
      openDelivery(shard, bytes, words, floats, at);
      return;
    default:
      onNotice(shard, source.shard, kind, words[word + Word.BITS]!, words[word + Word.NUMBER]!);
  }
}

function openRun(shard: Shard, receiver: Receiver, bytes: Uint8Array, words: Int32Array, at: number): void {
  const word = at >> 2;
  const listBytes = words[word + Word.TARGETS]!;
  const listFrom = at + LETTER_FIXED_BYTES;
  const from = listFrom + listBytes + words[word + Word.PADDING]!;
  const topicFrom = from + words[word + Word.TOPIC]!;
  const topicTo = topicFrom + words[word + Word.PROPERTIES]!;
  const targets = targetsOf(shard, receiver, bytes, words, word, listFrom, topicFrom, topicTo);
  const run = shard.arrivedRun;
  const level = words[word + Word.BITS]! as Level;
  const length = words[word + Word.PAYLOAD]!;
  const start = copyOut(shard, bytes, from, length);
  run.borrow(shard.arrivedBytes, start, start + length, words[word + Word.COUNT]!, words[word + Word.NUMBER]!, level);
  for (let i = 0; i < targets.length; i++) sendRun(shard, null, run, targets[i]!);
  run.clear();
}

function openMessage(
  shard: Shard,
  receiver: Receiver,
  source: Source,
  bytes: Uint8Array,
  words: Int32Array,
  floats: Float64Array,
  at: number,
): void {
  const word = at >> 2;
  const view = viewLetter(shard, bytes, words, floats, at);
  if (view.qos > 0) {
    source.number = countTaken(receiver);
    source.transfer = words[word + Word.COUNT]!;
  }
  const targets = targetsOf(shard, receiver, bytes, words, word, at + LETTER_FIXED_BYTES, view.topicFrom, view.topicTo);
  if (targets.length === 1 && targets[0]!.group >= 0 && !canTake(shard, targets[0]!, view)) {
    chooseAgain(shard, view, targets[0]!.group);
  } else {
    deliverToTargets(shard, view, targets);
  }
  if (source.transfer >= 0) markArrived(shard, source, targets);
  if (source.transfer >= 0) unmarkTransfers(shard, source.shard, words[word + Word.NUMBER]!);
  if (fanOut.refused > 0 && source.number !== 0) {
    sendNotice(shard, source.shard, Letter.REFUSED, 0, refusalOf(shard), source.number);
  }
}

/** What waits for a session is marked when it goes in (move.ts). */
function markArrived(shard: Shard, source: Source, targets: readonly Target[]): void {
  if (fanOut.later === null) {
    markTransfer(shard, source.shard, source.transfer, 0);
    return;
  }
  for (let i = 0; i < targets.length; i++) {
    const session = shard.sessions.at(targets[i]!.subscriber);
    if (session !== null && session.stored !== 0) markTransfer(shard, source.shard, source.transfer, session.stored);
  }
}

/** Whether the member that a shared group has chosen elsewhere can take the message: it may have left, or may not read the topic. */
function canTake(shard: Shard, target: Target, view: MessageView): boolean {
  const { subscriber } = target;
  if (shard.sessions.at(subscriber) === null) return shard.peers!.roster.owner(subscriber) === shard.peers!.index;
  return shard.routes.mayReceive(subscriber, view.topic, view.topicFrom, view.topicTo);
}

function chooseAgain(shard: Shard, view: MessageView, group: number): void {
  fanOut.begin();
  if (isBeingErased(shard, view) || shard.routes.find(view.topic, view.topicFrom, view.topicTo) < 0) return;
  const route = shard.routes.found;
  if (route.groups.includes(group)) deliverToAnother(shard, view, route, group);
}

function openRetain(
  shard: Shard,
  receiver: Receiver,
  source: Source,
  bytes: Uint8Array,
  words: Int32Array,
  floats: Float64Array,
  at: number,
): void {
  const view = viewLetter(shard, bytes, words, floats, at);
  if (view.qos > 0) source.number = countTaken(receiver);
  const word = at >> 2;
  const retained = retainMessage(shard, null, view, words[word + Word.ROUTE]! as Retention);
  const transfer = view.qos > 0 ? words[word + Word.COUNT]! : -1;
  if (transfer >= 0) {
    markTransfer(shard, source.shard, transfer, 0);
    unmarkTransfers(shard, source.shard, words[word + Word.NUMBER]!);
  }
  if (retained < 0 && source.number !== 0) {
    const refusal = shard.store.isRefusing ? Refusal.STORE : Refusal.QUEUE;
    sendNotice(shard, source.shard, Letter.REFUSED, 0, refusal, source.number);
  }
}

/** The number of a message that is to be settled, as the shard that sent it counts. */
function countTaken({ debts }: Receiver): number {
  debts.taken = (debts.taken + 1) | 0;
  return debts.taken;
}

function openRoute(shard: Shard, receiver: Receiver, bytes: Uint8Array, words: Int32Array, at: number): void {
  const word = at >> 2;
  const { routes } = receiver;
  const place = words[word + Word.ROUTE]!;
  while (routes.length <= place) routes.push(null);
  const listFrom = at + LETTER_FIXED_BYTES;
  const topicFrom = listFrom + words[word + Word.TARGETS]!;
  const targets = readTargets(shard, bytes, words, listFrom, topicFrom, topicFrom, topicFrom + words[word + Word.TOPIC]!);
  routes[place] = targets;
  receiver.unjudged.delete(place);
  if (shard.rights === null) return;
  for (let i = 0; i < targets.length; i++) if (shard.sessions.at(targets[i]!.subscriber) === null) receiver.unjudged.add(place);
}

/** The receivers that a letter names, one by one or by their place. */
function targetsOf(
  shard: Shard,
  receiver: Receiver,
  bytes: Uint8Array,
  words: Int32Array,
  word: number,
  listFrom: number,
  topicFrom: number,
  topicTo: number,
): readonly Target[] {
  const place = words[word + Word.ROUTE]!;
  if (place >= 0) {
    const targets = receiver.routes[place] ?? NO_TARGETS;
    return receiver.unjudged.size > 0 && receiver.unjudged.has(place)
      ? judge(shard, targets, bytes, topicFrom, topicTo)
      : targets;
  }
  return readTargets(shard, bytes, words, listFrom, listFrom + words[word + Word.TARGETS]!, topicFrom, topicTo);
}

/** Leaves those out that have come and may not read the topic. */
function judge(shard: Shard, targets: readonly Target[], topic: Uint8Array, from: number, to: number): readonly Target[] {
  const judged: Target[] = [];
  for (let i = 0; i < targets.length; i++) {
    const { subscriber } = targets[i]!;
    if (shard.sessions.at(subscriber) === null || shard.routes.mayReceive(subscriber, topic, from, to)) judged.push(targets[i]!);
  }
  return judged;
}

/** Reads targets and leaves those out that are here and may not read the topic; a session that is on its way is asked when it sends. */
function readTargets(
  shard: Shard,
  bytes: Uint8Array,
  words: Int32Array,
  from: number,
  to: number,
  topicFrom: number,
  topicTo: number,
): readonly Target[] {
  const targets: Target[] = [];
  for (let at = from; at < to; ) {
    const word = at >> 2;
    const subscriber = words[word]!;
    const idsBytes = words[word + 3]!;
    at += TARGET_WORDS * 4;
    const subscriptionIds = idsBytes === 0 ? NO_BYTES : bytes.slice(at, at + idsBytes);
    at += padded(idsBytes);
    const group = words[word + 2]!;
    const session = group < 0 && shard.rights !== null ? shard.sessions.at(subscriber) : null;
    if (session !== null && !shard.routes.mayReceive(subscriber, bytes, topicFrom, topicTo)) continue;
    const target = targetFor(subscriber, words[word + 1]!, subscriptionIds, group);
    targets.push(target);
    if (session === null) continue;
    // It need not be asked again when it is sent.
    target.judgedBy = shard.rights;
    target.judgedFor = session.principal;
  }
  return targets;
}

/** The message of a letter, borrowed from the ring. */
function viewLetter(shard: Shard, bytes: Uint8Array, words: Int32Array, floats: Float64Array, at: number): MessageView {
  const view = shard.arrived;
  const word = at >> 2;
  const from = at + LETTER_FIXED_BYTES + words[word + Word.TARGETS]!;
  view.topic = bytes;
  view.topicFrom = from;
  view.topicTo = from + words[word + Word.TOPIC]!;
  view.properties = bytes;
  view.propertiesFrom = view.topicTo;
  view.propertiesTo = view.topicTo + words[word + Word.PROPERTIES]!;
  const bits = words[word + Word.BITS]!;
  const payloadBytes = words[word + Word.PAYLOAD]!;
  view.payload = bytes;
  view.payloadFrom = view.propertiesTo;
  if (payloadBytes > ALIGNED_ABOVE) {
    view.payloadFrom = copyOut(shard, bytes, view.propertiesTo + ((bits >> PADDING_SHIFT) & PADDING_MAX), payloadBytes);
    view.payload = shard.arrivedBytes;
  }
  view.payloadTo = view.payloadFrom + payloadBytes;
  view.qos = bits & 3;
  view.retain = (bits >> 2) & 1;
  view.expiresAtMs = floats[(word + Word.EXPIRES) >> 1]!;
  return view;
}

/** Copies bytes out of the ring into memory of this shard's own, from which each receiver gets its copy at full speed; returns where they begin in `arrivedBytes`. */
function copyOut(shard: Shard, bytes: Uint8Array, from: number, length: number): number {
  if (shard.arrivedBytes.length < length + PADDING_MAX) shard.arrivedBytes = new Uint8Array((length + PADDING_MAX) * 2);
  const start = padding(bytes, from, 0);
  copyBytes(bytes, from, from + length, shard.arrivedBytes, start);
  return start;
}

function openPart(shard: Shard, receiver: Receiver, source: Source, bytes: Uint8Array, words: Int32Array, at: number): void {
  const word = at >> 2;
  const before = words[word + Word.COUNT]!;
  const whole = words[word + Word.NUMBER]!;
  const from = at + LETTER_FIXED_BYTES;
  const length = words[word + Word.PAYLOAD]!;
  if (before === 0) receiver.long = new Uint8Array((whole + 7) & ~7);
  const { long } = receiver;
  copyBytes(bytes, from, from + length, long, before);
  if (before + length < whole) return;
  receiver.long = NO_BYTES;
  open(shard, receiver, source, long, new Int32Array(long.buffer), new Float64Array(long.buffer), 0);
}

function openDelivery(shard: Shard, bytes: Uint8Array, words: Int32Array, floats: Float64Array, at: number): void {
  const word = at >> 2;
  const view = viewLetter(shard, bytes, words, floats, at);
  const idsFrom = at + LETTER_FIXED_BYTES;
  const ids = bytes.slice(idsFrom, idsFrom + words[word + Word.NUMBER]!);
  const handle = words[word + Word.ROUTE]!;
  const received = words[word + Word.PUBLISHER]! === 1;
  const bits = (words[word + Word.BITS]! >> DELIVERY_BITS_SHIFT) & DELIVERY_BITS_MASK;
  takeMovedDelivery(shard, handle, words[word + Word.COUNT]!, bits, ids, received, view);
}

function onNotice(shard: Shard, from: number, kind: Letter, bits: number, number: number): void {
  const { tickets } = shard.peers!;
  const key = from * 2 ** 32 + (number >>> 0);
  if (kind === Letter.LATER) {
    shard.lateTickets.set(key, tickets.later(from, number));
    return;
  }
  const ticket = shard.lateTickets.get(key) ?? tickets.ticketOf(from, number);
  if (kind === Letter.REFUSED) {
    refuseTicket(shard, ticket, bits as Refusal);
  } else if (kind === Letter.SETTLED) {
    shard.lateTickets.delete(key);
    tickets.done(ticket);
    releaseGated(shard);
  }
}

const NO_TARGETS: readonly Target[] = [];
const NO_BYTES = new Uint8Array(0);
