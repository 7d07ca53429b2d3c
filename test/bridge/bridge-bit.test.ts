// The upper bit of the level byte, by which a bridge of MQTT 3 says that it is one: nothing comes back to it, and what is retained stays so.
import { describe, expect, test } from 'vitest';
import * as wire from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import type { RawClient } from '../conformance/raw-client.ts';
import { delivered, subscribed, useRig } from '../conformance/rig.ts';

const rig = useRig();

const levels = [
  ['3.1', 3],
  ['3.1.1', 4],
] as const;

function connectBridge(level: 3 | 4, clientId: string, clean = true): Promise<RawClient> {
  return rig.connect(level, { clientId, clean, levelByte: 0x80 | level });
}

describe.each(levels)('MQTT %s', (_version, level) => {
  test('does not hear itself, but others, and a client without the bit does', async () => {
    const topic = rig.name('t');
    const bridge = await connectBridge(level, rig.name('bridge'));
    const other = await rig.connect(level);
    for (const client of [bridge, other]) await subscribed(client, { filters: [[topic, 1]] });
    for (const qos of [0, 1, 2]) {
      bridge.send(wire.publish(level, { topic, payload: 'own', qos, packetId: 7 }));
      if (qos > 0) await bridge.expect(`${qos === 1 ? '40' : '50'} 02 00 07`);
      if (qos === 2) {
        bridge.send(wire.pubrel(7));
        await bridge.expect('70 02 00 07');
      }
      expect((await delivered(other)).payload).toBe('own');
    }
    await bridge.expectSilence();
    other.send(wire.publish(level, { topic, payload: 'other' }));
    expect((await delivered(bridge)).payload).toBe('other');
    expect((await delivered(other)).payload).toBe('other');
  });

  test('is told of what is retained as it is published, live and when it subscribes', async () => {
    const topic = rig.name('t');
    const bridge = await connectBridge(level, rig.name('bridge'));
    const publisher = await rig.connect(level);
    await subscribed(bridge, { filters: [[topic, 0]] });
    publisher.send(wire.publish(level, { topic, payload: 'kept', retain: true }));
    publisher.send(wire.publish(level, { topic, payload: 'passing' }));
    expect(await delivered(bridge)).toMatchObject({ payload: 'kept', retain: true });
    expect(await delivered(bridge)).toMatchObject({ payload: 'passing', retain: false });
    const late = await connectBridge(level, rig.name('bridge'));
    late.send(wire.subscribe(level, { filters: [[topic, 0]] }));
    const answers = [await late.nextPacket(), await late.nextPacket()];
    const replayed = answers.find(({ type }) => type === 3)!;
    expect(readPublish(replayed, level)).toMatchObject({ payload: 'kept', retain: true });
  });

  test('a resumed session still does not hear what its bridge publishes', async () => {
    const topic = rig.name('t');
    const clientId = rig.name('bridge');
    const first = await connectBridge(level, clientId, false);
    await subscribed(first, { filters: [[topic, 1]] });
    first.drop();
    const second = await connectBridge(level, clientId, false);
    second.send(wire.publish(level, { topic, payload: 'own', qos: 1, packetId: 9 }));
    await second.expect('40 02 00 09');
    await second.expectSilence();
    // Who has the session without being a bridge asks for something else by subscribing again.
    second.drop();
    const plain = await rig.connect(level, { clientId, clean: false });
    await subscribed(plain, { filters: [[topic, 0]] });
    plain.send(wire.publish(level, { topic, payload: 'own' }));
    expect((await delivered(plain)).payload).toBe('own');
  });

  test('is given 20 messages at a time: Mosquitto ends the connection over more', async () => {
    const topic = rig.name('t');
    const bridge = await connectBridge(level, rig.name('bridge'));
    const publisher = await rig.connect(level);
    await subscribed(bridge, { filters: [[topic, 1]] });
    for (let packetId = 1; packetId <= 22; packetId++) publisher.send(wire.publish(level, { topic, qos: 1, packetId }));
    for (let packetId = 1; packetId <= 22; packetId++)
      await publisher.expect(`40 02 00 ${wire.u16(packetId).toString('hex', 1)}`);
    const given: number[] = [];
    for (let count = 0; count < 20; count++) given.push((await delivered(bridge)).packetId);
    await bridge.expectSilence();
    bridge.send(wire.puback(given[0]!));
    await delivered(bridge);
    await bridge.expectSilence();
  });

  test('a shared subscription of a bridge is one like any other', async () => {
    const topic = rig.name('t');
    const bridge = await connectBridge(level, rig.name('bridge'));
    await subscribed(bridge, { filters: [[`$share/group/${topic}`, 0]] });
    bridge.send(wire.publish(level, { topic, payload: 'own' }));
    expect((await delivered(bridge)).payload).toBe('own');
  });

  test('what it may not is refused in the form of its own level', async () => {
    const client = await rig.open(level);
    // A will without a topic that is one.
    client.send(wire.connect(level, { clientId: 'c', levelByte: 0x80 | level, will: { topic: 'a/#', payload: '' } }));
    await client.expect('20 02 00 03');
    await client.expectClosed();
  });
});

test('level 5 has No Local, and no bit for bridges', async () => {
  const client = await rig.open(5);
  client.send(wire.connect(5, { clientId: 'c', levelByte: 0x85 }));
  await client.expect('20 03 00 84 00');
  await client.expectClosed();
});
