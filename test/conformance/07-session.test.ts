// What a session keeps and for how long, and DISCONNECT: MQTT 5.0 §3.1.2.4, §3.1.2.11.2, §3.14, §4.1; MQTT 3.1.1 the same.

import { describe, expect, test } from 'vitest';
import type { Level } from './bytes.ts';
import * as wire from './bytes.ts';
import { propertyOf, readReason } from './decode.ts';
import { bothLevels, delivered, published, subscribed, useRig } from './rig.ts';

const rig = useRig();
const kept = { clean: false, properties: [wire.property.sessionExpiryS(60)] };

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test('session present tells whether a session was found [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.4-4] [MQTT-3.2.2-3] [MQTT-3.1.3-2] [MQTT3-3.1.2-4] [MQTT3-3.1.4-3] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT3-3.1.3-2]', async () => {
    const clientId = rig.name('c');
    const first = await rig.greet(level, { clientId, ...kept });
    expect(first.connack.flags).toBe(0);
    first.client.send(wire.disconnect());
    await first.client.expectClosed();
    expect((await rig.greet(level, { clientId, ...kept })).connack.flags).toBe(1);
    expect((await rig.greet(level, kept)).connack.flags).toBe(0);
  });

  test('a kept session has its subscriptions and what arrived meanwhile at QoS 1 and 2 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-4.1.0-1] [MQTT-4.5.0-1] [MQTT3-3.1.2-4] [MQTT3-3.1.2-5] [MQTT3-4.1.0-1] [MQTT3-4.5.0-1]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const away = await rig.connect(level, { clientId, ...kept });
    await subscribed(away, { filters: [[topic, 2]] });
    away.send(wire.disconnect());
    await away.expectClosed();
    const publisher = await rig.connect(level);
    await published(publisher, { topic, qos: 1, packetId: 1, payload: 'one' });
    await published(publisher, { topic, qos: 2, packetId: 2, payload: 'two' });
    const back = await rig.connect(level, { clientId, ...kept });
    expect(await delivered(back)).toMatchObject({ payload: 'one', qos: 1, dup: false });
    expect(await delivered(back)).toMatchObject({ payload: 'two', qos: 2, dup: false });
    publisher.send(wire.publish(level, { topic, payload: 'live' }));
    expect((await delivered(back)).payload).toBe('live');
  });

  test('a clean session ends the stored one and is not stored itself [MQTT-3.1.2-4] [MQTT-4.1.0-2] [MQTT3-3.1.2-6] [MQTT3-3.2.2-1]', async () => {
    const clientId = rig.name('c');
    const topic = rig.name('t');
    const old = await rig.connect(level, { clientId, ...kept });
    await subscribed(old, { filters: [[topic, 1]] });
    old.send(wire.disconnect());
    await old.expectClosed();
    const clean = await rig.greet(level, { clientId, clean: true });
    expect(clean.connack.flags).toBe(0);
    clean.client.send(wire.disconnect());
    await clean.client.expectClosed();
    const { client, connack } = await rig.greet(level, { clientId, ...kept });
    expect(connack.flags).toBe(0);
    client.send(wire.publish(level, { topic }));
    await client.expectSilence();
  });

  test('a session stays whole while its connection is open and idle [MQTT-4.1.0-1] [MQTT3-4.1.0-2]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const timer = await rig.connect(level, { keepAliveS: 1 });
    await subscribed(client, { filters: [[topic, 0]] });
    await timer.expectFault(0x8d, 10_000);
    client.send(wire.publish(level, { topic, payload: 'x' }));
    expect((await delivered(client)).payload).toBe('x');
  });

  test('after DISCONNECT the broker closes and acts on nothing more [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT3-3.14.4-1] [MQTT3-3.14.4-2]', async () => {
    const topic = rig.name('t');
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const client = await rig.connect(level);
    client.send(wire.disconnect(), wire.publish(level, { topic }), wire.pingreq);
    await client.expectClosed();
    await watcher.expectSilence();
  });
});

describe('between the versions', () => {
  test.each([
    [4, 5],
    [5, 4],
  ] as const)(
    'a session of level %i is found at level %i [MQTT-3.1.3-2] [MQTT3-3.1.3-2]',
    async (before: Level, after: Level) => {
      const clientId = rig.name('c');
      const first = await rig.connect(before, { clientId, ...kept });
      first.send(wire.disconnect());
      await first.expectClosed();
      expect((await rig.greet(after, { clientId, ...kept })).connack.flags).toBe(1);
    },
  );
});

describe('MQTT 5.0', () => {
  test('a session ends when its expiry has passed after the close [MQTT-4.1.0-2]', async () => {
    const clientId = rig.name('c');
    const client = await rig.connect(5, { clientId, clean: false, properties: [wire.property.sessionExpiryS(1)] });
    const timer = await rig.connect(5, { keepAliveS: 2 });
    client.drop();
    await timer.expectFault(0x8d, 10_000);
    expect((await rig.greet(5, { clientId, ...kept })).connack.flags).toBe(0);
  });

  test('without an expiry the session ends with its connection [MQTT-4.1.0-2]', async () => {
    const clientId = rig.name('c');
    const client = await rig.connect(5, { clientId, clean: false });
    client.send(wire.disconnect());
    await client.expectClosed();
    expect((await rig.greet(5, { clientId, ...kept })).connack.flags).toBe(0);
  });

  test('DISCONNECT can change the expiry, but not from 0 [MQTT-3.1.2-23] [MQTT-4.13.1-1]', async () => {
    const clientId = rig.name('c');
    const shortened = await rig.connect(5, { clientId, ...kept });
    shortened.send(wire.disconnect(0, [wire.property.sessionExpiryS(0)]));
    await shortened.expectClosed();
    const { client, connack } = await rig.greet(5, { clientId, clean: false });
    expect(connack.flags).toBe(0);
    client.send(wire.disconnect(0, [wire.property.sessionExpiryS(60)]));
    await client.expectFault(0x82);
  });

  test('a DISCONNECT reason that only a server may use, or that does not exist, is refused [MQTT-3.14.2-1]', async () => {
    for (const reason of [0x8b, 0x03]) {
      const client = await rig.connect(5);
      client.send(wire.disconnect(reason));
      await client.expectFault(0x82);
    }
  });

  test('DISCONNECT of the server carries no session expiry and is the last packet [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]', async () => {
    const client = await rig.connect(5, kept);
    client.send(wire.hex('00 00'), wire.pingreq);
    const { properties } = readReason(await client.expect('e0 *'));
    expect(propertyOf(properties, 0x11)).toBeUndefined();
    await client.expectClosed();
  });
});
