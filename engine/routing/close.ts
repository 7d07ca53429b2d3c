// The one place where a connection ends, whoever ends it (MQTT 5.0 §3.14, §4.13).
import { disconnectAnswer } from '../../protocol/answers.ts';
import { encodeDisconnect } from '../../protocol/disconnect.ts';
import { Level, Reason } from '../../protocol/packet.ts';
import { NO_BYTES } from '../../protocol/publish.ts';
import { countReason } from '../counters.ts';
import { type Connection, ConnectionState } from '../sessions/connection.ts';
import { forgetGated } from './answer.ts';
import { sendControl } from './control.ts';
import { detach } from './lifecycle.ts';
import { forgetPublisher, letGo } from './pressure.ts';
import type { Shard } from './shard.ts';

/** Words for the reasons that a person may have to act on; sent when the client asked for problem information. */
const REASON_TEXT: Partial<Record<Reason, string>> = {
  [Reason.MALFORMED_PACKET]: 'the packet could not be parsed',
  [Reason.PROTOCOL_ERROR]: 'the packet is not allowed here',
  [Reason.NOT_AUTHORIZED]: 'what let the client in does not hold any more',
  [Reason.KEEP_ALIVE_TIMEOUT]: 'nothing was received within one and a half times the keep alive',
  [Reason.SESSION_TAKEN_OVER]: 'another connection uses the same client identifier',
  [Reason.PACKET_TOO_LARGE]: 'the packet exceeds the Maximum Packet Size of CONNACK',
  [Reason.RECEIVE_MAXIMUM_EXCEEDED]: 'more unacknowledged QoS 1 and 2 messages than the Receive Maximum of CONNACK',
  [Reason.TOPIC_ALIAS_INVALID]: 'the topic alias is 0 or exceeds the Topic Alias Maximum of CONNACK',
  [Reason.TOPIC_NAME_INVALID]: 'the topic name is empty, has wildcards, is too long or has too many levels',
  [Reason.QOS_NOT_SUPPORTED]: 'the QoS exceeds the Maximum QoS of CONNACK',
  [Reason.RETAIN_NOT_SUPPORTED]: 'retained messages are switched off',
  [Reason.SERVER_SHUTTING_DOWN]: 'the broker is stopping',
  [Reason.QUOTA_EXCEEDED]: 'a limit of the broker was reached',
  [Reason.ADMINISTRATIVE_ACTION]: 'the operator has ended the connection',
  [Reason.MESSAGE_RATE_TOO_HIGH]: 'more was sent in a second than may be, and more than can be kept',
};

/** Ends a connection from this side: says why on MQTT 5, flushes, closes. The will stays due [MQTT-3.1.2-8]. */
export function endConnection(shard: Shard, connection: Connection, reason: Reason): void {
  if (connection.state === ConnectionState.CLOSED) return;
  const wasOpen = connection.isOpen;
  connection.closeReason = reason;
  countReason(shard.counters.endedBy, reason);
  if (wasOpen && connection.level === Level.V5) {
    const full = disconnectBytes(shard, connection, reason);
    // [MQTT-3.14.2-3] the words are left out where they would exceed what the client accepts
    const bytes = full.length <= connection.packetBytesMax ? full : disconnectAnswer(reason);
    if (bytes.length <= connection.packetBytesMax) connection.outbox.append(bytes, 0, bytes.length); // [MQTT-3.1.2-24]
  }
  if (reason !== Reason.SUCCESS) shard.log.debug('a connection was ended', { reason });
  closeOrderly(shard, connection, true);
}

/** Flushes and closes without a packet of its own: after DISCONNECT from the client, or a refusing CONNACK. */
export function closeOrderly(shard: Shard, connection: Connection, keepWill: boolean): void {
  if (connection.state === ConnectionState.CLOSED) return;
  leave(shard, connection, keepWill);
  connection.outbox.endTurn();
  connection.link.end();
}

/** The link is down: whatever was not undone yet is undone, and every block goes back. */
export function linkDown(shard: Shard, connection: Connection): void {
  if (connection.state !== ConnectionState.CLOSED) leave(shard, connection, true);
  connection.outbox.close();
  shard.connections.delete(connection);
}

function leave(shard: Shard, connection: Connection, keepWill: boolean): void {
  if (connection.isOpen) shard.openConnections--;
  if (connection.slow) shard.slowConnections--;
  if (connection.state === ConnectionState.CLAIMING && connection.claim !== 0) withdrawClaim(shard, connection);
  connection.state = ConnectionState.CLOSED;
  if (connection.timer !== null) shard.timers.cancel(connection.timer);
  if (connection.identityTimer !== null) shard.timers.cancel(connection.identityTimer);
  letGo(shard, connection);
  forgetPublisher(connection);
  forgetGated(shard, connection);
  shard.waitingForStore.delete(connection);
  if (connection.rate !== null) shard.timers.cancel(connection.rate.timer);
  if (connection.userTally !== null) shard.users.leave(connection.userTally);
  connection.userTally = null;
  shard.waitingForPeers.delete(connection);
  if (connection.number !== 0) shard.publishers.delete(connection.number);
  connection.framer?.release();
  connection.framer = null;
  connection.early = NO_BYTES;
  connection.unread = NO_BYTES;
  connection.unreadBytes = 0;
  connection.replay = null;
  shard.replayTurn.waiting.delete(connection);
  connection.rights = null;
  detach(shard, connection, keepWill);
}

/** Its claim would wait with the directory for as long as no session may move. */
function withdrawClaim(shard: Shard, connection: Connection): void {
  sendControl(shard, 0, { kind: 'withdraw', shard: shard.peers!.index, request: connection.claim });
}

function disconnectBytes(shard: Shard, connection: Connection, reason: Reason): Uint8Array {
  const serverReference = reason === Reason.SERVER_SHUTTING_DOWN ? shard.offers.serverReference : '';
  const reasonString = connection.wantsProblemInformation ? REASON_TEXT[reason] : undefined; // [MQTT-3.1.2-29]
  if (reasonString === undefined && serverReference === '') return disconnectAnswer(reason);
  return encodeDisconnect({
    reason,
    ...(reasonString === undefined ? {} : { reasonString }),
    ...(serverReference === '' ? {} : { serverReference }),
  });
}
