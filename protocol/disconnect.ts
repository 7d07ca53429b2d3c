// DISCONNECT and AUTH (MQTT 5.0 §3.14 and §3.15; MQTT 3 knows a bare DISCONNECT only).
import { Cursor, encode, present } from './cold.ts';
import { authenticationOf } from './connect.ts';
import type { Limits } from './limits.ts';
import { fault, Level, PacketType, Reason } from './packet.ts';
import { Properties, PropertySet } from './properties.ts';

export interface DisconnectPacket {
  reason: Reason;
  /** -1: as before. */
  sessionExpiryS: number;
}

export interface AuthPacket {
  /** CONTINUE_AUTHENTICATION or REAUTHENTICATE. */
  reason: Reason;
  method: string;
  /** Owned. */
  data: Uint8Array | null;
}

/** Reason codes that a client may send (§3.14.2.1). */
const FROM_CLIENT: ReadonlySet<number> = new Set([
  Reason.SUCCESS,
  Reason.DISCONNECT_WITH_WILL,
  Reason.UNSPECIFIED,
  Reason.MALFORMED_PACKET,
  Reason.PROTOCOL_ERROR,
  Reason.IMPLEMENTATION_SPECIFIC,
  Reason.TOPIC_NAME_INVALID,
  Reason.RECEIVE_MAXIMUM_EXCEEDED,
  Reason.TOPIC_ALIAS_INVALID,
  Reason.PACKET_TOO_LARGE,
  Reason.MESSAGE_RATE_TOO_HIGH,
  Reason.QUOTA_EXCEEDED,
  Reason.ADMINISTRATIVE_ACTION,
  Reason.PAYLOAD_FORMAT_INVALID,
]);

/** Reasons that DISCONNECT does not know, and what it says instead [MQTT-3.14.2-1]. */
const INSTEAD: ReadonlyMap<Reason, Reason> = new Map<Reason, Reason>([
  [Reason.UNSUPPORTED_PROTOCOL_VERSION, Reason.PROTOCOL_ERROR],
  [Reason.CLIENT_IDENTIFIER_NOT_VALID, Reason.PROTOCOL_ERROR],
  [Reason.BAD_USER_NAME_OR_PASSWORD, Reason.NOT_AUTHORIZED],
  [Reason.SERVER_UNAVAILABLE, Reason.SERVER_BUSY],
  [Reason.BANNED, Reason.NOT_AUTHORIZED],
  [Reason.BAD_AUTHENTICATION_METHOD, Reason.NOT_AUTHORIZED],
  [Reason.PACKET_IDENTIFIER_IN_USE, Reason.PROTOCOL_ERROR],
  [Reason.PACKET_IDENTIFIER_NOT_FOUND, Reason.PROTOCOL_ERROR],
]);

/** The reason code with which DISCONNECT says `reason`. */
export function disconnectCode(reason: Reason): Reason {
  return INSTEAD.get(reason) ?? reason;
}

/** Decodes the body [from, to) of a DISCONNECT. Returns the packet or a fault. */
export function decodeDisconnect(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  level: Level,
  limits: Limits,
): DisconnectPacket | number {
  if (header !== PacketType.DISCONNECT << 4) return fault(Reason.MALFORMED_PACKET); // [MQTT-3.14.1-1]
  const cursor = new Cursor(buffer, from, to);
  const properties = new Properties();
  let reason: number = Reason.SUCCESS;
  if (level === Level.V5) {
    if (cursor.more) reason = cursor.u8();
    if (!FROM_CLIENT.has(reason)) cursor.fail(Reason.PROTOCOL_ERROR); // [MQTT-3.14.2-1]
    if (cursor.more) cursor.properties(PropertySet.DISCONNECT, limits.userPropertiesMax, properties);
  }
  const finished = cursor.finish();
  return finished < 0 ? finished : { reason: reason as Reason, sessionExpiryS: properties.sessionExpiryS };
}

/** Decodes the body [from, to) of an AUTH. Returns the packet or a fault. */
export function decodeAuth(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  level: Level,
  limits: Limits,
): AuthPacket | number {
  if (header !== PacketType.AUTH << 4) return fault(Reason.MALFORMED_PACKET); // [MQTT-3.15.1-1]
  if (level !== Level.V5) return fault(Reason.PROTOCOL_ERROR);
  const cursor = new Cursor(buffer, from, to);
  const properties = new Properties();
  // An empty body stands for Success without properties, which only a server may say.
  const reason = cursor.more ? cursor.u8() : Reason.SUCCESS;
  const isKnown = reason === Reason.CONTINUE_AUTHENTICATION || reason === Reason.REAUTHENTICATE;
  if (!isKnown) return fault(Reason.PROTOCOL_ERROR); // [MQTT-3.15.2-1]
  cursor.properties(PropertySet.AUTH, limits.userPropertiesMax, properties);
  const finished = cursor.finish();
  if (finished < 0) return finished;
  const { authenticationMethod: method, authenticationData: data } = authenticationOf(buffer, properties);
  return method === null ? fault(Reason.PROTOCOL_ERROR) : { reason, method, data }; // §3.15.2.2.2
}

/** Encodes a DISCONNECT of MQTT 5. A server sends no Session Expiry Interval [MQTT-3.14.2-2]. */
export function encodeDisconnect(disconnect: { reason: Reason; reasonString?: string; serverReference?: string }): Uint8Array {
  const { reason, reasonString, serverReference } = disconnect;
  const properties = present<{ reasonString?: string; serverReference?: string }>({ reasonString, serverReference });
  return encode({ cmd: 'disconnect', reasonCode: disconnectCode(reason), properties }, Level.V5);
}

/** Encodes an AUTH. */
export function encodeAuth(auth: {
  reason: Reason;
  method: string | null;
  data: Uint8Array | null;
  reasonString?: string;
}): Uint8Array {
  const { reason, method, data, reasonString } = auth;
  const properties = present<{ authenticationMethod?: string; authenticationData?: Buffer; reasonString?: string }>({
    authenticationMethod: method ?? undefined,
    authenticationData: data === null ? undefined : Buffer.from(data.buffer, data.byteOffset, data.length),
    reasonString,
  });
  return encode({ cmd: 'auth', reasonCode: reason, properties }, Level.V5);
}
