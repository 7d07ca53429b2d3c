// 9. Abuse of packet identifiers and of the state of QoS 2. Deeper: ../protocol-abuse.test.ts, test/sessions/, test/conformance/04-quality-of-service.test.ts.
// Red when: a repeated PUBLISH is delivered or stored again, an acknowledgement frees what it does not belong to, or identifiers that are never released pile up.
import { describe, expect, test } from 'vitest';
import {
  type Level,
  property,
  puback,
  pubcomp,
  publish,
  pubrec,
  pubrel,
  subscribe,
  unsubscribe,
} from '../../conformance/bytes.ts';
import { readAcknowledgement } from '../../conformance/decode.ts';
import { bothLevels, delivered, published, subscribed, useRig } from '../../conformance/rig.ts';

const rig = useRig(['limits.receive_maximum=10']);

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test('one QoS 2 message sent 10,000 times is delivered once and held once', async () => {
    const listener = await rig.connect(5);
    const topic = rig.name('once');
    await subscribed(listener, { filters: [[topic, 0]] });
    const client = await rig.connect(level);
    const message = publish(level, { topic, payload: 'x', qos: 2, packetId: 7 });
    const again = publish(level, { topic, payload: 'x', qos: 2, packetId: 7, dup: true });
    client.send(message, Buffer.alloc(again.length * 9_999, again));
    for (let at = 0; at < 10_000; at++) expect(readAcknowledgement(await client.nextPacket())).toMatchObject({ packetId: 7 });
    expect((await delivered(listener)).payload).toBe('x');
    await listener.expectSilence();
    client.send(pubrel(7));
    await client.expect('70 02 00 07');
    client.send(message);
    await client.expect(level === 5 ? '50 .. 00 07 *' : '50 02 00 07');
    expect((await delivered(listener)).payload, 'released, the identifier is free').toBe('x');
  });

  test.each<[string, (level: Level) => Buffer]>([
    ['PUBLISH', (of) => publish(of, { topic: 't', qos: 1, packetId: 0 })],
    ['PUBLISH at QoS 2', (of) => publish(of, { topic: 't', qos: 2, packetId: 0 })],
    ['SUBSCRIBE', (of) => subscribe(of, { packetId: 0, filters: [['t', 0]] })],
    ['UNSUBSCRIBE', (of) => unsubscribe(of, 0, ['t'])],
  ])('identifier 0 in %s is a fault', async (_what, make) => {
    const client = await rig.connect(level);
    client.send(make(level));
    await client.expectFault(0x82);
  });

  test('acknowledgements of another client’s identifiers free nothing of it', async () => {
    const topic = rig.name('mine');
    const clientId = rig.name('owner');
    const owner = await rig.connect(5, { clientId, properties: [property.sessionExpiryS(60)] });
    await subscribed(owner, { filters: [[topic, 2]] });
    await published(await rig.connect(5), { topic, payload: 'kept', qos: 2 });
    const { packetId } = await delivered(owner);
    const stranger = await rig.connect(level);
    stranger.send(puback(packetId), pubcomp(packetId));
    await stranger.expectSilence();
    owner.drop();
    const back = await rig.connect(5, { clientId, clean: false, properties: [property.sessionExpiryS(60)] });
    expect(await delivered(back)).toMatchObject({ dup: true, packetId, payload: 'kept' });
    back.send(pubrec(packetId));
    await back.expect(`62 02 ${packetId.toString(16).padStart(4, '0')}`);
  });
});

test('more open QoS 2 identifiers than the broker has said to take end the connection, and the others live on', async () => {
  const client = await rig.connect(5);
  for (let packetId = 1; packetId <= 10; packetId++) {
    client.send(publish(5, { topic: 'many', qos: 2, packetId }));
    await client.expect('50 *');
  }
  client.send(publish(5, { topic: 'many', qos: 2, packetId: 11 }));
  await client.expectFault(0x93);
  await (await rig.connect(5)).expectSilence();
});

test('an acknowledgement of the wrong kind does not stand for the right one', async () => {
  for (const [qos, wrong] of [
    [1, pubrec],
    [1, pubcomp],
    [2, puback],
    [2, pubcomp],
  ] as const) {
    const topic = rig.name('kind');
    const fields = { clientId: rig.name('kind'), properties: [property.sessionExpiryS(60)] };
    const client = await rig.connect(5, fields);
    await subscribed(client, { filters: [[topic, qos]] });
    await published(await rig.connect(5), { topic, payload: 'kept', qos });
    const { packetId } = await delivered(client);
    client.send(wrong(packetId));
    await client.expectFault(0x82);
    const back = await rig.connect(5, { ...fields, clean: false });
    expect(await delivered(back), 'it is still owed').toMatchObject({ dup: true, packetId });
  }
});
