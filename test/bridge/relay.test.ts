// A relay by itself: whatever comes from either side, it never throws, and what it passes on are whole packets that mqtt-packet can read.
import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { LoopTag } from '../../engine/bridge/loop-tag.ts';
import { NOT_RELAYED, Relay, type RelayHost, type RelayTerms } from '../../engine/bridge/relay.ts';
import { TopicMap } from '../../engine/bridge/topic-map.ts';
import { type BridgeTopic, parseTopicLine } from '../../engine/config/bridge-topics.ts';
import { Frame, Framer } from '../../protocol/framer.ts';
import { defaultLimits } from '../../protocol/limits.ts';
import { Level } from '../../protocol/packet.ts';

const topics = ['a/# both 2 here/ there/', '# in 1', 'b/+ out 2 "" x/'].map(
  (line) => parseTopicLine(line, defaultLimits) as BridgeTopic,
);

const host: RelayHost = {
  limits: { ...defaultLimits, packetBytesMax: 2_048, userPropertiesMax: 3 },
  maximumQos: 2,
  retainAvailable: true,
  isRefusing: () => false,
  isNewSession: () => true,
};

const terms = fc.record<RelayTerms>({
  level: fc.constantFrom(Level.V311, Level.V5),
  maximumQos: fc.constantFrom(0, 1, 2),
  retainAvailable: fc.boolean(),
  maximumPacketSize: fc.constantFrom(0, 64, 4_096),
  releases: fc.constantFrom('none', 'new', 'all'),
  outgoingRetain: fc.boolean(),
});

const text = fc.string({ unit: 'binary-ascii', maxLength: 12 });
const publish = fc
  .record({
    topic: fc.constantFrom('here/a/1', 'there/a/1', 'b/1', 'b/2/3', '$SYS/x', 'c', 'ü/ö', 'a/+'),
    payload: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    retain: fc.boolean(),
    messageId: fc.integer({ min: 1, max: 65_535 }),
    properties: fc.record(
      {
        contentType: text,
        messageExpiryInterval: fc.nat(),
        correlationData: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
        userProperties: fc.constantFrom<Record<string, string | string[]>>(
          { a: 'b' },
          { 'lethe-bridge': 'own<' },
          { 'lethe-bridge': 'own>' },
          { a: ['1', '2', '3'], b: '4' },
        ),
      },
      { requiredKeys: [] },
    ),
  })
  .map((packet): Packet => ({ cmd: 'publish', dup: false, ...packet }));
const ack = fc
  .record({
    cmd: fc.constantFrom('puback' as const, 'pubrec' as const, 'pubrel' as const, 'pubcomp' as const),
    messageId: fc.integer({ min: 1, max: 65_535 }),
  })
  .map((packet): Packet => packet);
const other = fc.constantFrom<Packet>({ cmd: 'pingresp' }, { cmd: 'suback', messageId: 1, granted: [0] });
const damage = fc.option(fc.tuple(fc.nat(30), fc.nat(255)), { freq: 4 });
const step = fc.record({
  side: fc.constantFrom('local' as const, 'remote' as const),
  packet: fc.oneof(publish, ack, other),
  damage,
});

/** Every packet of what was written, by another parser. */
function parsed(bytes: Uint8Array, level: Level): number {
  const parser = mqttPacket.parser({ protocolVersion: level });
  let packets = 0;
  parser.on('packet', () => packets++);
  parser.on('error', (error) => {
    throw error;
  });
  const left = parser.parse(Buffer.from(bytes));
  expect(left).toBe(0);
  return packets;
}

test('passes on whole packets or nothing, whatever comes', () => {
  fc.assert(
    fc.property(terms, fc.array(step, { maxLength: 30 }), (of, steps) => {
      const totals = { messagesOut: 0, messagesIn: 0, refusedOut: 0, refusedIn: 0, looped: 0 };
      const maps = [new TopicMap(topics, 'out'), new TopicMap(topics, 'in')] as const;
      const relay = new Relay(of, host, ...maps, new LoopTag('own'), totals);
      let passed = 0;
      for (const { side, packet, damage: broken } of steps) {
        const level = side === 'local' ? Level.V5 : of.level;
        const bytes = Uint8Array.from(mqttPacket.generate(packet, { protocolVersion: level }));
        if (broken !== null && broken[0] < bytes.length) bytes[broken[0]] = broken[1];
        const framer = new Framer(4_096);
        framer.feed(bytes, 0, bytes.length);
        if (framer.next() !== Frame.PACKET) continue;
        const { buffer, header, bodyFrom, bodyTo } = framer;
        const result =
          side === 'local'
            ? relay.fromLocal(buffer, header, bodyFrom, bodyTo)
            : relay.fromRemote(buffer, header, bodyFrom, bodyTo);
        expect(result).toBeLessThanOrEqual(NOT_RELAYED);
        const remote = parsed(relay.toRemote.take(), of.level);
        const local = parsed(relay.toLocal.take(), Level.V5);
        // One packet leads to one at the most, but for a message that an identifier is released for.
        expect(remote + local).toBeLessThanOrEqual(of.releases !== 'none' || of.maximumQos < 2 ? 2 : 1);
        passed += remote + local;
      }
      const counted = Object.values(totals).reduce((sum, count) => sum + count, 0);
      expect(counted).toBeLessThanOrEqual(steps.length);
      expect(passed).toBeLessThanOrEqual(2 * steps.length);
    }),
    { numRuns: 300 },
  );
});
