// Retained messages owed to new subscriptions (MQTT 5.0 §3.3.1.3), sent as the outbox and the window have room.
//
// What waits is the subscription and not its messages: a filter is looked up when its turn comes, and a connection holds the matches
// of one filter at a time. A lookup may visit every retained topic, so the steps of a turn are bounded for all connections
// together; the rest goes on in the next turn, after the sockets have been read. A single lookup is not split.
//
// A message that is replaced or cleared between its lookup and its turn is skipped: its handle is stale, and the subscriber has the
// newer one as a live message.
import { Level } from '../../protocol/packet.ts';
import { NO_BYTES } from '../../protocol/publish.ts';
import { DropReason } from '../counters.ts';
import { IntList } from '../memory/int-list.ts';
import type { MessageHandle } from '../memory/messages.ts';
import { type Connection, ConnectionState, type Replay, type ReplayedFilter } from '../sessions/connection.ts';
import type { Session } from '../sessions/session.ts';
import { SubscriptionOption, targetFor } from '../sessions/target.ts';
import type { Duty } from '../sessions/turn.ts';
import { deliverOne } from './deliver.ts';
import { FenceWay, raiseFence } from './fence.ts';
import { topicKey, waitForShards } from './live.ts';
import { isOverMark } from './pressure.ts';
import { dropExpired } from './retain.ts';
import type { Shard } from './shard.ts';

/** Nodes of the index visited and messages looked at in one turn: some milliseconds. */
const STEPS_PER_TURN = 20_000;
/** Retained messages that may wait in a session's queue. */
const AHEAD_MAX = 64;

/** The steps that are left in this turn, and the connections that wait for the next one. */
export class ReplayTurn implements Duty {
  due = false;
  left = STEPS_PER_TURN;
  readonly waiting = new Set<Connection>();
  readonly #shard: Shard;

  constructor(shard: Shard) {
    this.#shard = shard;
  }

  spend(steps: number): void {
    this.left -= steps;
    this.#shard.turn.add(this);
  }

  endTurn(): void {
    this.left = STEPS_PER_TURN;
    const { peers, turn } = this.#shard;
    if (peers !== null && !peers.areThrough) {
      turn.add(this);
      return;
    }
    for (const connection of this.waiting) {
      if (this.left <= 0) break;
      this.waiting.delete(connection);
      sendReplay(this.#shard, connection);
    }
    if (this.waiting.size > 0) turn.add(this);
  }
}

/** Notes what a new subscription is owed; `sendReplay` sends it. A filter that waits already takes the newer options. */
export function oweReplay(connection: Connection, key: string, filter: ReplayedFilter): void {
  connection.replay ??= { waiting: new Map(), filter, found: new IntList(), next: 0, fences: 0, live: null };
  connection.replay.waiting.set(key, filter);
}

/**
 * Begins to send what a new subscription is owed. With several shards, what clients of the others have retained before the subscription may still be on its way here: the
 * replay waits until every shard has said that it knows of the subscription, by way of the one that keeps what is retained. Subscriptions of
 * one turn, and those that come while a look is under way, share one.
 */
export function beginReplay(shard: Shard, connection: Connection): void {
  const { replay } = connection;
  if (shard.peers === null || replay === null) {
    sendReplay(shard, connection);
    return;
  }
  // What has come live by an earlier subscription is owed to this one too, and is in its place when the shards have answered.
  replay.live?.clear();
  waitForShards(shard, connection, replay);
}

/** Looks at the other shards for the sake of the replays that have begun since the last look; one look at a time. */
export function fenceReplays(shard: Shard): void {
  if (shard.isFencingReplays) return;
  shard.isFencingReplays = true;
  const begun = shard.fencedReplays;
  shard.fencedReplays = [];
  raiseFence(shard, FenceWay.RELAYED, () => {
    shard.isFencingReplays = false;
    for (const { connection, replay } of begun) {
      replay.fences--;
      if (connection.replay === replay) wait(shard, connection);
    }
    shard.turn.ask();
  });
}

/** Goes on at the end of the turn. */
function wait(shard: Shard, connection: Connection): void {
  shard.replayTurn.waiting.add(connection);
  shard.turn.add(shard.replayTurn);
}

/** Sends retained messages until there are none, or no room, or no steps left in this turn. */
export function sendReplay(shard: Shard, connection: Connection): void {
  const { replay, session } = connection;
  if (replay === null || session === null || connection.state !== ConnectionState.OPEN || replay.fences > 0) return;
  // What the first shard has passed on may be ahead of what has not been taken yet from its publisher's shard: an older value would follow it.
  if (shard.peers !== null && !shard.peers.areThrough) {
    wait(shard, connection);
    return;
  }
  const { deliveries } = session;
  // Behind a full window they would only pile up: acknowledgements bring the next ones. A few may wait for the store.
  while (deliveries.count - deliveries.sent < AHEAD_MAX && !isOverMark(shard, connection)) {
    if (shard.replayTurn.left <= 0) {
      shard.replayTurn.waiting.add(connection);
      return;
    }
    if (replay.next < replay.found.count) {
      sendOne(shard, connection, session, replay);
    } else if (!lookUpNext(shard, session, replay)) {
      connection.replay = null;
      return;
    }
  }
}

/** Finds the messages of the next filter that is still subscribed to; false when none waits. */
function lookUpNext(shard: Shard, session: Session, replay: Replay): boolean {
  for (const [key, filter] of replay.waiting) {
    replay.waiting.delete(key);
    if (!session.subscriptions.has(key)) continue;
    replay.filter = filter;
    replay.found.clear();
    replay.next = 0;
    const { bytes } = filter;
    shard.retained.match(bytes, 0, bytes.length, replay.found);
    shard.replayTurn.spend(1 + shard.retained.visited);
    return true;
  }
  return false;
}

function sendOne(shard: Shard, connection: Connection, session: Session, replay: Replay): void {
  const message = replay.found.values[replay.next++]! as MessageHandle;
  const view = shard.replayed;
  shard.replayTurn.spend(1);
  if (!shard.messages.view(message, view)) return;
  if (replay.live?.has(topicKey(view))) return;
  // A handle comes round again after 64 messages: what it finds must still be the message of its topic.
  if (shard.retained.get(view.topic, view.topicFrom, view.topicTo) !== message) return;
  if (view.expiresAtMs !== Infinity && view.expiresAtMs <= shard.clock.keptMs()) {
    dropExpired(shard, view);
    return;
  }
  if (!shard.routes.mayReceive(session.handle, view.topic, view.topicFrom, view.topicTo)) {
    shard.counters.dropped[DropReason.NOT_AUTHORIZED]++;
    return;
  }
  const { options, subscriptionIds } = replay.filter;
  const target = targetFor(session.handle, options, connection.level === Level.V5 ? subscriptionIds : NO_BYTES);
  deliverOne(shard, view, target, Math.min(view.qos, options & SubscriptionOption.QOS_MASK), 1); // [MQTT-3.3.1-8]
}
