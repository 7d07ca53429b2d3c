// HOT: no allocation, closures, strings, try or async per message.
// PUBACK, PUBREC, PUBREL and PUBCOMP from a client (MQTT 5.0 §4.3). The first two and the last belong to messages
// that the broker sent, PUBREL to one that the client sent.
import { decodeAck } from '../../protocol/ack.ts';
import { fault, Level, PacketType, Reason } from '../../protocol/packet.ts';
import type { Connection } from '../sessions/connection.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import type { Session } from '../sessions/session.ts';
import { answer } from './answer.ts';
import { finishDelivery, pump, releaseQueued } from './queue.ts';
import { sendReplay } from './replay.ts';
import type { Shard } from './shard.ts';

/** Handles one acknowledgement with its body in [from, to). Returns 0, or a fault that ends the connection. */
export function onAcknowledgement(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
): number {
  const { ack } = shard;
  const decoded = decodeAck(buffer, header, from, to, connection.level, shard.limits.userPropertiesMax, ack);
  if (decoded < 0) return decoded;
  const session = connection.session!;
  const type = header >>> 4;
  if (type === PacketType.PUBREL) return onPubrel(shard, connection, session, ack.packetId);
  const result =
    type === PacketType.PUBACK
      ? onPuback(shard, session, ack.packetId)
      : type === PacketType.PUBREC
        ? onPubrec(shard, connection, session, ack.packetId, ack.reason)
        : onPubcomp(shard, session, ack.packetId);
  if (connection.replay !== null && result === 0) sendReplay(shard, connection);
  return result;
}

function onPuback(shard: Shard, session: Session, packetId: number): number {
  const { deliveries } = session;
  const offset = deliveries.find(packetId);
  if (offset < 0) return 0; // a second PUBACK, or one for a message that has expired: there is no answer to it
  if (deliveries.qos(offset) !== 1) return fault(Reason.PROTOCOL_ERROR);
  finishDelivery(shard, session, offset);
  pump(shard, session);
  return 0;
}

function onPubrec(shard: Shard, connection: Connection, session: Session, packetId: number, reason: Reason): number {
  const { deliveries, stored } = session;
  const offset = deliveries.find(packetId);
  if (offset < 0) {
    if (reason < Reason.UNSPECIFIED)
      answer(shard, connection, PacketType.PUBREL, packetId, Reason.PACKET_IDENTIFIER_NOT_FOUND, 0);
    return 0;
  }
  if (deliveries.qos(offset) !== 2) return fault(Reason.PROTOCOL_ERROR);
  if (reason >= Reason.UNSPECIFIED) {
    finishDelivery(shard, session, offset); // the receiver refuses it: the identifier is free again [MQTT-4.3.3-4]
    pump(shard, session);
    return 0;
  }
  if (deliveries.state(offset) === DeliveryState.AWAIT_ACK) {
    releaseQueued(shard, session, deliveries.setReceived(offset));
    if (stored !== 0) shard.store.markReceived(stored, deliveries.base + offset);
  }
  // A PUBREL that the store does not remember would let the message be sent again after a crash, as a new one.
  answer(shard, connection, PacketType.PUBREL, packetId, Reason.SUCCESS, stored === 0 ? 0 : shard.store.sequence);
  return 0;
}

function onPubcomp(shard: Shard, session: Session, packetId: number): number {
  const { deliveries } = session;
  const offset = deliveries.find(packetId);
  if (offset < 0) return 0;
  if (deliveries.qos(offset) !== 2) return fault(Reason.PROTOCOL_ERROR);
  if (deliveries.state(offset) !== DeliveryState.AWAIT_COMP) return fault(Reason.PROTOCOL_ERROR); // before its PUBREC
  finishDelivery(shard, session, offset);
  pump(shard, session);
  return 0;
}

function onPubrel(shard: Shard, connection: Connection, session: Session, packetId: number): number {
  const known = session.inbound.remove(packetId);
  const reason = known || connection.level !== Level.V5 ? Reason.SUCCESS : Reason.PACKET_IDENTIFIER_NOT_FOUND;
  if (known && session.stored !== 0) shard.store.dropInbound(session.stored, packetId);
  // Until the release is durable the identifier counts as used: a PUBCOMP before it could cost the next message that has it. An
  // identifier that is not known may have been released a moment ago, by a PUBREL that is now repeated.
  const sequence = session.stored === 0 ? 0 : shard.store.sequence;
  answer(shard, connection, PacketType.PUBCOMP, packetId, reason, sequence); // [MQTT-4.3.3-11]
  return 0;
}
