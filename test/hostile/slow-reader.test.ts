// Readers that never read, or never acknowledge, while messages of every QoS flow at them: the others get everything, in order, publishers
// are not held for ever, memory stays where the limits put it, and what was promised to the reader is there when it comes back.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, property, puback, publish, subscribe } from '../conformance/bytes.ts';
import { type Packet, readAcknowledgement, readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { delivered, subscribed, useRig } from '../conformance/rig.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { Peer } from './peer.ts';
import { residentMiB, tellsResident } from './resident.ts';
import { frame, openWeb } from './web-frames.ts';

const PAYLOAD_BYTES = 8_000;
const ROUNDS = 60;
/** Messages of each QoS in a round: less than the high mark, so that a reader that reads is never slow. */
const PER_ROUND = 100;
/** 96 MB flow at the reader; 1 MiB may be unsent and 4 MiB queued. The rest is V8. */
const GROWTH_MIB_MAX = 48;

/** A numbered payload. */
const numbered = (number: number) => Buffer.alloc(PAYLOAD_BYTES, `${number} `);
const numberOf = (packet: Packet) => Number.parseInt(readPublish(packet, 5).payload, 10);

describe.skipIf(!tellsResident).each(['tcp', 'ws'] as const)('a reader over %s that never reads', (transport) => {
  let served: Served;
  beforeAll(async () => {
    served = await serve(`
      [limits]
      outbox_high_bytes = 262144
      outbox_max_bytes = 1048576
      queued_bytes_per_client_max = 4194304`);
  });
  afterAll(async () => {
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });

  async function client(clientId: string): Promise<RawClient> {
    const raw = await RawClient.connect(served.port('tcp'), 5);
    raw.send(connect(5, { clientId }));
    await raw.expect('20 .. 00 00 *');
    return raw;
  }

  /** Subscribes to everything for a session that outlives it, and reads no more. */
  async function mute(): Promise<Peer> {
    const hello = [
      connect(5, { clientId: 'mute', properties: [property.sessionExpiryS(600)] }),
      subscribe(5, { filters: [['flow/#', 1]] }),
    ];
    const peer = transport === 'tcp' ? await Peer.open(served.port('tcp')) : await openWeb(served.port('ws'));
    const bytes = Buffer.concat(hello);
    await peer.send(transport === 'tcp' ? bytes : frame(bytes));
    await peer.until('SUBACK', () => peer.received.includes(Buffer.from([0x90, 4, 0, 1, 0, 1])));
    peer.stopReading();
    return peer;
  }

  test('costs the others nothing, and gets what was promised when it comes back', async () => {
    const reader = await mute();
    const healthy = await client('healthy');
    await subscribed(healthy, { filters: [['flow/#', 1]] });
    const publisher = await client('publisher');
    const before = residentMiB(served.ready.pid);
    const promised: number[] = [];
    let refused = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const first = round * PER_ROUND;
      for (let number = first; number < first + PER_ROUND; number++) {
        const payload = numbered(number);
        publisher.send(publish(5, { topic: 'flow/zero', payload }));
        publisher.send(publish(5, { topic: 'flow/one', payload, qos: 1, packetId: (number % 1_000) + 1 }));
      }
      const next = { zero: first, one: first };
      while (next.zero < first + PER_ROUND || next.one < first + PER_ROUND) {
        const packet = await healthy.nextPacket(20_000);
        const { topic, qos, packetId } = readPublish(packet, 5);
        const flow = topic === 'flow/zero' ? 'zero' : 'one';
        expect(numberOf(packet), topic).toBe(next[flow]++);
        if (qos === 1) healthy.send(puback(packetId));
      }
      for (let number = first; number < first + PER_ROUND; number++) {
        const { reason } = readAcknowledgement(await publisher.nextPacket(20_000));
        if (reason === 0) promised.push(number);
        else refused += Number(reason === 0x97);
      }
    }
    expect(residentMiB(served.ready.pid) - before).toBeLessThan(GROWTH_MIB_MAX);
    expect(promised.length + refused).toBe(ROUNDS * PER_ROUND);
    expect(refused, 'the queue is bounded').toBeGreaterThan(0);
    expect(promised.length, 'and not at nothing').toBeGreaterThan(400);
    await healthy.expectSilence();
    await publisher.expectSilence();

    reader.drop();
    const back = await RawClient.connect(served.port('tcp'), 5);
    back.send(connect(5, { clientId: 'mute', clean: false, properties: [property.sessionExpiryS(600)] }));
    await back.expect('20 .. 01 00 *');
    for (const number of promised) {
      const packet = await back.nextPacket(20_000);
      expect(numberOf(packet)).toBe(number);
      back.send(puback(readPublish(packet, 5).packetId));
    }
    await back.expectSilence();
    for (const raw of [back, healthy, publisher]) raw.drop();
  });
});

describe('a reader that never acknowledges', () => {
  const WINDOW = 10;
  const QUEUED = 50;
  const rig = useRig([`limits.queued_messages_per_client_max=${QUEUED}`]);

  test.each([1, 2])(
    'QoS %i: fills its window and its queue, hears QoS 0 all the while, and costs the others nothing',
    async (qos) => {
      const topic = rig.name('window');
      const filters: [string, number][] = [[topic, qos]];
      const reader = await rig.connect(5, { properties: [property.receiveMaximum(WINDOW)] });
      await subscribed(reader, { filters });
      const healthy = await rig.connect(5);
      await subscribed(healthy, { filters });
      const publisher = await rig.connect(5);
      const reasons: number[] = [];
      for (let number = 0; number < WINDOW + QUEUED + 20; number++) {
        publisher.send(publish(5, { topic, payload: `${number}`, qos: 1, packetId: number + 1 }));
        const message = await delivered(healthy);
        expect(message.payload).toBe(`${number}`);
        healthy.send(puback(message.packetId));
        reasons.push(readAcknowledgement(await publisher.nextPacket()).reason);
      }
      const kept = WINDOW + QUEUED;
      expect(reasons).toEqual(Array.from({ length: kept + 20 }, (_, number) => (number < kept ? 0 : 0x97)));
      const ids: number[] = [];
      for (let number = 0; number < WINDOW; number++) {
        const message = await delivered(reader);
        expect(message.payload).toBe(`${number}`);
        ids.push(message.packetId);
      }
      await reader.expectSilence();
      publisher.send(publish(5, { topic, payload: 'zero' }));
      expect((await delivered(reader)).payload).toBe('zero');
      expect((await delivered(healthy)).payload).toBe('zero');
      for (let number = WINDOW; number < kept; number++) {
        reader.send(puback(ids.shift()!));
        const message = await delivered(reader);
        expect(message.payload).toBe(`${number}`);
        ids.push(message.packetId);
      }
      for (const id of ids) reader.send(puback(id));
      await reader.expectSilence();
    },
  );

  test('acknowledging all but the first message opens the window only so far', async () => {
    const SPAN = 32_768;
    const BATCH = 512;
    const topic = rig.name('gap');
    const reader = await rig.connect(5);
    await subscribed(reader, { filters: [[topic, 1]] });
    const publisher = await rig.connect(5);
    const publishes = (from: number, count: number) =>
      publisher.send(
        ...Array.from({ length: count }, (_, at) => publish(5, { topic, qos: 1, packetId: ((from + at) % 60_000) + 1 })),
      );
    let first = 0;
    for (let from = 0; from < SPAN; from += BATCH) {
      publishes(from, BATCH);
      for (let at = 0; at < BATCH; at++) {
        expect(readAcknowledgement(await publisher.nextPacket()).reason).toBe(0);
        const { packetId } = await delivered(reader);
        if (from + at === 0) first = packetId;
        else reader.send(puback(packetId));
      }
    }
    // Identifiers are positions: that far behind one that is still open, the broker waits rather than use one twice.
    publishes(SPAN, QUEUED + 1);
    const reasons: number[] = [];
    while (reasons.length <= QUEUED) reasons.push(readAcknowledgement(await publisher.nextPacket()).reason);
    expect(reasons).toEqual([...Array.from({ length: QUEUED }, () => 0), 0x97]);
    await reader.expectSilence();
    reader.send(puback(first));
    for (let left = 0; left < QUEUED; left++) reader.send(puback((await delivered(reader)).packetId));
    await reader.expectSilence();
  });
});
