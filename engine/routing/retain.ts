// Retained messages (MQTT 5.0 §3.3.1.3): kept by topic. What new subscriptions get of them is replay.ts.
import { fault, Reason } from '../../protocol/packet.ts';
import { MessageView } from '../../protocol/publish.ts';
import { DropReason } from '../counters.ts';
import { type MessageHandle, NO_MESSAGE } from '../memory/messages.ts';
import type { Connection } from '../sessions/connection.ts';
import { sendRetain, sendRetained } from './remote.ts';
import type { Shard } from './shard.ts';

/** Whether a retained message outlives the broker: its own figures do not. */
export const Retention = { STORED: 0, VOLATILE: 1 } as const;
export type Retention = (typeof Retention)[keyof typeof Retention];

/**
 * Keeps a message as the retained one of its topic, or clears the topic when the payload is empty. Returns 0 or a fault; where another shard keeps retained messages, its
 * refusal comes with the ticket of the message.
 */
export function retainMessage(
  shard: Shard,
  publisher: Connection | null,
  view: MessageView,
  retention: Retention = Retention.STORED,
): number {
  if (shard.peers !== null && shard.peers.index !== 0) {
    sendRetain(shard, publisher, view, retention);
    return 0;
  }
  const { expiresAtMs } = view;
  if (retention === Retention.STORED) boundAge(shard, view);
  const result = keepRetained(shard, view, retention);
  if (result === 0) tellOthers(shard, view);
  view.expiresAtMs = expiresAtMs; // of those who get it now
  return result;
}

/** Cuts the expiry of a message that is retained now to the ceiling. */
function boundAge(shard: Shard, view: MessageView): void {
  const { retainedMaxMs } = shard.ceilings;
  if (retainedMaxMs !== Infinity) view.expiresAtMs = Math.min(view.expiresAtMs, shard.clock.keptMs() + retainedMaxMs);
}

/** The first shard says what a topic's retained message is now. */
export function takeRetained(shard: Shard, view: MessageView): void {
  const { topic, topicFrom, topicTo } = view;
  if (view.payloadFrom === view.payloadTo) {
    const before = shard.retained.remove(topic, topicFrom, topicTo);
    if (before >= 0) release(shard, before);
    return;
  }
  const message = shard.messages.add(view);
  const before = message === NO_MESSAGE ? NO_MESSAGE - 1 : shard.retained.set(topic, topicFrom, topicTo, message);
  if (before < NO_MESSAGE) {
    shard.log.error('a retained message found no room in one of the shards; its new subscribers there will not get it');
    shard.messages.release(message);
    return;
  }
  shard.retainedBytes += shard.messages.length(message);
  if (before >= 0) release(shard, before);
}

/** Gives every other shard its copy of what a store remembers as retained. Resolves once all of it is on its way. */
export async function tellAllRetained(shard: Shard): Promise<void> {
  const { peers } = shard;
  if (peers === null) return;
  const view = new MessageView();
  let told = 0;
  for (const message of [...shard.retainedByNumber.values()]) {
    if (shard.messages.view(message, view)) tellOthers(shard, view);
    if (++told % TOLD_AT_ONCE === 0) await letTell(shard);
  }
}

/** Changes of which the other shards are told at once. */
export const TOLD_AT_ONCE = 1_024;

/** Resolves once what the other shards are to be told has found room in the rings; the sockets have a turn. */
export async function letTell(shard: Shard): Promise<void> {
  const { peers } = shard;
  if (peers === null) {
    await shard.clock.sleep(0);
    return;
  }
  peers.publish();
  while (peers.senders.some((sender) => sender !== null && sender.spilledBytes > 0)) {
    await shard.clock.sleep(1);
    peers.publish();
  }
}

/** Retained messages are kept by the first shard, which puts all changes in one order; every shard has a copy to replay from. */
function tellOthers(shard: Shard, view: MessageView): void {
  const { peers } = shard;
  if (peers === null) return;
  for (let to = 0; to < peers.count; to++) if (to !== peers.index) sendRetained(shard, to, view);
  shard.turn.ask();
}

function keepRetained(shard: Shard, view: MessageView, retention: Retention): number {
  const { topic, topicFrom, topicTo } = view;
  if (view.payloadFrom === view.payloadTo) {
    const before = shard.retained.remove(topic, topicFrom, topicTo); // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
    if (before >= 0) releaseStored(shard, before as MessageHandle);
    return 0;
  }
  const bytes = view.payloadTo - view.payloadFrom + topicTo - topicFrom + view.propertiesTo - view.propertiesFrom;
  const { limits } = shard;
  const known = shard.retained.get(topic, topicFrom, topicTo);
  const knownBytes = known < 0 ? 0 : shard.messages.length(known as MessageHandle);
  if (known < 0 && shard.retained.count >= limits.retainedMessagesMax) return fault(Reason.QUOTA_EXCEEDED);
  if (shard.retainedBytes - knownBytes + bytes > limits.retainedBytesMax) return fault(Reason.QUOTA_EXCEEDED);
  const message = shard.messages.add(view);
  if (message === NO_MESSAGE) return fault(Reason.QUOTA_EXCEEDED);
  const before = shard.retained.set(topic, topicFrom, topicTo, message);
  if (before < NO_MESSAGE) {
    shard.messages.release(message);
    return before;
  }
  shard.retainedBytes += bytes;
  const storedBefore = before < 0 ? 0 : shard.messages.stored(before as MessageHandle);
  if (before >= 0) release(shard, before); // [MQTT-3.3.1-5]
  if (retention === Retention.VOLATILE) return 0;
  const number = storedBefore === 0 ? shard.nextRetained++ : storedBefore;
  shard.messages.setStored(message, number);
  shard.retainedByNumber.set(number, message);
  const stored = shard.retainedStore.putRetained(number, view);
  // A start must not bring the value back that this one replaced.
  if (stored < 0) shard.retainedStore.dropRetained(number);
  return stored;
}

/** Keeps a retained message that was on its way to the first shard when the broker went down. */
export function keepRecovered(shard: Shard, view: MessageView): void {
  if (!shard.offers.retainAvailable) return;
  boundAge(shard, view);
  keepRetained(shard, view, Retention.STORED);
}

/** Takes a retained message back from a store at start. False when it must not be there any more, or not for so long: the store is to be told (`amendRetained`). */
export function recoverRetained(shard: Shard, number: number, view: MessageView): boolean {
  shard.nextRetained = Math.max(shard.nextRetained, number + 1);
  if (!keepsRetained(shard)) return false;
  const { expiresAtMs } = view;
  boundAge(shard, view);
  const message = shard.messages.add(view);
  if (message === NO_MESSAGE || shard.retained.set(view.topic, view.topicFrom, view.topicTo, message) < NO_MESSAGE) return true;
  shard.retainedBytes += shard.messages.length(message);
  shard.messages.setStored(message, number);
  shard.retainedByNumber.set(number, message);
  return view.expiresAtMs === expiresAtMs;
}

/** Whether retained messages are kept where they were found. */
function keepsRetained({ offers, store, retainedStore }: Shard): boolean {
  return offers.retainAvailable && retainedStore === store;
}

/** Brings the store's copy of a recovered retained message to what the settings allow now: a nearer expiry, or none at all. */
export function amendRetained(shard: Shard, number: number): void {
  const message = shard.retainedByNumber.get(number);
  const view = new MessageView();
  if (message !== undefined && shard.messages.view(message, view)) shard.store.putRetained(number, view);
  else shard.store.dropRetained(number);
}

/** Lets a retained message go whose time is up. */
export function dropExpired(shard: Shard, view: MessageView): void {
  // The first shard keeps it, counts it and tells the others; a copy just goes.
  if (shard.peers === null || shard.peers.index === 0) shard.counters.dropped[DropReason.EXPIRED]++;
  const before = shard.retained.remove(view.topic, view.topicFrom, view.topicTo);
  if (before >= 0) releaseStored(shard, before as MessageHandle);
}

/** The store has let a retained message go because its time was up. */
export function retainedGone(shard: Shard, number: number): void {
  const message = shard.retainedByNumber.get(number);
  if (message === undefined || !shard.messages.view(message, shard.released)) return;
  const { topic, topicFrom, topicTo } = shard.released;
  if (shard.retained.get(topic, topicFrom, topicTo) !== message) return;
  shard.counters.dropped[DropReason.EXPIRED]++;
  shard.retained.remove(topic, topicFrom, topicTo);
  shard.released.payloadTo = shard.released.payloadFrom;
  tellOthers(shard, shard.released);
  shard.retainedByNumber.delete(number);
  release(shard, message);
}

/** Lets a retained message go here and in the store. */
function releaseStored(shard: Shard, message: MessageHandle): void {
  const number = shard.messages.stored(message);
  if (number !== 0) {
    shard.retainedByNumber.delete(number);
    shard.retainedStore.dropRetained(number);
  }
  release(shard, message);
}

function release(shard: Shard, message: number): void {
  shard.retainedBytes -= shard.messages.length(message as MessageHandle);
  shard.messages.release(message as MessageHandle);
}
