// CONNECT and CONNACK against mqtt-packet, and where the standard is stricter than it.
import fc from 'fast-check';
import type { IConnackPacket, Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { connackRefusal } from '../../protocol/answers.ts';
import { type ConnectPacket, decodeConnect, encodeConnack, SESSION_NEVER_EXPIRES } from '../../protocol/connect.ts';
import { defaultLimits } from '../../protocol/limits.ts';
import { fault, Level, Reason } from '../../protocol/packet.ts';
import {
  binary,
  generate,
  headOf,
  levels,
  oracleParse,
  packetOf,
  some,
  text,
  topicName,
  u16,
  u32,
  userProperties,
} from './oracle.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const UNSUPPORTED = fault(Reason.UNSUPPORTED_PROTOCOL_VERSION);

function decode(bytes: Uint8Array): ConnectPacket | number {
  const { header, bodyFrom } = headOf(bytes);
  const copy = Uint8Array.from(bytes);
  const packet = decodeConnect(copy, header, bodyFrom, copy.length, defaultLimits);
  copy.fill(0xee); // what is decoded must be owned
  return packet;
}

/** Body of a CONNECT of `level` from its parts. */
function connect(level: number, flags: number, rest: readonly number[], name = level === 3 ? 'MQIsdp' : 'MQTT'): Uint8Array {
  return packetOf(0x10, [0, name.length, ...Buffer.from(name), level, flags, 0, 10, ...rest]);
}

const willProperties = some({
  willDelayInterval: u32,
  payloadFormatIndicator: fc.boolean(),
  messageExpiryInterval: u32,
  contentType: text(),
  responseTopic: topicName,
  correlationData: binary,
  userProperties,
});
const connectProperties = some({
  sessionExpiryInterval: u32,
  receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
  maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
  topicAliasMaximum: u16,
  requestResponseInformation: fc.boolean(),
  requestProblemInformation: fc.boolean(),
  authenticationMethod: text(),
  userProperties,
});
const connects = fc.constantFrom(...levels).chain((level) =>
  fc.record({
    level: fc.constant(level),
    clean: fc.boolean(),
    keepalive: u16,
    clientId: text(1),
    username: fc.option(text(1), { nil: undefined }),
    password: fc.option(binary, { nil: undefined }),
    will: fc.option(
      fc.record({
        topic: topicName,
        payload: binary,
        qos: fc.constantFrom(0, 1, 2),
        retain: fc.boolean(),
        properties: willProperties,
      }),
      { nil: undefined },
    ),
    properties: connectProperties,
  }),
);

function encodeConnect({ level, username, password, will, ...rest }: ReturnType<typeof sampleConnect>): Uint8Array {
  const hasPassword = password !== undefined && username !== undefined;
  const packet = {
    cmd: 'connect',
    protocolId: level === Level.V31 ? 'MQIsdp' : 'MQTT',
    protocolVersion: level,
    ...rest,
    ...(username === undefined ? {} : { username }),
    ...(hasPassword ? { password } : {}),
    ...(will === undefined ? {} : { will }),
  };
  return generate(packet as unknown as Packet, level);
}

function sampleConnect() {
  return fc.sample(connects, 1)[0]!;
}

describe('CONNECT', () => {
  test('decodes what mqtt-packet encodes [MQTT-3.1.3-1]', () => {
    fc.assert(
      fc.property(connects, (sent) => {
        const packet = decode(encodeConnect(sent)) as ConnectPacket;
        const { level, properties } = sent;
        const isV5 = level === Level.V5;
        const v5 = isV5 ? properties : {};
        expect(packet).toMatchObject({
          level,
          clean: sent.clean,
          keepAliveS: sent.keepalive,
          clientId: sent.clientId,
          username: sent.username ?? null,
          sessionExpiryS: isV5 ? (v5.sessionExpiryInterval ?? 0) : sent.clean ? 0 : SESSION_NEVER_EXPIRES,
          receiveMaximum: v5.receiveMaximum ?? 65_535,
          maximumPacketSize: v5.maximumPacketSize ?? 0,
          topicAliasMaximum: v5.topicAliasMaximum ?? 0,
          requestResponseInformation: v5.requestResponseInformation ?? false,
          requestProblemInformation: v5.requestProblemInformation ?? true,
          authenticationMethod: v5.authenticationMethod ?? null,
        });
        const hasPassword = sent.password !== undefined && sent.username !== undefined;
        expect(packet.password && Buffer.from(packet.password)).toEqual(hasPassword ? sent.password : null);
        if (sent.will === undefined) {
          expect(packet.will).toBeNull();
          return;
        }
        const will = packet.will!;
        const willV5 = isV5 ? sent.will.properties : {};
        expect(Buffer.from(will.topic).toString()).toBe(sent.will.topic);
        expect(Buffer.from(will.payload)).toEqual(sent.will.payload);
        expect(will).toMatchObject({
          qos: sent.will.qos,
          retain: sent.will.retain,
          delayS: willV5.willDelayInterval ?? 0,
          expiryS: willV5.messageExpiryInterval ?? -1,
        });
        // What is forwarded is what mqtt-packet would send with the message [MQTT-3.1.3-10].
        const { willDelayInterval: _delay, messageExpiryInterval: _expiry, ...forwarded } = willV5;
        const message = { cmd: 'publish', topic: '', payload: '', qos: 0, dup: false, retain: false, properties: forwarded };
        const expected = generate({ ...message, topic: 't' } as Packet, Level.V5);
        expect(Buffer.from(expected.subarray(expected.length - will.properties.length)).equals(will.properties)).toBe(true);
        const lengthBytes = will.properties.length < 128 ? 1 : 2;
        expect(headOf(expected).bodyFrom + 3 + lengthBytes + will.properties.length).toBe(expected.length);
      }),
      { numRuns: 300 },
    );
  });

  test('accepts no changed packet that mqtt-packet refuses', () => {
    fc.assert(
      fc.property(connects, fc.nat(), fc.nat(255), (sent, at, byte) => {
        const bytes = encodeConnect(sent);
        const { bodyFrom } = headOf(bytes);
        bytes[bodyFrom + (at % (bytes.length - bodyFrom))] = byte;
        if (typeof decode(bytes) !== 'number') expect(oracleParse(bytes, sent.level)).toHaveLength(1);
      }),
      { numRuns: 2_000 },
    );
  });

  test('a packet cut short is malformed [MQTT-3.1.4-1]', () => {
    fc.assert(
      fc.property(connects, fc.nat(), (sent, at) => {
        const bytes = encodeConnect(sent);
        const body = bytes.subarray(headOf(bytes).bodyFrom);
        expect(decode(packetOf(0x10, body.subarray(0, at % body.length)))).toBe(MALFORMED);
        expect(decode(packetOf(0x10, [...body, 0]))).toBe(MALFORMED);
      }),
    );
  });

  test.each([
    ['level 2', connect(2, 2, [0, 1, 97])],
    ['level 6', connect(6, 2, [0, 0, 1, 97])],
    ["a bridge's bit at level 5", connect(0x85, 2, [0, 0, 1, 97])],
    ["a bridge's bit at level 2", connect(0x82, 2, [0, 1, 97])],
    ["MQIsdp with a bridge's level 4", connect(0x84, 2, [0, 1, 97], 'MQIsdp')],
    ['MQTT with level 3', connect(3, 2, [0, 1, 97], 'MQTT')],
    ['MQIsdp with level 4', connect(4, 2, [0, 1, 97], 'MQIsdp')],
    ['another name', connect(4, 2, [0, 1, 97], 'mqtt')],
  ])('%s is an unsupported version [MQTT-3.1.2-1] [MQTT-3.1.2-2]', (_what, bytes) => {
    expect(decode(bytes)).toBe(UNSUPPORTED);
  });

  test.each([
    [3, 'MQIsdp'],
    [4, 'MQTT'],
  ])("level %i with a bridge's bit is that level, and known as a bridge's", (level, name) => {
    expect(decode(connect(0x80 | level, 2, [0, 1, 97], name))).toMatchObject({ level, bridge: true });
    expect(decode(connect(level, 2, [0, 1, 97], name))).toMatchObject({ level, bridge: false });
  });

  test.each([
    ['the reserved flag [MQTT-3.1.2-3]', 0x03],
    ['will QoS without a will [MQTT-3.1.2-11]', 0x0a],
    ['will retain without a will [MQTT-3.1.2-13]', 0x22],
    ['will QoS 3 [MQTT-3.1.2-12]', 0x1e],
    ['a password without a user name at level 4 [MQTT3-3.1.2-22]', 0x42],
    ['a promised user name that is missing [MQTT-3.1.2-17]', 0x82],
  ])('%s is malformed', (_what, flags) => {
    expect(decode(connect(4, flags, [0, 1, 97]))).toBe(MALFORMED);
  });

  test('MQTT 5 takes a password without a user name', () => {
    expect(decode(connect(5, 0x42, [0, 0, 1, 97, 0, 1, 0xff]))).toMatchObject({ username: null, password: Uint8Array.of(0xff) });
  });

  test.each([
    ['client identifier [MQTT-3.1.3-4]', connect(4, 2, [0, 1, 0xff])],
    ['will topic [MQTT-3.1.3-11]', connect(4, 6, [0, 1, 97, 0, 1, 0xff, 0, 0])],
    ['user name [MQTT-3.1.3-12]', connect(4, 0x82, [0, 1, 97, 0, 1, 0])],
  ])('bad UTF-8 or U+0000 in the %s is malformed', (_what, bytes) => {
    expect(decode(bytes)).toBe(MALFORMED);
  });

  test('the will topic is a topic name', () => {
    expect(decode(connect(4, 6, [0, 1, 97, 0, 1, 0x23, 0, 0]))).toBe(fault(Reason.TOPIC_NAME_INVALID));
    expect(decode(connect(4, 6, [0, 1, 97, 0, 0, 0, 0]))).toBe(fault(Reason.TOPIC_NAME_INVALID));
  });

  test('client identifiers: past the bound, and none at level 3, are not valid', () => {
    const tooLong = Buffer.alloc(defaultLimits.clientIdBytesMax + 1, 97);
    expect(decode(connect(4, 2, [tooLong.length >> 8, tooLong.length & 255, ...tooLong]))).toBe(
      fault(Reason.CLIENT_IDENTIFIER_NOT_VALID),
    );
    expect(decode(connect(3, 2, [0, 0]))).toBe(fault(Reason.CLIENT_IDENTIFIER_NOT_VALID));
    expect(decode(connect(3, 2, [0, 40, ...Buffer.alloc(40, 97)]))).toMatchObject({ level: 3, clientId: 'a'.repeat(40) });
    expect(decode(connect(4, 2, [0, 0]))).toMatchObject({ clientId: '' });
  });
});

describe('CONNACK', () => {
  const options = some({
    sessionExpiryS: u32,
    receiveMaximum: u16,
    maximumQos: fc.constantFrom(0, 1),
    retainAvailable: fc.boolean(),
    maximumPacketSize: u32,
    assignedClientId: text(1),
    topicAliasMaximum: u16,
    reasonString: text(1),
    wildcardSubscriptions: fc.boolean(),
    subscriptionIdentifiers: fc.boolean(),
    sharedSubscriptions: fc.boolean(),
    serverKeepAlive: u16,
    responseInformation: text(1),
    serverReference: text(1),
    authenticationMethod: text(1),
    authenticationData: binary as fc.Arbitrary<Uint8Array>,
  });

  test('is read by mqtt-packet with every property', () => {
    fc.assert(
      fc.property(options, fc.boolean(), (connack, sessionPresent) => {
        const bytes = encodeConnack(Level.V5, { ...connack, sessionPresent, reason: Reason.SUCCESS });
        const [packet] = oracleParse(bytes, Level.V5) as IConnackPacket[];
        expect(packet).toMatchObject({ cmd: 'connack', sessionPresent, reasonCode: 0 });
        const properties = packet!.properties ?? {};
        expect(Object.keys(properties)).toHaveLength(Object.keys(connack).length);
        expect(properties.maximumQoS).toBe(connack.maximumQos);
        expect(properties.assignedClientIdentifier).toBe(connack.assignedClientId);
        expect(properties.serverKeepAlive).toBe(connack.serverKeepAlive);
        expect(properties.authenticationData).toEqual(connack.authenticationData);
      }),
    );
  });

  test('has two bytes on MQTT 3, and no session in a refusal [MQTT-3.2.2-6]', () => {
    expect([...encodeConnack(Level.V311, { sessionPresent: true, reason: Reason.SUCCESS })]).toEqual([0x20, 2, 1, 0]);
    expect([...encodeConnack(Level.V31, { sessionPresent: true, reason: Reason.NOT_AUTHORIZED })]).toEqual([0x20, 2, 0, 5]);
  });

  test.each([
    [Reason.UNSUPPORTED_PROTOCOL_VERSION, 1],
    [Reason.CLIENT_IDENTIFIER_NOT_VALID, 2],
    [Reason.SERVER_BUSY, 3],
    [Reason.QUOTA_EXCEEDED, 3],
    [Reason.BAD_USER_NAME_OR_PASSWORD, 4],
    [Reason.NOT_AUTHORIZED, 5],
    [Reason.BANNED, 5],
  ])('reason %i is return code %i', (reason, code) => {
    expect([...connackRefusal(Level.V31, reason)]).toEqual([0x20, 2, 0, code]);
    expect([...connackRefusal(Level.V311, reason)]).toEqual([0x20, 2, 0, code]);
    expect([...connackRefusal(Level.V5, reason)]).toEqual([0x20, 3, 0, reason, 0]);
  });

  test('a refusal uses the codes of CONNACK only [MQTT-3.2.2-8], and MQTT 3 leaves a broken CONNECT unanswered [MQTT3-3.1.4-1]', () => {
    expect(connackRefusal(Level.V5, Reason.SERVER_SHUTTING_DOWN)[3]).toBe(Reason.SERVER_UNAVAILABLE);
    expect(connackRefusal(Level.V5, Reason.MAXIMUM_CONNECT_TIME)[3]).toBe(Reason.UNSPECIFIED);
    expect(connackRefusal(Level.V311, Reason.MALFORMED_PACKET)).toHaveLength(0);
    expect(connackRefusal(Level.V5, Reason.MALFORMED_PACKET)[3]).toBe(Reason.MALFORMED_PACKET);
  });
});
