// Retained messages, retain handling and retain as published: MQTT 5.0 §3.3.1.3 and §3.8.3.1, MQTT 3.1.1 §3.3.1.3.

import { describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { bothLevels, delivered, published, subscribed, useRig } from './rig.ts';

const rig = useRig();
const RETAIN_AS_PUBLISHED = 0x08;
const ONLY_IF_NEW = 0x10;
const NEVER = 0x20;

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test('a new subscription brings the last retained message of each topic, with RETAIN [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT3-3.3.1-5] [MQTT3-3.3.1-6] [MQTT3-3.3.1-8]', async () => {
    const topic = rig.name('t');
    const publisher = await rig.connect(level);
    await published(publisher, { topic: `${topic}/a`, payload: 'old', retain: true });
    publisher.send(wire.publish(level, { topic: `${topic}/a`, payload: 'a', qos: 1, packetId: 1, retain: true }));
    await publisher.expect('40 *');
    await published(publisher, { topic: `${topic}/b`, payload: 'b', retain: true });
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[`${topic}/+`, 2]] });
    const messages = [await delivered(client), await delivered(client)].sort((left, right) =>
      left.topic.localeCompare(right.topic),
    );
    expect(messages[0]).toMatchObject({ topic: `${topic}/a`, payload: 'a', qos: 1, retain: true });
    expect(messages[1]).toMatchObject({ topic: `${topic}/b`, payload: 'b', qos: 0, retain: true });
    await client.expectSilence();
  });

  test('an established subscription gets RETAIN 0 [MQTT-3.3.1-12] [MQTT3-3.3.1-9]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[topic, 0]] });
    client.send(wire.publish(level, { topic, payload: 'x', retain: true }));
    expect(await delivered(client)).toMatchObject({ payload: 'x', retain: false });
  });

  test('an empty retained message is delivered, and empties the place [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await published(client, { topic, payload: 'x', retain: true });
    await subscribed(client, { filters: [[topic, 0]] });
    await delivered(client);
    client.send(wire.publish(level, { topic, payload: '', retain: true }));
    expect(await delivered(client)).toMatchObject({ payload: '', retain: false });
    const late = await rig.connect(level);
    await subscribed(late, { filters: [[topic, 0]] });
    await late.expectSilence();
  });

  test('a retained message at QoS 0 takes the place of one at QoS 1 [MQTT-3.3.1-5] [MQTT3-3.3.1-7]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    client.send(wire.publish(level, { topic, payload: 'one', qos: 1, packetId: 1, retain: true }));
    await client.expect('40 *');
    await published(client, { topic, payload: 'zero', retain: true });
    await subscribed(client, { filters: [[topic, 1]] });
    expect(await delivered(client)).toMatchObject({ payload: 'zero', qos: 0, retain: true });
    await client.expectSilence();
  });

  test('a message without RETAIN neither takes nor empties the place [MQTT-3.3.1-8] [MQTT3-3.3.1-12]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await published(client, { topic: `${topic}/none`, payload: 'x' });
    await published(client, { topic: `${topic}/kept`, payload: 'kept', retain: true });
    await published(client, { topic: `${topic}/kept`, payload: 'passing' });
    await published(client, { topic: `${topic}/kept`, payload: '' });
    await subscribed(client, { filters: [[`${topic}/#`, 0]] });
    expect(await delivered(client)).toMatchObject({ topic: `${topic}/kept`, payload: 'kept' });
    await client.expectSilence();
  });

  test('retained messages outlive the session that published them [MQTT-3.3.1-5] [MQTT3-3.1.2-7]', async () => {
    const topic = rig.name('t');
    const publisher = await rig.connect(level);
    await published(publisher, { topic, payload: 'x', retain: true });
    publisher.send(wire.disconnect());
    await publisher.expectClosed();
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[topic, 0]] });
    expect((await delivered(client)).payload).toBe('x');
  });
});

describe('MQTT 5.0', () => {
  test.each([
    ['0 always', 0x00, [true, true]],
    ['1 only for a new subscription', ONLY_IF_NEW, [true, false]],
    ['2 never', NEVER, [false, false]],
  ] as const)(
    'retain handling %s [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]',
    async (_what, options, brings) => {
      const topic = rig.name('t');
      const client = await rig.connect(5);
      await published(client, { topic, payload: 'x', retain: true });
      for (const brought of brings) {
        await subscribed(client, { filters: [[topic, options]] });
        if (brought) expect(await delivered(client)).toMatchObject({ payload: 'x', retain: true });
        await client.expectSilence();
      }
    },
  );

  test('retain as published passes RETAIN on as it came [MQTT-3.3.1-12] [MQTT-3.3.1-13]', async () => {
    const topic = rig.name('t');
    const keeping = await rig.connect(5);
    const clearing = await rig.connect(5);
    await subscribed(keeping, { filters: [[topic, RETAIN_AS_PUBLISHED]] });
    await subscribed(clearing, { filters: [[topic, 0]] });
    for (const retain of [true, false]) {
      keeping.send(wire.publish(5, { topic, payload: 'x', retain }));
      expect((await delivered(keeping)).retain).toBe(retain);
      expect((await delivered(clearing)).retain).toBe(false);
    }
  });

  test('a retained message past its expiry is not brought [MQTT-3.3.2-5]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(5);
    const timer = await rig.connect(5, { keepAliveS: 1 });
    await published(client, { topic, payload: 'x', retain: true, properties: [wire.property.messageExpiryS(1)] });
    await timer.expectFault(0x8d, 10_000);
    await subscribed(client, { filters: [[topic, 0]] });
    await client.expectSilence();
  });
});
