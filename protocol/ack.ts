// HOT: no allocation, closures, strings, try or async per message.
// PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0 §3.4 to §3.7, 3.1.1 the same), decoded where they lie and written in place.
import { readU16, writeU16 } from './bytes.ts';
import { fault, Level, PacketType, Reason } from './packet.ts';
import { Properties, walkProperties } from './properties.ts';

/** Room that `writeAck` needs. */
export const ACK_BYTES_MAX = 5;

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const DUP_FLAG = 0x08;

/** Reason codes that each of the four may carry, as a bit per packet type. */
const REASON_TYPES = new Uint8Array(256);
const RECEIVED = (1 << PacketType.PUBACK) | (1 << PacketType.PUBREC);
const RELEASED = (1 << PacketType.PUBREL) | (1 << PacketType.PUBCOMP);
for (const reason of [
  Reason.SUCCESS,
  Reason.NO_MATCHING_SUBSCRIBERS,
  Reason.UNSPECIFIED,
  Reason.IMPLEMENTATION_SPECIFIC,
  Reason.NOT_AUTHORIZED,
  Reason.TOPIC_NAME_INVALID,
  Reason.PACKET_IDENTIFIER_IN_USE,
  Reason.QUOTA_EXCEEDED,
  Reason.PAYLOAD_FORMAT_INVALID,
]) {
  REASON_TYPES[reason] = RECEIVED;
}
REASON_TYPES[Reason.SUCCESS] = RECEIVED | RELEASED;
REASON_TYPES[Reason.PACKET_IDENTIFIER_NOT_FOUND] = RELEASED;

const properties = new Properties();

/** One acknowledgement; reused for each packet. */
export class AckView {
  packetId = 0;
  /** SUCCESS when the packet carries none. */
  reason: Reason = Reason.SUCCESS;
}

/** Flags of the fixed header: PUBREL has 0010, the others 0000. */
function flagsOf(type: PacketType): number {
  return type === PacketType.PUBREL ? 2 : 0;
}

/**
 * Decodes the body [from, to) of one of the four packets. Returns 0 or a fault: MALFORMED_PACKET for flags
 * [MQTT-2.1.3-1] [MQTT-3.6.1-1], packet identifier 0 or a body that does not add up; PROTOCOL_ERROR for a reason code
 * that the packet cannot carry; the faults of `walkProperties`.
 */
export function decodeAck(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  level: Level,
  userPropertiesMax: number,
  out: AckView,
): number {
  const type = (header >>> 4) as PacketType;
  // MQTT 3.1 §3.6 lets a client set DUP on a PUBREL that it repeats.
  const mayRepeat = level === Level.V31 && type === PacketType.PUBREL;
  const flags = header & (mayRepeat ? 0x0f ^ DUP_FLAG : 0x0f);
  const length = to - from;
  if (flags !== flagsOf(type) || length < 2) return MALFORMED;
  out.packetId = readU16(buffer, from);
  out.reason = Reason.SUCCESS;
  if (out.packetId === 0) return MALFORMED;
  if (length === 2) return 0;
  if (level !== Level.V5) return MALFORMED;
  const reason = buffer[from + 2]!;
  // [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
  if ((REASON_TYPES[reason]! & (1 << type)) === 0) return fault(Reason.PROTOCOL_ERROR);
  out.reason = reason as Reason;
  if (length === 3) return 0;
  const end = walkProperties(buffer, from + 3, to, 1 << type, userPropertiesMax, properties);
  if (end < 0) return end;
  return end === to ? 0 : MALFORMED;
}

/** Writes one of the four at `at`; returns the bytes written: 4, or 5 with a reason, which MQTT 3 does not carry. */
export function writeAck(out: Uint8Array, at: number, type: PacketType, packetId: number, reason: Reason, level: Level): number {
  const hasReason = reason !== Reason.SUCCESS && level === Level.V5;
  out[at] = (type << 4) | flagsOf(type);
  out[at + 1] = hasReason ? 3 : 2;
  writeU16(out, at + 2, packetId); // [MQTT-2.2.1-5]
  if (!hasReason) return 4;
  out[at + 4] = reason;
  return 5;
}
