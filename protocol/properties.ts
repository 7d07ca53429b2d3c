// HOT: no allocation, closures, strings, try or async per message.
// The properties of MQTT 5.0 (§2.2.2): one walk over the bytes judges identifiers, types, repetitions and values, and
// notes numbers and byte ranges. Nothing is copied; what a property means is left to the packet that carries it.
import { readU16, varintBytes } from './bytes.ts';
import { fault, PacketType, Reason } from './packet.ts';
import { validateUtf8 } from './utf8.ts';

/** Where properties stand: one bit per packet type, and one for those of a will inside CONNECT. */
export const PropertySet = {
  WILL: 1 << 0,
  CONNECT: 1 << PacketType.CONNECT,
  CONNACK: 1 << PacketType.CONNACK,
  PUBLISH: 1 << PacketType.PUBLISH,
  PUBACK: 1 << PacketType.PUBACK,
  PUBREC: 1 << PacketType.PUBREC,
  PUBREL: 1 << PacketType.PUBREL,
  PUBCOMP: 1 << PacketType.PUBCOMP,
  SUBSCRIBE: 1 << PacketType.SUBSCRIBE,
  SUBACK: 1 << PacketType.SUBACK,
  UNSUBSCRIBE: 1 << PacketType.UNSUBSCRIBE,
  UNSUBACK: 1 << PacketType.UNSUBACK,
  DISCONNECT: 1 << PacketType.DISCONNECT,
  AUTH: 1 << PacketType.AUTH,
} as const;

/** Property identifiers of §2.2.2.2. */
export const Property = {
  PAYLOAD_FORMAT_INDICATOR: 0x01,
  MESSAGE_EXPIRY_INTERVAL: 0x02,
  CONTENT_TYPE: 0x03,
  RESPONSE_TOPIC: 0x08,
  CORRELATION_DATA: 0x09,
  SUBSCRIPTION_IDENTIFIER: 0x0b,
  SESSION_EXPIRY_INTERVAL: 0x11,
  ASSIGNED_CLIENT_IDENTIFIER: 0x12,
  SERVER_KEEP_ALIVE: 0x13,
  AUTHENTICATION_METHOD: 0x15,
  AUTHENTICATION_DATA: 0x16,
  REQUEST_PROBLEM_INFORMATION: 0x17,
  WILL_DELAY_INTERVAL: 0x18,
  REQUEST_RESPONSE_INFORMATION: 0x19,
  RESPONSE_INFORMATION: 0x1a,
  SERVER_REFERENCE: 0x1c,
  REASON_STRING: 0x1f,
  RECEIVE_MAXIMUM: 0x21,
  TOPIC_ALIAS_MAXIMUM: 0x22,
  TOPIC_ALIAS: 0x23,
  MAXIMUM_QOS: 0x24,
  RETAIN_AVAILABLE: 0x25,
  USER_PROPERTY: 0x26,
  MAXIMUM_PACKET_SIZE: 0x27,
  WILDCARD_SUBSCRIPTION_AVAILABLE: 0x28,
  SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0x29,
  SHARED_SUBSCRIPTION_AVAILABLE: 0x2a,
} as const;

/** Data types of §1.5. Every property of one byte is 0 or 1. */
const Type = { NONE: 0, BIT: 1, U16: 2, U32: 3, VARINT: 4, STRING: 5, BINARY: 6, PAIR: 7 } as const;

const P = PropertySet;
const MESSAGE = P.PUBLISH | P.WILL;
const ANSWERS = P.CONNACK | P.PUBACK | P.PUBREC | P.PUBREL | P.PUBCOMP | P.SUBACK | P.UNSUBACK | P.DISCONNECT | P.AUTH;
const EVERYWHERE = ANSWERS | MESSAGE | P.CONNECT | P.SUBSCRIBE | P.UNSUBSCRIBE;

/** Table 2-4 of the standard, as packets from a client see it: a Subscription Identifier stands in SUBSCRIBE only. */
const TABLE: readonly (readonly [id: number, type: number, sets: number])[] = [
  [Property.PAYLOAD_FORMAT_INDICATOR, Type.BIT, MESSAGE],
  [Property.MESSAGE_EXPIRY_INTERVAL, Type.U32, MESSAGE],
  [Property.CONTENT_TYPE, Type.STRING, MESSAGE],
  [Property.RESPONSE_TOPIC, Type.STRING, MESSAGE],
  [Property.CORRELATION_DATA, Type.BINARY, MESSAGE],
  [Property.SUBSCRIPTION_IDENTIFIER, Type.VARINT, P.SUBSCRIBE],
  [Property.SESSION_EXPIRY_INTERVAL, Type.U32, P.CONNECT | P.CONNACK | P.DISCONNECT],
  [Property.ASSIGNED_CLIENT_IDENTIFIER, Type.STRING, P.CONNACK],
  [Property.SERVER_KEEP_ALIVE, Type.U16, P.CONNACK],
  [Property.AUTHENTICATION_METHOD, Type.STRING, P.CONNECT | P.CONNACK | P.AUTH],
  [Property.AUTHENTICATION_DATA, Type.BINARY, P.CONNECT | P.CONNACK | P.AUTH],
  [Property.REQUEST_PROBLEM_INFORMATION, Type.BIT, P.CONNECT],
  [Property.WILL_DELAY_INTERVAL, Type.U32, P.WILL],
  [Property.REQUEST_RESPONSE_INFORMATION, Type.BIT, P.CONNECT],
  [Property.RESPONSE_INFORMATION, Type.STRING, P.CONNACK],
  [Property.SERVER_REFERENCE, Type.STRING, P.CONNACK | P.DISCONNECT],
  [Property.REASON_STRING, Type.STRING, ANSWERS],
  [Property.RECEIVE_MAXIMUM, Type.U16, P.CONNECT | P.CONNACK],
  [Property.TOPIC_ALIAS_MAXIMUM, Type.U16, P.CONNECT | P.CONNACK],
  [Property.TOPIC_ALIAS, Type.U16, P.PUBLISH],
  [Property.MAXIMUM_QOS, Type.BIT, P.CONNACK],
  [Property.RETAIN_AVAILABLE, Type.BIT, P.CONNACK],
  [Property.USER_PROPERTY, Type.PAIR, EVERYWHERE],
  [Property.MAXIMUM_PACKET_SIZE, Type.U32, P.CONNECT | P.CONNACK],
  [Property.WILDCARD_SUBSCRIPTION_AVAILABLE, Type.BIT, P.CONNACK],
  [Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE, Type.BIT, P.CONNACK],
  [Property.SHARED_SUBSCRIPTION_AVAILABLE, Type.BIT, P.CONNACK],
];

const TYPES = new Uint8Array(256);
const SETS = new Uint16Array(256);
for (const [id, type, sets] of TABLE) {
  TYPES[id] = type;
  SETS[id] = sets;
}

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const PROTOCOL_ERROR = fault(Reason.PROTOCOL_ERROR);

/** What one walk found. Reused; offsets point into the walked buffer. A range is [From, To), both -1 when absent. */
export class Properties {
  /** Extent of the property bytes, without their length. */
  from = 0;
  to = 0;
  /** Number of User Properties. */
  userProperties = 0;
  /** Seconds, -1 when absent; `…At` is the offset of the property's identifier byte, -1 when absent. */
  messageExpiryS = -1;
  messageExpiryAt = -1;
  willDelayS = -1;
  willDelayAt = -1;
  sessionExpiryS = -1;
  /** 0 when absent. */
  topicAlias = 0;
  topicAliasAt = -1;
  /** 0 when absent. */
  subscriptionId = 0;
  receiveMaximum = 0;
  maximumPacketSize = 0;
  topicAliasMaximum = 0;
  /** 0 or 1, -1 when absent. */
  payloadFormat = -1;
  requestResponse = -1;
  requestProblem = -1;
  maximumQos = -1;
  retainAvailable = -1;
  /** Seconds, -1 when absent. */
  serverKeepAliveS = -1;
  reasonStringFrom = -1;
  reasonStringTo = -1;
  authenticationMethodFrom = -1;
  authenticationMethodTo = -1;
  authenticationDataFrom = -1;
  authenticationDataTo = -1;
  contentTypeFrom = -1;
  contentTypeTo = -1;
  responseTopicFrom = -1;
  responseTopicTo = -1;
  correlationDataFrom = -1;
  correlationDataTo = -1;
}

function reset(out: Properties): void {
  out.userProperties = 0;
  out.messageExpiryS = out.messageExpiryAt = -1;
  out.willDelayS = out.willDelayAt = -1;
  out.sessionExpiryS = -1;
  out.topicAlias = 0;
  out.topicAliasAt = -1;
  out.subscriptionId = out.receiveMaximum = out.maximumPacketSize = out.topicAliasMaximum = 0;
  out.payloadFormat = out.requestResponse = out.requestProblem = -1;
  out.maximumQos = out.retainAvailable = out.serverKeepAliveS = -1;
  out.reasonStringFrom = out.reasonStringTo = -1;
  out.authenticationMethodFrom = out.authenticationMethodTo = -1;
  out.authenticationDataFrom = out.authenticationDataTo = -1;
  out.contentTypeFrom = out.contentTypeTo = -1;
  out.responseTopicFrom = out.responseTopicTo = -1;
  out.correlationDataFrom = out.correlationDataTo = -1;
}

/**
 * Walks the properties whose length stands at `at`; nothing at or behind `limit` is read. `set` is where they stand.
 * Returns the offset behind them, or a fault and an `out` of no meaning: MALFORMED_PACKET (bytes do not add up, bad
 * UTF-8, an identifier that is unknown or has no place in this packet, §2.2.2.2), PROTOCOL_ERROR (a repetition, a value
 * that the standard forbids), TOPIC_ALIAS_INVALID, QUOTA_EXCEEDED (more than `userPropertiesMax` User Properties).
 */
export function walkProperties(
  buffer: Uint8Array,
  at: number,
  limit: number,
  set: number,
  userPropertiesMax: number,
  out: Properties,
): number {
  const length = readVarint(buffer, at, limit);
  if (length < 0) return length;
  const from = at + varintBytes(length);
  const end = from + length;
  if (end > limit) return MALFORMED;
  // An empty walk leaves nothing to reset for the next one.
  if (out.from !== out.to) reset(out);
  out.from = from;
  out.to = end;
  let seenLow = 0;
  let seenHigh = 0;
  let next = from;
  while (next < end) {
    // Identifiers are variable byte integers too, but those in use take one byte.
    const id = buffer[next]!;
    if ((SETS[id]! & set) === 0) return misplaced(id, set);
    if (id === Property.USER_PROPERTY) {
      if (++out.userProperties > userPropertiesMax) return fault(Reason.QUOTA_EXCEEDED);
    } else if (id < 32) {
      if ((seenLow & (1 << id)) !== 0) return PROTOCOL_ERROR;
      seenLow |= 1 << id;
    } else {
      if ((seenHigh & (1 << (id - 32))) !== 0) return PROTOCOL_ERROR;
      seenHigh |= 1 << (id - 32);
    }
    next = walkOne(buffer, next, end, id, out);
    if (next < 0) return next;
  }
  // §3.1.2.11.10: data without a method
  if (out.authenticationDataFrom >= 0 && out.authenticationMethodFrom < 0) return PROTOCOL_ERROR;
  return end;
}

/** Reads a variable byte integer (§1.5.5), which ends before `limit` and has its shortest form [MQTT-1.5.5-1], or a fault. */
export function readVarint(buffer: Uint8Array, at: number, limit: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (at + i >= limit) return MALFORMED;
    const byte = buffer[at + i]!;
    value |= (byte & 127) << (7 * i);
    if (byte < 128) return byte === 0 && i > 0 ? MALFORMED : value;
  }
  return MALFORMED;
}

function misplaced(id: number, set: number): number {
  const identifiesPublish = id === Property.SUBSCRIPTION_IDENTIFIER && set === PropertySet.PUBLISH;
  return identifiesPublish ? PROTOCOL_ERROR : MALFORMED; // [MQTT-3.3.4-6]
}

/** Judges and notes the property `id` whose identifier stands at `at`; returns the offset behind it or a fault. */
function walkOne(buffer: Uint8Array, at: number, end: number, id: number, out: Properties): number {
  const valueAt = at + 1;
  switch (TYPES[id]) {
    case Type.BIT:
      if (valueAt >= end) return MALFORMED;
      if (buffer[valueAt]! > 1) return PROTOCOL_ERROR;
      noteBit(id, buffer[valueAt]!, out);
      return valueAt + 1;
    case Type.U16:
      if (valueAt + 2 > end) return MALFORMED;
      return noteU16(id, readU16(buffer, valueAt), at, out);
    case Type.U32:
      if (valueAt + 4 > end) return MALFORMED;
      return noteU32(id, readU16(buffer, valueAt) * 65_536 + readU16(buffer, valueAt + 2), at, out);
    case Type.VARINT: {
      const value = readVarint(buffer, valueAt, end);
      if (value < 0) return value;
      if (value === 0) return PROTOCOL_ERROR; // §3.8.2.1.2
      out.subscriptionId = value;
      return valueAt + varintBytes(value);
    }
    case Type.STRING: {
      const to = stringEnd(buffer, valueAt, end);
      return to < 0 ? to : noteRange(buffer, id, valueAt + 2, to, out);
    }
    case Type.BINARY: {
      const to = binaryEnd(buffer, valueAt, end);
      return to < 0 ? to : noteRange(buffer, id, valueAt + 2, to, out);
    }
    default: {
      const nameTo = stringEnd(buffer, valueAt, end); // [MQTT-1.5.7-1]
      return nameTo < 0 ? nameTo : stringEnd(buffer, nameTo, end);
    }
  }
}

/** End of the length-prefixed bytes at `at`, or a fault when they do not end by `limit`. */
function binaryEnd(buffer: Uint8Array, at: number, limit: number): number {
  if (at + 2 > limit) return MALFORMED;
  const to = at + 2 + readU16(buffer, at);
  return to > limit ? MALFORMED : to;
}

/** Like `binaryEnd`, for a UTF-8 string. */
function stringEnd(buffer: Uint8Array, at: number, limit: number): number {
  const to = binaryEnd(buffer, at, limit);
  if (to < 0) return to;
  const judged = validateUtf8(buffer, at + 2, to);
  return judged < 0 ? judged : to;
}

function noteBit(id: number, value: number, out: Properties): void {
  if (id === Property.PAYLOAD_FORMAT_INDICATOR) out.payloadFormat = value;
  else if (id === Property.REQUEST_RESPONSE_INFORMATION) out.requestResponse = value;
  else if (id === Property.REQUEST_PROBLEM_INFORMATION) out.requestProblem = value;
  else if (id === Property.MAXIMUM_QOS) out.maximumQos = value;
  else if (id === Property.RETAIN_AVAILABLE) out.retainAvailable = value;
}

function noteU16(id: number, value: number, at: number, out: Properties): number {
  if (id === Property.TOPIC_ALIAS) {
    if (value === 0) return fault(Reason.TOPIC_ALIAS_INVALID); // [MQTT-3.3.2-8]
    out.topicAlias = value;
    out.topicAliasAt = at;
  } else if (id === Property.RECEIVE_MAXIMUM) {
    if (value === 0) return PROTOCOL_ERROR; // §3.1.2.11.3
    out.receiveMaximum = value;
  } else if (id === Property.TOPIC_ALIAS_MAXIMUM) {
    out.topicAliasMaximum = value;
  } else if (id === Property.SERVER_KEEP_ALIVE) {
    out.serverKeepAliveS = value;
  }
  return at + 3;
}

function noteU32(id: number, value: number, at: number, out: Properties): number {
  if (id === Property.MESSAGE_EXPIRY_INTERVAL) {
    out.messageExpiryS = value;
    out.messageExpiryAt = at;
  } else if (id === Property.WILL_DELAY_INTERVAL) {
    out.willDelayS = value;
    out.willDelayAt = at;
  } else if (id === Property.SESSION_EXPIRY_INTERVAL) {
    out.sessionExpiryS = value;
  } else {
    if (value === 0) return PROTOCOL_ERROR; // Maximum Packet Size, §3.1.2.11.4
    out.maximumPacketSize = value;
  }
  return at + 5;
}

function noteRange(buffer: Uint8Array, id: number, from: number, to: number, out: Properties): number {
  switch (id) {
    case Property.RESPONSE_TOPIC:
      for (let i = from; i < to; i++) if (buffer[i] === 0x2b || buffer[i] === 0x23) return PROTOCOL_ERROR; // [MQTT-3.3.2-14]
      out.responseTopicFrom = from;
      out.responseTopicTo = to;
      break;
    case Property.CONTENT_TYPE:
      out.contentTypeFrom = from;
      out.contentTypeTo = to;
      break;
    case Property.CORRELATION_DATA:
      out.correlationDataFrom = from;
      out.correlationDataTo = to;
      break;
    case Property.AUTHENTICATION_METHOD:
      out.authenticationMethodFrom = from;
      out.authenticationMethodTo = to;
      break;
    case Property.AUTHENTICATION_DATA:
      out.authenticationDataFrom = from;
      out.authenticationDataTo = to;
      break;
    case Property.REASON_STRING:
      out.reasonStringFrom = from;
      out.reasonStringTo = to;
      break;
  }
  return to;
}
