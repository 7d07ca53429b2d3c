// Well-formed packets where they have no business: those that only a server sends, acknowledgements of what never was, publishes into the
// broker's own topics, more open identifiers than the broker has announced to take.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  connect,
  hex,
  type Level,
  property,
  puback,
  pubcomp,
  publish,
  pubrec,
  pubrel,
  subscribe,
  u16,
} from '../conformance/bytes.ts';
import { bothLevels, delivered, published, subscribed, useRig } from '../conformance/rig.ts';
import { Peer } from './peer.ts';
import { Witness } from './witness.ts';

const rig = useRig();
const open = useRig(['limits.receive_maximum=65535']);
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test.each([
    ['CONNACK', '20 02 00 00', '20 03 00 00 00'],
    ['SUBACK', '90 03 00 01 00', '90 04 00 01 00 00'],
    ['UNSUBACK', 'b0 02 00 01', 'b0 04 00 01 00 00'],
    ['PINGRESP', 'd0 00', 'd0 00'],
  ])('%s is a packet of servers: protocol error', async (_type, old, current) => {
    const client = await rig.connect(level);
    client.send(level === 5 ? current : old);
    await client.expectFault(0x82);
    await witness.isServed();
  });

  test('packet type 0 is malformed', async () => {
    const client = await rig.connect(level);
    client.send('00 00');
    await client.expectFault(0x81);
  });

  test('PUBREL for an identifier that is not open is answered, and means nothing', async () => {
    const client = await rig.connect(level);
    client.send(pubrel(77));
    await client.expect(level === 5 ? '70 03 00 4d 92' : '70 02 00 4d');
    await client.expectSilence();
  });

  test('PUBREC for an identifier that is not open is answered once, PUBACK and PUBCOMP not at all', async () => {
    const client = await rig.connect(level);
    client.send(puback(5), pubcomp(6), pubrec(7));
    await client.expect(level === 5 ? '62 03 00 07 92' : '62 02 00 07');
    await client.expectSilence();
  });

  test.each<[string, number, (packetId: number) => Buffer]>([
    ['PUBREC for a QoS 1 message', 1, pubrec],
    ['PUBCOMP for a QoS 1 message', 1, pubcomp],
    ['PUBACK for a QoS 2 message', 2, puback],
    ['PUBCOMP before PUBREC', 2, pubcomp],
  ])('%s is a protocol error', async (_name, qos, acknowledgement) => {
    const client = await rig.connect(level);
    const topic = rig.name('flow');
    await subscribed(client, { filters: [[topic, qos]] });
    await published(await rig.connect(5), { topic, qos });
    client.send(acknowledgement((await delivered(client)).packetId));
    await client.expectFault(0x82);
  });

  test('the same acknowledgement twice does no harm', async () => {
    const client = await rig.connect(level);
    const topic = rig.name('twice');
    await subscribed(client, { filters: [[topic, 2]] });
    const publisher = await rig.connect(5);
    await published(publisher, { topic, qos: 1 });
    const first = await delivered(client);
    client.send(puback(first.packetId), puback(first.packetId));
    await published(publisher, { topic, qos: 2 });
    const { packetId } = await delivered(client);
    client.send(pubrec(packetId), pubrec(packetId));
    const release = `62 02 ${u16(packetId).toString('hex')}`;
    await client.expect(release);
    await client.expect(release);
    client.send(pubcomp(packetId), pubcomp(packetId));
    await client.expectSilence();
  });

  test('publishes to $SYS are not authorised, reach nobody and are not retained', async () => {
    const listener = await rig.connect(5);
    await subscribed(listener, { filters: [['$SYS/forged/#', 0]] });
    const client = await rig.connect(level);
    const [refused1, refused2] = level === 5 ? ['40 03 00 01 87', '50 03 00 02 87'] : ['40 02 00 01', '50 02 00 02'];
    client.send(publish(level, { topic: '$SYS/forged/uptime', payload: '1', retain: true }));
    client.send(publish(level, { topic: '$SYS/forged/uptime', payload: '2', qos: 1, packetId: 1, retain: true }));
    await client.expect(refused1);
    client.send(publish(level, { topic: '$SYS/forged', payload: '3', qos: 2, packetId: 2, retain: true }));
    await client.expect(refused2);
    client.send(publish(level, { topic: '$SYS', payload: '4' }));
    await client.expectSilence();
    await listener.expectSilence();
    const later = await rig.connect(5);
    await subscribed(later, { filters: [['$SYS/forged/#', 0]] });
    await later.expectSilence();
  });

  test('topics that only look like $SYS are anybody’s', async () => {
    const client = await rig.connect(level);
    await subscribed(client, {
      filters: [
        ['$SYSTEM/#', 0],
        ['$sys/#', 0],
      ],
    });
    for (const topic of ['$SYSTEM/a', '$sys/b']) {
      client.send(publish(level, { topic, payload: 'mine' }));
      expect((await delivered(client)).topic).toBe(topic);
    }
  });
});

test('an alias that stands for $SYS opens no door', async () => {
  const listener = await rig.connect(5);
  await subscribed(listener, { filters: [['$SYS/alias', 0]] });
  const client = await rig.connect(5);
  client.send(publish(5, { topic: '$SYS/alias', payload: '1', properties: [property.topicAlias(1)] }));
  client.send(publish(5, { topic: '', payload: '2', qos: 1, packetId: 9, properties: [property.topicAlias(1)] }));
  await client.expect('40 03 00 09 87');
  await listener.expectSilence();
});

test('a client that passes the receive maximum is sent away with 0x93, and its session has what it began', async () => {
  const clientId = rig.name('greedy');
  const lasting = { clientId, properties: [property.sessionExpiryS(60)] };
  const client = await rig.connect(5, lasting);
  const announced = 1_024;
  const begun = Array.from({ length: announced }, (_, index) => publish(5, { topic: 'x', qos: 2, packetId: index + 1 }));
  client.send(...begun, publish(5, { topic: 'x', qos: 2, packetId: 40_000 }));
  for (let packetId = 1; packetId <= announced; packetId++) await client.expect(`50 .. ${u16(packetId).toString('hex')} *`);
  await client.expectFault(0x93);
  const again = await rig.connect(5, { ...lasting, clean: false });
  again.send(pubrel(1), pubrel(announced), pubrel(40_000));
  await again.expect('70 02 00 01');
  await again.expect('70 02 04 00');
  await again.expect('70 03 9c 40 92');
  await witness.isServed();
});

test.each<[string, Level]>([
  ['3.1.1', 4],
  ['5.0', 5],
])('MQTT %s: all 65,535 identifiers open at QoS 2: each message passes once, repeated or not', async (_version, level) => {
  const ids = 65_535;
  const subscriber = await Peer.open(open.broker.tcp);
  const topic = `open/${level}`;
  void subscriber.send(Buffer.concat([connect(5, { clientId: open.name('all') }), subscribe(5, { filters: [[topic, 0]] })]));
  await subscriber.until('it is subscribed', () => subscriber.received.includes(hex('90 04 00 01 00 00')));
  const before = subscriber.receivedBytes;
  const publisher = await Peer.open(open.broker.tcp);
  void publisher.send(connect(level, { clientId: open.name('all') }));
  await publisher.until('it is connected', () => publisher.receivedBytes > 0);
  const hello = publisher.receivedBytes;

  const one = publish(level, { topic, qos: 2, packetId: 1 });
  const all = Buffer.alloc(one.length * ids, one);
  for (let id = 1; id <= ids; id++) all.writeUInt16BE(id, (id - 1) * one.length + 4 + topic.length);
  const received = publish(5, { topic }).length * ids;
  void publisher.send(all);
  await publisher.until('every PUBREC is there', () => publisher.receivedBytes >= hello + 4 * ids);
  await subscriber.until('every message is there', () => subscriber.receivedBytes >= before + received);
  for (let at = 0; at < all.length; at += one.length) all[at] = 0x3c; // DUP
  void publisher.send(all);
  await publisher.until('every PUBREC is there again', () => publisher.receivedBytes >= hello + 8 * ids);
  const releases = Buffer.alloc(4 * ids, hex('62 02 00 00'));
  for (let id = 1; id <= ids; id++) releases.writeUInt16BE(id, (id - 1) * 4 + 2);
  void publisher.send(releases);
  await publisher.until('every PUBCOMP is there', () => publisher.receivedBytes >= hello + 12 * ids);
  expect(publisher.receivedBytes, 'no answer carries a reason').toBe(hello + 12 * ids);
  void subscriber.send(hex('c0 00'));
  await subscriber.until('PINGRESP', () => subscriber.received.subarray(-2).equals(hex('d0 00')));
  expect(subscriber.receivedBytes).toBe(before + received + 2);
  publisher.drop();
  subscriber.drop();
});
