// SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK: MQTT 5.0 and 3.1.1 §3.8-3.11.

import { describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { bothLevels, delivered, published, subscribed, useRig } from './rig.ts';

const rig = useRig();
const NO_LOCAL = 0x04;

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test('SUBACK has the identifier of its request and one code per filter, in order [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.2.1-6] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT3-3.9.3-2] [MQTT3-2.3.1-7]', async () => {
    const client = await rig.connect(level);
    const invalid = level === 5 ? '8f' : '80';
    client.send(
      wire.subscribe(level, {
        packetId: 0xabcd,
        filters: [
          ['s/a', 2],
          ['s/#/b', 1],
          ['s/c', 0],
          ['s/d', 1],
        ],
      }),
    );
    await client.expect(level === 5 ? `90 07 abcd 00 02 ${invalid} 00 01` : `90 06 abcd 02 ${invalid} 00 01`);
  });

  test.each(['a/#/b', 'a#', '#/a', 'a+', '+a/b', 'a/+b', 'a/b+/c', '##', '++', ''])(
    'filter "%s" is refused by its code [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-3.8.4-7] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.3-1] [MQTT3-3.8.4-5]',
    async (filter) => {
      const client = await rig.connect(level);
      expect(await subscribed(client, { filters: [[filter, 0]] })).toEqual([level === 5 ? 0x8f : 0x80]);
      await client.expectSilence();
    },
  );

  test('SUBSCRIBE and UNSUBSCRIBE without a filter are protocol errors [MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT3-3.8.3-3] [MQTT3-3.10.3-2]', async () => {
    for (const packet of [wire.subscribe(level, { filters: [] }), wire.unsubscribe(level, 1, [])]) {
      const client = await rig.connect(level);
      client.send(packet);
      await client.expectFault(0x82);
    }
  });

  test('reserved bits beside a filter end the connection [MQTT-3.8.3-5] [MQTT3-3.8.3-4]', async () => {
    for (const options of level === 5 ? [0x40, 0x80, 0xc1] : [0x04, 0x10, 0x80]) {
      const client = await rig.connect(level);
      client.send(wire.subscribe(level, { filters: [['t', options]] }));
      await client.expectFault(0x81);
    }
  });

  test('QoS 3 beside a filter ends the connection [MQTT-4.13.1-1] [MQTT3-3.8.3-4]', async () => {
    const client = await rig.connect(level);
    client.send(wire.subscribe(level, { filters: [['t', 3]] }));
    await client.expectFault(level === 5 ? 0x82 : 0x81);
  });

  test('the same filter again replaces the subscription and brings retained messages again [MQTT-3.8.4-3] [MQTT-3.8.4-4] [MQTT3-3.8.4-3]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await published(client, { topic, payload: 'kept', retain: true });
    for (const granted of [0, 2, 1]) {
      expect(await subscribed(client, { filters: [[topic, granted]] })).toEqual([granted]);
      expect(await delivered(client)).toMatchObject({ payload: 'kept', retain: true });
    }
    await published(await rig.connect(level), { topic, qos: 2, payload: 'live' });
    expect(await delivered(client)).toMatchObject({ payload: 'live', qos: 1, retain: false });
    await client.expectSilence();
  });

  test('UNSUBACK answers each request, found or not [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-2.2.1-6] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT3-3.10.4-6] [MQTT3-2.3.1-7]', async () => {
    const client = await rig.connect(level);
    await subscribed(client, {
      filters: [
        ['u/a', 0],
        ['u/b', 0],
      ],
    });
    client.send(wire.unsubscribe(level, 0xabcd, ['u/b', 'u/none', 'u/a']));
    await client.expect(level === 5 ? 'b0 06 abcd 00 00 11 00' : 'b0 02 abcd');
    client.send(wire.unsubscribe(level, 2, ['u/a']));
    await client.expect(level === 5 ? 'b0 04 0002 00 11' : 'b0 02 0002');
  });

  test('only exactly the same filter is removed, and then nothing more arrives [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT3-3.10.4-1] [MQTT3-3.10.4-2]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[`${topic}/+`, 0]] });
    client.send(wire.unsubscribe(level, 2, [`${topic}/a`, `${topic}/#`, `${topic.toUpperCase()}/+`]));
    await client.expect('b0 *');
    client.send(wire.publish(level, { topic: `${topic}/a` }));
    await delivered(client);
    client.send(wire.unsubscribe(level, 3, [`${topic}/+`]));
    await client.expect('b0 *');
    client.send(wire.publish(level, { topic: `${topic}/a` }));
    await client.expectSilence();
  });

  test('deliveries under way are completed after UNSUBSCRIBE [MQTT-3.10.4-3] [MQTT3-3.10.4-3]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const publisher = await rig.connect(level);
    await subscribed(client, { filters: [[topic, 2]] });
    await published(publisher, { topic, qos: 2 });
    const { packetId } = await delivered(client);
    client.send(wire.unsubscribe(level, 2, [topic]));
    await client.expect('b0 *');
    client.send(wire.pubrec(packetId));
    await client.expect(`62 02 ${wire.u16(packetId).toString('hex')}`);
    client.send(wire.pubcomp(packetId));
    await client.expectSilence();
  });

  test('PINGREQ is answered [MQTT-3.12.4-1] [MQTT3-3.12.4-1]', async () => {
    const client = await rig.connect(level);
    client.send('c0 00');
    await client.expect('d0 00');
  });

  test('PINGREQ with a body ends the connection [MQTT-4.13.1-1] [MQTT3-4.8.0-1]', async () => {
    const client = await rig.connect(level);
    client.send('c0 01 00');
    await client.expectFault(0x81);
  });
});

describe('MQTT 3.1', () => {
  test('an invalid filter closes, since SUBACK of 3.1 knows no failure', async () => {
    const client = await rig.connect(3);
    client.send(wire.subscribe(3, { filters: [['a/#/b', 0]] }));
    await client.expectClosed();
  });
});

describe('MQTT 5.0', () => {
  test('no local keeps a client from hearing itself, and only itself [MQTT-3.8.3-3]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(5);
    const other = await rig.connect(5);
    await subscribed(client, { filters: [[topic, NO_LOCAL]] });
    client.send(wire.publish(5, { topic, payload: 'own' }));
    await client.expectSilence();
    other.send(wire.publish(5, { topic, payload: 'other' }));
    expect((await delivered(client)).payload).toBe('other');
  });

  test('retain handling 3 is a protocol error [MQTT-4.13.1-1]', async () => {
    const client = await rig.connect(5);
    client.send(wire.subscribe(5, { filters: [['t', 0x30]] }));
    await client.expectFault(0x82);
  });

  test('subscription identifier 0, or two of them, are protocol errors [MQTT-4.13.1-1]', async () => {
    const identifier = wire.property.subscriptionIdentifier;
    for (const properties of [[identifier(0)], [identifier(1), identifier(2)]]) {
      const client = await rig.connect(5);
      client.send(wire.subscribe(5, { properties, filters: [['t', 0]] }));
      await client.expectFault(0x82);
    }
  });
});
