// 11. Packets of servers, and packets at the wrong time, that come from clients. Deeper: ../protocol-abuse.test.ts, ../first-packet.test.ts.
// Red when: a packet type that a client may not send is taken for one that it may, before CONNECT, behind it, or while its password is looked at.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, hex, property } from '../../conformance/bytes.ts';
import { bothLevels, useRig } from '../../conformance/rig.ts';
import { Witness } from '../witness.ts';

const rig = useRig(['limits.connect_timeout_ms=3600000']);
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

/** Of each: MQTT 3.1.1, MQTT 5. */
const PACKETS: readonly (readonly [string, string, string])[] = [
  ['CONNACK', '20 02 00 00', '20 03 00 00 00'],
  ['CONNACK with everything', '20 02 01 05', '20 08 01 00 05 11 ff ff ff ff'],
  ['SUBACK', '90 03 00 01 00', '90 04 00 01 00 00'],
  ['UNSUBACK', 'b0 02 00 01', 'b0 04 00 01 00 00'],
  ['PINGRESP', 'd0 00', 'd0 00'],
];

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test.each(PACKETS)('%s behind CONNECT is a protocol error, and the others live on', async (_type, old, current) => {
    const client = await rig.connect(level);
    client.send(level === 5 ? current : old);
    await client.expectFault(0x82);
    await witness.isServed();
  });

  test.each(PACKETS)('%s before CONNECT is closed without a word', async (_type, old, current) => {
    const client = await rig.open(level);
    client.send(level === 5 ? current : old, connect(level));
    await client.expectClosed();
  });

  test('a second CONNECT is a protocol error', async () => {
    const client = await rig.connect(level);
    client.send(connect(level, { clientId: rig.name('second') }));
    await client.expectFault(0x82);
  });
});

test('AUTH without an exchange, and AUTH of MQTT 3.1.1, are faults', async () => {
  for (const bytes of ['f0 00', 'f0 02 19 00', 'f0 02 18 00']) {
    const client = await rig.connect(5);
    client.send(hex(bytes));
    await client.expectFault(0x82);
  }
  const old = await rig.connect(4);
  old.send('f0 00');
  await old.expectClosed();
  const method = await rig.open(5);
  method.send(connect(5, { properties: [property.authenticationMethod('none')] }));
  expect((await method.nextPacket()).bytes[3]).toBe(0x8c);
  await witness.isServed();
});
