// PUBLISH in both directions, with mqtt-packet as the second opinion: every level, every property, the parts that belong to one hop.
import fc from 'fast-check';
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { fault, Level, Reason } from '../../protocol/packet.ts';
import { Properties } from '../../protocol/properties.ts';
import { decodePublish, MessageView, PublishHop, packetIdOffset, publishBytes, writePublish } from '../../protocol/publish.ts';
import {
  binary,
  generate,
  headOf,
  levels,
  oracleParse,
  packetId,
  packetOf,
  some,
  text,
  topicName,
  u16,
  u32,
  userProperties,
} from './oracle.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const PROTOCOL_ERROR = fault(Reason.PROTOCOL_ERROR);
const USER_PROPERTIES_MAX = 8;

/** Decodes one PUBLISH that lies in the middle of a larger buffer. */
function decode(bytes: Uint8Array, level: Level, out = new MessageView(), scratch = new Uint8Array(4_096)): number {
  const { header, bodyFrom } = headOf(bytes);
  const around = Buffer.concat([Buffer.from('>>>'), bytes, Buffer.from('<<<')]);
  const [from, to] = [3 + bodyFrom, 3 + bytes.length];
  return decodePublish(around, header, from, to, level, USER_PROPERTIES_MAX, new Properties(), scratch, out);
}

function write(message: MessageView, hop: PublishHop): Uint8Array {
  const size = publishBytes(message, hop);
  const out = new Uint8Array(size + 4).fill(0xaa);
  expect(writePublish(out, 2, message, hop)).toBe(2 + size);
  expect([out[0], out[1], out[size + 2], out[size + 3]]).toEqual([0xaa, 0xaa, 0xaa, 0xaa]);
  return out.slice(2, 2 + size);
}

function hopOf(fields: Partial<PublishHop>): PublishHop {
  return Object.assign(new PublishHop(), fields);
}

const range = (bytes: Uint8Array, from: number, to: number) => Buffer.from(bytes.subarray(from, to));
const topicOf = (message: MessageView) => range(message.topic, message.topicFrom, message.topicTo);
const payloadOf = (message: MessageView) => range(message.payload, message.payloadFrom, message.payloadTo);
const propertiesOf = (message: MessageView) => range(message.properties, message.propertiesFrom, message.propertiesTo);

/** Properties that are forwarded as they came, as mqtt-packet names them. */
const forwarded = some({
  payloadFormatIndicator: fc.boolean(),
  contentType: text(),
  responseTopic: topicName,
  correlationData: binary,
  userProperties,
});
const payload = fc.oneof(
  binary,
  fc.constantFrom(0, 127, 128, 16_383, 16_384).map((bytes) => Buffer.alloc(bytes, 0x5a)),
);
const qos = fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2);
const level = fc.constantFrom(...levels);
const publish = fc.record({ topic: topicName, payload, qos, retain: fc.boolean(), dup: fc.boolean(), messageId: packetId });

function packetFrom(fields: typeof publish extends fc.Arbitrary<infer T> ? T : never, properties: object): IPublishPacket {
  const dup = fields.qos > 0 && fields.dup;
  return { ...fields, cmd: 'publish', dup, properties } as IPublishPacket;
}

describe('decoding', () => {
  test('gives what mqtt-packet encoded, at every level', () => {
    const hop = some({ messageExpiryInterval: u32, topicAlias: fc.integer({ min: 1, max: 0xffff }) });
    fc.assert(
      fc.property(publish, forwarded, hop, level, (fields, properties, own, at) => {
        const packet = packetFrom(fields, { ...properties, ...own });
        const out = new MessageView();
        expect(decode(generate(packet, at), at, out)).toBe(0);
        const isV5 = at === Level.V5;
        expect(topicOf(out).toString()).toBe(packet.topic);
        expect(payloadOf(out).equals(fields.payload)).toBe(true);
        expect(out).toMatchObject({
          qos: packet.qos,
          dup: packet.dup ? 1 : 0,
          retain: packet.retain ? 1 : 0,
          packetId: packet.qos === 0 ? 0 : fields.messageId,
          expiryS: isV5 ? (own.messageExpiryInterval ?? -1) : -1,
          topicAlias: isV5 ? (own.topicAlias ?? 0) : 0,
          expiresAtMs: Infinity,
        });
        // What is forwarded is everything but what belongs to the hop.
        const again = write(out, hopOf({ level: at, qos: 1, packetId: 1 }));
        const [read] = oracleParse(again, at)! as [IPublishPacket];
        if (isV5) expect({ ...read.properties }).toEqual({ ...properties });
        else expect(propertiesOf(out)).toHaveLength(0);
      }),
      { numRuns: 300 },
    );
  });

  test('closes up around expiry and alias, wherever they stand, and keeps every other byte [MQTT-3.3.2-17] [MQTT-3.3.2-18]', () => {
    const others = fc.shuffledSubarray([
      Buffer.from([0x01, 1]),
      Buffer.from([0x03, 0, 1, 0x61]),
      Buffer.from([0x08, 0, 2, 0x62, 0x63]),
      Buffer.from([0x09, 0, 3, 0, 1, 2]),
      Buffer.from([0x26, 0, 1, 0x6b, 0, 1, 0x76]),
      Buffer.from([0x26, 0, 1, 0x6b, 0, 1, 0x77]),
    ]);
    fc.assert(
      fc.property(
        others,
        fc.option(u32),
        fc.option(fc.integer({ min: 1, max: 0xffff })),
        fc.nat(6),
        fc.nat(7),
        (kept, expiry, alias, at, then) => {
          const parts = [...kept];
          if (expiry !== null) {
            const bytes = Buffer.from([0x02, 0, 0, 0, 0]);
            bytes.writeUInt32BE(expiry, 1);
            parts.splice(Math.min(at, parts.length), 0, bytes);
          }
          if (alias !== null) parts.splice(Math.min(then, parts.length), 0, Buffer.from([0x23, alias >> 8, alias & 0xff]));
          const properties = Buffer.concat(parts);
          const body = Buffer.concat([
            Buffer.from([0, 1, 0x74]),
            Buffer.from([properties.length]),
            properties,
            Buffer.from('payload'),
          ]);
          const out = new MessageView();
          expect(decode(packetOf(0x30, body), Level.V5, out)).toBe(0);
          expect(propertiesOf(out).equals(Buffer.concat(kept))).toBe(true);
          expect([out.expiryS, out.topicAlias, payloadOf(out).toString()]).toEqual([expiry ?? -1, alias ?? 0, 'payload']);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('borrows the buffer, and the scratch only when it has to close up', () => {
    const scratch = new Uint8Array(64);
    const plain = new MessageView();
    expect(decode(packetOf(0x30, [0, 1, 0x74, 2, 0x01, 1, 0x78]), Level.V5, plain, scratch)).toBe(0);
    expect(plain.properties).toBe(plain.topic);
    const closed = new MessageView();
    expect(decode(packetOf(0x30, [0, 1, 0x74, 7, 0x01, 1, 0x02, 0, 0, 0, 9, 0x78]), Level.V5, closed, scratch)).toBe(0);
    expect([closed.properties === scratch, closed.expiryS]).toEqual([true, 9]);
  });

  test('needs a scratch that holds the properties', () => {
    const bytes = packetOf(0x30, [0, 1, 0x74, 7, 0x01, 1, 0x02, 0, 0, 0, 9]);
    expect(decode(bytes, Level.V5, new MessageView(), new Uint8Array(6))).toBe(fault(Reason.PACKET_TOO_LARGE));
    expect(decode(bytes, Level.V5, new MessageView(), new Uint8Array(7))).toBe(0);
  });

  test('leaves an empty topic to the caller, who knows the aliases', () => {
    const out = new MessageView();
    expect(decode(packetOf(0x30, [0, 0, 3, 0x23, 0, 5, 0x78]), Level.V5, out)).toBe(0);
    expect([out.topicFrom === out.topicTo, out.topicAlias, payloadOf(out).toString()]).toEqual([true, 5, 'x']);
  });

  test.each([
    ['QoS 3 [MQTT-3.3.1-4]', Level.V311, 0x36, [0, 1, 0x74, 0, 1], MALFORMED],
    ['DUP at QoS 0 [MQTT-3.3.1-2]', Level.V311, 0x38, [0, 1, 0x74], PROTOCOL_ERROR],
    ['packet identifier 0 [MQTT-2.2.1-3]', Level.V311, 0x32, [0, 1, 0x74, 0, 0], PROTOCOL_ERROR],
    ['no topic length', Level.V311, 0x30, [0], MALFORMED],
    ['no body', Level.V311, 0x30, [], MALFORMED],
    ['a topic that is not all there', Level.V311, 0x30, [0, 3, 0x74], MALFORMED],
    ['half a packet identifier', Level.V311, 0x32, [0, 1, 0x74, 1], MALFORMED],
    ['no property length', Level.V5, 0x30, [0, 1, 0x74], MALFORMED],
    ['properties that are not all there', Level.V5, 0x30, [0, 1, 0x74, 4, 0x01, 1], MALFORMED],
    ['a property of CONNECT', Level.V5, 0x30, [0, 1, 0x74, 3, 0x21, 0, 1], MALFORMED],
    ['a subscription identifier from a client [MQTT-3.3.4-6]', Level.V5, 0x30, [0, 1, 0x74, 2, 0x0b, 1], PROTOCOL_ERROR],
    ['topic alias 0 [MQTT-3.3.2-8]', Level.V5, 0x30, [0, 1, 0x74, 3, 0x23, 0, 0], fault(Reason.TOPIC_ALIAS_INVALID)],
    ['two expiries', Level.V5, 0x30, [0, 1, 0x74, 10, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1], PROTOCOL_ERROR],
  ])('%s is a fault', (_what, at, header, body, expected) => {
    expect(decode(packetOf(header, body), at)).toBe(expected);
  });

  test('takes nothing that mqtt-packet refuses, wherever a packet is cut', () => {
    fc.assert(
      fc.property(publish, forwarded, level, u16, (fields, properties, at, cut) => {
        const whole = generate(packetFrom({ ...fields, payload: Buffer.alloc(0) }, properties), at);
        const { header, bodyFrom } = headOf(whole);
        const bytes = packetOf(header, whole.slice(bodyFrom, bodyFrom + (cut % (whole.length - bodyFrom + 1))));
        if (decode(bytes, at) === 0) expect(oracleParse(bytes, at)).not.toBeNull();
      }),
      { numRuns: 300 },
    );
  });
});

describe('encoding', () => {
  const subscriptionIds = fc.array(fc.constantFrom(1, 127, 128, 16_383, 16_384, 2_097_152, 268_435_455), { maxLength: 3 });

  /** Subscription Identifier properties as they stand in a PUBLISH. */
  function encodedIds(ids: readonly number[]): Uint8Array {
    const bytes: number[] = [];
    for (const id of ids) {
      bytes.push(0x0b);
      let rest = id;
      do {
        bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
        rest >>>= 7;
      } while (rest > 0);
    }
    return Uint8Array.from(bytes);
  }

  test('is read by mqtt-packet as it was meant, at every level', () => {
    const own = fc.record({
      topicAlias: fc.option(fc.integer({ min: 1, max: 0xffff })),
      aliasOnly: fc.boolean(),
      expiryS: fc.option(u32),
      ids: subscriptionIds,
      dup: fc.boolean(),
      qos,
      retain: fc.boolean(),
      packetId,
    });
    fc.assert(
      fc.property(publish, forwarded, own, level, (fields, properties, hop, at) => {
        const message = new MessageView();
        const source = generate(packetFrom(fields, properties), Level.V5);
        expect(decode(source, Level.V5, message)).toBe(0);
        const isV5 = at === Level.V5;
        const aliasOnly = isV5 && hop.topicAlias !== null && hop.aliasOnly;
        const dup = hop.qos > 0 && hop.dup;
        const bytes = write(
          message,
          hopOf({
            level: at,
            qos: hop.qos,
            dup: dup ? 1 : 0,
            retain: hop.retain ? 1 : 0,
            packetId: hop.packetId,
            topicAlias: hop.topicAlias ?? 0,
            aliasOnly,
            expiryS: hop.expiryS ?? -1,
            subscriptionIds: encodedIds(hop.ids),
          }),
        );
        const [read] = oracleParse(bytes, at)! as [IPublishPacket];
        expect({ topic: read.topic, qos: read.qos, dup: read.dup, retain: read.retain }).toEqual({
          topic: aliasOnly ? '' : fields.topic,
          qos: hop.qos,
          dup,
          retain: hop.retain,
        });
        expect(fields.payload.equals(read.payload as Buffer)).toBe(true);
        expect(read.messageId ?? 0).toBe(hop.qos === 0 ? 0 : hop.packetId);
        if (!isV5) return;
        const [id, ...more] = hop.ids;
        expect({ ...read.properties }).toEqual({
          ...properties,
          ...(hop.topicAlias === null ? {} : { topicAlias: hop.topicAlias }),
          ...(hop.expiryS === null ? {} : { messageExpiryInterval: hop.expiryS }),
          ...(id === undefined ? {} : { subscriptionIdentifier: more.length === 0 ? id : hop.ids }),
        });
      }),
      { numRuns: 300 },
    );
  });

  test('comes back as it was, level to level, but for what a level does not have', () => {
    fc.assert(
      fc.property(publish, forwarded, level, level, (fields, properties, source, target) => {
        const message = new MessageView();
        expect(decode(generate(packetFrom(fields, properties), source), source, message)).toBe(0);
        const { qos: own, retain, dup, packetId: id } = message;
        const again = new MessageView();
        expect(decode(write(message, hopOf({ level: target, qos: own, retain, dup, packetId: id })), target, again)).toBe(0);
        const kept = target === Level.V5 ? propertiesOf(message) : Buffer.alloc(0);
        expect(topicOf(again).equals(topicOf(message))).toBe(true);
        expect(payloadOf(again).equals(payloadOf(message))).toBe(true);
        expect(propertiesOf(again).equals(kept)).toBe(true);
        expect([again.qos, again.retain, again.dup, again.packetId]).toEqual([own, retain, dup, id]);
      }),
      { numRuns: 200 },
    );
  });

  test('knows where the packet identifier stands, at every length of the length', () => {
    for (const at of levels) {
      for (const bytes of [
        0, 100, 118, 119, 120, 121, 122, 123, 16_370, 16_374, 16_375, 16_376, 16_377, 16_378, 16_379, 2_097_140, 2_097_150,
        2_100_000,
      ]) {
        const message = new MessageView();
        message.topic = Buffer.from('a/b');
        message.topicTo = 3;
        message.payload = new Uint8Array(bytes);
        message.payloadTo = bytes;
        const packet = write(message, hopOf({ level: at, qos: 1, packetId: 0xabcd }));
        const offset = packetIdOffset(packet.length, 3);
        expect([packet[offset], packet[offset + 1]]).toEqual([0xab, 0xcd]);
        expect((oracleParse(packet, at)![0] as Packet & { messageId: number }).messageId).toBe(0xabcd);
      }
    }
  });

  test('carries a topic of 65,535 bytes', () => {
    const topic = 'x'.repeat(65_535);
    const message = new MessageView();
    expect(
      decode(
        generate({ cmd: 'publish', topic, payload: 'p', qos: 0, dup: false, retain: false }, Level.V311),
        Level.V311,
        message,
      ),
    ).toBe(0);
    const [read] = oracleParse(write(message, hopOf({ level: Level.V5 })), Level.V5)! as [IPublishPacket];
    expect([read.topic === topic, read.payload.toString()]).toEqual([true, 'p']);
  });
});
