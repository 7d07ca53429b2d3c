// HOT: no allocation, closures, strings, try or async per message.
// Answers that waited: written once the store is durable up to what they wait for and the other shards have settled their message.
import { Level, PacketType, Reason } from '../../protocol/packet.ts';
import { NO_TICKET, Refusal } from '../peers/tickets.ts';
import type { Connection } from '../sessions/connection.ts';
import type { GatedAnswers } from '../sessions/gated.ts';
import { writeAnswer } from './answer.ts';
import { endConnection } from './close.ts';
import type { Shard } from './shard.ts';

/** Something moved that answers wait for: writes what it releases. */
export function releaseGated(shard: Shard): void {
  const { durable } = shard.store;
  for (const connection of shard.gated) {
    const gated = connection.gated!;
    while (gated.count > 0 && gated.sequence <= durable && isSettled(shard, gated.ticket)) {
      const refusal = gated.ticket === NO_TICKET ? Refusal.NONE : shard.peers!.tickets.takeRefusal(gated.ticket);
      if (connection.isOpen) {
        if (refusal === Refusal.NONE) writeOldest(connection, gated, gated.reason);
        else answerRefused(shard, connection, gated, refusal);
      }
      // A refusal may have ended the connection, and with it all that waited.
      if (gated.count > 0) gated.shift();
    }
    if (gated.count === 0) shard.gated.delete(connection);
  }
}

function isSettled(shard: Shard, ticket: number): boolean {
  return ticket === NO_TICKET || shard.peers!.tickets.isSettled(ticket);
}

/** Another shard did not take the message. MQTT 3 knows no negative answer: it gets none where one would be a promise. */
function answerRefused(shard: Shard, connection: Connection, gated: GatedAnswers, refusal: Refusal): void {
  const { type, reason } = gated;
  const isPublishAnswer = type === PacketType.PUBACK || type === PacketType.PUBREC;
  shard.counters.refusedQuota++;
  if (!isPublishAnswer || reason >= Reason.UNSPECIFIED) writeOldest(connection, gated, reason);
  else if (connection.level === Level.V5) writeOldest(connection, gated, Reason.QUOTA_EXCEEDED);
  else if (refusal === Refusal.STORE) endConnection(shard, connection, Reason.QUOTA_EXCEEDED);
  else writeOldest(connection, gated, reason);
}

function writeOldest(connection: Connection, gated: GatedAnswers, reason: Reason): void {
  const { packet } = gated;
  if (packet !== null) connection.outbox.append(packet, 0, packet.length);
  else writeAnswer(connection, gated.type, gated.packetId, reason);
}
