// What a client reads of a server (MQTT 5.0 §3.2, §3.9, §3.14; 3.1.1 the same): CONNACK, SUBACK and DISCONNECT. This broker is a client only where it is a bridge. As strict as what is read of
// clients: the bytes come from another machine.
import { Cursor } from './cold.ts';
import { fault, Level, PacketType, Reason } from './packet.ts';
import { Properties, PropertySet } from './properties.ts';

/** A CONNACK; where a property is absent, what the standard says then. */
export interface ConnackPacket {
  readonly sessionPresent: boolean;
  /** Reason code of MQTT 5, or a return code of MQTT 3 as the reason that it stands for. */
  readonly reason: Reason;
  readonly receiveMaximum: number;
  /** 0: no limit. */
  readonly maximumPacketSize: number;
  readonly maximumQos: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  /** -1: the client's own holds. */
  readonly serverKeepAliveS: number;
}

const RECEIVE_MAXIMUM_DEFAULT = 65_535;
/** User properties that may stand in a packet that is read to the end and let go. */
const USER_PROPERTIES_MAX = 128;

/** What the return codes of MQTT 3.1.1 §3.2.2.3 mean. */
const RETURN_CODES: readonly Reason[] = [
  Reason.SUCCESS,
  Reason.UNSUPPORTED_PROTOCOL_VERSION,
  Reason.CLIENT_IDENTIFIER_NOT_VALID,
  Reason.SERVER_UNAVAILABLE,
  Reason.BAD_USER_NAME_OR_PASSWORD,
  Reason.NOT_AUTHORIZED,
];

/**
 * Decodes the body [from, to) of a CONNACK that answers a CONNECT of `level`. A server that does not know the level answers in the form of the one that it knows: a refusal is read in either. Returns the
 * packet or a fault.
 */
export function decodeConnack(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  level: Level,
): ConnackPacket | number {
  if (header !== PacketType.CONNACK << 4) return fault(Reason.PROTOCOL_ERROR);
  const cursor = new Cursor(buffer, from, to);
  const flags = cursor.u8();
  const code = cursor.u8();
  if (cursor.fault !== 0 || flags > 1) return fault(Reason.MALFORMED_PACKET);
  const properties = new Properties();
  if (level === Level.V5 && cursor.more) cursor.properties(PropertySet.CONNACK, USER_PROPERTIES_MAX, properties);
  else if (level !== Level.V5 && code >= Reason.UNSPECIFIED) cursor.at = to;
  else if (level === Level.V5 && code === 0) return fault(Reason.MALFORMED_PACKET);
  const finished = cursor.finish();
  if (finished < 0) return finished;
  const isReturnCode = code < RETURN_CODES.length;
  const reason = isReturnCode ? RETURN_CODES[code]! : (code as Reason);
  if (!isReturnCode && code < Reason.UNSPECIFIED) return fault(Reason.PROTOCOL_ERROR);
  return {
    sessionPresent: flags === 1,
    reason,
    receiveMaximum: properties.receiveMaximum || RECEIVE_MAXIMUM_DEFAULT,
    maximumPacketSize: properties.maximumPacketSize,
    maximumQos: properties.maximumQos < 0 ? 2 : (properties.maximumQos as 0 | 1),
    retainAvailable: properties.retainAvailable !== 0,
    serverKeepAliveS: properties.serverKeepAliveS,
  };
}

/** Reason codes of a SUBACK in [from, to), one for each filter, or a fault. */
export function decodeSuback(buffer: Uint8Array, header: number, from: number, to: number, level: Level): number[] | number {
  if (header !== PacketType.SUBACK << 4) return fault(Reason.MALFORMED_PACKET);
  const cursor = new Cursor(buffer, from, to);
  cursor.u16();
  if (level === Level.V5) cursor.properties(PropertySet.SUBACK, USER_PROPERTIES_MAX, new Properties());
  const reasons: number[] = [];
  while (cursor.more) reasons.push(cursor.u8());
  return cursor.fault !== 0 ? cursor.fault : reasons;
}

/** Why a server ends the connection: the reason of its DISCONNECT in [from, to), or a fault. */
export function decodeServerDisconnect(buffer: Uint8Array, header: number, from: number, to: number, level: Level): number {
  if (header !== PacketType.DISCONNECT << 4 || level !== Level.V5) return fault(Reason.PROTOCOL_ERROR);
  if (from === to) return Reason.SUCCESS;
  const cursor = new Cursor(buffer, from, to);
  const reason = cursor.u8();
  if (cursor.more) cursor.properties(PropertySet.DISCONNECT, USER_PROPERTIES_MAX, new Properties());
  const finished = cursor.finish();
  return finished < 0 ? finished : reason;
}
