// Retained messages as a lever: a few bytes of SUBSCRIBE ask for all of them, again and again, by filters that overlap or match nothing.
// What waits is bounded by the subscriptions, and the work is done in slices, so that others are served in between.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, property, puback, publish, subscribe, u16, unsubscribe } from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { delivered, subscribed, useRig } from '../conformance/rig.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { Peer } from './peer.ts';
import { residentMiB, tellsResident } from './resident.ts';
import { Witness } from './witness.ts';

/** Retains `count` messages below `a/b/c/d/e/f/`. */
async function retain(client: RawClient, count: number, payloadBytes: number): Promise<void> {
  for (let from = 0; from < count; from += 500) {
    for (let at = from; at < Math.min(count, from + 500); at++) {
      client.send(
        publish(5, {
          topic: `a/b/c/d/e/f/${at}`,
          payload: Buffer.alloc(payloadBytes, `${at} `),
          qos: 1,
          packetId: at + 1,
          retain: true,
        }),
      );
    }
    for (let at = from; at < Math.min(count, from + 500); at++) await client.expect(`40 .. ${u16(at + 1).toString('hex')} *`);
  }
}

/** Filters that match every topic of `retain`: each level by name or by `+`, the last by `+` or `#`. */
function everyFilter(): string[] {
  const names = 'abcdef'.split('');
  const filters: string[] = [];
  for (let mask = 0; mask < 64; mask++) {
    const head = names.map((name, at) => ((mask >> at) & 1 ? '+' : name)).join('/');
    filters.push(`${head}/+`, `${head}/#`);
  }
  return filters;
}

describe.skipIf(!tellsResident)('three thousand retained messages', () => {
  const COUNT = 3_000;
  let served: Served;
  let witness: Witness;
  beforeAll(async () => {
    served = await serve('[limits]\nqueued_messages_per_client_max = 100\n');
    witness = await Witness.open(served.port('tcp'));
    const publisher = await RawClient.connect(served.port('tcp'), 5);
    publisher.send(connect(5, { clientId: 'publisher' }));
    await publisher.expect('20 .. 00 00 *');
    await retain(publisher, COUNT, 1_000);
    publisher.drop();
  });
  afterAll(async () => {
    witness.drop();
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });

  test('are kept for a reader that does not read yet, and come once each when it does', async () => {
    const peer = await Peer.open(served.port('tcp'));
    await peer.send(connect(5, { clientId: 'late' }));
    await peer.until('CONNACK', () => peer.receivedBytes > 0);
    peer.stopReading();
    const before = residentMiB(served.ready.pid);
    await peer.send(subscribe(5, { filters: [['#', 0]] }));
    await witness.isServed();
    expect(residentMiB(served.ready.pid) - before).toBeLessThan(16);
    peer.read();
    await peer.until('everything is there', () => peer.receivedBytes > COUNT * 1_000);
    await peer.send(Buffer.from([0xc0, 0]));
    await peer.until('PINGRESP', () => peer.received.at(-2) === 0xd0);
    const messages = peer.packets.filter(({ type }) => type === 3).map((packet) => readPublish(packet, 5));
    const payloads = messages.filter(({ retain }) => retain).map(({ payload }) => Number.parseInt(payload, 10));
    expect(payloads.sort((a, b) => a - b)).toEqual(Array.from({ length: COUNT }, (_, at) => at));
    peer.drop();
  });

  test.each([1, 2])('at QoS %i come through a window of 10 and a queue of 100, all of them', async (qos) => {
    const client = await RawClient.connect(served.port('tcp'), 5);
    client.send(connect(5, { clientId: `narrow-${qos}`, properties: [property.receiveMaximum(10)] }));
    await client.expect('20 .. 00 00 *');
    await subscribed(client, { filters: [['a/#', qos]] });
    const numbers = new Set<number>();
    for (let at = 0; at < COUNT; at++) {
      const message = await delivered(client);
      expect({ qos: message.qos, retain: message.retain }).toEqual({ qos: 1, retain: true });
      numbers.add(Number.parseInt(message.payload, 10));
      client.send(puback(message.packetId));
    }
    expect(numbers.size).toBe(COUNT);
    await client.expectSilence();
    client.drop();
  });

  test('asked for 1,300 times over by one that does not read cost no more than once', async () => {
    const peer = await Peer.open(served.port('tcp'));
    await peer.send(connect(5, { clientId: 'lever' }));
    await peer.until('CONNACK', () => peer.receivedBytes > 0);
    peer.stopReading();
    const before = residentMiB(served.ready.pid);
    const filters = everyFilter().map((filter): [string, number] => [filter, 0]);
    for (let again = 0; again < 10; again++) void peer.send(subscribe(5, { filters }));
    for (let round = 0; round < 5; round++) await witness.isServed();
    // Kept as a list of messages for each filter, 3.8 million entries would be here.
    expect(residentMiB(served.ready.pid) - before).toBeLessThan(48);
    peer.drop();
    await witness.isServed();
  });
});

describe('lookups that visit every topic', () => {
  const rig = useRig();

  test('are spread over turns: another client is answered before the last of them is done', async () => {
    await retain(await rig.connect(5), 2_000, 1);
    const attacker = await rig.connect(5);
    const other = await rig.connect(5);
    await other.expectSilence();
    const order: string[] = [];
    const fruitless = Array.from({ length: 1_000 }, (_, at): [string, number] => [`+/+/+/+/+/+/+/none${at}`, 0]);
    attacker.send(subscribe(5, { filters: [...fruitless, ['a/b/c/d/e/f/77', 0]] }));
    expect((await attacker.nextPacket()).firstByte, 'SUBACK').toBe(0x90);
    other.send('c0 00');
    await Promise.all([
      other.expect('d0 00').then(() => order.push('the other')),
      attacker.nextPacket(20_000).then((packet) => order.push(readPublish(packet, 5).topic)),
    ]);
    expect(order).toEqual(['the other', 'a/b/c/d/e/f/77']);
  });

  test('a filter that is given up while it waits brings nothing any more', async () => {
    const client = await rig.connect(5);
    const fruitless = Array.from({ length: 1_000 }, (_, at): [string, number] => [`+/+/+/+/+/+/+/gone${at}`, 0]);
    client.send(subscribe(5, { filters: [...fruitless, ['a/#', 0]] }), unsubscribe(5, 2, ['a/#']));
    expect((await client.nextPacket()).firstByte).toBe(0x90);
    const next = await client.nextPacket();
    expect(next.firstByte, 'UNSUBACK before any message').toBe(0xb0);
    expect(await subscribed(client, { filters: [['a/b/c/d/e/f/5', 0]] })).toEqual([0]);
    expect((await delivered(client, 20_000)).topic, 'the lookups before it are over').toBe('a/b/c/d/e/f/5');
    await client.expectSilence();
  });
});
