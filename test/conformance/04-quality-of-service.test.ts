// The acknowledged deliveries, both directions, and their resumption: MQTT 5.0 §3.4-3.7, §4.3, §4.4; MQTT 3.1.1 the same.

import { describe, expect, test } from 'vitest';
import type { Level } from './bytes.ts';
import * as wire from './bytes.ts';
import { readAcknowledgement } from './decode.ts';
import type { RawClient } from './raw-client.ts';
import { bothLevels, delivered, published, subscribed, useRig } from './rig.ts';

const rig = useRig();

/** A session that outlives its connection, subscribed to `topic` at QoS 2. */
async function keptSession(level: Level, clientId: string, topic: string): Promise<RawClient> {
  const client = await resume(level, clientId);
  await subscribed(client, { packetId: 9, filters: [[topic, 2]] });
  return client;
}

function resume(level: Level, clientId: string): Promise<RawClient> {
  return rig.connect(level, { clientId, clean: false, properties: [wire.property.sessionExpiryS(60)] });
}

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test('after PUBACK the same identifier is a new message, even with DUP [MQTT-4.3.2-5] [MQTT3-4.3.2-2]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    for (const dup of [false, true]) {
      client.send(wire.publish(level, { topic, qos: 1, packetId: 5, dup }));
      await client.expect('40 02 0005');
      await delivered(watcher);
    }
  });

  test('before PUBREL the same identifier is answered and not delivered again; after PUBCOMP it is new [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12] [MQTT3-4.3.3-2]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    for (const round of ['one', 'two']) {
      client.send(wire.publish(level, { topic, qos: 2, packetId: 5, payload: round }));
      await client.expect('50 02 0005');
      client.send(wire.publish(level, { topic, qos: 2, packetId: 5, payload: round, dup: true }));
      await client.expect('50 *');
      client.send(wire.pubrel(5));
      await client.expect('70 02 0005');
      expect((await delivered(watcher)).payload).toBe(round);
      await watcher.expectSilence();
    }
  });

  test('the identifier of a QoS 2 message is still held after a reconnect [MQTT-4.3.3-10] [MQTT-4.1.0-1] [MQTT3-4.3.3-2] [MQTT3-4.1.0-1]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 0]] });
    const first = await resume(level, clientId);
    first.send(wire.publish(level, { topic, qos: 2, packetId: 5, payload: 'once' }));
    await first.expect('50 02 0005');
    first.drop();
    const second = await resume(level, clientId);
    second.send(wire.publish(level, { topic, qos: 2, packetId: 5, payload: 'once', dup: true }));
    await second.expect('50 *');
    second.send(wire.pubrel(5));
    await second.expect('70 02 0005');
    expect((await delivered(watcher)).payload).toBe('once');
    await watcher.expectSilence();
  });

  test('delivery at QoS 2 runs PUBLISH, PUBREC, PUBREL, PUBCOMP under one identifier [MQTT-4.3.3-2] [MQTT-4.3.3-4] [MQTT-2.2.1-5] [MQTT3-4.3.3-1] [MQTT3-2.3.1-6]', async () => {
    const topic = rig.name('t');
    const client = await rig.connect(level);
    const watcher = await rig.connect(level);
    await subscribed(watcher, { filters: [[topic, 2]] });
    await published(client, { topic, qos: 2 });
    const { packetId, dup } = await delivered(watcher);
    expect(dup).toBe(false);
    watcher.send(wire.pubrec(packetId));
    await watcher.expect(`62 02 ${wire.u16(packetId).toString('hex')}`);
    watcher.send(wire.pubcomp(packetId));
    await watcher.expectSilence();
  });

  test('open deliveries come again with DUP and the same identifiers, in order, on resumption only [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT3-4.4.0-1] [MQTT3-3.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-4.6.0-1]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const publisher = await rig.connect(level);
    const first = await keptSession(level, clientId, topic);
    for (const [packetId, qos] of [
      [1, 1],
      [2, 2],
      [3, 1],
    ] as const) {
      await published(publisher, { topic, qos, packetId, payload: String(packetId) });
    }
    const before = [await delivered(first), await delivered(first), await delivered(first)];
    await first.expectSilence();
    first.drop();
    const second = await resume(level, clientId);
    for (const message of before) expect(await delivered(second)).toEqual({ ...message, dup: true });
    await second.expectSilence();
  });

  test('after PUBREL the PUBLISH does not come again, the PUBREL does [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT3-4.3.3-1] [MQTT3-4.4.0-1]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const publisher = await rig.connect(level);
    const first = await keptSession(level, clientId, topic);
    await published(publisher, { topic, qos: 2 });
    const { packetId } = await delivered(first);
    const pubrel = `62 02 ${wire.u16(packetId).toString('hex')}`;
    first.send(wire.pubrec(packetId));
    await first.expect(pubrel);
    first.drop();
    const second = await resume(level, clientId);
    await second.expect(pubrel);
    second.send(wire.pubcomp(packetId));
    await second.expectSilence();
  });

  test('what was acknowledged does not come again [MQTT-4.3.2-3] [MQTT-4.4.0-1] [MQTT3-4.3.2-1] [MQTT3-4.4.0-1]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const publisher = await rig.connect(level);
    const first = await keptSession(level, clientId, topic);
    publisher.send(wire.publish(level, { topic, qos: 1, packetId: 1 }));
    first.send(wire.puback((await delivered(first)).packetId));
    await first.expectSilence();
    first.drop();
    await (await resume(level, clientId)).expectSilence();
  });

  test('an acknowledgement that answers nothing does no harm [MQTT3-4.3.3-2]', async () => {
    const client = await rig.connect(level);
    client.send(wire.puback(77));
    client.send(wire.pubcomp(78));
    await client.expectSilence();
  });
});

describe('MQTT 5.0', () => {
  test('PUBREL and PUBREC for an unknown identifier are answered with 0x92 [MQTT-3.7.2-1] [MQTT-3.6.2-1] [MQTT-4.3.3-11]', async () => {
    const client = await rig.connect(5);
    client.send(wire.pubrel(77));
    expect(readAcknowledgement(await client.expect('70 *'))).toMatchObject({ packetId: 77, reason: 0x92 });
    client.send(wire.pubrec(78));
    expect(readAcknowledgement(await client.expect('62 *'))).toMatchObject({ packetId: 78, reason: 0x92 });
  });

  test('a refusing PUBREC or PUBACK settles the delivery and frees the window [MQTT-4.4.0-2] [MQTT-4.3.3-4]', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('c');
    const properties = [wire.property.sessionExpiryS(60), wire.property.receiveMaximum(1)];
    const publisher = await rig.connect(5);
    const watcher = await rig.connect(5, { clientId, properties });
    await subscribed(watcher, { filters: [[topic, 2]] });
    for (const packetId of [1, 2, 3]) await published(publisher, { topic, qos: packetId === 2 ? 1 : 2, packetId });
    watcher.send(wire.pubrec((await delivered(watcher)).packetId, 0x83));
    watcher.send(wire.puback((await delivered(watcher)).packetId, 0x83));
    watcher.send(wire.pubrec((await delivered(watcher)).packetId, 0x83));
    await watcher.expectSilence();
    watcher.drop();
    await (await rig.connect(5, { clientId, clean: false, properties })).expectSilence();
  });

  test('a delivery that was sent no longer expires, and completes [MQTT-4.3.3-7] [MQTT-4.3.3-13]', async () => {
    const topic = rig.name('t');
    const publisher = await rig.connect(5);
    const watcher = await rig.connect(5);
    const timer = await rig.connect(5, { keepAliveS: 1 });
    const properties = [wire.property.messageExpiryS(1)];
    await subscribed(watcher, { filters: [[topic, 2]] });
    await published(publisher, { topic, qos: 2, packetId: 1, properties });
    publisher.send(wire.publish(5, { topic: 'nobody', qos: 2, packetId: 2, properties }));
    await publisher.expect('50 *');
    const { packetId } = await delivered(watcher);
    await timer.expectFault(0x8d, 10_000);
    publisher.send(wire.pubrel(2));
    await publisher.expect('70 02 0002');
    watcher.send(wire.pubrec(packetId));
    await watcher.expect(`62 02 ${wire.u16(packetId).toString('hex')}`);
  });

  test('an acknowledgement with an undefined reason code is refused [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]', async () => {
    for (const packet of [wire.puback(1, 0x03), wire.pubrec(1, 0x92), wire.pubrel(1, 0x10), wire.pubcomp(1, 0x10)]) {
      const client = await rig.connect(5);
      client.send(packet);
      await client.expectFault(0x82);
    }
  });

  test('answers to a client with a small maximum packet size fit it [MQTT-3.1.2-24] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4]', async () => {
    const limit = 32;
    const client = await rig.connect(5, { properties: [wire.property.maximumPacketSize(limit)] });
    client.send(
      wire.publish(5, { topic: 'nobody', qos: 1, packetId: 1 }),
      wire.publish(5, { topic: 'nobody', qos: 2, packetId: 2 }),
    );
    client.send(wire.pubrel(77), wire.pubrec(78));
    client.send(wire.subscribe(5, { filters: [['a/#/b', 0]] }), wire.unsubscribe(5, 2, ['nothing']), wire.hex('00 00'));
    for (const firstByte of [0x40, 0x50, 0x70, 0x62, 0x90, 0xb0, 0xe0]) {
      const packet = await client.nextPacket();
      expect(packet.firstByte).toBe(firstByte);
      expect(packet.bytes.length).toBeLessThanOrEqual(limit);
    }
    await client.expectClosed();
  });

  test('request problem information 0 keeps reason strings and user properties off acknowledgements [MQTT-3.1.2-29]', async () => {
    const client = await rig.connect(5, { properties: [wire.property.requestProblemInformation(0)] });
    client.send(wire.publish(5, { topic: 'nobody', qos: 1, packetId: 1 }), wire.pubrel(77), wire.pubrec(78));
    for (let count = 0; count < 3; count++) expect(readAcknowledgement(await client.nextPacket()).properties).toEqual([]);
    client.send(wire.subscribe(5, { filters: [['a/#/b', 0]] }));
    await client.expect('90 04 0001 00 8f');
    client.send(wire.unsubscribe(5, 2, ['nothing']));
    await client.expect('b0 04 0002 00 11');
  });
});
