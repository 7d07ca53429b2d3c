// Receive maximum both ways: MQTT 5.0 §3.3.4 and §4.9.

import { expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { propertyOf } from './decode.ts';
import { delivered, published, subscribed, useRig } from './rig.ts';

const WINDOW = 4;
const rig = useRig([`limits.receive_maximum=${WINDOW}`]);

test('the window of the client is filled and not passed; each settled delivery opens it by one [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]', async () => {
  const topic = rig.name('t');
  const publisher = await rig.connect(5);
  const client = await rig.connect(5, { properties: [wire.property.receiveMaximum(2)] });
  await subscribed(client, { filters: [[topic, 2]] });
  for (const [packetId, qos] of [
    [1, 1],
    [2, 2],
    [3, 1],
    [4, 2],
  ] as const) {
    await published(publisher, { topic, qos, packetId, payload: String(packetId) });
  }
  const first = await delivered(client);
  const second = await delivered(client);
  await client.expectSilence();
  client.send(wire.puback(first.packetId));
  expect((await delivered(client)).payload).toBe('3');
  client.send(wire.pubrec(second.packetId));
  await client.expect('62 *');
  await client.expectSilence();
  client.send(wire.pubcomp(second.packetId));
  expect((await delivered(client)).payload).toBe('4');
});

test('a full window holds back neither QoS 0 nor any other packet [MQTT-3.3.4-10] [MQTT-4.9.0-3]', async () => {
  const topic = rig.name('t');
  const publisher = await rig.connect(5);
  const client = await rig.connect(5, { properties: [wire.property.receiveMaximum(1)] });
  await subscribed(client, { filters: [[topic, 1]] });
  for (const packetId of [1, 2]) publisher.send(wire.publish(5, { topic, qos: 1, packetId, payload: String(packetId) }));
  publisher.send(wire.publish(5, { topic, payload: 'zero' }));
  expect((await delivered(client)).payload).toBe('1');
  expect((await delivered(client)).payload).toBe('zero');
  await subscribed(client, { packetId: 2, filters: [['other', 0]] });
  client.send(wire.publish(5, { topic: 'nobody', qos: 2, packetId: 9 }));
  await client.expect('50 *');
  client.send(wire.pubrel(9));
  await client.expect('70 02 0009');
  client.send(wire.unsubscribe(5, 3, ['other']));
  await client.expect('b0 04 0003 00 00');
  await client.expectSilence();
});

test('a client that passes the announced receive maximum is sent away with 0x93 [MQTT-3.3.4-7]', async () => {
  const { client, connack } = await rig.greet(5);
  const maximum = Number(propertyOf(connack.properties, 0x21) ?? 65_535);
  expect(maximum).toBe(WINDOW);
  for (let packetId = 1; packetId <= maximum; packetId++) {
    client.send(wire.publish(5, { topic: 'nobody', qos: 2, packetId }));
    await client.expect('50 *');
  }
  client.send(wire.publish(5, { topic: 'nobody', qos: 2, packetId: maximum + 1 }));
  await client.expectFault(0x93);
});

test('a client at the announced receive maximum is served on [MQTT-3.3.4-8] [MQTT-4.9.0-3]', async () => {
  const client = await rig.connect(5);
  for (let packetId = 1; packetId <= WINDOW; packetId++) {
    client.send(wire.publish(5, { topic: 'nobody', qos: 2, packetId }));
    await client.expect('50 *');
  }
  client.send(wire.publish(5, { topic: 'nobody', qos: 2, packetId: 1, dup: true }));
  await client.expect('50 *');
  client.send(wire.pubrel(1));
  await client.expect('70 02 0001');
  client.send(wire.publish(5, { topic: 'nobody', qos: 2, packetId: 1 }));
  await client.expect('50 *');
});
