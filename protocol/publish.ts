// HOT: no allocation, closures, strings, try or async per message.
// PUBLISH in both directions (MQTT 5.0 §3.3, 3.1.1 §3.3), decoded where it lies and encoded in place.
//
// A message is seen as three byte ranges (topic name, forwardable properties, payload) that may lie in three
// different buffers: in the read buffer while it is routed, in one pooled block when it is queued. The topic name is
// not validated here: the topic cache does that once for each distinct topic. The payload is never read.
import { copyBytes, readU16, varintBytes, writeU16, writeU32, writeVarint } from './bytes.ts';
import { fault, Level, Reason } from './packet.ts';
import { type Properties, PropertySet, walkProperties } from './properties.ts';

/** Bytes of the two properties that belong to one hop and are never forwarded as they came. */
const MESSAGE_EXPIRY_BYTES = 5;
const TOPIC_ALIAS_BYTES = 3;
const PROPERTY_MESSAGE_EXPIRY = 0x02;
const PROPERTY_TOPIC_ALIAS = 0x23;

/** A message as byte ranges that it borrows; one instance is reused for each packet. */
export class MessageView {
  topic: Uint8Array = new Uint8Array(0);
  topicFrom = 0;
  topicTo = 0;
  /** MQTT 5 properties to forward, without their length, message expiry, topic alias and subscription identifiers. */
  properties: Uint8Array = new Uint8Array(0);
  propertiesFrom = 0;
  propertiesTo = 0;
  payload: Uint8Array = new Uint8Array(0);
  payloadFrom = 0;
  payloadTo = 0;
  qos = 0;
  retain = 0;
  dup = 0;
  /** Of the packet that brought it; 0 at QoS 0. */
  packetId = 0;
  /** Message Expiry Interval in seconds as received, -1 when absent. */
  expiryS = -1;
  /** Wall clock in ms when the message expires; Infinity when never. */
  expiresAtMs = Infinity;
  /** Topic Alias of the packet that brought it, 0 when absent. */
  topicAlias = 0;
}

/**
 * Decodes the body [from, to) of a PUBLISH into `out`, which borrows `buffer` (and `scratch` when properties
 * had to be closed up around those that are not forwarded; `scratch` must hold the property bytes of a whole packet).
 * Returns 0 or a fault. An empty topic with an alias is left for the caller to resolve.
 */
export function decodePublish(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  level: Level,
  userPropertiesMax: number,
  properties: Properties,
  scratch: Uint8Array,
  out: MessageView,
): number {
  const qos = (header >> 1) & 3;
  if (qos === 3) return fault(Reason.MALFORMED_PACKET); // [MQTT-3.3.1-4]
  const dup = (header >> 3) & 1;
  if (qos === 0 && dup === 1) return fault(Reason.PROTOCOL_ERROR); // [MQTT-3.3.1-2]
  if (to - from < 2) return fault(Reason.MALFORMED_PACKET);
  const topicFrom = from + 2;
  const topicTo = topicFrom + readU16(buffer, from);
  let at = topicTo;
  if (at + (qos === 0 ? 0 : 2) > to) return fault(Reason.MALFORMED_PACKET);
  out.packetId = 0;
  if (qos !== 0) {
    out.packetId = readU16(buffer, at);
    if (out.packetId === 0) return fault(Reason.PROTOCOL_ERROR); // [MQTT-2.2.1-3]
    at += 2;
  }
  out.qos = qos;
  out.dup = dup;
  out.retain = header & 1;
  out.topic = buffer;
  out.topicFrom = topicFrom;
  out.topicTo = topicTo;
  out.topicAlias = 0;
  out.expiryS = -1;
  out.expiresAtMs = Infinity;
  out.properties = buffer;
  out.propertiesFrom = at;
  out.propertiesTo = at;
  if (level === Level.V5) {
    if (at >= to) return fault(Reason.MALFORMED_PACKET);
    if (buffer[at] === 0) {
      at++;
      out.propertiesFrom = at;
      out.propertiesTo = at;
    } else {
      at = walkProperties(buffer, at, to, PropertySet.PUBLISH, userPropertiesMax, properties);
      if (at < 0) return at;
      const walked = keepForwardable(buffer, properties, scratch, out);
      if (walked < 0) return walked;
    }
  }
  out.payload = buffer;
  out.payloadFrom = at;
  out.payloadTo = to;
  return 0;
}

/** Points `out` at the properties to forward, closed up in `scratch` when the hop's own ones stand between them. */
function keepForwardable(buffer: Uint8Array, properties: Properties, scratch: Uint8Array, out: MessageView): number {
  out.topicAlias = properties.topicAlias;
  out.expiryS = properties.messageExpiryS;
  const expiryAt = properties.messageExpiryAt;
  const aliasAt = properties.topicAliasAt;
  if (expiryAt < 0 && aliasAt < 0) {
    out.propertiesFrom = properties.from;
    out.propertiesTo = properties.to;
    return 0;
  }
  if (properties.to - properties.from > scratch.length) return fault(Reason.PACKET_TOO_LARGE);
  const first = expiryAt < 0 ? aliasAt : aliasAt < 0 ? expiryAt : Math.min(expiryAt, aliasAt);
  const second = expiryAt < 0 || aliasAt < 0 ? -1 : Math.max(expiryAt, aliasAt);
  let end = copyBytes(buffer, properties.from, first, scratch, 0);
  const afterFirst = first + (first === expiryAt ? MESSAGE_EXPIRY_BYTES : TOPIC_ALIAS_BYTES);
  if (second < 0) {
    end = copyBytes(buffer, afterFirst, properties.to, scratch, end);
  } else {
    end = copyBytes(buffer, afterFirst, second, scratch, end);
    const afterSecond = second + (second === expiryAt ? MESSAGE_EXPIRY_BYTES : TOPIC_ALIAS_BYTES);
    end = copyBytes(buffer, afterSecond, properties.to, scratch, end);
  }
  out.properties = scratch;
  out.propertiesFrom = 0;
  out.propertiesTo = end;
  return 0;
}

/** What one hop adds to a message on its way to one receiver. One instance is reused. */
export class PublishHop {
  level: Level = Level.V311;
  qos = 0;
  retain = 0;
  dup = 0;
  packetId = 0;
  /** Topic Alias to send, 0 for none. */
  topicAlias = 0;
  /** Whether the alias stands alone: the topic name is sent empty (MQTT 5.0 §3.3.2.3.4). */
  aliasOnly = false;
  /** Remaining Message Expiry Interval in seconds, -1 for none. */
  expiryS = -1;
  /** Encoded Subscription Identifier properties; empty for none. */
  subscriptionIds: Uint8Array = NO_BYTES;
}

export const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Bytes of everything after the fixed header. */
function remainingLength(message: MessageView, hop: PublishHop): number {
  const topicBytes = hop.aliasOnly ? 0 : message.topicTo - message.topicFrom;
  let length = 2 + topicBytes + (hop.qos === 0 ? 0 : 2) + (message.payloadTo - message.payloadFrom);
  if (hop.level === Level.V5) {
    const bytes = propertyBytes(message, hop);
    length += varintBytes(bytes) + bytes;
  }
  return length;
}

function propertyBytes(message: MessageView, hop: PublishHop): number {
  return (
    (hop.expiryS >= 0 ? MESSAGE_EXPIRY_BYTES : 0) +
    (hop.topicAlias !== 0 ? TOPIC_ALIAS_BYTES : 0) +
    hop.subscriptionIds.length +
    (message.propertiesTo - message.propertiesFrom)
  );
}

/** Size in bytes of the whole PUBLISH that `writePublish` makes. */
export function publishBytes(message: MessageView, hop: PublishHop): number {
  const length = remainingLength(message, hop);
  return 1 + varintBytes(length) + length;
}

/** Offset of the packet identifier within a PUBLISH of `totalBytes` that carries `topicBytes` of topic name. */
export function packetIdOffset(totalBytes: number, topicBytes: number): number {
  // The length field counts itself out: 1 + n + rest = total.
  let lengthBytes = 1;
  while (varintBytes(totalBytes - 1 - lengthBytes) > lengthBytes) lengthBytes++;
  return 1 + lengthBytes + 2 + topicBytes;
}

/** Writes the PUBLISH at `at` of `out`, which has room for `publishBytes`; returns the offset after it. */
export function writePublish(out: Uint8Array, at: number, message: MessageView, hop: PublishHop): number {
  out[at] = 0x30 | (hop.dup << 3) | (hop.qos << 1) | hop.retain;
  let to = writeVarint(out, at + 1, remainingLength(message, hop));
  if (hop.aliasOnly) {
    to = writeU16(out, to, 0);
  } else {
    to = writeU16(out, to, message.topicTo - message.topicFrom);
    to = copyBytes(message.topic, message.topicFrom, message.topicTo, out, to);
  }
  if (hop.qos !== 0) to = writeU16(out, to, hop.packetId);
  if (hop.level === Level.V5) {
    to = writeVarint(out, to, propertyBytes(message, hop));
    if (hop.expiryS >= 0) {
      out[to] = PROPERTY_MESSAGE_EXPIRY;
      to = writeU32(out, to + 1, hop.expiryS);
    }
    if (hop.topicAlias !== 0) {
      out[to] = PROPERTY_TOPIC_ALIAS;
      to = writeU16(out, to + 1, hop.topicAlias);
    }
    to = copyBytes(hop.subscriptionIds, 0, hop.subscriptionIds.length, out, to);
    // [MQTT-3.3.2-17] [MQTT-3.3.2-18] user properties keep their order: the bytes are forwarded as they came.
    to = copyBytes(message.properties, message.propertiesFrom, message.propertiesTo, out, to);
  }
  return copyBytes(message.payload, message.payloadFrom, message.payloadTo, out, to);
}
