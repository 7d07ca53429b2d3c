// SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK against mqtt-packet, and where the standard is stricter than it.
import fc from 'fast-check';
import type { Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { defaultLimits } from '../../protocol/limits.ts';
import { fault, Level, Reason } from '../../protocol/packet.ts';
import {
  decodeSubscribe,
  decodeUnsubscribe,
  encodeSuback,
  encodeUnsuback,
  type SubscribePacket,
  type UnsubscribePacket,
} from '../../protocol/subscribe.ts';
import { generate, headOf, levels, oracleParse, packetId, packetOf, some, text, userProperties } from './oracle.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const PROTOCOL_ERROR = fault(Reason.PROTOCOL_ERROR);
const FILTER_INVALID = fault(Reason.TOPIC_FILTER_INVALID);

function decodeWith<T>(
  decoder: (...args: Parameters<typeof decodeSubscribe>) => T,
  bytes: Uint8Array,
  level: Level,
  limits = defaultLimits,
): T {
  const { header, bodyFrom } = headOf(bytes);
  const copy = Uint8Array.from(bytes);
  const packet = decoder(copy, header, bodyFrom, copy.length, level, limits);
  copy.fill(0xee); // what is decoded must be owned
  return packet;
}

const subscribe = (bytes: Uint8Array, level: Level) => decodeWith(decodeSubscribe, bytes, level);
const unsubscribe = (bytes: Uint8Array, level: Level) => decodeWith(decodeUnsubscribe, bytes, level);
/** SUBSCRIBE at level 5 with one filter. */
const one = (filter: string, options: number) => packetOf(0x82, [0, 1, 0, 0, filter.length, ...Buffer.from(filter), options]);

const filters = fc.oneof(text(1), fc.constantFrom('#', 'a/+', '$share/g/t', '$share/g', 'a#', ''));
const subscribes = fc.record({
  cmd: fc.constant('subscribe'),
  messageId: packetId,
  subscriptions: fc.array(
    fc.record({
      topic: filters,
      qos: fc.constantFrom(0, 1, 2),
      nl: fc.constant(false),
      rap: fc.boolean(),
      rh: fc.constantFrom(0, 1, 2),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  properties: some({ subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }), userProperties }),
});
const unsubscribes = fc.record({
  cmd: fc.constant('unsubscribe'),
  messageId: packetId,
  unsubscriptions: fc.array(filters, { minLength: 1, maxLength: 4 }),
  properties: some({ userProperties }),
});
const anyLevel = fc.constantFrom(...levels);

describe('requests', () => {
  test('SUBSCRIBE decodes what mqtt-packet encodes', () => {
    fc.assert(
      fc.property(subscribes, anyLevel, (sent, level) => {
        const packet = subscribe(generate(sent as unknown as Packet, level), level) as SubscribePacket;
        const isV5 = level === Level.V5;
        expect(packet.packetId).toBe(sent.messageId);
        expect(packet.subscriptionId).toBe(isV5 ? (sent.properties.subscriptionIdentifier ?? 0) : 0);
        expect(packet.filters.map(({ filter }) => Buffer.from(filter).toString())).toEqual(
          sent.subscriptions.map(({ topic }) => topic),
        );
        const options = packet.filters.map(({ qos, noLocal: nl, retainAsPublished: rap, retainHandling: rh }) => ({
          qos,
          nl,
          rap,
          rh,
        }));
        const v3 = { nl: false, rap: false, rh: 0 };
        expect(options).toEqual(sent.subscriptions.map(({ topic: _topic, ...rest }) => (isV5 ? rest : { ...rest, ...v3 })));
      }),
    );
  });

  test('UNSUBSCRIBE decodes what mqtt-packet encodes', () => {
    fc.assert(
      fc.property(unsubscribes, anyLevel, (sent, level) => {
        const packet = unsubscribe(generate(sent as unknown as Packet, level), level) as UnsubscribePacket;
        expect(packet.packetId).toBe(sent.messageId);
        expect(packet.filters.map((filter) => Buffer.from(filter).toString())).toEqual(sent.unsubscriptions);
        expect(packet.results).toHaveLength(sent.unsubscriptions.length);
      }),
    );
  });

  test('no changed packet that mqtt-packet refuses is accepted', () => {
    fc.assert(
      fc.property(fc.oneof(subscribes, unsubscribes), anyLevel, fc.nat(), fc.nat(255), (sent, level, at, byte) => {
        const bytes = generate(sent as unknown as Packet, level);
        const { bodyFrom } = headOf(bytes);
        bytes[bodyFrom + (at % (bytes.length - bodyFrom))] = byte;
        const packet = sent.cmd === 'subscribe' ? subscribe(bytes, level) : unsubscribe(bytes, level);
        if (typeof packet !== 'number') expect(oracleParse(bytes, level)).toHaveLength(1);
      }),
      { numRuns: 2_000 },
    );
  });

  test('a filter that is no topic filter fails alone [MQTT-4.7.1-1] [MQTT-4.7.3-1] [MQTT-4.8.2-1]', () => {
    const filter = (value: string) => [0, value.length, ...Buffer.from(value)];
    const invalid = ['a#', '', '$share/g', '$share/g/a/#/b'];
    for (const value of invalid) {
      const subscribed = subscribe(
        packetOf(0x82, [0, 1, 0, ...filter('ok'), 0, ...filter(value), 0]),
        Level.V5,
      ) as SubscribePacket;
      expect(subscribed.filters.map(({ result }) => result)).toEqual([0, FILTER_INVALID]);
      const unsubscribed = unsubscribe(
        packetOf(0xa2, [0, 1, 0, ...filter(value), ...filter('ok')]),
        Level.V5,
      ) as UnsubscribePacket;
      expect(unsubscribed.results).toEqual([FILTER_INVALID, 0]);
    }
  });

  test('flags are 0010; MQTT 3.1 adds DUP [MQTT-3.8.1-1] [MQTT-3.10.1-1]', () => {
    for (let flags = 0; flags < 16; flags++) {
      const isRight = flags === 2;
      expect(typeof subscribe(packetOf(0x80 | flags, [0, 1, 0, 1, 97, 0]), Level.V311) === 'object').toBe(isRight);
      expect(typeof unsubscribe(packetOf(0xa0 | flags, [0, 1, 0, 1, 97]), Level.V311) === 'object').toBe(isRight);
      expect(typeof subscribe(packetOf(0x80 | flags, [0, 1, 0, 1, 97, 0]), Level.V31) === 'object').toBe(isRight || flags === 10);
    }
  });

  test.each([
    ['packet identifier 0 [MQTT-2.2.1-3]', packetOf(0x82, [0, 0, 0, 0, 1, 97, 0]), PROTOCOL_ERROR],
    ['no filter [MQTT-3.8.3-2]', packetOf(0x82, [0, 1, 0]), PROTOCOL_ERROR],
    ['reserved option bits [MQTT-3.8.3-5]', one('t', 0x40), MALFORMED],
    ['QoS 3', one('t', 3), PROTOCOL_ERROR],
    ['retain handling 3', one('t', 0x30), PROTOCOL_ERROR],
    ['no local on a shared subscription [MQTT-3.8.3-4]', one('$share/g/t', 4), PROTOCOL_ERROR],
    ['a filter without options', packetOf(0x82, [0, 1, 0, 0, 1, 97]), MALFORMED],
    ['a filter that leaves the packet', packetOf(0x82, [0, 1, 0, 0, 9, 97, 0]), MALFORMED],
    ['bad UTF-8 [MQTT-3.8.3-1]', packetOf(0x82, [0, 1, 0, 0, 1, 0xff, 0]), MALFORMED],
    ['subscription identifier 0', packetOf(0x82, [0, 1, 2, 0x0b, 0, 0, 1, 97, 0]), PROTOCOL_ERROR],
  ])('SUBSCRIBE with %s fails whole', (_what, bytes, expected) => {
    expect(subscribe(bytes, Level.V5)).toBe(expected);
  });

  test('MQTT 3 has no options beside the QoS [MQTT3-3.8.3-4]', () => {
    for (const options of [3, 4, 0x10, 0x80])
      expect(subscribe(packetOf(0x82, [0, 1, 0, 1, 97, options]), Level.V311)).toBe(MALFORMED);
  });

  test.each([
    ['packet identifier 0', packetOf(0xa2, [0, 0, 0, 0, 1, 97]), PROTOCOL_ERROR],
    ['no filter [MQTT-3.10.3-2]', packetOf(0xa2, [0, 1, 0]), PROTOCOL_ERROR],
    ['bad UTF-8 [MQTT-3.10.3-1]', packetOf(0xa2, [0, 1, 0, 0, 1, 0]), MALFORMED],
  ])('UNSUBSCRIBE with %s fails whole', (_what, bytes, expected) => {
    expect(unsubscribe(bytes, Level.V5)).toBe(expected);
  });

  test('more filters than a client may hold are not decoded', () => {
    const limits = { ...defaultLimits, subscriptionsPerClientMax: 2 };
    const three = [0, 1, 97, 0, 0, 1, 98, 0, 0, 1, 99, 0];
    expect(decodeWith(decodeSubscribe, packetOf(0x82, [0, 1, ...three]), Level.V311, limits)).toBe(fault(Reason.QUOTA_EXCEEDED));
    expect(decodeWith(decodeSubscribe, packetOf(0x82, [0, 1, ...three.slice(4)]), Level.V311, limits)).toMatchObject({
      packetId: 1,
    });
  });
});

describe('answers', () => {
  test('are read by mqtt-packet, codes in their order [MQTT-3.9.3-1] [MQTT-3.11.3-1] [MQTT-2.2.1-6]', () => {
    for (const level of levels) {
      const isV5 = level === Level.V5;
      const granted = isV5 ? [0, 0x8f, 2, 0x97] : [0, 0x80, 2];
      expect(oracleParse(encodeSuback(level, 7, granted), level)).toMatchObject([{ cmd: 'suback', messageId: 7, granted }]);
      const reasons = [0, 0x11, 0x8f];
      const expected = { cmd: 'unsuback', messageId: 7, ...(isV5 ? { granted: reasons } : { length: 2 }) };
      expect(oracleParse(encodeUnsuback(level, 7, reasons), level)).toMatchObject([expected]);
    }
  });

  test('say why when asked to, on MQTT 5', () => {
    const properties = { reasonString: 'why' };
    expect(oracleParse(encodeSuback(Level.V5, 1, [0x87], 'why'), Level.V5)).toMatchObject([{ properties }]);
    expect(oracleParse(encodeUnsuback(Level.V5, 1, [0x87], 'why'), Level.V5)).toMatchObject([{ properties }]);
    expect([...encodeSuback(Level.V311, 1, [0x80], 'why')]).toEqual([0x90, 3, 0, 1, 0x80]);
    expect([...encodeUnsuback(Level.V5, 2, [0])]).toEqual([0xb0, 4, 0, 2, 0, 0]); // [MQTT-2.2.2-1]
  });
});
