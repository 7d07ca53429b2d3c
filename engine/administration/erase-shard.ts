// Erasure in one shard: what is held of a client, of a user's clients, or under topics goes, and the store is asked to make it unrecoverable at once.
//
// What a client has received and not acknowledged keeps its packet identifier, without its content: the acknowledgement that still comes finds its place, and no identifier
// is given twice.
import { Reason } from '../../protocol/packet.ts';
import { MessageView } from '../../protocol/publish.ts';
import { SetAside } from '../../storage/store.ts';
import { IntList } from '../memory/int-list.ts';
import type { MessageHandle } from '../memory/messages.ts';
import { endConnection } from '../routing/close.ts';
import { FenceWay, raiseFence } from '../routing/fence.ts';
import { endSession, setWill, storeSession } from '../routing/lifecycle.ts';
import { countQueued, finishDelivery, pump, queueBytes, releaseQueued } from '../routing/queue.ts';
import { letTell, retainMessage, TOLD_AT_ONCE } from '../routing/retain.ts';
import type { Shard } from '../routing/shard.ts';
import { covers } from '../security/filter.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import type { Session } from '../sessions/session.ts';

/** What is to be erased. */
export type EraseTarget =
  /** The session of a client, with all that is held for it. */
  | { readonly kind: 'client'; readonly name: string }
  /** The sessions of all clients that came under a user name. */
  | { readonly kind: 'user'; readonly name: string }
  /** Messages and wills whose topic a filter matches, whoever waits for them, and retained ones. */
  | { readonly kind: 'topic'; readonly name: string }
  /** Retained messages whose topic a filter matches. */
  | { readonly kind: 'retained'; readonly name: string };

/** What an erasure took, in numbers. */
export interface ErasedCounts {
  sessions: number;
  /** Of the sessions that were connected. */
  connections: number;
  subscriptions: number;
  /** Deliveries that waited or were in flight, as often as sessions had them. */
  deliveries: number;
  wills: number;
  retained: number;
  /** Damaged values that were set aside, whosoever they were. */
  setAside: number;
}

export interface ErasedByShard extends ErasedCounts {
  /** Whether it is beyond recovery now. */
  isErased: boolean;
}

export function noneErased(): ErasedCounts {
  return { sessions: 0, connections: 0, subscriptions: 0, deliveries: 0, wills: 0, retained: 0, setAside: 0 };
}

/**
 * The parts of an erasure, each of them done by every shard before the next one begins. Wills first, all of a shard at once: one that went out later would be retained again, or queued.
 * Then retained messages: a shard that still had its copy could give it to a new subscription, and so into a queue that it has gone through. Then what is held by session, with what makes
 * all of it unrecoverable. The end says that every shard has gone through its sessions: from the first part to it, none hands what is being erased to a session of another
 * (`Shard.erasing`).
 */
export const ErasePart = { WILLS: 'wills', RETAINED: 'retained', SESSIONS: 'sessions', END: 'end' } as const;
export type ErasePart = (typeof ErasePart)[keyof typeof ErasePart];

/** The parts before the end of each kind. Sessions do not need the others: they go at once, with their wills. */
const PARTS: Readonly<Record<EraseTarget['kind'], readonly ErasePart[]>> = {
  client: [ErasePart.SESSIONS],
  user: [ErasePart.SESSIONS],
  topic: [ErasePart.WILLS, ErasePart.RETAINED, ErasePart.SESSIONS],
  retained: [ErasePart.RETAINED, ErasePart.SESSIONS],
};

/**
 * What was set aside for its damage and may be of those that are erased. A session's own damaged deliveries go with it; under a topic they may be anybody's.
 */
const SET_ASIDE: Readonly<Record<EraseTarget['kind'], SetAside>> = {
  client: SetAside.UNOWNED,
  user: SetAside.UNOWNED,
  topic: SetAside.ALL,
  retained: SetAside.UNOWNED,
};

/** Erases by asking every shard for part after part. */
export async function eraseByParts(
  ask: (part: ErasePart) => Promise<readonly ErasedByShard[]>,
  { kind }: EraseTarget,
): Promise<ErasedByShard[]> {
  const answers: ErasedByShard[] = [];
  try {
    for (const part of PARTS[kind]) answers.push(...(await ask(part)));
  } finally {
    if (kind === 'topic') await ask(ErasePart.END);
  }
  return answers;
}

/** Erases in one shard. No session moves meanwhile: who asks sees to that (`Directory.hold`). */
export async function eraseInShard(shard: Shard, target: EraseTarget, part: ErasePart): Promise<ErasedByShard> {
  const counts = { ...noneErased(), isErased: true };
  const { kind, name } = target;
  const filter = Buffer.from(name, 'utf8');
  if (part === ErasePart.END) {
    shard.erasing.delete(name);
  } else if (part === ErasePart.WILLS) {
    shard.erasing.set(name, (topic, from, to) => covers(filter, topic.subarray(from, to), 0, to - from));
    eraseWills(shard, filter, counts);
  } else if (part === ErasePart.RETAINED) {
    if (!isFirst(shard)) return counts;
    await catchUp(shard);
    await eraseRetained(shard, filter, counts);
  } else {
    await catchUp(shard);
    if (kind === 'topic') await eraseTopics(shard, filter, counts);
    else if (kind !== 'retained') eraseSessions(shard, target, counts);
    const isSettled = await settleTransfers(shard);
    const setAside = await shard.store.erase(isFirst(shard) ? SET_ASIDE[kind] : SetAside.STAYS);
    counts.isErased = setAside >= 0 && isSettled;
    counts.setAside = Math.max(0, setAside);
  }
  return counts;
}

function isFirst({ peers }: Shard): boolean {
  return peers === null || peers.index === 0;
}

/** What other shards had routed to this one before is here. */
async function catchUp(shard: Shard): Promise<void> {
  if (shard.peers === null) return;
  await new Promise<void>((resolve) => raiseFence(shard, FenceWay.DIRECT, resolve));
}

function eraseSessions(shard: Shard, { kind, name }: EraseTarget, counts: ErasedCounts): void {
  const found = kind === 'client' ? [shard.sessions.find(name)] : [...shard.sessions].filter(({ username }) => username === name);
  for (const session of found) if (session !== null) eraseSession(shard, session, counts);
}

function eraseSession(shard: Shard, session: Session, counts: ErasedCounts): void {
  const { connection } = session;
  counts.sessions++;
  counts.subscriptions += session.subscriptions.size;
  counts.deliveries += session.queuedMessages;
  if (takeWill(shard, session)) counts.wills++; // before the connection ends: it must not be published
  if (connection !== null) {
    counts.connections++;
    endConnection(shard, connection, Reason.ADMINISTRATIVE_ACTION);
  }
  endSession(shard, session);
}

function takeWill(shard: Shard, session: Session): boolean {
  if (session.will === null) return false;
  setWill(shard, session, null);
  if (session.willTimer !== null) shard.timers.cancel(session.willTimer);
  return true;
}

/** In one go: none of them goes out meanwhile. */
function eraseWills(shard: Shard, filter: Uint8Array, counts: ErasedCounts): void {
  for (const session of shard.sessions) {
    const { will } = session;
    if (will === null || !covers(filter, will.topic, 0, will.topic.length)) continue;
    takeWill(shard, session);
    counts.wills++;
    if (session.stored !== 0) storeSession(shard, session);
  }
}

async function eraseTopics(shard: Shard, filter: Uint8Array, counts: ErasedCounts): Promise<void> {
  let looks = 0;
  for (const session of [...shard.sessions]) {
    if (++looks % SESSIONS_AT_ONCE === 0) await shard.clock.sleep(0); // the sockets have a turn
    if (shard.sessions.at(session.handle) !== session) continue;
    counts.deliveries += eraseLoaded(shard, session, filter);
    if (session.stored !== 0) counts.deliveries += await eraseStored(shard, session, filter);
    pump(shard, session);
  }
}

async function eraseRetained(shard: Shard, filter: Uint8Array, counts: ErasedCounts): Promise<void> {
  const found = new IntList();
  const view = new MessageView();
  shard.retained.match(filter, 0, filter.length, found);
  for (let at = 0; at < found.count; at++) {
    if (at % TOLD_AT_ONCE === TOLD_AT_ONCE - 1) await letTell(shard);
    const message = found.values[at]! as MessageHandle;
    if (!shard.messages.view(message, view)) continue;
    // Another may be retained by now; that this one still waits somewhere says nothing.
    if (shard.retained.get(view.topic, view.topicFrom, view.topicTo) !== message) continue;
    // Its topic is lent by what goes.
    view.topic = view.topic.slice(view.topicFrom, view.topicTo);
    view.topicTo -= view.topicFrom;
    view.topicFrom = 0;
    view.payloadTo = view.payloadFrom; // [MQTT-3.3.1-6]
    retainMessage(shard, null, view);
    counts.retained++;
  }
}

/** Erases what stands in the log of a session; returns how many deliveries that were. */
function eraseLoaded(shard: Shard, session: Session, filter: Uint8Array): number {
  const { deliveries } = session;
  let erased = 0;
  // From the end: finishing the first one moves the log.
  for (let offset = deliveries.count - 1; offset >= 0; offset--) if (eraseAt(shard, session, offset, filter)) erased++;
  return erased;
}

function eraseAt(shard: Shard, session: Session, offset: number, filter: Uint8Array): boolean {
  const { deliveries, stored } = session;
  if (deliveries.state(offset) === DeliveryState.DONE) return false;
  const view = shard.released;
  if (!shard.messages.view(deliveries.message(offset), view)) return false;
  if (!covers(filter, view.topic.subarray(view.topicFrom, view.topicTo), 0, view.topicTo - view.topicFrom)) return false;
  const position = deliveries.base + offset;
  const isKnown = offset < deliveries.sent || deliveries.wasSent(offset);
  if (isKnown && deliveries.qos(offset) === 2) {
    // The receiver may have it: what is left of it is the identifier, for PUBREL [MQTT-4.3.3-5].
    releaseQueued(shard, session, deliveries.setReceived(offset));
    if (stored !== 0) shard.store.markReceived(stored, position);
  } else if (offset < deliveries.sent) {
    releaseQueued(shard, session, deliveries.takeMessage(offset));
    if (stored !== 0) shard.store.dropDelivery(stored, position);
  } else {
    finishDelivery(shard, session, offset);
  }
  return true;
}

/** One delivery that lies in the store alone. */
interface Stored {
  readonly position: number;
  readonly qos: number;
  readonly bytes: number;
}

/** Erases what of a session's queue lies in the store; returns how many deliveries that were. */
async function eraseStored(shard: Shard, session: Session, filter: Uint8Array): Promise<number> {
  const { deliveries, tail } = session;
  let erased = 0;
  for (let from = deliveries.base + deliveries.count; from < tail; ) {
    const found: Stored[] = [];
    const next = await findStored(shard, session, from, filter, found);
    // What a read that is on its way brings must be in the log, to be found there.
    while (session.reading && isHere(shard, session) && !shard.stopping) await shard.clock.sleep(LOOK_MS);
    if (!isHere(shard, session)) return erased;
    for (const one of found) if (eraseFound(shard, session, one, filter)) erased++;
    if (next <= from) break;
    from = next;
  }
  return erased;
}

function isHere(shard: Shard, session: Session): boolean {
  return shard.sessions.at(session.handle) === session && session.stored !== 0;
}

function findStored(shard: Shard, session: Session, from: number, filter: Uint8Array, found: Stored[]): Promise<number> {
  return new Promise((resolve) => {
    shard.store.read(session.stored, from, READ_AT_ONCE, {
      delivery(position, bits, _subscriptionIds, _received, message) {
        if (message === null) return; // only its identifier is left
        const { topic, topicFrom, topicTo } = message;
        if (covers(filter, topic.subarray(topicFrom, topicTo), 0, topicTo - topicFrom))
          found.push({ position, qos: bits & 3, bytes: queueBytes(message) });
      },
      end: resolve,
    });
  });
}

/** By now it may have been loaded, or be finished. */
function eraseFound(shard: Shard, session: Session, { position, qos, bytes }: Stored, filter: Uint8Array): boolean {
  const { deliveries, stored } = session;
  const offset = position - deliveries.base;
  if (offset < 0) return false;
  if (offset < deliveries.count) return eraseAt(shard, session, offset, filter);
  if (qos === 2 && position < session.sentBefore) shard.store.markReceived(stored, position);
  else shard.store.dropDelivery(stored, position);
  countQueued(shard, session, -1, -bytes);
  return true;
}

/** Waits until no other shard needs the copies that this one keeps for it (routing/transfer.ts). False when that takes too long. */
async function settleTransfers(shard: Shard): Promise<boolean> {
  if (shard.transfers === null) return true;
  const { tickets } = shard.peers!;
  const last = tickets.next - 1;
  for (let waitedMs = 0; waitedMs < TRANSFERS_WAIT_MS; waitedMs += LOOK_MS) {
    if (tickets.first > last && !shard.transfers.open.some(({ ticket }) => ticket <= last)) return true;
    await shard.clock.sleep(LOOK_MS);
  }
  return false;
}

const READ_AT_ONCE = 1_024;
const SESSIONS_AT_ONCE = 1_024;
const LOOK_MS = 2;
const TRANSFERS_WAIT_MS = 10_000;
