// CONNECT and CONNACK: MQTT 5.0 and 3.1.1 §3.1 and §3.2. Sessions and wills have files of their own.

import { describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { propertyOf, readConnack } from './decode.ts';
import { bothLevels, expectRefused, published, subscribed, useRig } from './rig.ts';

const rig = useRig();

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test.each([
    ['PINGREQ', 'c0 00'],
    ['DISCONNECT', 'e0 00'],
    ['PUBLISH', '30 05 0001 74 00 78'],
  ])(
    '%s as first packet closes without an answer [MQTT-3.1.0-1] [MQTT-3.14.0-1] [MQTT3-3.1.0-1] [MQTT3-3.2.0-1]',
    async (_name, bytes) => {
      const client = await rig.open(level);
      client.send(bytes);
      await client.expectClosed();
    },
  );

  test('a second CONNECT is a protocol error [MQTT-3.1.0-2] [MQTT-3.2.0-2] [MQTT3-3.1.0-2]', async () => {
    const clientId = rig.name('c');
    const client = await rig.connect(level, { clientId });
    client.send(wire.connect(level, { clientId }));
    await client.expectFault(0x82);
  });

  test('an unknown protocol name is not served [MQTT-3.1.2-1] [MQTT3-3.1.2-1]', async () => {
    const client = await rig.open(level);
    client.send(wire.connect(level, { clientId: 'c', protocolName: 'mqtt' }));
    client.send(wire.pingreq);
    const refusal = await client.nextPacket().catch(() => null);
    if (refusal) {
      expect(refusal.firstByte).toBe(0x20);
      expect(refusal.body[1]).not.toBe(0);
    }
    await client.expectClosed();
  });

  test('the reserved connect flag must be 0 [MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT3-3.1.2-3] [MQTT3-3.1.4-1] [MQTT3-3.2.2-6]', async () => {
    const client = await rig.open(level);
    client.send(wire.connect(level, { clientId: rig.name('c'), flags: 0x03 }));
    await expectRefused(client, 0x81);
  });

  test.each([
    ['will QoS without a will', 0x0a],
    ['will retain without a will', 0x22],
  ])(
    '%s is malformed [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-15]',
    async (_what, flags) => {
      const client = await rig.open(level);
      client.send(wire.connect(level, { clientId: rig.name('c'), flags }));
      await expectRefused(client, 0x81);
    },
  );

  test('will QoS 3 is malformed [MQTT-3.1.2-12] [MQTT3-3.1.2-14]', async () => {
    const client = await rig.open(level);
    client.send(wire.connect(level, { clientId: rig.name('c'), will: { topic: 't', payload: 'x', qos: 3 } }));
    await expectRefused(client, 0x81);
  });

  test.each([
    ['a will', 0x06],
    ['a user name', 0x82],
    ['a password', level === 5 ? 0x42 : 0xc2],
  ])(
    'a flag that promises %s that does not follow is malformed [MQTT-3.1.2-9] [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT3-3.1.2-9] [MQTT3-3.1.2-19] [MQTT3-3.1.2-21]',
    async (_what, flags) => {
      const client = await rig.open(level);
      client.send(wire.connect(level, { clientId: rig.name('c'), flags }));
      await expectRefused(client, 0x81);
    },
  );

  test('payload fields that no flag promised are malformed [MQTT-3.1.2-16] [MQTT-3.1.2-18] [MQTT-3.1.3-1] [MQTT3-3.1.2-18] [MQTT3-3.1.2-20] [MQTT3-3.1.3-1]', async () => {
    for (const fields of [{ userName: 'u' }, { userName: 'u', password: 'p', flags: 0x82 }]) {
      const client = await rig.open(level);
      client.send(wire.connect(level, { clientId: rig.name('c'), flags: 0x02, ...fields }));
      await expectRefused(client, 0x81);
    }
  });

  test('a CONNECT without a client identifier is malformed [MQTT-3.1.3-3] [MQTT3-3.1.3-3]', async () => {
    const client = await rig.open(level);
    client.send(level === 5 ? '10 0b 0004 4d515454 05 02 0000 00' : '10 0a 0004 4d515454 04 02 0000');
    await expectRefused(client, 0x81);
  });

  test('identifiers of 1 to 23 letters and digits are accepted [MQTT-3.1.3-5] [MQTT-3.1.4-5] [MQTT3-3.1.3-5] [MQTT3-3.1.4-4]', async () => {
    for (const clientId of ['a', '0123456789abcdefghijklm', 'nopqrstuvwxyzABCDEFGHIJ', 'KLMNOPQRSTUVWXYZ']) {
      await rig.connect(level, { clientId });
    }
  });

  test('an accepted CONNECT is answered by CONNACK 0 with no flag but session present [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-8] [MQTT3-3.1.4-4] [MQTT3-3.2.0-1] [MQTT3-3.2.2-1]', async () => {
    const { client, connack } = await rig.greet(level);
    expect(connack).toMatchObject({ flags: 0, reason: 0 });
    await client.expectSilence();
  });

  test('packets sent on the heels of CONNECT are served after CONNACK [MQTT-3.2.0-1] [MQTT3-3.2.0-1]', async () => {
    const client = await rig.open(level);
    client.send(wire.connect(level, { clientId: rig.name('c') }), wire.subscribe(level, { filters: [['t', 1]] }), wire.pingreq);
    await client.expect('20 *');
    await client.expect('90 *');
    await client.expect('d0 00');
  });

  test('what follows a refused CONNECT is not acted upon [MQTT-3.1.4-6] [MQTT3-3.1.4-5]', async () => {
    const topic = rig.name('t');
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const client = await rig.open(level);
    client.send(wire.connect(level, { clientId: rig.name('c'), flags: 0x03 }), wire.publish(level, { topic, payload: 'x' }));
    await expectRefused(client, 0x81);
    await watcher.expectSilence();
  });

  test('a second connection of one client identifier sends the first away [MQTT-3.1.4-3] [MQTT-4.13.2-1] [MQTT3-3.1.4-2]', async () => {
    const clientId = rig.name('c');
    const first = await rig.connect(level, { clientId });
    const second = await rig.connect(level, { clientId });
    await first.expectFault(0x8e);
    await second.expectSilence();
  });

  test('one and a half keep alives of silence end the connection [MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT3-3.1.2-24]', async () => {
    const opened = performance.now();
    const client = await rig.connect(level, { keepAliveS: 1 });
    await client.expectFault(0x8d, 10_000);
    expect(performance.now() - opened).toBeGreaterThan(1_400);
  });

  test('keep alive counts every packet, not only PINGREQ [MQTT-3.1.2-22] [MQTT3-3.1.2-24]', async () => {
    const client = await rig.connect(level, { keepAliveS: 1 });
    const silent = await rig.connect(level, { keepAliveS: 1 });
    const gone = silent.expectFault(0x8d, 10_000);
    const pulse = setInterval(() => client.send(wire.publish(level, { topic: 'pulse' })), 200);
    await gone.finally(() => clearInterval(pulse));
    await client.expectSilence();
  });
});

describe('protocol levels', () => {
  test('MQTT 3.1 is served under its own name', async () => {
    const client = await rig.open(3);
    client.send(wire.connect(3, { clientId: 'c31' }));
    await client.expect('20 02 00 00');
    await client.expectSilence();
  });

  test('a level below 3 is answered in the old form with code 1 [MQTT-3.1.2-2] [MQTT3-3.1.2-2] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]', async () => {
    const client = await rig.open(4);
    client.send(wire.connect(4, { clientId: 'c', levelByte: 2 }));
    await client.expect('20 02 00 01');
    await client.expectClosed();
  });

  test('a level above 5 is answered in the new form with 0x84 [MQTT-3.1.2-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-4.13.2-1]', async () => {
    const client = await rig.open(5);
    client.send(wire.connect(5, { clientId: 'c', levelByte: 6 }));
    await expectRefused(client, 0x84);
  });
});

describe('MQTT 3.1.1', () => {
  test('an empty client identifier is served with clean session [MQTT3-3.1.3-6]', async () => {
    const first = await rig.connect(4, { clientId: '' });
    await rig.connect(4, { clientId: '' });
    await first.expectSilence();
  });

  test('an empty client identifier without clean session is code 2 [MQTT3-3.1.3-7] [MQTT3-3.1.3-8] [MQTT3-3.1.3-9] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]', async () => {
    const client = await rig.open(4);
    client.send(wire.connect(4, { clientId: '', clean: false }));
    await client.expect('20 02 00 02');
    await client.expectClosed();
  });

  test('a client identifier past the limit is code 2 [MQTT3-3.1.3-9]', async () => {
    const client = await rig.open(4);
    client.send(wire.connect(4, { clientId: 'x'.repeat(2_000) }));
    await client.expect('20 02 00 02');
    await client.expectClosed();
  });

  test('a password without a user name closes [MQTT3-3.1.2-22] [MQTT3-3.1.4-1]', async () => {
    const client = await rig.open(4);
    client.send(wire.connect(4, { clientId: rig.name('c'), password: 'p' }));
    await client.expectClosed();
  });
});

describe('MQTT 5.0', () => {
  test('an empty client identifier is answered with a unique one, which names the session [MQTT-3.1.3-2] [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]', async () => {
    const { client, connack } = await rig.greet(5, { clientId: '' });
    const clientId = String(propertyOf(connack.properties, 0x12));
    expect(clientId).not.toBe('');
    expect(propertyOf((await rig.greet(5, { clientId: '' })).connack.properties, 0x12)).not.toBe(clientId);
    await rig.connect(5, { clientId });
    await client.expectFault(0x8e);
  });

  test('a client identifier past the limit is 0x85 [MQTT-3.1.3-8] [MQTT-3.2.2-6] [MQTT-3.2.2-7]', async () => {
    const client = await rig.open(5);
    client.send(wire.connect(5, { clientId: 'x'.repeat(2_000) }));
    await expectRefused(client, 0x85);
  });

  test('a password without a user name is well-formed [MQTT-3.1.2-19]', async () => {
    const client = await rig.open(5);
    client.send(wire.connect(5, { clientId: rig.name('c'), password: 'p' }));
    expect((await client.nextPacket()).firstByte).toBe(0x20);
  });

  test.each([
    ['receive maximum 0', wire.property.receiveMaximum(0)],
    ['maximum packet size 0', wire.property.maximumPacketSize(0)],
    ['request problem information 2', wire.property.requestProblemInformation(2)],
    ['request response information 2', wire.property.requestResponseInformation(2)],
    ['authentication data without a method', wire.property.authenticationData('x')],
    ['session expiry twice', Buffer.concat([wire.property.sessionExpiryS(1), wire.property.sessionExpiryS(1)])],
  ])('%s is a protocol error [MQTT-3.1.4-1] [MQTT-4.13.1-1]', async (_what, property) => {
    const client = await rig.open(5);
    client.send(wire.connect(5, { clientId: rig.name('c'), properties: [property] }));
    await expectRefused(client, 0x82);
  });

  test('response information comes only when asked for [MQTT-3.1.2-28]', async () => {
    for (const properties of [[], [wire.property.requestResponseInformation(0)]]) {
      const { connack } = await rig.greet(5, { properties });
      expect(propertyOf(connack.properties, 0x1a)).toBeUndefined();
    }
  });

  test('without a method in CONNECT the broker names none [MQTT-4.12.0-6]', async () => {
    const { client, connack } = await rig.greet(5);
    expect(propertyOf(connack.properties, 0x15)).toBeUndefined();
    await client.expectSilence();
  });

  test('CONNACK fits the maximum packet size of the client [MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.2.2-20]', async () => {
    const client = await rig.open(5);
    const properties = [wire.property.maximumPacketSize(40), wire.property.authenticationMethod('unheard-of')];
    client.send(wire.connect(5, { clientId: rig.name('c'), properties }));
    const refusal = await client.nextPacket();
    expect(refusal.bytes.length).toBeLessThanOrEqual(40);
    expect(readConnack(refusal, 5).reason).toBe(0x8c);
  });

  test('clean start 1 discards what the session had [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2]', async () => {
    const clientId = rig.name('c');
    const topic = rig.name('t');
    const properties = [wire.property.sessionExpiryS(60)];
    const first = await rig.connect(5, { clientId, properties });
    await subscribed(first, { filters: [[topic, 1]] });
    const { client, connack } = await rig.greet(5, { clientId, properties, clean: true });
    expect(connack.flags).toBe(0);
    await published(client, { topic, payload: 'x' });
    await client.expectSilence();
  });
});
