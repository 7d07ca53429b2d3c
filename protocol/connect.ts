// CONNECT and CONNACK (MQTT 5.0 §3.1 and §3.2, 3.1.1 and 3.1 the same). Judges what one packet can show; whether the
// client may come in, and which session it gets, is for others to say.
import type { IConnackPacket } from 'mqtt-packet';
import { copyBytes, ownBytes } from './bytes.ts';
import { Cursor, encode, present, textOf } from './cold.ts';
import type { Limits } from './limits.ts';
import { fault, Level, PacketType, Reason } from './packet.ts';
import { Properties, PropertySet } from './properties.ts';
import { validateTopicName } from './topic.ts';

/** Message the server publishes when the client is lost. Owned. */
export interface Will {
  qos: number;
  retain: boolean;
  topic: Uint8Array;
  payload: Uint8Array;
  delayS: number;
  /** -1: does not expire. */
  expiryS: number;
  /** Property bytes to publish with it, in their order: no length, will delay or message expiry. */
  properties: Uint8Array;
}

/** A decoded CONNECT. Owned: nothing of it lies in the read buffer. */
export interface ConnectPacket {
  level: Level;
  /** A bridge of MQTT 3 says that it is one: what it publishes must not come back to it. Always false at level 5, which has No Local for that. */
  bridge: boolean;
  /** Clean Start, or Clean Session of MQTT 3. */
  clean: boolean;
  keepAliveS: number;
  /** Empty when the server shall choose one; never at level 3. */
  clientId: string;
  username: string | null;
  password: Uint8Array | null;
  will: Will | null;
  /** MQTT 3 has none: 0 with Clean Session, else SESSION_NEVER_EXPIRES. */
  sessionExpiryS: number;
  /** 65,535 when absent. */
  receiveMaximum: number;
  /** Bytes; 0: no limit. */
  maximumPacketSize: number;
  topicAliasMaximum: number;
  requestResponseInformation: boolean;
  requestProblemInformation: boolean;
  authenticationMethod: string | null;
  authenticationData: Uint8Array | null;
}

export const SESSION_NEVER_EXPIRES = 0xffff_ffff;
const RECEIVE_MAXIMUM_DEFAULT = 65_535;

/** Bits of the connect flags (§3.1.2.3). */
const ConnectFlag = {
  RESERVED: 0x01,
  CLEAN: 0x02,
  WILL: 0x04,
  WILL_QOS: 0x18,
  WILL_RETAIN: 0x20,
  PASSWORD: 0x40,
  USERNAME: 0x80,
} as const;
/** Upper bit of the level byte of MQTT 3 by which bridges make themselves known: no level of the standard, but what Mosquitto's send (`try_private`) and rsmb's did. */
export const BRIDGE_BIT = 0x80;
const WILL_QOS_SHIFT = 3;
const WILL_DELAY_BYTES = 5;
const MESSAGE_EXPIRY_BYTES = 5;

/**
 * Decodes the body [from, to) of a CONNECT. Returns the packet or a fault: UNSUPPORTED_PROTOCOL_VERSION for a name and
 * level other than MQIsdp 3, MQTT 4 (both also with a bridge's bit) and MQTT 5; MALFORMED_PACKET and PROTOCOL_ERROR where the bytes break the format;
 * TOPIC_NAME_INVALID for the will topic; CLIENT_IDENTIFIER_NOT_VALID when too long, or empty at level 3; the faults of
 * `walkProperties`.
 */
export function decodeConnect(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  limits: Limits,
): ConnectPacket | number {
  if (header !== PacketType.CONNECT << 4) return fault(Reason.MALFORMED_PACKET); // [MQTT-2.1.3-1]
  const cursor = new Cursor(buffer, from, to);
  const name = cursor.text();
  const levelByte = cursor.u8();
  if (cursor.fault !== 0) return cursor.fault;
  const isMarked = levelByte === (Level.V31 | BRIDGE_BIT) || levelByte === (Level.V311 | BRIDGE_BIT);
  const level = levelOf(name, isMarked ? levelByte ^ BRIDGE_BIT : levelByte);
  if (level === null) return fault(Reason.UNSUPPORTED_PROTOCOL_VERSION); // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
  const flags = cursor.u8();
  const judged = judgeFlags(flags, level);
  if (cursor.fault === 0 && judged < 0) return judged;
  const keepAliveS = cursor.u16();
  const properties = new Properties();
  if (level === Level.V5) cursor.properties(PropertySet.CONNECT, limits.userPropertiesMax, properties);
  const clientId = cursor.utf8(); // [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4]
  const will = (flags & ConnectFlag.WILL) === 0 ? null : readWill(cursor, flags, level, limits); // [MQTT-3.1.2-9]
  const username = (flags & ConnectFlag.USERNAME) === 0 ? null : cursor.text(); // [MQTT-3.1.2-17] [MQTT-3.1.3-12]
  const password = (flags & ConnectFlag.PASSWORD) === 0 ? null : cursor.binary(); // [MQTT-3.1.2-19]
  const finished = cursor.finish(); // [MQTT-3.1.2-16] [MQTT-3.1.2-18]
  if (finished < 0) return finished;
  // MQTT 3.1 sets 23 characters as the maximum, which its servers and clients never kept to.
  const isEmpty = clientId.length === 0;
  if (clientId.length > limits.clientIdBytesMax || (isEmpty && level === Level.V31))
    return fault(Reason.CLIENT_IDENTIFIER_NOT_VALID);
  const clean = (flags & ConnectFlag.CLEAN) !== 0;
  return {
    level,
    bridge: isMarked,
    clean,
    keepAliveS,
    clientId: textOf(clientId, 0, clientId.length),
    username,
    password,
    will,
    sessionExpiryS: level === Level.V5 ? Math.max(properties.sessionExpiryS, 0) : clean ? 0 : SESSION_NEVER_EXPIRES,
    receiveMaximum: properties.receiveMaximum || RECEIVE_MAXIMUM_DEFAULT,
    maximumPacketSize: properties.maximumPacketSize,
    topicAliasMaximum: properties.topicAliasMaximum,
    requestResponseInformation: properties.requestResponse === 1,
    requestProblemInformation: properties.requestProblem !== 0,
    ...authenticationOf(buffer, properties),
  };
}

/** Authentication Method and Authentication Data, each null when absent; owned. */
export function authenticationOf(
  buffer: Uint8Array,
  properties: Properties,
): { authenticationMethod: string | null; authenticationData: Uint8Array | null } {
  const { authenticationMethodFrom: methodFrom, authenticationDataFrom: dataFrom } = properties;
  return {
    authenticationMethod: methodFrom < 0 ? null : textOf(buffer, methodFrom, properties.authenticationMethodTo),
    authenticationData: dataFrom < 0 ? null : ownBytes(buffer, dataFrom, properties.authenticationDataTo),
  };
}

function levelOf(name: string, levelByte: number): Level | null {
  if (name === 'MQIsdp') return levelByte === Level.V31 ? Level.V31 : null;
  if (name !== 'MQTT') return null;
  return levelByte === Level.V311 || levelByte === Level.V5 ? levelByte : null;
}

function judgeFlags(flags: number, level: Level): number {
  const malformed = fault(Reason.MALFORMED_PACKET);
  if ((flags & ConnectFlag.RESERVED) !== 0) return malformed; // [MQTT-3.1.2-3]
  const willQos = (flags & ConnectFlag.WILL_QOS) >> WILL_QOS_SHIFT;
  if (willQos === 3) return malformed; // [MQTT-3.1.2-12]
  const hasWill = (flags & ConnectFlag.WILL) !== 0;
  if (!hasWill && (willQos !== 0 || (flags & ConnectFlag.WILL_RETAIN) !== 0)) return malformed; // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
  const onlyPassword = (flags & (ConnectFlag.USERNAME | ConnectFlag.PASSWORD)) === ConnectFlag.PASSWORD;
  return onlyPassword && level !== Level.V5 ? malformed : 0; // [MQTT3-3.1.2-22]
}

function readWill(cursor: Cursor, flags: number, level: Level, limits: Limits): Will {
  const properties = new Properties();
  if (level === Level.V5) cursor.properties(PropertySet.WILL, limits.userPropertiesMax, properties);
  const forwarded = cursor.fault === 0 ? forwardedOf(cursor.buffer, properties) : new Uint8Array(0);
  const topic = cursor.utf8(); // [MQTT-3.1.3-11]
  const payload = cursor.binary();
  if (cursor.fault === 0) {
    const judged = validateTopicName(topic, 0, topic.length, limits.topicBytesMax, limits.topicLevelsMax);
    if (judged < 0) cursor.fault = judged;
  }
  return {
    qos: (flags & ConnectFlag.WILL_QOS) >> WILL_QOS_SHIFT,
    retain: (flags & ConnectFlag.WILL_RETAIN) !== 0,
    topic,
    payload,
    delayS: Math.max(properties.willDelayS, 0),
    expiryS: properties.messageExpiryS,
    properties: forwarded,
  };
}

/** Copies the properties of a will that its message carries, closed up around the two that it does not [MQTT-3.1.3-10]. */
function forwardedOf(buffer: Uint8Array, properties: Properties): Uint8Array {
  const { from, to, willDelayAt, messageExpiryAt } = properties;
  const kept = new Uint8Array(to - from);
  let end = 0;
  let at = from;
  const skips = [
    { skipAt: willDelayAt, bytes: WILL_DELAY_BYTES },
    { skipAt: messageExpiryAt, bytes: MESSAGE_EXPIRY_BYTES },
  ].sort((a, b) => a.skipAt - b.skipAt);
  for (const { skipAt, bytes } of skips) {
    if (skipAt < 0) continue;
    end = copyBytes(buffer, at, skipAt, kept, end);
    at = skipAt + bytes;
  }
  end = copyBytes(buffer, at, to, kept, end);
  return kept.slice(0, end);
}

/** Fields of CONNACK; what is left out is not sent. MQTT 3 carries the first two alone. */
export interface Connack {
  sessionPresent: boolean;
  reason: Reason;
  sessionExpiryS?: number;
  receiveMaximum?: number;
  /** 0 or 1; left out means 2. */
  maximumQos?: number;
  retainAvailable?: boolean;
  maximumPacketSize?: number;
  assignedClientId?: string;
  topicAliasMaximum?: number;
  reasonString?: string;
  wildcardSubscriptions?: boolean;
  subscriptionIdentifiers?: boolean;
  sharedSubscriptions?: boolean;
  serverKeepAlive?: number;
  responseInformation?: string;
  serverReference?: string;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
}

/** Encodes CONNACK; the reason becomes one that `level` knows (see `connackCode`). */
export function encodeConnack(level: Level, connack: Connack): Uint8Array {
  const code = connackCode(level, connack.reason);
  const sessionPresent = connack.sessionPresent && code === 0; // [MQTT-3.2.2-6]
  if (level !== Level.V5) return encode({ cmd: 'connack', sessionPresent, returnCode: code }, level);
  const data = connack.authenticationData;
  const properties = present<NonNullable<IConnackPacket['properties']>>({
    sessionExpiryInterval: connack.sessionExpiryS,
    receiveMaximum: connack.receiveMaximum,
    maximumQoS: connack.maximumQos,
    retainAvailable: connack.retainAvailable,
    maximumPacketSize: connack.maximumPacketSize,
    assignedClientIdentifier: connack.assignedClientId,
    topicAliasMaximum: connack.topicAliasMaximum,
    reasonString: connack.reasonString,
    wildcardSubscriptionAvailable: connack.wildcardSubscriptions,
    subscriptionIdentifiersAvailable: connack.subscriptionIdentifiers,
    sharedSubscriptionAvailable: connack.sharedSubscriptions,
    serverKeepAlive: connack.serverKeepAlive,
    responseInformation: connack.responseInformation,
    serverReference: connack.serverReference,
    authenticationMethod: connack.authenticationMethod,
    authenticationData: data === undefined ? undefined : Buffer.from(data.buffer, data.byteOffset, data.length),
  });
  return encode({ cmd: 'connack', sessionPresent, reasonCode: code, properties }, level);
}

/** Reason codes of CONNACK [MQTT-3.2.2-8], and the return code of MQTT 3.1.1 §3.2.2.3 (3.1 the same) that says it best. */
const CONNACK_CODES: ReadonlyMap<Reason, number> = new Map<Reason, number>([
  [Reason.SUCCESS, 0],
  [Reason.UNSPECIFIED, 3],
  [Reason.MALFORMED_PACKET, 3],
  [Reason.PROTOCOL_ERROR, 3],
  [Reason.IMPLEMENTATION_SPECIFIC, 3],
  [Reason.UNSUPPORTED_PROTOCOL_VERSION, 1],
  [Reason.CLIENT_IDENTIFIER_NOT_VALID, 2],
  [Reason.BAD_USER_NAME_OR_PASSWORD, 4],
  [Reason.NOT_AUTHORIZED, 5],
  [Reason.SERVER_UNAVAILABLE, 3],
  [Reason.SERVER_BUSY, 3],
  [Reason.BANNED, 5],
  [Reason.BAD_AUTHENTICATION_METHOD, 5],
  [Reason.TOPIC_NAME_INVALID, 3],
  [Reason.PACKET_TOO_LARGE, 3],
  [Reason.QUOTA_EXCEEDED, 3],
  [Reason.PAYLOAD_FORMAT_INVALID, 3],
  [Reason.RETAIN_NOT_SUPPORTED, 3],
  [Reason.QOS_NOT_SUPPORTED, 3],
  [Reason.USE_ANOTHER_SERVER, 3],
  [Reason.SERVER_MOVED, 3],
  [Reason.CONNECTION_RATE_EXCEEDED, 3],
]);

/** What CONNACK of `level` says for `reason`: a reason code, or a return code of MQTT 3. */
export function connackCode(level: Level, reason: Reason): number {
  const stoppingIsUnavailable = reason === Reason.SERVER_SHUTTING_DOWN ? Reason.SERVER_UNAVAILABLE : reason;
  const known = CONNACK_CODES.has(stoppingIsUnavailable) ? stoppingIsUnavailable : Reason.UNSPECIFIED;
  return level === Level.V5 ? known : CONNACK_CODES.get(known)!;
}
