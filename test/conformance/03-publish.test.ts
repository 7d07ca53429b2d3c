// PUBLISH: flags, topic names, properties, topic aliases, and which copy a subscriber gets. MQTT 5.0 and 3.1.1 §3.3.

import { describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { propertyOf } from './decode.ts';
import { bothLevels, delivered, published, subscribed, useRig } from './rig.ts';

const rig = useRig();
const NO_PROPERTIES: readonly Buffer[] = [];

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test('QoS 3 ends the connection [MQTT-3.3.1-4] [MQTT3-3.3.1-4]', async () => {
    const client = await rig.connect(level);
    client.send(wire.publish(level, { topic: 't', qos: 3 }));
    await client.expectFault(0x81);
  });

  test('DUP on QoS 0 ends the connection [MQTT-3.3.1-2] [MQTT3-3.3.1-2]', async () => {
    const client = await rig.connect(level);
    client.send(wire.publish(level, { topic: 't', dup: true }));
    await client.expectFault(0x82);
  });

  test.each(['a/+', '#', 'a/b#', 'a+/b'])(
    'topic name %s has a wildcard [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT3-3.3.2-2] [MQTT3-4.7.1-1]',
    async (topic) => {
      const client = await rig.connect(level);
      client.send(wire.publish(level, { topic }));
      await client.expectFault(0x90);
    },
  );

  test('an empty topic name ends the connection [MQTT-4.7.3-1] [MQTT3-4.7.3-1]', async () => {
    const client = await rig.connect(level);
    client.send(wire.publish(level, { topic: '' }));
    await client.expectFault(0x82);
  });

  test('each QoS gets its answer [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-2.2.1-5] [MQTT3-3.3.4-1] [MQTT3-2.3.1-6] [MQTT3-4.3.2-2] [MQTT3-4.3.3-2]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    client.send(wire.publish(level, { topic, qos: 0 }));
    await client.expectSilence();
    client.send(wire.publish(level, { topic, qos: 1, packetId: 0x1234 }));
    await client.expect('40 02 12 34');
    client.send(wire.publish(level, { topic, qos: 2, packetId: 0xffff }));
    await client.expect('50 02 ff ff');
    client.send(wire.pubrel(0xffff));
    await client.expect('70 02 ff ff');
  });

  test('DUP of the publisher does not reach the subscriber [MQTT-3.3.1-3] [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT3-3.3.1-3]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 2]] });
    await published(client, { topic, qos: 1, packetId: 1, dup: true });
    await published(client, { topic, qos: 2, packetId: 2, dup: true });
    expect(await delivered(watcher)).toMatchObject({ dup: false, qos: 1 });
    expect(await delivered(watcher)).toMatchObject({ dup: false, qos: 2 });
  });

  test.each([
    [0, 0, 0],
    [0, 2, 0],
    [1, 0, 0],
    [1, 1, 1],
    [1, 2, 1],
    [2, 0, 0],
    [2, 1, 1],
    [2, 2, 2],
  ])('published at QoS %i and granted %i is delivered at %i [MQTT-3.8.4-8] [MQTT3-3.8.4-6]', async (sent, granted, expected) => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, granted]] });
    await published(client, { topic, qos: sent, packetId: 7, payload: 'x' });
    expect(await delivered(watcher)).toMatchObject({ topic, qos: expected, dup: false, payload: 'x' });
  });

  test('overlapping subscriptions get one copy at the highest QoS [MQTT-3.3.4-2] [MQTT3-3.3.5-1]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, {
      filters: [
        [`${topic}/#`, 0],
        [`${topic}/+`, 2],
        [`${topic}/a`, 1],
      ],
    });
    await published(client, { topic: `${topic}/a`, qos: 2, payload: 'x' });
    expect(await delivered(watcher)).toMatchObject({ qos: 2, payload: 'x' });
    await watcher.expectSilence();
  });

  test('only matching topics are delivered, under their own name [MQTT-3.3.2-3] [MQTT3-3.3.2-3]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[`${topic}/+/c`, 0]] });
    for (const tail of ['a/b', 'a/c/d', 'c', 'b/c']) client.send(wire.publish(level, { topic: `${topic}/${tail}` }));
    expect((await delivered(client)).topic).toBe(`${topic}/b/c`);
    await client.expectSilence();
  });

  test('messages of one publisher keep their order per topic and QoS [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT3-4.6.0-5] [MQTT3-4.6.0-6]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 1]] });
    for (let count = 1; count <= 100; count++) {
      client.send(wire.publish(level, { topic, qos: 1, packetId: count, payload: String(count) }));
    }
    for (let count = 1; count <= 100; count++) {
      const { payload, packetId } = await delivered(watcher);
      expect(payload).toBe(String(count));
      watcher.send(wire.puback(packetId));
    }
  });

  test('a message reaches every matching subscriber [MQTT-4.5.0-1] [MQTT3-4.5.0-1]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watchers = [await rig.connect(4), await rig.connect(5), await rig.connect(3)];
    for (const watcher of watchers) await subscribed(watcher, { filters: [[topic, 1]] });
    client.send(wire.publish(level, { topic, qos: 1, payload: 'x' }));
    for (const watcher of watchers) expect(await delivered(watcher)).toMatchObject({ topic, qos: 1, payload: 'x' });
  });
});

describe('MQTT 5.0 properties', () => {
  test('what the publisher says about the message is passed on as it came, in order [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(5);
    await subscribed(client, { filters: [[topic, 0]] });
    const pairs = [
      ['b', '1'],
      ['a', '2'],
      ['b', '1'],
      ['', ''],
    ] as const;
    const properties = [
      wire.property.payloadFormat(1),
      wire.property.contentType('text/plain'),
      wire.property.responseTopic('answers/here'),
      wire.property.correlationData('id 7'),
      ...pairs.map(([name, value]) => wire.property.userProperty(name, value)),
    ];
    client.send(wire.publish(5, { topic, payload: 'x', properties }));
    const message = await delivered(client);
    expect(propertyOf(message.properties, 0x01)).toBe(1);
    expect(propertyOf(message.properties, 0x03)).toBe('text/plain');
    expect(propertyOf(message.properties, 0x08)).toBe('answers/here');
    expect(propertyOf(message.properties, 0x09)).toBe('id 7');
    expect(message.properties.filter(({ id }) => id === 0x26).map(({ value }) => value)).toEqual(pairs);
    expect(message.properties).toHaveLength(4 + pairs.length);
  });

  test('a response topic with a wildcard is refused [MQTT-3.3.2-14]', async () => {
    const client = await rig.connect(5);
    client.send(wire.publish(5, { topic: 't', properties: [wire.property.responseTopic('a/#')] }));
    await client.expectFault(0x82);
  });

  test('a subscription identifier from a client is a protocol error [MQTT-3.3.4-6]', async () => {
    const client = await rig.connect(5);
    client.send(wire.publish(5, { topic: 't', properties: [wire.property.subscriptionIdentifier(1)] }));
    await client.expectFault(0x82);
  });

  test('the one copy carries the subscription identifiers of all that match [MQTT-3.3.4-3] [MQTT-3.3.4-4]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(5);
    const add = (packetId: number, filter: string, identifier: number) =>
      subscribed(client, { packetId, properties: [wire.property.subscriptionIdentifier(identifier)], filters: [[filter, 0]] });
    await add(1, `${topic}/#`, 1);
    await add(2, `${topic}/+`, 268_435_455);
    await add(3, `${topic}/other`, 3);
    await subscribed(client, { packetId: 4, filters: [[`${topic}/a`, 0]] });
    client.send(wire.publish(5, { topic: `${topic}/a`, payload: 'x' }));
    const identifiers = (await delivered(client)).properties.filter(({ id }) => id === 0x0b).map(({ value }) => Number(value));
    expect(identifiers.sort((left, right) => left - right)).toEqual([1, 268_435_455]);
    await client.expectSilence();
  });

  test('acknowledgements say when nobody was subscribed [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.7.2-1]', async () => {
    const client = await rig.connect(5);
    const topic = rig.name('nobody');
    client.send(wire.publish(5, { topic, qos: 1, packetId: 1 }));
    await client.expect('40 03 0001 10');
    client.send(wire.publish(5, { topic, qos: 2, packetId: 2 }));
    await client.expect('50 03 0002 10');
    client.send(wire.pubrel(2));
    await client.expect('70 02 0002');
  });

  test('a message too large for its receiver is dropped and counts as delivered [MQTT-3.1.2-24] [MQTT-3.1.2-25]', async () => {
    const topic = rig.name('t');
    const watcher = await rig.connect(5, { properties: [wire.property.maximumPacketSize(64), wire.property.receiveMaximum(1)] });
    const client = await rig.connect(5);
    await subscribed(watcher, { filters: [[topic, 1]] });
    client.send(wire.publish(5, { topic, qos: 1, packetId: 1, payload: 'x'.repeat(64) }));
    await client.expect('40 *');
    client.send(wire.publish(5, { topic, qos: 1, packetId: 2, payload: 'small' }));
    expect((await delivered(watcher)).payload).toBe('small');
    await watcher.expectSilence();
  });

  test('a message whose expiry is over when its turn comes is not delivered; another says what is left [MQTT-3.3.2-5] [MQTT-3.3.2-6]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const properties = [wire.property.sessionExpiryS(60)];
    const away = await rig.connect(5, { clientId, properties });
    await subscribed(away, { filters: [[topic, 1]] });
    away.send(wire.disconnect());
    await away.expectClosed();
    const client = await rig.connect(5);
    const watcher = await rig.connect(5, { keepAliveS: 1 });
    client.send(wire.publish(5, { topic, qos: 1, packetId: 1, payload: 'short', properties: [wire.property.messageExpiryS(1)] }));
    client.send(
      wire.publish(5, { topic, qos: 1, packetId: 2, payload: 'long', properties: [wire.property.messageExpiryS(100)] }),
    );
    await client.expect('40 *');
    await client.expect('40 *');
    await watcher.expectFault(0x8d, 10_000);
    const back = await rig.connect(5, { clientId, clean: false, properties });
    const message = await delivered(back);
    expect(message.payload).toBe('long');
    expect(Number(propertyOf(message.properties, 0x02))).toBeLessThanOrEqual(99);
    expect(Number(propertyOf(message.properties, 0x02))).toBeGreaterThan(80);
  });
});

describe('MQTT 5.0 topic aliases', () => {
  test('every alias up to the announced maximum is taken and remembered [MQTT-3.3.2-12]', async () => {
    const topic = rig.name('t');
    const { client, connack } = await rig.greet(5);
    const maximum = Number(propertyOf(connack.properties, 0x22));
    expect(maximum).toBeGreaterThan(0);
    await subscribed(client, { filters: [[`${topic}/#`, 0]] });
    for (const alias of [1, maximum]) {
      const properties = [wire.property.topicAlias(alias)];
      client.send(wire.publish(5, { topic: `${topic}/${alias}`, properties }), wire.publish(5, { topic: '', properties }));
      for (let copy = 0; copy < 2; copy++) expect((await delivered(client)).topic).toBe(`${topic}/${alias}`);
    }
  });

  test('alias 0 and one above the maximum are 0x94 [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.2.2-18]', async () => {
    for (const excess of [0, 1]) {
      const { client, connack } = await rig.greet(5);
      const alias = excess === 0 ? 0 : Number(propertyOf(connack.properties, 0x22)) + 1;
      client.send(wire.publish(5, { topic: 't', properties: [wire.property.topicAlias(alias)] }));
      await client.expectFault(0x94);
    }
  });

  test('an alias is unknown on the next connection of the session [MQTT-3.3.2-7]', async () => {
    const clientId = rig.name('c');
    const properties = [wire.property.sessionExpiryS(60)];
    const aliased = [wire.property.topicAlias(1)];
    const first = await rig.connect(5, { clientId, properties });
    await published(first, { topic: 't', properties: aliased });
    const second = await rig.connect(5, { clientId, clean: false, properties });
    second.send(wire.publish(5, { topic: '', properties: aliased }));
    await second.expectFault(0x82);
  });

  test.each([
    ['allows none', NO_PROPERTIES, 0],
    ['allows 0', [wire.property.topicAliasMaximum(0)], 0],
    ['allows 1', [wire.property.topicAliasMaximum(1)], 1],
  ])(
    'a client that %s is sent no alias beyond [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11] [MQTT-3.3.2-8]',
    async (_what, properties, maximum) => {
      const topic = rig.name('t');
      const client = await rig.connect(5, { properties });
      await subscribed(client, { filters: [[`${topic}/#`, 0]] });
      const names = new Map<number, string>();
      for (const tail of ['a', 'b', 'a', 'b']) {
        client.send(wire.publish(5, { topic: `${topic}/${tail}` }));
        const message = await delivered(client);
        const alias = propertyOf(message.properties, 0x23);
        if (alias !== undefined) {
          expect(Number(alias)).toBeGreaterThan(0);
          expect(Number(alias)).toBeLessThanOrEqual(maximum);
          if (message.topic !== '') names.set(Number(alias), message.topic);
        }
        expect(message.topic || names.get(Number(alias))).toBe(`${topic}/${tail}`);
      }
    },
  );
});
