// Retained messages that go out live while a replay is under way (replay.ts). They come straight from their publisher's shard, the copy that the replay finds by way of the
// first one: what the replay finds may be the older of the two, and must not come behind the newer one.
import type { MessageView } from '../../protocol/publish.ts';
import type { Connection, Replay } from '../sessions/connection.ts';
import type { Shard } from './shard.ts';

/** Topics that are noted for one replay. With more of them it waits until their copies must be here. */
const NOTED_MAX = 4_096;

/** A message with RETAIN set is about to go out to a connection. */
export function noteLive(shard: Shard, connection: Connection, view: MessageView): void {
  const { replay } = connection;
  if (replay === null || shard.peers === null) return;
  replay.live ??= new Set();
  if (replay.live.size >= NOTED_MAX) {
    replay.live.clear();
    waitForShards(shard, connection, replay);
  }
  replay.live.add(topicKey(view));
}

/** The replay goes on once all that is on its way to the first shard has come through it. */
export function waitForShards(shard: Shard, connection: Connection, replay: Replay): void {
  replay.fences++;
  shard.fencedReplays.push({ connection, replay });
  shard.turn.ask();
}

/** The topic name of a message, as a key. */
export function topicKey(view: MessageView): string {
  return Buffer.from(view.topic.subarray(view.topicFrom, view.topicTo)).toString('latin1');
}
