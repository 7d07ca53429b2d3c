// Numbers at the ends of their ranges: in packets, where an interval of 2^32 - 1 seconds must not become a negative one, and in the
// configuration, where every limit must start and serve at its smallest and at its largest.
import { describe, expect, test } from 'vitest';
import { snakeCase } from '../../engine/config/schema.ts';
import { type Limits, limitRanges } from '../../protocol/limits.ts';
import { startBroker } from '../broker.ts';
import { connect, property, puback, publish, subscribe } from '../conformance/bytes.ts';
import { propertyOf, readConnack } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { delivered, published, subscribed, useRig } from '../conformance/rig.ts';
import { serve } from '../end-to-end/served.ts';
import { residentMiB, tellsResident } from './resident.ts';

const U32_MAX = 0xffff_ffff;
const rig = useRig([`limits.session_expiry_max_s=${U32_MAX}`, `spool.max_retention_s=${U32_MAX}`]);

describe('in packets', () => {
  test('keep alive 65,535 and 0 are kept', async () => {
    for (const keepAliveS of [65_535, 0, 1]) {
      const { client, connack } = await rig.greet(5, { keepAliveS });
      expect(propertyOf(connack.properties, 0x13)).toBeUndefined();
      await client.expectSilence();
    }
  });

  test.each([U32_MAX, U32_MAX - 1])('a session expiry of %i outlives its connection', async (expiryS) => {
    const clientId = rig.name('lasting');
    const fields = { clientId, properties: [property.sessionExpiryS(expiryS)] };
    const { client, connack } = await rig.greet(5, fields);
    expect(propertyOf(connack.properties, 0x11), 'it is granted').toBeUndefined();
    await subscribed(client, { filters: [[clientId, 1]] });
    client.drop();
    await published(await rig.connect(5), { topic: clientId, payload: 'waits', qos: 1 });
    const again = await rig.greet(5, { ...fields, clean: false });
    expect(again.connack.flags).toBe(1);
    expect((await delivered(again.client)).payload).toBe('waits');
  });

  test('a will delay of 2^32 - 1 waits for the end of the session, not for the past', async () => {
    const listener = await rig.connect(5);
    await subscribed(listener, { filters: [['delayed', 0]] });
    const client = await rig.connect(5, {
      clientId: 'delayer',
      properties: [property.sessionExpiryS(U32_MAX)],
      will: { topic: 'delayed', payload: 'will', properties: [property.willDelayS(U32_MAX)] },
    });
    client.drop();
    await published(await rig.connect(5), { topic: 'delayed', payload: 'now' });
    expect((await delivered(listener)).payload).toBe('now');
    await listener.expectSilence();
    await rig.connect(5, { clientId: 'delayer' });
    expect((await delivered(listener)).payload, 'the session has ended').toBe('will');
  });

  test('message expiry 2^32 - 1 passes through, 0 is gone before anybody could wait for it', async () => {
    const topic = rig.name('expiring');
    const away = { clientId: rig.name('away'), properties: [property.sessionExpiryS(600)] };
    const sleeper = await rig.connect(5, away);
    await subscribed(sleeper, { filters: [[topic, 1]] });
    sleeper.drop();
    const publisher = await rig.connect(5);
    for (const [packetId, expiryS] of [
      [1, U32_MAX],
      [2, 0],
    ] as const) {
      const payload = `${expiryS}`;
      await published(publisher, {
        topic,
        payload,
        qos: 1,
        packetId,
        retain: true,
        properties: [property.messageExpiryS(expiryS)],
      });
      if (expiryS === 0) continue;
      const reader = await rig.connect(5);
      await subscribed(reader, { filters: [[topic, 0]] });
      const { properties } = await delivered(reader);
      expect(Number(propertyOf(properties, 0x02))).toBeGreaterThan(U32_MAX - 60);
    }
    const back = await rig.connect(5, { ...away, clean: false });
    const message = await delivered(back);
    expect(message.payload).toBe(`${U32_MAX}`);
    back.send(puback(message.packetId));
    await back.expectSilence();
    const late = await rig.connect(5);
    await subscribed(late, { filters: [[topic, 0]] });
    await late.expectSilence();
  });

  test('receive maximum, topic alias maximum and maximum packet size at both ends', async () => {
    const widest = [property.receiveMaximum(65_535), property.topicAliasMaximum(65_535), property.maximumPacketSize(U32_MAX)];
    const narrowest = [property.receiveMaximum(1), property.topicAliasMaximum(0), property.maximumPacketSize(20)];
    for (const properties of [widest, narrowest]) {
      const client = await rig.open(5);
      client.send(connect(5, { clientId: rig.name('ends'), properties }));
      const { reason } = readConnack(await client.nextPacket(), 5);
      expect(reason).toBe(0);
      await subscribed(client, { filters: [['ends', 1]] });
      await published(await rig.connect(5), { topic: 'ends', payload: 'x', qos: 1 });
      const { packetId, payload } = await delivered(client);
      expect(payload).toBe('x');
      client.send(puback(packetId));
      await client.expectSilence();
    }
  });
});

describe('in the configuration', () => {
  const names = Object.keys(limitRanges) as (keyof Limits)[];
  // Ten milliseconds to connect in are too few for a machine that does other things.
  const at = (end: 0 | 1) =>
    names
      .filter((name) => end === 1 || name !== 'connectTimeoutMs')
      .map((name) => `limits.${snakeCase(name)}=${limitRanges[name][end]}`);

  test('every limit at its smallest: one client with a topic of one byte', async () => {
    const broker = await startBroker(at(0));
    const client = await RawClient.connect(broker.tcp, 4);
    client.send(connect(4, { clientId: 'c' }), subscribe(4, { filters: [['t', 1]] }));
    await client.expect('20 02 00 00');
    await client.expect('90 03 00 01 01');
    client.send(publish(4, { topic: 't', payload: 'zero' }), publish(4, { topic: 't', payload: 'one', qos: 1 }));
    expect((await delivered(client)).payload).toBe('zero');
    const second = await delivered(client);
    expect(second.payload).toBe('one');
    client.send(puback(second.packetId));
    await client.expect('40 02 00 01');
    expect(await subscribed(client, { packetId: 2, filters: [['u', 0]] }), 'one subscription').toEqual([0x80]);
    client.send(publish(4, { topic: 'tt' }));
    await client.expectClosed();
    await broker.stop();
  });

  test.skipIf(!tellsResident)('every limit at its largest: reserved memory is not touched', async () => {
    const served = await serve(
      '',
      at(1).flatMap((option) => ['--set', option]),
    );
    const client = await RawClient.connect(served.port('tcp'), 5);
    client.send(connect(5, { clientId: 'c' }), subscribe(5, { filters: [['a/+/#', 2]] }));
    await client.expect('20 .. 00 00 *');
    await client.expect('90 04 00 01 00 02');
    client.send(publish(5, { topic: 'a/b/c', payload: 'x', retain: true }));
    expect((await delivered(client)).payload).toBe('x');
    client.drop();
    expect(residentMiB(served.ready.pid)).toBeLessThan(400);
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });

  test.each(
    names.flatMap((name): [keyof Limits, number, string][] => [
      [name, limitRanges[name][0] - 1, 'below its smallest'],
      [name, limitRanges[name][1] + 1, 'above its largest'],
    ]),
  )('%s = %i, %s, is refused', async (name, value) => {
    const key = `limits.${snakeCase(name)}`;
    await expect(startBroker([`${key}=${value}`])).rejects.toThrow(key);
  });

  test('limits that contradict each other are refused by name', async () => {
    await expect(startBroker(['limits.outbox_max_bytes=65536'])).rejects.toThrow(/outbox_high_bytes.*outbox_max_bytes/);
  });
});
