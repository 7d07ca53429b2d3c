// 5. Properties without number. Deeper: ../user-properties.test.ts.
// Red when: the number of user properties of a packet has no bound, finding one that stands twice takes quadratic time, or one that may not be there is passed over.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, disconnect, packet, property, publish, u8, u16, varint } from '../../conformance/bytes.ts';
import { expectRefused, useRig } from '../../conformance/rig.ts';
import { Witness } from '../witness.ts';

const rig = useRig();
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

const one = property.userProperty('', '');
const flood = (count: number) => Buffer.alloc(one.length * count, one);
const field = (properties: Buffer) => Buffer.concat([varint(properties.length), properties]);

describe.each([129, 200_000])('%i user properties', (count) => {
  test.each<[string, (properties: Buffer) => Buffer]>([
    ['PUBLISH', (properties) => publish(5, { topic: 't', properties: [properties] })],
    ['SUBSCRIBE', (properties) => packet(0x82, u16(1), field(properties), Buffer.from([0, 1, 0x74, 0]))],
    ['UNSUBSCRIBE', (properties) => packet(0xa2, u16(1), field(properties), Buffer.from([0, 1, 0x74]))],
    ['PUBACK', (properties) => packet(0x40, u16(1), u8(0), field(properties))],
    ['DISCONNECT', (properties) => disconnect(0, [properties])],
  ])('in %s end its connection', async (_what, make) => {
    const client = await rig.connect(5);
    client.send(make(flood(count)));
    await client.expectFault(0x97);
    await witness.isServed();
  });
});

test('200 of them in CONNECT, or in its will, refuse it', async () => {
  const client = await rig.open(5);
  client.send(connect(5, { properties: [flood(200)] }));
  await expectRefused(client, 0x97);
  const other = await rig.open(5);
  other.send(connect(5, { will: { topic: 't', payload: '', properties: [flood(200)] } }));
  await expectRefused(other, 0x97);
});

test('a property that may stand once, and stands 100,000 times, is a protocol error', async () => {
  const expiry = property.messageExpiryS(1);
  const client = await rig.connect(5);
  client.send(publish(5, { topic: 't', properties: [Buffer.alloc(expiry.length * 100_000, expiry)] }));
  await client.expectFault(0x82);
  await witness.isServed();
});

test('every property that has no business in a PUBLISH, or does not exist, ends the connection', async () => {
  const allowed = new Set([0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26]);
  for (let id = 0; id < 128; id++) {
    if (allowed.has(id)) continue;
    const client = await rig.connect(5);
    client.send(publish(5, { topic: 't', properties: [Buffer.from([id, 0, 0, 0, 1])] }));
    const packet = await client.nextPacket();
    expect({ id, first: packet.firstByte, isFault: [0x81, 0x82].includes(packet.body[0]!) }).toEqual({
      id,
      first: 0xe0,
      isFault: true,
    });
    client.drop();
  }
  await witness.isServed();
});
