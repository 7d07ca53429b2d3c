// Wills: stored, withdrawn, delayed, retained. MQTT 5.0 §3.1.2.5, §3.1.3.2, §3.14.4; MQTT 3.1.1 the same.

import { describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { propertyOf } from './decode.ts';
import { bothLevels, delivered, subscribed, useRig } from './rig.ts';

const rig = useRig();

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test.each([
    [0, false],
    [1, false],
    [2, true],
    [0, true],
  ])(
    'a will at QoS %i, retain %s, is published when the connection is lost [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT3-3.1.2-8] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17]',
    async (qos, retain) => {
      const topic = rig.name('t');
      const watcher = await rig.connect(level);
      await subscribed(watcher, { filters: [[topic, 2]] });
      const client = await rig.connect(level, { will: { topic, payload: 'gone', qos, retain } });
      client.drop();
      expect(await delivered(watcher)).toMatchObject({ topic, payload: 'gone', qos, retain: false });
      const late = await rig.connect(level);
      await subscribed(late, { filters: [[topic, 2]] });
      if (retain) expect(await delivered(late)).toMatchObject({ payload: 'gone', qos, retain: true });
      else await late.expectSilence();
    },
  );

  test('DISCONNECT withdraws the will [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3] [MQTT3-3.1.2-10] [MQTT3-3.14.4-3]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const kept = { clientId, clean: false, properties: [wire.property.sessionExpiryS(60)] };
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const client = await rig.connect(level, { ...kept, will: { topic, payload: 'gone' } });
    client.send(wire.disconnect());
    await client.expectClosed();
    await watcher.expectSilence();
    const again = await rig.connect(level, kept);
    again.send('00 00');
    await again.expectFault(0x81);
    await watcher.expectSilence();
  });

  test('a will is published once, and not by the next connection of the session [MQTT-3.1.2-10] [MQTT3-3.1.2-10] [MQTT3-3.1.2-12]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const kept = { clientId, clean: false, properties: [wire.property.sessionExpiryS(60)] };
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    (await rig.connect(level, { ...kept, will: { topic, payload: 'gone' } })).drop();
    await delivered(watcher);
    const again = await rig.connect(level, kept);
    again.send('00 00');
    await again.expectFault(0x81);
    await watcher.expectSilence();
  });

  test.each([
    ['a malformed packet', '00 00', 0x81],
    ['a server-only packet', 'd0 00', 0x82],
    ['DISCONNECT with wrong flags', 'e1 00', 0x81],
  ])('%s brings the will about [MQTT-3.1.2-8] [MQTT-3.14.1-1] [MQTT3-3.1.2-8] [MQTT3-3.14.1-1]', async (_what, bytes, reason) => {
    const topic = rig.name('t');
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const client = await rig.connect(level, { will: { topic, payload: 'gone' } });
    client.send(bytes);
    await client.expectFault(reason);
    expect((await delivered(watcher)).payload).toBe('gone');
  });

  test('keep alive and take-over bring the will about [MQTT-3.1.2-8] [MQTT-3.1.2-22] [MQTT3-3.1.2-8] [MQTT3-3.1.2-24]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    await rig.connect(level, { keepAliveS: 1, will: { topic, payload: 'silent' } });
    expect((await delivered(watcher, 10_000)).payload).toBe('silent');
    await rig.connect(level, { clientId, will: { topic, payload: 'replaced' } });
    await rig.connect(level, { clientId });
    expect((await delivered(watcher)).payload).toBe('replaced');
  });
});

describe('MQTT 5.0', () => {
  test('the properties of the will go with it, in order [MQTT-3.1.3-10] [MQTT-3.3.2-4] [MQTT-3.3.2-18]', async () => {
    const topic = rig.name('t');
    const watcher = await rig.connect(5);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const properties = [
      wire.property.payloadFormat(1),
      wire.property.contentType('text/plain'),
      wire.property.userProperty('b', '1'),
      wire.property.userProperty('a', '2'),
      wire.property.willDelayS(0),
    ];
    (await rig.connect(5, { will: { topic, payload: 'gone', properties } })).drop();
    const will = await delivered(watcher);
    expect(propertyOf(will.properties, 0x01)).toBe(1);
    expect(propertyOf(will.properties, 0x03)).toBe('text/plain');
    expect(propertyOf(will.properties, 0x18)).toBeUndefined();
    const pairs = will.properties.filter(({ id }) => id === 0x26).map(({ value }) => value);
    expect(pairs).toEqual([
      ['b', '1'],
      ['a', '2'],
    ]);
  });

  test('DISCONNECT 0x04 publishes the will [MQTT-3.1.2-8] [MQTT-3.14.2-1]', async () => {
    const topic = rig.name('t');
    const watcher = await rig.connect(5);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const client = await rig.connect(5, { will: { topic, payload: 'gone' } });
    client.send(wire.disconnect(0x04));
    expect((await delivered(watcher)).payload).toBe('gone');
  });

  test('a will waits for its delay, and the session cannot outlast it [MQTT-3.1.2-8]', async () => {
    const topic = rig.name('t');
    const watcher = await rig.connect(5);
    await subscribed(watcher, { filters: [[topic, 0]] });
    for (const [delayS, expiryS] of [
      [1, 60],
      [60, 1],
    ] as const) {
      const will = { topic, payload: 'gone', properties: [wire.property.willDelayS(delayS)] };
      const client = await rig.connect(5, { properties: [wire.property.sessionExpiryS(expiryS)], will });
      const dropped = performance.now();
      client.drop();
      expect((await delivered(watcher, 10_000)).payload).toBe('gone');
      expect(performance.now() - dropped).toBeGreaterThan(900);
    }
  });

  test('coming back within the delay cancels the will [MQTT-3.1.3-9]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const kept = { clientId, clean: false, properties: [wire.property.sessionExpiryS(60)] };
    const watcher = await rig.connect(5);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const will = { topic, payload: 'gone', properties: [wire.property.willDelayS(1)] };
    (await rig.connect(5, { ...kept, will })).drop();
    await rig.connect(5, kept);
    const timer = await rig.connect(5, { keepAliveS: 1 });
    await timer.expectFault(0x8d, 10_000);
    await watcher.expectSilence();
  });

  test('a will with a property or a payload against its format is refused [MQTT-3.1.4-1] [MQTT-3.1.2-9]', async () => {
    const client = await rig.open(5);
    const will = { topic: 't', payload: 'x', properties: [wire.property.topicAlias(1)] };
    client.send(wire.connect(5, { clientId: rig.name('c'), will }));
    expect((await client.nextPacket()).body[1]).toBe(0x81);
    await client.expectClosed();
  });

  test('a will topic with a wildcard is refused with 0x90 [MQTT-3.1.4-1] [MQTT-4.7.0-1]', async () => {
    const client = await rig.open(5);
    client.send(wire.connect(5, { clientId: rig.name('c'), will: { topic: 'a/#', payload: 'x' } }));
    expect((await client.nextPacket()).body[1]).toBe(0x90);
    await client.expectClosed();
  });
});
