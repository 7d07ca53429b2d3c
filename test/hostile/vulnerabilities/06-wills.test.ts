// 6. Wills that are malformed, outlive their session, or have lost their right by the time they are published. Deeper: ../wills.test.ts, test/conformance/08-will.test.ts.
// Red when: the right to publish a will is looked at in CONNECT only, a will waits longer than its session lives, or one that is refused leaves something behind.
import { describe, expect, test } from 'vitest';
import type { Rights } from '../../../engine/gate.ts';
import { ONE_SHARD } from '../../broker.ts';
import { connect, property, publish } from '../../conformance/bytes.ts';
import { delivered, expectRefused, subscribed, useRig } from '../../conformance/rig.ts';
import { until } from '../../network/temporary.ts';

/** Rights that a test takes away. */
let mayPublish = true;
const rights: Rights = {
  mayPublish: (_username, _clientId, topic, from, to) =>
    mayPublish || !Buffer.from(topic.subarray(from, to)).toString().startsWith('will/'),
  mayReceive: () => true,
  maySubscribe: () => true,
};
const rig = useRig([ONE_SHARD], { rights });
const plain = useRig();

test.each([false, true])(
  'a right that was taken away after CONNECT: the will reaches nobody and is not retained (retain: %s)',
  async (retain) => {
    mayPublish = true;
    const listener = await rig.connect(5);
    await subscribed(listener, { filters: [['#', 1]] });
    const client = await rig.connect(5, { will: { topic: 'will/revoked', payload: 'x', qos: 1, retain } });
    const other = await rig.connect(5, { will: { topic: 'will/kept', payload: 'kept' } });
    other.drop();
    expect((await delivered(listener)).payload, 'it is published while there is a right').toBe('kept');
    mayPublish = false;
    client.drop();
    await until('both are gone', () => rig.broker.counts().connections === 1);
    await listener.expectSilence();
    mayPublish = true;
    const late = await rig.connect(5);
    await subscribed(late, { filters: [['will/#', 0]] });
    await late.expectSilence();
  },
);

test('a will delay longer than the session: it is published when the session ends, once, and nothing fires later', async () => {
  const listener = await plain.connect(5);
  await subscribed(listener, { filters: [['late', 0]] });
  const will = { topic: 'late', payload: 'will', properties: [property.willDelayS(4_000_000_000)] };
  const client = await plain.connect(5, { properties: [property.sessionExpiryS(1)], will });
  client.drop();
  expect((await delivered(listener, 20_000)).payload).toBe('will');
  await listener.expectSilence();
});

describe('a will that is malformed refuses the CONNECT, and nothing is published when it goes', () => {
  test.each<[string, Buffer, number]>([
    ['a property of PUBLISH only', property.topicAlias(1), 0x81],
    ['a property of CONNECT', property.receiveMaximum(5), 0x81],
    ['a property that does not exist', Buffer.from([0x7f, 0]), 0x81],
    ['a payload format of 2', property.payloadFormat(2), 0x82],
    ['a response topic with a wildcard', property.responseTopic('a/#'), 0x82],
    ['a property that is cut short', Buffer.from([0x18, 0]), 0x81],
  ])('%s', async (_what, bad, reason) => {
    const listener = await plain.connect(5);
    await subscribed(listener, { filters: [['bad', 0]] });
    for (let times = 0; times < 5; times++) {
      const client = await plain.open(5);
      client.send(connect(5, { will: { topic: 'bad', payload: 'x', properties: [bad] } }));
      const packet = await client.nextPacket();
      expect({ first: packet.firstByte, reason: packet.body[1] }).toEqual({ first: 0x20, reason });
      await client.expectClosed();
    }
    await listener.expectSilence();
  });

  test('a topic with a wildcard, or below $SYS', async () => {
    for (const topic of ['a/+', '#']) {
      const client = await plain.open(5);
      client.send(connect(5, { will: { topic, payload: '' } }));
      await expectRefused(client, 0x90);
    }
    const listener = await plain.connect(5);
    await subscribed(listener, { filters: [['$SYS/will', 0]] });
    const forger = await plain.connect(5, { will: { topic: '$SYS/will', payload: 'x', retain: true } });
    forger.drop();
    (await plain.connect(5)).send(publish(5, { topic: 'x' }));
    await listener.expectSilence();
  });
});
