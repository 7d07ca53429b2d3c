// Shared subscriptions: MQTT 5.0 §4.8.2.

import { expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { delivered, published, subscribed, useRig } from './rig.ts';

const rig = useRig();

test.each(['$share/', '$share//t', '$share/g', '$share/g/', '$share/+/t', '$share/g#/t', '$share/g/a/#/b'])(
  'shared filter %s is refused by its code [MQTT-4.8.2-1] [MQTT-4.8.2-2]',
  async (filter) => {
    const client = await rig.connect(5);
    expect(await subscribed(client, { filters: [[filter, 0]] })).toEqual([0x8f]);
    await client.expectSilence();
  },
);

test('no local on a shared subscription is a protocol error [MQTT-3.8.3-4]', async () => {
  const client = await rig.connect(5);
  client.send(wire.subscribe(5, { filters: [['$share/g/t', 0x04]] }));
  await client.expectFault(0x82);
});

test('one member of a group gets each message, at its own QoS; other subscriptions are untouched [MQTT-4.8.2-1] [MQTT-4.8.2-2] [MQTT-4.8.2-3]', async () => {
  const topic = rig.name('t');
  const publisher = await rig.connect(5);
  const members = [await rig.connect(5), await rig.connect(5)];
  const other = await rig.connect(5);
  await subscribed(members[0]!, { filters: [[`$share/g/${topic}`, 0]] });
  await subscribed(members[1]!, { filters: [[`$share/g/${topic}`, 1]] });
  await subscribed(other, { filters: [[topic, 2]] });
  for (let packetId = 1; packetId <= 10; packetId++) {
    publisher.send(wire.publish(5, { topic, qos: 1, packetId, payload: String(packetId) }));
  }
  for (let count = 1; count <= 10; count++) await publisher.expect('40 *'); // whoever is to have it has it
  const payloads: string[] = [];
  for (let count = 1; count <= 10; count++) expect((await delivered(other)).payload).toBe(String(count));
  for (const [granted, member] of members.entries()) {
    member.send(wire.pingreq);
    for (let packet = await member.nextPacket(); packet.firstByte !== 0xd0; packet = await member.nextPacket()) {
      expect((packet.firstByte >> 1) & 3).toBe(granted);
      payloads.push(packet.bytes.toString('latin1').replace(/^.*\0/s, ''));
    }
  }
  expect(payloads.map(Number).sort((left, right) => left - right)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('a shared subscription brings no retained messages [MQTT-3.3.1-9]', async () => {
  const topic = rig.name('t');
  const client = await rig.connect(5);
  client.send(wire.publish(5, { topic, payload: 'x', retain: true }));
  await subscribed(client, { filters: [[`$share/g/${topic}`, 0]] });
  await client.expectSilence();
});

test('QoS 2 under way waits for its member and goes to nobody else, even when its session ends [MQTT-4.8.2-4] [MQTT-4.8.2-5]', async () => {
  const topic = rig.name('t');
  const clientId = rig.name('c');
  const kept = { clientId, clean: false, properties: [wire.property.sessionExpiryS(60)] };
  const publisher = await rig.connect(5);
  const member = await rig.connect(5, kept);
  const other = await rig.connect(5);
  await subscribed(member, { filters: [[`$share/g/${topic}`, 2]] });
  await published(publisher, { topic, qos: 2, payload: 'x' });
  const first = await delivered(member);
  await subscribed(other, { filters: [[`$share/g/${topic}`, 2]] });
  member.drop();
  const back = await rig.connect(5, kept);
  expect(await delivered(back)).toEqual({ ...first, dup: true });
  back.send(wire.disconnect(0, [wire.property.sessionExpiryS(0)]));
  await back.expectClosed();
  await other.expectSilence();
});

test('a message that a member refuses goes to nobody else [MQTT-4.8.2-6]', async () => {
  const topic = rig.name('t');
  const publisher = await rig.connect(5);
  const member = await rig.connect(5);
  const other = await rig.connect(5);
  await subscribed(member, { filters: [[`$share/g/${topic}`, 1]] });
  publisher.send(wire.publish(5, { topic, qos: 1, packetId: 1, payload: 'x' }));
  const { packetId } = await delivered(member);
  await subscribed(other, { filters: [[`$share/g/${topic}`, 1]] });
  member.send(wire.puback(packetId, 0x80));
  await member.expectSilence();
  await other.expectSilence();
});

test('a filter and its shared form are two subscriptions, removed one by one [MQTT-3.8.4-3] [MQTT-3.10.4-1]', async () => {
  const topic = rig.name('t');
  const client = await rig.connect(5);
  await subscribed(client, {
    filters: [
      [topic, 0],
      [`$share/g/${topic}`, 0],
    ],
  });
  client.send(wire.unsubscribe(5, 2, [topic, `$share/h/${topic}`, `$share/g/${topic}`]));
  await client.expect('b0 06 0002 00 00 11 00');
});
