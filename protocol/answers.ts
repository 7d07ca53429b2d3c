// Answers whose bytes are known beforehand. Shared by all connections: never written to.
import { connackCode } from './connect.ts';
import { disconnectCode } from './disconnect.ts';
import { Level, PacketType, Reason } from './packet.ts';

export const PINGRESP: Uint8Array = Uint8Array.of(PacketType.PINGRESP << 4, 0);

const NOTHING = new Uint8Array(0);
const disconnects: Uint8Array[] = [];
const refusals5: Uint8Array[] = [];
const refusals3: Uint8Array[] = [];

for (const reason of Object.values(Reason)) {
  disconnects[reason] = Uint8Array.of(PacketType.DISCONNECT << 4, 2, disconnectCode(reason), 0);
  refusals5[reason] = Uint8Array.of(PacketType.CONNACK << 4, 3, 0, connackCode(Level.V5, reason), 0);
  refusals3[reason] = Uint8Array.of(PacketType.CONNACK << 4, 2, 0, connackCode(Level.V311, reason));
}
// [MQTT3-3.1.4-1] a CONNECT that breaks the format is not answered
refusals3[Reason.MALFORMED_PACKET] = NOTHING;
refusals3[Reason.PROTOCOL_ERROR] = NOTHING;

/** DISCONNECT of MQTT 5 that gives `reason`, or the nearest that DISCONNECT knows. */
export function disconnectAnswer(reason: Reason): Uint8Array {
  return disconnects[reason]!;
}

/**
 * CONNACK that refuses for `reason`, or the nearest that CONNACK of `level` knows; session present is 0 [MQTT-3.2.2-6].
 * Empty where MQTT 3 wants the connection closed without one.
 */
export function connackRefusal(level: Level, reason: Reason): Uint8Array {
  return (level === Level.V5 ? refusals5 : refusals3)[reason]!;
}
