// HOT: no allocation, closures, strings, try or async per message.
// Acknowledgements to clients, in order, each held back until the store is durable up to the intents behind it.
// [MQTT-4.6.0-2] [MQTT-4.6.0-3] answers leave in the order of the packets that they answer.
import { writeAck } from '../../protocol/ack.ts';
import { Level, type PacketType, type Reason } from '../../protocol/packet.ts';
import { NO_TICKET } from '../peers/tickets.ts';
import type { Connection } from '../sessions/connection.ts';
import { GatedAnswers } from '../sessions/gated.ts';
import type { Shard } from './shard.ts';

/** Answers now, or when the store has reached `sequence` and other shards have settled `ticket`. */
export function answer(
  shard: Shard,
  connection: Connection,
  type: PacketType,
  packetId: number,
  reason: Reason,
  sequence: number,
  ticket = NO_TICKET,
): void {
  const { gated } = connection;
  if (ticket === NO_TICKET && sequence <= shard.store.durable && (gated === null || gated.count === 0)) {
    writeAnswer(connection, type, packetId, reason);
    return;
  }
  connection.gated ??= new GatedAnswers();
  connection.gated.push(sequence, type, packetId, reason, ticket);
  shard.gated.add(connection);
}

/** The same for an answer of more than numbers: SUBACK, UNSUBACK. */
export function answerPacket(shard: Shard, connection: Connection, packet: Uint8Array, sequence: number): void {
  const { gated } = connection;
  if (sequence <= shard.store.durable && (gated === null || gated.count === 0)) {
    connection.outbox.append(packet, 0, packet.length);
    return;
  }
  connection.gated ??= new GatedAnswers();
  connection.gated.pushPacket(sequence, packet);
  shard.gated.add(connection);
}

/** Nobody is left to read the answers of a connection. */
export function forgetGated(shard: Shard, connection: Connection): void {
  shard.gated.delete(connection);
  const { gated } = connection;
  if (gated === null || shard.peers === null) return;
  for (; gated.count > 0; gated.shift()) if (gated.ticket !== NO_TICKET) shard.peers.tickets.forget(gated.ticket);
}

/** QoS 1 and 2 publishes of the client that were not answered yet: what the Receive Maximum bounds. */
export function unanswered(connection: Connection): number {
  const gated = connection.gated === null ? 0 : connection.gated.endings;
  return gated + (connection.session === null ? 0 : connection.session.inbound.count);
}

export function writeAnswer(connection: Connection, type: PacketType, packetId: number, reason: Reason): void {
  const bytes = reason === 0 || connection.level !== Level.V5 ? 4 : 5;
  const at = connection.outbox.reserve(bytes);
  writeAck(connection.outbox.block, at, type, packetId, reason, connection.level);
}
