// Strings, integers, fixed headers and packet identifiers on the wire: MQTT 5.0 §1.5 and §2, MQTT 3.1.1 §1.5 and §2.

import { describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { bothLevels, delivered, expectRefused, published, subscribed, useRig } from './rig.ts';

const rig = useRig();

const illFormed: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['a lone continuation byte', wire.hex('61 80')],
  ['an overlong slash', wire.hex('c0 af')],
  ['a surrogate', wire.hex('ed a0 80')],
  ['a code point above U+10FFFF', wire.hex('f4 90 80 80')],
  ['a sequence cut short', wire.hex('61 e2 82')],
];
const nul = wire.hex('61 00 62');

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  describe.each(illFormed)('%s', (_what, bytes) => {
    test('is refused as client identifier, will topic and user name [MQTT-1.5.4-1] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT3-1.5.3-1] [MQTT3-3.1.3-4] [MQTT3-3.1.3-10] [MQTT3-3.1.3-11]', async () => {
      for (const fields of [{ clientId: bytes }, { will: { topic: bytes, payload: '' } }, { userName: bytes }]) {
        const client = await rig.open(level);
        client.send(wire.connect(level, { clientId: rig.name('c'), ...fields }));
        await expectRefused(client, 0x81);
      }
    });

    test('is malformed in a topic name and in filters [MQTT-1.5.4-1] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT3-1.5.3-1] [MQTT3-3.3.2-1] [MQTT3-3.8.3-1] [MQTT3-3.10.3-1]', async () => {
      for (const packet of [
        wire.publish(level, { topic: bytes }),
        wire.subscribe(level, { filters: [[bytes, 0]] }),
        wire.unsubscribe(level, 1, [bytes]),
      ]) {
        const client = await rig.connect(level);
        client.send(packet);
        await client.expectFault(0x81);
      }
    });
  });

  test('U+0000 is refused in CONNECT [MQTT-1.5.4-2] [MQTT3-1.5.3-2]', async () => {
    const client = await rig.open(level);
    client.send(wire.connect(level, { clientId: nul }));
    await expectRefused(client, 0x81);
  });

  test('U+0000 ends the connection in a topic name and in filters [MQTT-1.5.4-2] [MQTT-4.7.3-2] [MQTT3-1.5.3-2] [MQTT3-4.7.3-2]', async () => {
    for (const packet of [
      wire.publish(level, { topic: nul }),
      wire.subscribe(level, { filters: [[nul, 0]] }),
      wire.unsubscribe(level, 1, [nul]),
    ]) {
      const client = await rig.connect(level);
      client.send(packet);
      await client.expectFault(0x81);
    }
  });

  test('a byte order mark is a character of the topic [MQTT-1.5.4-3] [MQTT3-1.5.3-3]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[topic, 0]] });
    await subscribed(client, { packetId: 2, filters: [[`\ufeff${topic}`, 0]] });
    client.send(wire.publish(level, { topic: `\ufeff${topic}`, payload: 'x' }));
    expect((await delivered(client)).topic).toBe(`\ufeff${topic}`);
    await client.expectSilence();
  });

  test.each([
    ['PUBACK', '41 02 00 01'],
    ['PUBREC', '52 02 00 01'],
    ['PUBREL', '60 02 00 01'],
    ['PUBCOMP', '71 02 00 01'],
    ['SUBSCRIBE', '80 02 00 01'],
    ['UNSUBSCRIBE', 'a0 02 00 01'],
    ['PINGREQ', 'c1 00'],
    ['DISCONNECT', 'e1 00'],
  ])(
    'reserved flags of %s are checked [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-3.14.1-1]',
    async (_name, bytes) => {
      const client = await rig.connect(level);
      client.send(bytes);
      await client.expectFault(0x81);
    },
  );

  test('reserved flags of CONNECT are checked [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]', async () => {
    const client = await rig.open(level);
    const packet = wire.connect(level, { clientId: rig.name('c') });
    packet[0] = 0x11;
    client.send(packet);
    await expectRefused(client, 0x81);
  });

  test('packet type 0 ends the connection [MQTT-4.13.1-1] [MQTT3-4.8.0-1]', async () => {
    const client = await rig.connect(level);
    client.send('00 00');
    await client.expectFault(0x81);
  });

  test.each([
    ['CONNACK', '20 02 00 00'],
    ['SUBACK', '90 03 00 01 00'],
    ['UNSUBACK', 'b0 02 00 01'],
    ['PINGRESP', 'd0 00'],
  ])('%s from a client ends the connection [MQTT-4.13.1-1] [MQTT3-4.8.0-1]', async (_name, bytes) => {
    const client = await rig.connect(level);
    client.send(bytes);
    await client.expectFault(0x82);
  });

  test('a remaining length of five bytes ends the connection [MQTT-4.13.1-1] [MQTT3-4.8.0-1]', async () => {
    const client = await rig.connect(level);
    client.send('30 ff ff ff ff 01');
    await client.expectFault(0x81);
  });

  test('QoS 0 is sent without packet identifier and with DUP 0 [MQTT-2.2.1-2] [MQTT-4.3.1-1] [MQTT3-2.3.1-5] [MQTT3-4.3.1-1]', async () => {
    const client = await rig.connect(level);
    await subscribed(client, { filters: [['wire/qos0', 2]] });
    client.send(wire.publish(level, { topic: 'wire/qos0', payload: 'x' }));
    await client.expect(level === 5 ? '30 0d 0009 776972652f716f7330 00 78' : '30 0c 0009 776972652f716f7330 78');
  });

  test('packet identifier 0 is a protocol error [MQTT-2.2.1-3] [MQTT3-2.3.1-1]', async () => {
    for (const packet of [
      wire.publish(level, { topic: 't', qos: 1, packetId: 0 }),
      wire.publish(level, { topic: 't', qos: 2, packetId: 0 }),
      wire.subscribe(level, { packetId: 0, filters: [['t', 0]] }),
      wire.unsubscribe(level, 0, ['t']),
    ]) {
      const client = await rig.connect(level);
      client.send(packet);
      await client.expectFault(0x82);
    }
  });

  test('deliveries under way have identifiers of their own, none of them 0 [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT3-2.3.1-1] [MQTT3-2.3.1-4] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const publisher = await rig.connect(level);
    await subscribed(client, { filters: [[topic, 2]] });
    for (const [qos, packetId] of [
      [1, 1],
      [2, 2],
      [1, 3],
      [2, 4],
    ] as const) {
      publisher.send(wire.publish(level, { topic, qos, packetId }));
    }
    const identifiers = new Set<number>();
    for (let count = 0; count < 4; count++) identifiers.add((await delivered(client)).packetId);
    expect(identifiers.size).toBe(4);
    expect(identifiers.has(0)).toBe(false);
  });

  test('packets arrive whole when their bytes come one at a time [MQTT-4.2.0-1] [MQTT3-7.1.1-1]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[topic, 0]] });
    for (const byte of wire.publish(level, { topic, payload: 'whole' })) client.send(Buffer.from([byte]));
    expect((await delivered(client)).payload).toBe('whole');
  });
});

describe('MQTT 5.0', () => {
  test('a remaining length that is not minimal is malformed [MQTT-1.5.5-1]', async () => {
    const client = await rig.connect(5);
    client.send('c0 80 00');
    await client.expectFault(0x81);
  });

  test('a property length that is not minimal is malformed [MQTT-1.5.5-1]', async () => {
    const client = await rig.connect(5);
    client.send('30 05 0001 74 80 00');
    await client.expectFault(0x81);
  });

  test('both strings of a user property are checked [MQTT-1.5.7-1]', async () => {
    for (const bad of [wire.hex('c3 28'), nul]) {
      for (const pair of [wire.property.userProperty(bad, 'v'), wire.property.userProperty('n', bad)]) {
        const client = await rig.connect(5);
        client.send(wire.publish(5, { topic: 't', properties: [pair] }));
        await client.expectFault(0x81);
      }
    }
  });

  test('response topic and content type are valid strings [MQTT-3.3.2-13] [MQTT-3.3.2-19]', async () => {
    for (const property of [wire.property.responseTopic(nul), wire.property.contentType(wire.hex('ff'))]) {
      const client = await rig.connect(5);
      client.send(wire.publish(5, { topic: 't', properties: [property] }));
      await client.expectFault(0x81);
    }
  });

  test('a packet without properties is sent with property length 0 [MQTT-2.2.2-1]', async () => {
    const client = await rig.connect(5);
    client.send(wire.subscribe(5, { filters: [['wire/empty', 0]] }));
    await client.expect('90 04 0001 00 00');
    client.send(wire.unsubscribe(5, 2, ['wire/empty']));
    await client.expect('b0 04 0002 00 00');
  });

  test('a property that the packet does not know is malformed, one given twice a protocol error [MQTT-4.13.1-1]', async () => {
    const unknown = await rig.connect(5);
    unknown.send(wire.publish(5, { topic: 't', properties: [wire.property.willDelayS(1)] }));
    await unknown.expectFault(0x81);
    const twice = await rig.connect(5);
    twice.send(wire.publish(5, { topic: 't', properties: [wire.property.payloadFormat(0), wire.property.payloadFormat(0)] }));
    await twice.expectFault(0x82);
  });

  test('packets up to the announced maximum are taken, a larger one is 0x95 [MQTT-3.2.2-15]', async () => {
    const { client, connack } = await rig.greet(5);
    const maximum = Number(connack.properties.find(({ id }) => id === 0x27)?.value);
    await published(client, { topic: 't', payload: Buffer.alloc(1_000) });
    client.send(wire.u8(0x30), wire.varint(maximum));
    await client.expectFault(0x95);
  });
});
