// SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (MQTT 5.0 §3.8 to §3.11, 3.1.1 and 3.1 the same).
// A filter that is well-formed UTF-8 but no valid topic filter fails alone, by its reason code; everything else fails the packet.
import { Cursor, encode, present } from './cold.ts';
import type { Limits } from './limits.ts';
import { fault, Level, PacketType, Reason } from './packet.ts';
import { Properties, PropertySet } from './properties.ts';
import { shareFilterFrom, validateTopicFilter } from './topic.ts';

/** One filter of a SUBSCRIBE. */
export interface SubscribeRequest {
  /** Owned; the whole filter, `$share/{name}/` included. */
  filter: Uint8Array;
  qos: number;
  noLocal: boolean;
  retainAsPublished: boolean;
  /** 0, 1 or 2 (§3.8.3.1). */
  retainHandling: number;
  /** 0, or the fault TOPIC_FILTER_INVALID of this filter alone. */
  result: number;
}

export interface SubscribePacket {
  packetId: number;
  /** 0: none. */
  subscriptionId: number;
  filters: SubscribeRequest[];
}

export interface UnsubscribePacket {
  packetId: number;
  /** Owned; whole filters. */
  filters: Uint8Array[];
  /** One for each filter: 0, or the fault TOPIC_FILTER_INVALID. */
  results: number[];
}

/** Bits of the subscription options (§3.8.3.1); MQTT 3 has the QoS alone. */
const Option = { QOS: 0x03, NO_LOCAL: 0x04, RETAIN_AS_PUBLISHED: 0x08, RETAIN_HANDLING: 0x30, RESERVED: 0xc0 } as const;
const RETAIN_HANDLING_SHIFT = 4;
const REQUEST_FLAGS = 0x02;
const DUP_FLAG = 0x08;

/** Decodes the body [from, to) of a SUBSCRIBE. Returns the packet or the fault of the whole packet. */
export function decodeSubscribe(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  level: Level,
  limits: Limits,
): SubscribePacket | number {
  if (!isRequest(header, PacketType.SUBSCRIBE, level)) return fault(Reason.MALFORMED_PACKET); // [MQTT-3.8.1-1]
  const cursor = new Cursor(buffer, from, to);
  const properties = new Properties();
  const packetId = readHead(cursor, PropertySet.SUBSCRIBE, level, limits, properties);
  const filters: SubscribeRequest[] = [];
  while (cursor.more) {
    filters.push(readRequest(cursor, level, limits));
    boundFilters(cursor, filters.length, limits);
  }
  if (filters.length === 0) cursor.fail(Reason.PROTOCOL_ERROR); // [MQTT-3.8.3-2]
  return cursor.fault !== 0 ? cursor.fault : { packetId, subscriptionId: properties.subscriptionId, filters };
}

/** Decodes the body [from, to) of an UNSUBSCRIBE. Returns the packet or the fault of the whole packet. */
export function decodeUnsubscribe(
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  level: Level,
  limits: Limits,
): UnsubscribePacket | number {
  if (!isRequest(header, PacketType.UNSUBSCRIBE, level)) return fault(Reason.MALFORMED_PACKET); // [MQTT-3.10.1-1]
  const cursor = new Cursor(buffer, from, to);
  const packetId = readHead(cursor, PropertySet.UNSUBSCRIBE, level, limits, new Properties());
  const filters: Uint8Array[] = [];
  const results: number[] = [];
  while (cursor.more) {
    const filter = cursor.utf8(); // [MQTT-3.10.3-1]
    filters.push(filter);
    results.push(judgeFilter(filter, limits));
    boundFilters(cursor, filters.length, limits);
  }
  if (filters.length === 0) cursor.fail(Reason.PROTOCOL_ERROR); // [MQTT-3.10.3-2]
  return cursor.fault !== 0 ? cursor.fault : { packetId, filters, results };
}

/** Whether the fixed header is right: flags 0010; MQTT 3.1 §3.8 and §3.10 let a client set DUP when it repeats the packet. */
function isRequest(header: number, type: PacketType, level: Level): boolean {
  return (level === Level.V31 ? header & ~DUP_FLAG : header) === ((type << 4) | REQUEST_FLAGS);
}

function readHead(cursor: Cursor, set: number, level: Level, limits: Limits, properties: Properties): number {
  const packetId = cursor.u16();
  if (packetId === 0) cursor.fail(Reason.PROTOCOL_ERROR); // [MQTT-2.2.1-3]
  if (level === Level.V5) cursor.properties(set, limits.userPropertiesMax, properties);
  return packetId;
}

function readRequest(cursor: Cursor, level: Level, limits: Limits): SubscribeRequest {
  const filter = cursor.utf8(); // [MQTT-3.8.3-1]
  const options = cursor.u8();
  const qos = options & Option.QOS;
  const noLocal = (options & Option.NO_LOCAL) !== 0;
  const retainHandling = (options & Option.RETAIN_HANDLING) >> RETAIN_HANDLING_SHIFT;
  if (level === Level.V5) {
    if ((options & Option.RESERVED) !== 0) cursor.fail(Reason.MALFORMED_PACKET); // [MQTT-3.8.3-5]
    if (qos === 3 || retainHandling === 3) cursor.fail(Reason.PROTOCOL_ERROR); // §3.8.3.1
    if (noLocal && shareFilterFrom(filter, 0, filter.length) > 0) cursor.fail(Reason.PROTOCOL_ERROR); // [MQTT-3.8.3-4]
  } else if (options > 2) {
    cursor.fail(Reason.MALFORMED_PACKET); // [MQTT3-3.8.3-4]
  }
  const retainAsPublished = (options & Option.RETAIN_AS_PUBLISHED) !== 0;
  return { filter, qos, noLocal, retainAsPublished, retainHandling, result: judgeFilter(filter, limits) };
}

/** A filter takes three bytes of the packet and some hundred of memory: more than a client may hold are not even decoded. */
function boundFilters(cursor: Cursor, count: number, limits: Limits): void {
  if (count > limits.subscriptionsPerClientMax) cursor.fail(Reason.QUOTA_EXCEEDED);
}

/** The bounds of topic filters hold for the filter behind a `$share/{name}/`. */
function judgeFilter(filter: Uint8Array, limits: Limits): number {
  const from = shareFilterFrom(filter, 0, filter.length);
  if (from < 0) return from;
  const levels = validateTopicFilter(filter, from, filter.length, limits.topicBytesMax, limits.topicLevelsMax);
  return Math.min(levels, 0);
}

/** Encodes SUBACK with one reason code per filter [MQTT-3.8.4-6], in their order; the codes are those of `level`. */
export function encodeSuback(level: Level, packetId: number, reasons: number[], reasonString?: string): Uint8Array {
  const properties = present<{ reasonString?: string }>({ reasonString });
  return encode({ cmd: 'suback', messageId: packetId, granted: reasons, properties }, level);
}

/** Encodes UNSUBACK with one reason code per filter; MQTT 3 carries none. */
export function encodeUnsuback(level: Level, packetId: number, reasons: number[], reasonString?: string): Uint8Array {
  const properties = present<{ reasonString?: string }>({ reasonString });
  return encode({ cmd: 'unsuback', messageId: packetId, granted: reasons, properties }, level);
}
