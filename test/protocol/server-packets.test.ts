// What a client reads of a server, against mqtt-packet, and every cut and damage of it.
import fc from 'fast-check';
import mqttPacket, { type IConnackPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { Frame, Framer } from '../../protocol/framer.ts';
import { Level, Reason } from '../../protocol/packet.ts';
import { decodeConnack, decodeServerDisconnect, decodeSuback } from '../../protocol/server-packets.ts';

type Decode<T> = (buffer: Uint8Array, header: number, from: number, to: number, level: Level) => T;

function decoded<T>(decode: Decode<T>, bytes: Uint8Array, level: Level): T {
  const framer = new Framer(65_536);
  framer.feed(bytes, 0, bytes.length);
  expect(framer.next()).toBe(Frame.PACKET);
  return decode(framer.buffer, framer.header, framer.bodyFrom, framer.bodyTo, level);
}

const properties = fc.record(
  {
    sessionExpiryInterval: fc.nat(),
    receiveMaximum: fc.integer({ min: 1, max: 65_535 }),
    maximumQoS: fc.constantFrom(0, 1),
    retainAvailable: fc.boolean(),
    maximumPacketSize: fc.integer({ min: 1, max: 100_000 }),
    assignedClientIdentifier: fc.string({ maxLength: 10 }),
    reasonString: fc.constantFrom('why'),
    serverKeepAlive: fc.nat(65_535),
    userProperties: fc.constant({ a: 'b' }),
  },
  { requiredKeys: [] },
);

describe('CONNACK', () => {
  test('of MQTT 5 says what mqtt-packet has written', () => {
    const reasons = fc.constantFrom(Reason.SUCCESS, Reason.NOT_AUTHORIZED, Reason.SERVER_BUSY, Reason.USE_ANOTHER_SERVER);
    fc.assert(
      fc.property(properties, reasons, fc.boolean(), (of, reason, present) => {
        const sessionPresent = present && reason === Reason.SUCCESS;
        const packet = { cmd: 'connack', reasonCode: reason, sessionPresent, properties: of } as IConnackPacket;
        expect(decoded(decodeConnack, mqttPacket.generate(packet, { protocolVersion: 5 }), Level.V5)).toEqual({
          sessionPresent,
          reason,
          receiveMaximum: of.receiveMaximum ?? 65_535,
          maximumPacketSize: of.maximumPacketSize ?? 0,
          maximumQos: of.maximumQoS ?? 2,
          retainAvailable: of.retainAvailable ?? true,
          serverKeepAliveS: of.serverKeepAlive ?? -1,
        });
      }),
    );
  });

  test.each([
    [Level.V311, [0x20, 2, 1, 0], { sessionPresent: true, reason: Reason.SUCCESS }],
    [Level.V311, [0x20, 2, 0, 5], { sessionPresent: false, reason: Reason.NOT_AUTHORIZED }],
    // A server that knows no MQTT 5 answers as it can, and one that knows nothing older likewise.
    [Level.V5, [0x20, 2, 0, 1], { reason: Reason.UNSUPPORTED_PROTOCOL_VERSION }],
    [Level.V311, [0x20, 3, 0, 0x84, 0], { reason: Reason.UNSUPPORTED_PROTOCOL_VERSION }],
  ] as const)('of level %s: %j', (level, bytes, expected) => {
    expect(decoded(decodeConnack, Uint8Array.from(bytes), level)).toMatchObject(expected);
  });

  test.each([
    [Level.V311, [0x20, 2, 2, 0]],
    [Level.V311, [0x20, 2, 0, 6]],
    [Level.V311, [0x20, 3, 0, 0, 0]],
    [Level.V5, [0x20, 2, 0, 0]],
    [Level.V5, [0x20, 3, 0, 0x10, 0]],
    [Level.V5, [0x20, 4, 0, 0, 0, 0]],
    [Level.V5, [0x21, 3, 0, 0, 0]],
    [Level.V5, [0x30, 3, 0, 0, 0]],
    [Level.V5, [0x20, 1, 0]],
    [Level.V5, [0x20, 8, 0, 0, 5, 0x21, 0, 0, 0x24, 2]],
  ] as const)('of level %s: %j is a fault', (level, bytes) => {
    expect(decoded<unknown>(decodeConnack, Uint8Array.from(bytes), level)).toBeLessThan(0);
  });
});

test('SUBACK: one reason for each filter', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(0, 1, 2, 0x80), { minLength: 1, maxLength: 20 }),
      fc.constantFrom(4, 5),
      (granted, level) => {
        const bytes = mqttPacket.generate({ cmd: 'suback', messageId: 7, granted }, { protocolVersion: level });
        expect(decoded(decodeSuback, bytes, level as Level)).toEqual(granted);
      },
    ),
  );
});

test.each([
  [[0xe0, 0], 0],
  [[0xe0, 1, 0x8b], 0x8b],
  [[0xe0, 2, 0x8e, 0], 0x8e],
])('DISCONNECT %j: %i', (bytes, reason) => {
  expect(decoded(decodeServerDisconnect, Uint8Array.from(bytes), Level.V5)).toBe(reason);
  expect(decoded(decodeServerDisconnect, Uint8Array.from(bytes), Level.V311)).toBeLessThan(0);
});

test('any bytes are read or refused, and nothing throws', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom(0x20, 0x90, 0xe0),
      fc.constantFrom(4, 5),
      (body, header, level) => {
        for (const decode of [decodeConnack, decodeSuback, decodeServerDisconnect])
          decode(body, header, 0, body.length, level as Level);
      },
    ),
  );
});
