// Enhanced authentication with a method that the broker knows (MQTT 5.0 §4.12), and what a client without the right may publish. The
// method and the rights come in a module, as a library's user names one.
import { describe, expect, test } from 'vitest';
import { builtFile } from '../../bench/contestants/built-file.ts';
import * as wire from './bytes.ts';
import { METHOD } from './countdown-gate.ts';
import { type Packet, propertyOf, readAcknowledgement, readConnack, readReason } from './decode.ts';
import type { RawClient } from './raw-client.ts';
import { bothLevels, delivered, expectRefused, subscribed, useRig } from './rig.ts';

const { authenticationMethod, authenticationData } = wire.property;

const rig = useRig([], { gate: builtFile('test/conformance/countdown-gate.js') });

function expectAuth(packet: Packet, reason: number, data: string): void {
  expect(packet.firstByte).toBe(0xf0);
  const auth = readReason(packet);
  expect(auth.reason).toBe(reason);
  expect(propertyOf(auth.properties, 0x15)).toBe(METHOD);
  expect(propertyOf(auth.properties, 0x16)).toBe(data);
}

async function begin(data: string): Promise<RawClient> {
  const client = await rig.open(5);
  const properties = [authenticationMethod(METHOD), authenticationData(data)];
  client.send(wire.connect(5, { clientId: rig.name('c'), properties }));
  return client;
}

async function authenticated(): Promise<RawClient> {
  const client = await begin('3');
  expectAuth(await client.nextPacket(), 0x18, '2');
  client.send(wire.auth(0x18, [authenticationMethod(METHOD), authenticationData('2')]));
  expectAuth(await client.nextPacket(), 0x18, '1');
  client.send(wire.auth(0x18, [authenticationMethod(METHOD), authenticationData('1')]));
  const connack = readConnack(await client.nextPacket(), 5);
  expect(connack.reason).toBe(0);
  expect(propertyOf(connack.properties, 0x15)).toBe(METHOD);
  expect(propertyOf(connack.properties, 0x16)).toBe('done');
  return client;
}

describe('enhanced authentication', () => {
  test('AUTH goes back and forth with 0x18 until CONNACK, always with the method [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]', async () => {
    await (await authenticated()).expectSilence();
  });

  test('a failed exchange is refused by CONNACK and a close [MQTT-4.12.0-4]', async () => {
    const client = await begin('3');
    expectAuth(await client.nextPacket(), 0x18, '2');
    client.send(wire.auth(0x18, [authenticationMethod(METHOD), authenticationData('7')]));
    expect(readConnack(await client.nextPacket(), 5).reason).toBe(0x87);
    await client.expectClosed();
  });

  test('another method in AUTH is refused as a protocol error [MQTT-4.12.0-5]', async () => {
    const client = await begin('3');
    expectAuth(await client.nextPacket(), 0x18, '2');
    client.send(wire.auth(0x18, [authenticationMethod('other'), authenticationData('2')]));
    await expectRefused(client, 0x82);
  });

  test('an open connection authenticates again and goes on [MQTT-4.12.1-1]', async () => {
    const client = await authenticated();
    client.send(wire.auth(0x19, [authenticationMethod(METHOD), authenticationData('3')]));
    expectAuth(await client.nextPacket(), 0x18, '2');
    client.send(wire.auth(0x18, [authenticationMethod(METHOD), authenticationData('2')]));
    expectAuth(await client.nextPacket(), 0x18, '1');
    client.send(wire.auth(0x18, [authenticationMethod(METHOD), authenticationData('1')]));
    expectAuth(await client.nextPacket(), 0x00, 'done');
    await client.expectSilence();
  });

  test('a failed re-authentication ends the connection with its reason [MQTT-4.12.1-2]', async () => {
    const client = await authenticated();
    client.send(wire.auth(0x19, [authenticationMethod(METHOD), authenticationData('7')]));
    await client.expectFault(0x87);
  });
});

describe.each(bothLevels)('without the right to publish, MQTT %s', (_version, level) => {
  test('QoS 1 is acknowledged, as usual before MQTT 5, with 0x87 there, and goes nowhere [MQTT3-3.3.5-2] [MQTT-3.4.2-1]', async () => {
    const subscriber = await rig.connect(level);
    await subscribed(subscriber, { filters: [['forbidden', 1]] });
    const client = await rig.connect(level);
    client.send(wire.publish(level, { topic: 'forbidden', payload: 'no', qos: 1, packetId: 7 }));
    const puback = await client.nextPacket();
    expect(puback.firstByte).toBe(0x40);
    expect(readAcknowledgement(puback)).toMatchObject({ packetId: 7, reason: level === 5 ? 0x87 : 0 });
    await subscriber.expectSilence();
  });
});

test('after a PUBREC that refuses, the identifier is free for another message [MQTT-4.3.3-9] [MQTT-3.5.2-1]', async () => {
  const topic = rig.name('t');
  const subscriber = await rig.connect(5);
  await subscribed(subscriber, { filters: [[topic, 2]] });
  const client = await rig.connect(5);
  client.send(wire.publish(5, { topic: 'forbidden', payload: 'no', qos: 2, packetId: 9 }));
  expect(readAcknowledgement(await client.nextPacket())).toMatchObject({ packetId: 9, reason: 0x87 });
  client.send(wire.publish(5, { topic, payload: 'yes', qos: 2, packetId: 9 }));
  expect(readAcknowledgement(await client.nextPacket())).toMatchObject({ packetId: 9, reason: 0 });
  client.send(wire.pubrel(9));
  await client.expect('70 .. 00 09 *');
  expect((await delivered(subscriber)).payload.toString()).toBe('yes');
});
