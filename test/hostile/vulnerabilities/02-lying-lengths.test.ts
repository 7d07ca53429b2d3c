// 2. Packets that are cut short, and lengths that lie about what they hold. Deeper: ../mangled-packets.test.ts, test/protocol/fuzz.test.ts.
// Red when: a field is read past the end of its packet, so that bytes of the next packet, or of another client, become part of a message.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, hex, packet, prefixed, property, publish, subscribe, u16, varint } from '../../conformance/bytes.ts';
import type { RawClient } from '../../conformance/raw-client.ts';
import { bothLevels, subscribed, useRig } from '../../conformance/rig.ts';
import { Peer } from '../peer.ts';
import { Witness } from '../witness.ts';

const rig = useRig();
let all: RawClient;
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

/** Somebody who would see whatever is made of the bytes behind. */
async function listen(): Promise<void> {
  all = await rig.connect(5);
  await subscribed(all, { filters: [['leak/#', 0]] });
}

/** What a field that is too long would reach into. */
const BEHIND = publish(5, { topic: 'leak/behind', payload: 'secret' });

describe('a length that reaches behind its packet', () => {
  test.each<[string, Buffer]>([
    ['topic', packet(0x30, u16(60), Buffer.from('leak/a'))],
    ['topic, by one byte', packet(0x30, u16(7), Buffer.from('leak/a'))],
    ['properties', packet(0x30, prefixed('leak/a'), varint(100))],
    ['the name of a user property', packet(0x30, prefixed('leak/a'), varint(5), hex('26 00 40 61 62'))],
    ['a packet identifier', packet(0x32, prefixed('leak/a'), hex('00'))],
    ['a filter', packet(0x82, u16(1), hex('00'), u16(40), Buffer.from('leak/b'))],
    ['a filter without its options', packet(0x82, u16(1), hex('00'), prefixed('leak/b'))],
    ['an acknowledgement of one byte', hex('40 01 00')],
    ['a PINGREQ that has a body', hex('c0 01 00')],
    ['a remaining length of five bytes', hex('30 80 80 80 80 01')],
  ])('%s', async (_what, lie) => {
    await listen();
    const client = await rig.connect(5);
    client.send(Buffer.concat([lie, BEHIND]));
    await client.expectFault(0x81);
    await all.expectSilence();
  });
});

test.each(bothLevels)('MQTT %s: a PUBLISH without a topic ends its connection alone', async (_version, level) => {
  const client = await rig.connect(level);
  client.send(publish(level, { topic: '' }));
  await client.expectFault(level === 5 ? 0x82 : 0x90);
  await witness.isServed();
});

test('a stream that is cut at any byte leaves nothing half done', async () => {
  await listen();
  const stream = Buffer.concat([
    connect(5, { clientId: 'cut', properties: [property.sessionExpiryS(0)], will: { topic: 'other', payload: 'will' } }),
    subscribe(5, { filters: [['cut/#', 2]] }),
    publish(5, { topic: 'leak/whole', payload: 'whole' }).subarray(0, -1),
  ]);
  const { length } = stream;
  for (let from = 0; from <= length; from += 16) {
    const cuts = Array.from({ length: Math.min(16, length + 1 - from) }, (_, at) => stream.subarray(0, from + at));
    await Promise.all(
      cuts.map(async (bytes) => {
        const peer = await Peer.open(rig.broker.tcp);
        await peer.send(bytes);
        peer.drop();
      }),
    );
  }
  await witness.isServed();
  await all.expectSilence();
  expect(length).toBeGreaterThan(60);
});
