// AUTH and enhanced authentication on a broker that has no method configured: MQTT 5.0 §3.15 and §4.12.

import { expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { readConnack } from './decode.ts';
import { expectRefused, useRig } from './rig.ts';

const rig = useRig();

test('an unknown authentication method is refused with 0x8C [MQTT-4.12.0-1] [MQTT-4.12.0-4] [MQTT-3.1.4-2] [MQTT-4.13.2-1]', async () => {
  const client = await rig.open(5);
  client.send(wire.connect(5, { clientId: rig.name('c'), properties: [wire.property.authenticationMethod('unheard-of')] }));
  await expectRefused(client, 0x8c);
});

test('packets other than AUTH and DISCONNECT do not run before CONNACK [MQTT-3.1.2-30]', async () => {
  const client = await rig.open(5);
  client.send(
    wire.connect(5, { clientId: rig.name('c'), properties: [wire.property.authenticationMethod('unheard-of')] }),
    wire.subscribe(5, { filters: [['t', 0]] }),
  );
  expect(readConnack(await client.nextPacket(), 5).reason).toBeGreaterThanOrEqual(0x80);
  await client.expectClosed();
});

test('AUTH on a connection that named no method is a protocol error [MQTT-4.12.0-7] [MQTT-4.12.1-1] [MQTT-4.12.0-6]', async () => {
  const client = await rig.connect(5);
  client.send(wire.auth(0x19, [wire.property.authenticationMethod('unheard-of')]));
  await client.expectFault(0x82);
});

test('flags of AUTH are checked [MQTT-3.15.1-1] [MQTT-2.1.3-1]', async () => {
  const client = await rig.connect(5);
  client.send('f1 02 19 00');
  await client.expectFault(0x81);
});

test('AUTH is not a packet of MQTT 3.1.1 [MQTT3-4.8.0-1]', async () => {
  const client = await rig.connect(4);
  client.send('f0 00');
  await client.expectClosed();
});
