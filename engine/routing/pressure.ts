// Back-pressure with a name. A receiver whose unsent bytes pass the high mark first holds the publishers that feed it (they are
// not read from); if it has not drained within the grace it is marked slow, its publishers go on, and QoS 0 to it is
// dropped and counted until it has drained. Nothing else waits for it: other receivers' outboxes are their own. A client that
// does not read the answers to its own packets holds itself.
//
// While all outboxes together hold more than there is memory for, the mark is low for everybody, so that little more than what the kernel takes
// at once goes to any receiver. A slow one of which the kernel has then taken nothing for long is disconnected: it does not read.
import { Letter } from '../peers/letter.ts';
import { SessionFlag } from '../peers/roster.ts';
import type { Connection } from '../sessions/connection.ts';
import { Timer } from '../timers.ts';
import { sendNotice } from './notice.ts';
import type { Shard, Source } from './shard.ts';

export const Pressure = { SEND: 0, DROP: 1 } as const;
export type Pressure = (typeof Pressure)[keyof typeof Pressure];

/** What may wait unsent to one connection while all of them together have more than there is memory for. */
const TIGHT_BYTES = 16_384;
/**
 * Between two looks at what the kernel has taken of a slow receiver's bytes. It takes more when a third of its own buffer is free, which may be 4 MiB: one that reads 50 KB in a second is seen to read.
 */
const STUCK_MS_MAX = 30_000;

function isTight({ blocks, limits }: Shard): boolean {
  return blocks.unsentBytes > limits.unsentBytesMax;
}

/** Unsent bytes beyond which a receiver is fed no more for now. */
function markOf({ blocks, limits }: Shard): number {
  return blocks.unsentBytes > limits.unsentBytesMax ? Math.min(TIGHT_BYTES, limits.outboxHighBytes) : limits.outboxHighBytes;
}

/** Whether a receiver is over its mark with what the kernel does not take: then it will be told of as drained. */
export function isOverMark(shard: Shard, { outbox }: Connection): boolean {
  if (outbox.pendingBytes <= markOf(shard)) return false;
  outbox.handOver();
  return outbox.pendingBytes > markOf(shard);
}

/** A message is to go to a receiver over its mark: whether QoS 0 may still be written. Holds the publisher. */
export function pressOn(shard: Shard, receiver: Connection, publisher: Connection | null): Pressure {
  if (receiver.slow) return Pressure.DROP;
  if (receiver.pressureTimer === null) receiver.pressureTimer = new Timer(() => look(shard, receiver));
  if (!receiver.pressureTimer.isSet) shard.timers.set(receiver.pressureTimer, shard.limits.backpressureMs);
  if (publisher !== null && publisher !== receiver && !isHeldFor(publisher, receiver) && publisher.link.pause()) {
    shard.counters.pauses++;
    hold(receiver, publisher);
  }
  if (publisher === null && shard.source !== null) holdElsewhere(shard, receiver, shard.source);
  return receiver.outbox.pendingBytes > shard.limits.outboxMaxBytes || isTight(shard) ? Pressure.DROP : Pressure.SEND;
}

/**
 * A client asks and asks and does not read the answers: more is unsent than deliveries ever leave there. It is not read from until
 * it has taken what waits. False when its link cannot pause and it went too far even for a largest packet on top.
 */
export function holdUnread(shard: Shard, client: Connection): boolean {
  if (isHeldFor(client, client)) return true;
  if (!client.link.pause()) return client.outbox.pendingBytes <= shard.limits.outboxMaxBytes + shard.limits.packetBytesMax;
  shard.counters.pauses++;
  hold(client, client);
  return true;
}

/** Whether a connection is not read from because a receiver, which may be itself, has not drained. */
export function isHeld(connection: Connection): boolean {
  return connection.heldElsewhere > 0 || (connection.heldFor !== null && connection.heldFor.size > 0);
}

export function isHeldFor(publisher: Connection, receiver: Connection): boolean {
  return publisher.heldFor?.has(receiver) === true;
}

function hold(receiver: Connection, publisher: Connection): void {
  receiver.holding ??= new Set();
  publisher.heldFor ??= new Set();
  receiver.holding.add(publisher);
  publisher.heldFor.add(receiver);
}

/** The receiver's link took bytes: below a quarter of the mark everything is as before. */
export function relieve(shard: Shard, receiver: Connection): void {
  if (receiver.outbox.pendingBytes > markOf(shard) / 4) return;
  if (receiver.slow) {
    receiver.slow = false;
    shard.slowConnections--;
    tellSlow(shard, receiver);
    shard.log.info('a slow receiver has drained');
  }
  letGo(shard, receiver);
}

/** Reads again from every publisher that waits for this receiver alone. */
export function letGo(shard: Shard, receiver: Connection): void {
  if (receiver.pressureTimer !== null) shard.timers.cancel(receiver.pressureTimer);
  if (receiver.holdingElsewhere !== null) letGoElsewhere(shard, receiver.holdingElsewhere);
  if (receiver.holding === null) return;
  for (const publisher of receiver.holding) {
    publisher.heldFor?.delete(receiver);
    resumeIfFree(shard, publisher);
  }
  receiver.holding.clear();
}

/** Reads from a connection again, unless a receiver or the store still holds it. */
export function resumeIfFree(shard: Shard, connection: Connection): void {
  if (connection.rate?.isHolding === true) return;
  if (isHeld(connection) || shard.waitingForStore.has(connection) || shard.waitingForPeers.has(connection)) return;
  connection.link.resume();
}

/** Letters to another shard wait for room: this publisher is not read from until they have found it. */
export function holdForPeers(shard: Shard, publisher: Connection): void {
  if (shard.waitingForPeers.has(publisher) || !publisher.link.pause()) return;
  shard.counters.pauses++;
  shard.waitingForPeers.add(publisher);
}

/** There is room again. */
export function resumeForPeers(shard: Shard): void {
  for (const publisher of shard.waitingForPeers) {
    shard.waitingForPeers.delete(publisher);
    if (publisher.isOpen) resumeIfFree(shard, publisher);
  }
}

/** A receiver of another shard is over its mark: this publisher waits for it, until that shard lets it go. */
export function heldByPeer(shard: Shard, number: number): void {
  const publisher = shard.publishers.get(number);
  if (publisher === undefined) return;
  publisher.heldElsewhere++;
  if (publisher.link.pause()) shard.counters.pauses++;
}

export function letGoByPeer(shard: Shard, number: number): void {
  const publisher = shard.publishers.get(number);
  if (publisher === undefined || publisher.heldElsewhere === 0) return;
  publisher.heldElsewhere--;
  if (publisher.isOpen) resumeIfFree(shard, publisher);
}

function holdElsewhere(shard: Shard, receiver: Connection, source: Source): void {
  if (source.publisher === 0) return;
  receiver.holdingElsewhere ??= new Set();
  const key = source.shard * PUBLISHERS + source.publisher;
  if (receiver.holdingElsewhere.has(key)) return;
  receiver.holdingElsewhere.add(key);
  sendNotice(shard, source.shard, Letter.HOLD, source.publisher, 0, 0);
}

function letGoElsewhere(shard: Shard, holding: Set<number>): void {
  for (const key of holding) sendNotice(shard, Math.floor(key / PUBLISHERS), Letter.LET_GO, key % PUBLISHERS, 0, 0);
  holding.clear();
}

/** Numbers of publishers stay below this. */
const PUBLISHERS = 1 << 24;

/** A publisher goes away: nobody needs to wake it. */
export function forgetPublisher(publisher: Connection): void {
  if (publisher.heldFor === null) return;
  for (const receiver of publisher.heldFor) receiver.holding?.delete(publisher);
  publisher.heldFor.clear();
}

/** The grace is over, or a slow receiver has had its time to take something. */
function look(shard: Shard, receiver: Connection): void {
  receiver.outbox.look();
  if (receiver.outbox.pendingBytes <= markOf(shard) / 4) {
    relieve(shard, receiver);
    return;
  }
  if (!receiver.slow) {
    markSlow(shard, receiver);
  } else if (isTight(shard) && receiver.outbox.takenBytes() === receiver.takenBytes) {
    // What it keeps waiting is memory that others need, and it would not read why it is sent away.
    shard.log.warn('unsent bytes are at their limit: a receiver that does not read is disconnected', {
      pendingBytes: receiver.outbox.pendingBytes,
    });
    receiver.link.destroy();
    return;
  }
  receiver.takenBytes = receiver.outbox.takenBytes();
  shard.timers.set(receiver.pressureTimer!, STUCK_MS_MAX);
}

function markSlow(shard: Shard, receiver: Connection): void {
  receiver.slow = true;
  shard.slowConnections++;
  tellSlow(shard, receiver);
  shard.counters.slowReceivers++;
  shard.log.warn('a receiver does not keep up: QoS 0 to it is dropped until it has drained', {
    pendingBytes: receiver.outbox.pendingBytes,
  });
  letGo(shard, receiver);
}

/** Other shards choose among the members of a shared group by it. */
function tellSlow({ peers }: Shard, { session, slow }: Connection): void {
  if (peers === null || session === null) return;
  if (slow) peers.roster.raise(session.handle, SessionFlag.SLOW);
  else peers.roster.lower(session.handle, SessionFlag.SLOW);
}
