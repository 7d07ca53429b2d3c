// Runs of QoS 0 messages against the plain rule: every receiver gets what its filters match, once, in order, in its own form. Many
// messages of several topics go out in one write, so that runs form, grow over topics and break at every kind of border.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { check } from '../check.ts';
import { type Level, pingreq, property, publish, subscribe } from '../conformance/bytes.ts';
import { propertyOf, readPublish } from '../conformance/decode.ts';
import type { RawClient } from '../conformance/raw-client.ts';
import { subscribed, useRig } from '../conformance/rig.ts';

const rig = useRig();

const NO_LOCAL = 0x04;
const PACKET_BYTES_MAX = 64;
/** Some differ in their first letters only, some in the last only; one is shorter than a word. */
const topics = ['first/1', 'first/2', 'first/333', 'burst/1', 'burst/2', 'b'] as const;

interface Message {
  readonly topic: (typeof topics)[number];
  readonly payload: string;
}

/** Who receives, and what the rule says that it receives. */
interface Receiver {
  readonly client: RawClient;
  readonly wants: (message: Message) => boolean;
  readonly subscriptionId: (message: Message) => number | undefined;
}

const isFirst = ({ topic }: Message) => topic.startsWith('first/');
const isBurst = ({ topic }: Message) => topic.startsWith('burst/');
/** Fixed header, topic length, property length, topic, payload. */
const isSmall = ({ topic, payload }: Message) => 5 + topic.length + payload.length <= PACKET_BYTES_MAX;

type Kind = (publisher: RawClient) => Promise<Receiver>;

function kind(level: Level, filter: string, wants: Receiver['wants'], properties: Buffer[] = []): Kind {
  return async () => {
    const client = await rig.connect(level, { properties });
    await subscribed(client, { filters: [[filter, 0]] });
    return { client, wants, subscriptionId: () => undefined };
  };
}

const kinds: Readonly<Record<string, Kind>> = {
  'all, 3.1.1': kind(4, '#', () => true),
  'all, 5.0': kind(5, '#', () => true),
  'one level': kind(4, 'burst/+', isBurst),
  'one topic': kind(5, 'first/1', ({ topic }) => topic === 'first/1'),
  aliases: kind(5, 'first/+', isFirst, [property.topicAliasMaximum(2)]),
  'small packets': kind(5, '#', isSmall, [property.maximumPacketSize(PACKET_BYTES_MAX)]),
  'alone in a shared group': kind(4, '$share/alone/first/2', ({ topic }) => topic === 'first/2'),
  'a subscription identifier for some': async () => {
    const client = await rig.connect(5);
    await subscribed(client, { filters: [['first/#', 0]], properties: [property.subscriptionIdentifier(7)] });
    await subscribed(client, { filters: [['burst/#', 0]], packetId: 2 });
    const subscriptionId = (message: Message) => (isFirst(message) ? 7 : undefined);
    return { client, wants: (message) => isFirst(message) || isBurst(message), subscriptionId };
  },
  // The older levels have no No Local: the publisher hears itself.
  publisher: async (client) => {
    const isV5 = client.level === 5;
    await subscribed(client, { filters: [['first/1', isV5 ? NO_LOCAL : 0]] });
    await subscribed(client, { filters: [['burst/+', 0]], packetId: 2 });
    const wants = (message: Message) => isBurst(message) || (!isV5 && message.topic === 'first/1');
    return { client, wants, subscriptionId: () => undefined };
  },
};

/** What comes for a receiver, in order; answers to its own pings may stand between. */
async function expectReceived(
  name: string,
  { client, wants, subscriptionId }: Receiver,
  sent: readonly Message[],
): Promise<void> {
  const aliases = new Map<number, string>();
  for (const message of sent.filter(wants)) {
    let packet = await client.nextPacket();
    while (packet.firstByte === PINGRESP) packet = await client.nextPacket();
    const { topic, payload, properties } = readPublish(packet, client.level);
    const alias = propertyOf(properties, 0x23) as number | undefined;
    if (alias !== undefined && topic !== '') aliases.set(alias, topic);
    const known = topic === '' ? aliases.get(alias!) : topic;
    const { firstByte } = packet;
    expect({ name, firstByte, known, payload, subscriptionId: propertyOf(properties, 0x0b) }).toEqual({
      name,
      firstByte: 0x30,
      known: message.topic,
      payload: message.payload,
      subscriptionId: subscriptionId(message),
    });
  }
}

/** Nothing is left but answers to pings: the next other packet is the answer to a last request. */
async function expectNothingMore(client: RawClient): Promise<void> {
  client.send(subscribe(client.level, { packetId: 99, filters: [['nothing', 0]] }));
  let packet = await client.nextPacket();
  while (packet.firstByte === PINGRESP) packet = await client.nextPacket();
  expect(packet.firstByte).toBe(SUBACK);
}

const PINGRESP = 0xd0;
const SUBACK = 0x90;

const message = fc.record({
  topic: fc.constantFrom(...topics),
  times: fc.integer({ min: 1, max: 4 }),
  bytes: fc.integer({ min: 0, max: 150 }),
});
const pieces = fc.array(fc.oneof({ weight: 8, arbitrary: message }, { weight: 1, arbitrary: fc.constant('ping' as const) }), {
  minLength: 1,
  maxLength: 40,
});

test.each([4, 5] as const)('a publisher of level %i', async (level) => {
  const chosen = fc.subarray(Object.keys(kinds), { minLength: 1, maxLength: 3 });
  await check(
    fc.asyncProperty(chosen, pieces, fc.nat(), async (names, list, cut) => {
      const publisher = await rig.connect(level);
      const receivers: [name: string, receiver: Receiver][] = [];
      for (const name of names) receivers.push([name, await kinds[name]!(publisher)]);
      const sent: Message[] = [];
      const packets: Buffer[] = [];
      for (const piece of list) {
        if (piece === 'ping') {
          packets.push(pingreq);
          continue;
        }
        for (let i = 0; i < piece.times; i++) {
          sent.push({ topic: piece.topic, payload: `${sent.length}:`.padEnd(piece.bytes, 'x') });
          packets.push(publish(level, sent.at(-1)!));
        }
      }
      const stream = Buffer.concat(packets);
      // Somewhere a read ends inside a packet.
      publisher.send(stream.subarray(0, cut % stream.length));
      publisher.send(stream.subarray(cut % stream.length));
      for (const [name, receiver] of receivers) await expectReceived(name, receiver, sent);
      // The publisher is asked first: when it is answered, all that it sent has been handled.
      for (const client of new Set([publisher, ...receivers.map(([, receiver]) => receiver.client)])) {
        await expectNothingMore(client);
        client.drop();
      }
    }),
    80,
  );
});

test('a shared group splits a run, and each message goes to one member', async () => {
  const publisher = await rig.connect(4);
  const members = [await rig.connect(5), await rig.connect(4)];
  const witness = await rig.connect(4);
  for (const member of members) await subscribed(member, { filters: [['$share/g/a/#', 0]] });
  await subscribed(witness, { filters: [['a/#', 0]] });
  const payloads = Array.from({ length: 60 }, (_, i) => String(i));
  publisher.send(Buffer.concat(payloads.map((payload, i) => publish(4, { topic: `a/${i % 3}`, payload }))));
  const next = async (client: RawClient) => readPublish(await client.nextPacket(), client.level).payload;
  for (const payload of payloads) expect(await next(witness)).toBe(payload);
  const shared: string[][] = [];
  for (const member of members) {
    const own: string[] = [];
    member.send(pingreq);
    for (let packet = await member.nextPacket(); packet.firstByte !== 0xd0; packet = await member.nextPacket()) {
      own.push(readPublish(packet, member.level).payload);
    }
    expect(own).toEqual(own.toSorted((a, b) => Number(a) - Number(b)));
    shared.push(own);
  }
  expect(shared.flat().toSorted((a, b) => Number(a) - Number(b))).toEqual(payloads);
  expect(shared.map(({ length }) => length)).toEqual([30, 30]);
});

describe('the books', () => {
  const counted = useRig(['server.sys_interval_s=1']);

  test('hold every message and payload byte of a run', async () => {
    for (const level of [4, 5] as const) {
      const publisher = await counted.connect(level);
      publisher.send(Buffer.concat([0, 1, 2, 3, 4].map((i) => publish(level, { topic: `k/${i % 2}`, payload: 'x'.repeat(i) }))));
      await publisher.expectSilence();
    }
    const watch = await counted.connect(4);
    const due = new Map([
      ['$SYS/broker/publish/bytes/received', '20'],
      ['$SYS/broker/publish/messages/received', '10'],
    ]);
    await subscribed(watch, { filters: [...due.keys()].map((topic) => [topic, 0]) });
    // What comes first may be the retained values of the round before.
    while (due.size > 0) {
      const figure = readPublish(await watch.nextPacket(), 4);
      if (due.get(figure.topic) === figure.payload) due.delete(figure.topic);
    }
  });
});
