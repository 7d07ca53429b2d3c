// Retained messages that go out live while a replay waits for the other shards (replay.ts): what the replay finds then must not come behind the newer one.
import type { MessageView } from '../../protocol/publish.ts';
import type { Connection } from '../sessions/connection.ts';

/** A message with RETAIN set is about to go out to a connection. */
export function noteLive(connection: Connection, view: MessageView): void {
  const { replay } = connection;
  if (replay === null || replay.fences === 0) return;
  replay.live ??= new Set();
  replay.live.add(topicKey(view));
}

/** The topic name of a message, as a key. */
export function topicKey(view: MessageView): string {
  return Buffer.from(view.topic.subarray(view.topicFrom, view.topicTo)).toString('latin1');
}
