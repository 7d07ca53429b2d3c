// The walk over MQTT 5 properties: against mqtt-packet's own encoding, against the table of the standard, against mutations.
import fc from 'fast-check';
import type { Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { fault, Level, Reason } from '../../protocol/packet.ts';
import { Properties, Property, PropertySet, readVarint, walkProperties } from '../../protocol/properties.ts';
import { binary, generate, headOf, packetOf, some, text, topicName, u16, u32 } from './oracle.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const PROTOCOL_ERROR = fault(Reason.PROTOCOL_ERROR);
const USER_PROPERTIES_MAX = 128;

/** Walks property bytes, put behind their length and in the middle of other bytes. */
function walk(set: number, bytes: readonly number[], out = new Properties(), userPropertiesMax = USER_PROPERTIES_MAX): number {
  const [, ...framed] = packetOf(0xff, bytes);
  const buffer = Uint8Array.from([7, ...framed, 7]);
  const end = walkProperties(buffer, 1, buffer.length - 1, set, userPropertiesMax, out);
  return end < 0 ? end : end - 1 - framed.length;
}

/** A value of each property that is fine where the property is. */
const samples: Record<number, readonly number[]> = {
  [Property.PAYLOAD_FORMAT_INDICATOR]: [1],
  [Property.MESSAGE_EXPIRY_INTERVAL]: [0, 0, 0, 9],
  [Property.CONTENT_TYPE]: [0, 1, 97],
  [Property.RESPONSE_TOPIC]: [0, 1, 97],
  [Property.CORRELATION_DATA]: [0, 1, 0xff],
  [Property.SUBSCRIPTION_IDENTIFIER]: [0x80, 0x01],
  [Property.SESSION_EXPIRY_INTERVAL]: [0xff, 0xff, 0xff, 0xff],
  [Property.ASSIGNED_CLIENT_IDENTIFIER]: [0, 1, 97],
  [Property.SERVER_KEEP_ALIVE]: [0, 5],
  [Property.AUTHENTICATION_METHOD]: [0, 1, 97],
  [Property.AUTHENTICATION_DATA]: [0, 1, 0],
  [Property.REQUEST_PROBLEM_INFORMATION]: [0],
  [Property.WILL_DELAY_INTERVAL]: [0, 0, 0, 1],
  [Property.REQUEST_RESPONSE_INFORMATION]: [1],
  [Property.RESPONSE_INFORMATION]: [0, 0],
  [Property.SERVER_REFERENCE]: [0, 0],
  [Property.REASON_STRING]: [0, 1, 97],
  [Property.RECEIVE_MAXIMUM]: [0, 1],
  [Property.TOPIC_ALIAS_MAXIMUM]: [0, 0],
  [Property.TOPIC_ALIAS]: [0, 1],
  [Property.MAXIMUM_QOS]: [1],
  [Property.RETAIN_AVAILABLE]: [1],
  [Property.USER_PROPERTY]: [0, 1, 97, 0, 0],
  [Property.MAXIMUM_PACKET_SIZE]: [0, 0, 0, 1],
  [Property.WILDCARD_SUBSCRIPTION_AVAILABLE]: [1],
  [Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE]: [0],
  [Property.SHARED_SUBSCRIPTION_AVAILABLE]: [0],
};

/** Table 2-4 read the other way round: what may stand in each packet that a client sends. */
const fromClient: readonly [name: string, set: number, ids: readonly number[]][] = [
  ['CONNECT', PropertySet.CONNECT, [0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]],
  ['the will', PropertySet.WILL, [0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]],
  ['PUBLISH', PropertySet.PUBLISH, [0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26]],
  ['PUBACK', PropertySet.PUBACK, [0x1f, 0x26]],
  ['PUBREC', PropertySet.PUBREC, [0x1f, 0x26]],
  ['PUBREL', PropertySet.PUBREL, [0x1f, 0x26]],
  ['PUBCOMP', PropertySet.PUBCOMP, [0x1f, 0x26]],
  ['SUBSCRIBE', PropertySet.SUBSCRIBE, [0x0b, 0x26]],
  ['UNSUBSCRIBE', PropertySet.UNSUBSCRIBE, [0x26]],
  ['DISCONNECT', PropertySet.DISCONNECT, [0x11, 0x1c, 0x1f, 0x26]],
  ['AUTH', PropertySet.AUTH, [0x15, 0x16, 0x1f, 0x26]],
];

describe('the table', () => {
  test.each(fromClient)('%s takes its own properties, once, and no other', (_name, set, ids) => {
    for (let id = 0; id < 256; id++) {
      const property = [id, ...(samples[id] ?? [0, 0, 0, 0])];
      const method = id === Property.AUTHENTICATION_DATA && ids.includes(id) ? [Property.AUTHENTICATION_METHOD, 0, 0] : [];
      const isAllowed = ids.includes(id);
      const refused = id === Property.SUBSCRIPTION_IDENTIFIER && set === PropertySet.PUBLISH ? PROTOCOL_ERROR : MALFORMED;
      expect(walk(set, [...method, ...property])).toBe(isAllowed ? 0 : refused); // [MQTT-3.3.4-6]
      if (!isAllowed) continue;
      expect(walk(set, [...method, ...property, ...property])).toBe(id === Property.USER_PROPERTY ? 0 : PROTOCOL_ERROR);
      for (let cut = 1; cut < property.length; cut++) expect(walk(set, [...method, ...property.slice(0, cut)])).toBe(MALFORMED);
    }
  });
});

describe('values', () => {
  test.each([
    ['payload format 2', PropertySet.PUBLISH, [0x01, 2], PROTOCOL_ERROR],
    ['request problem information 2', PropertySet.CONNECT, [0x17, 2], PROTOCOL_ERROR],
    ['receive maximum 0', PropertySet.CONNECT, [0x21, 0, 0], PROTOCOL_ERROR],
    ['maximum packet size 0', PropertySet.CONNECT, [0x27, 0, 0, 0, 0], PROTOCOL_ERROR],
    ['topic alias 0 [MQTT-3.3.2-8]', PropertySet.PUBLISH, [0x23, 0, 0], fault(Reason.TOPIC_ALIAS_INVALID)],
    ['subscription identifier 0', PropertySet.SUBSCRIBE, [0x0b, 0], PROTOCOL_ERROR],
    ['a longer form of an identifier [MQTT-1.5.5-1]', PropertySet.SUBSCRIBE, [0x0b, 0x81, 0x00], MALFORMED],
    ['a wildcard in the response topic [MQTT-3.3.2-14]', PropertySet.PUBLISH, [0x08, 0, 3, 97, 0x2f, 0x23], PROTOCOL_ERROR],
    ['bad UTF-8 in a string [MQTT-1.5.4-1]', PropertySet.PUBLISH, [0x03, 0, 1, 0xff], MALFORMED],
    ['U+0000 in the value of a pair [MQTT-1.5.7-1]', PropertySet.PUBLISH, [0x26, 0, 1, 97, 0, 1, 0], MALFORMED],
    ['authentication data without a method', PropertySet.CONNECT, [0x16, 0, 1, 0], PROTOCOL_ERROR],
  ])('%s is refused', (_what, set, bytes, expected) => {
    expect(walk(set, bytes)).toBe(expected);
  });

  test('user properties are counted, and bounded', () => {
    const pair = [0x26, 0, 0, 0, 0];
    const out = new Properties();
    expect(walk(PropertySet.PUBLISH, [...pair, ...pair], out, 2)).toBe(0);
    expect(out.userProperties).toBe(2);
    expect(walk(PropertySet.PUBLISH, [...pair, ...pair, ...pair], out, 2)).toBe(fault(Reason.QUOTA_EXCEEDED));
  });

  test('a length that leaves the packet is malformed', () => {
    const out = new Properties();
    expect(walkProperties(Uint8Array.of(5, 0x26, 0, 0, 0, 0), 0, 5, PropertySet.PUBLISH, 9, out)).toBe(MALFORMED);
    expect(walkProperties(Uint8Array.of(0), 0, 0, PropertySet.PUBLISH, 9, out)).toBe(MALFORMED);
  });

  test('variable byte integers have one form', () => {
    expect(readVarint(Uint8Array.of(0xff, 0xff, 0xff, 0x7f), 0, 4)).toBe(268_435_455);
    for (const bytes of [[0x80, 0], [0x80, 0x80, 0], [0xff, 0xff, 0xff, 0xff, 1], [0x80]]) {
      expect(readVarint(Uint8Array.from(bytes), 0, bytes.length)).toBe(MALFORMED);
    }
  });
});

const messageProperties = some({
  payloadFormatIndicator: fc.boolean(),
  messageExpiryInterval: u32,
  topicAlias: fc.integer({ min: 1, max: 0xffff }),
  responseTopic: topicName,
  correlationData: binary,
  contentType: text(),
});
const connectProperties = some({
  sessionExpiryInterval: u32,
  receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
  maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
  topicAliasMaximum: u16,
  requestResponseInformation: fc.boolean(),
  requestProblemInformation: fc.boolean(),
  authenticationMethod: text(),
});

/** Walks the properties of a packet that mqtt-packet encoded; they begin `offset` bytes into its body. */
function walkEncoded(packet: Packet, offset: number, set: number): { bytes: Uint8Array; out: Properties; end: number } {
  const bytes = generate(packet, Level.V5);
  const out = new Properties();
  const end = walkProperties(bytes, headOf(bytes).bodyFrom + offset, bytes.length, set, USER_PROPERTIES_MAX, out);
  return { bytes, out, end };
}

const range = (bytes: Uint8Array, from: number, to: number) => (from < 0 ? undefined : Buffer.from(bytes.subarray(from, to)));
const bit = (value: number) => (value < 0 ? undefined : value === 1);

describe('against mqtt-packet', () => {
  test('finds in PUBLISH what was encoded', () => {
    fc.assert(
      fc.property(messageProperties, (properties) => {
        const packet = { cmd: 'publish', topic: 't', payload: '', qos: 0, dup: false, retain: false, properties } as Packet;
        const { bytes, out, end } = walkEncoded(packet, 3, PropertySet.PUBLISH);
        expect(end).toBe(bytes.length);
        expect(out.messageExpiryS).toBe(properties.messageExpiryInterval ?? -1);
        if (out.messageExpiryAt >= 0) expect(bytes[out.messageExpiryAt]).toBe(Property.MESSAGE_EXPIRY_INTERVAL);
        expect(out.topicAlias).toBe(properties.topicAlias ?? 0);
        if (out.topicAliasAt >= 0) expect(bytes[out.topicAliasAt]).toBe(Property.TOPIC_ALIAS);
        expect(bit(out.payloadFormat)).toBe(properties.payloadFormatIndicator);
        expect(range(bytes, out.contentTypeFrom, out.contentTypeTo)?.toString()).toBe(properties.contentType);
        expect(range(bytes, out.responseTopicFrom, out.responseTopicTo)?.toString()).toBe(properties.responseTopic);
        expect(range(bytes, out.correlationDataFrom, out.correlationDataTo)).toEqual(properties.correlationData);
      }),
    );
  });

  test('finds in CONNECT what was encoded, whatever the walk before found', () => {
    const out = new Properties();
    fc.assert(
      fc.property(connectProperties, (properties) => {
        const packet = { cmd: 'connect', clientId: 'c', protocolVersion: 5, keepalive: 0, clean: true, properties } as Packet;
        const bytes = generate(packet, Level.V5);
        walkProperties(bytes, headOf(bytes).bodyFrom + 10, bytes.length, PropertySet.CONNECT, 1, out);
        expect(out.sessionExpiryS).toBe(properties.sessionExpiryInterval ?? -1);
        expect(out.receiveMaximum).toBe(properties.receiveMaximum ?? 0);
        expect(out.maximumPacketSize).toBe(properties.maximumPacketSize ?? 0);
        expect(out.topicAliasMaximum).toBe(properties.topicAliasMaximum ?? 0);
        expect(bit(out.requestResponse)).toBe(properties.requestResponseInformation);
        expect(bit(out.requestProblem)).toBe(properties.requestProblemInformation);
        const method = range(bytes, out.authenticationMethodFrom, out.authenticationMethodTo);
        expect(method?.toString()).toBe(properties.authenticationMethod);
      }),
    );
    expect(walk(PropertySet.CONNECT, [], out)).toBe(0);
    expect(out).toEqual({ ...new Properties(), from: out.from, to: out.to });
  });

  test('never leaves the packet, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(...Object.values(PropertySet)), (bytes, set) => {
        const end = walkProperties(bytes, 0, bytes.length, set, 3, new Properties());
        expect(end).toBeLessThanOrEqual(bytes.length);
        expect(end).not.toBe(0);
      }),
      { numRuns: 5_000 },
    );
  });
});
