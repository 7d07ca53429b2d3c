// A receiver on one shard that does not read holds the publisher on another, for a time; then its QoS 0 is dropped and the publisher goes on. Nobody else notices.
import { afterEach, expect, test } from 'vitest';
import { DropReason } from '../../engine/counters.ts';
import { needsHandOut } from '../../engine/network/hand-out.ts';
import { Gauge } from '../../engine/peers/gauges.ts';
import * as wire from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { Peer } from '../hostile/peer.ts';
import { type Crewed, crewed, until } from './crewed.ts';

const PAYLOAD_BYTES = 16_384;
/** More than the kernel and the marks take. */
const MESSAGES = 1_200;

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Scene {
  readonly broker: Crewed;
  readonly slow: Peer;
  readonly healthy: RawClient;
  readonly publisher: RawClient;
  /** How many connections the publisher's shard has paused. */
  pauses(): number;
}

/** One client on each shard: in turn, a receiver that reads no more, one that does, and who publishes to both. */
async function scene(backpressureMs: number): Promise<Scene> {
  const broker = await crewed([
    `limits.backpressure_ms=${backpressureMs}`,
    'limits.outbox_high_bytes=262144',
    'limits.outbox_max_bytes=33554432', // what comes before another shard has heard that it is to hold is not dropped
  ]);
  cleanups.push(() => broker.stop());
  const slow = await Peer.open(broker.tcp);
  cleanups.push(() => slow.drop());
  await slow.send(Buffer.concat([wire.connect(5, { clientId: 'slow' }), wire.subscribe(5, { filters: [['flow', 0]] })]));
  await slow.until('SUBACK', () => slow.packets.length === 2);
  slow.stopReading();
  const [healthy, publisher] = [await RawClient.connect(broker.tcp, 5), await RawClient.connect(broker.tcp, 5)];
  for (const [at, client] of [healthy, publisher].entries()) {
    cleanups.push(() => client.drop());
    client.send(wire.connect(5, { clientId: `client-${at}` }));
    await client.expect('20 .. 00 00 *');
  }
  healthy.send(wire.subscribe(5, { filters: [['flow', 0]] }));
  await healthy.expect('90 *');
  await until('they are on three shards', () => broker.each(Gauge.CONNECTED).join() === '1,1,1');
  return { broker, slow, healthy, publisher, pauses: () => broker.counted('pauses')[2]! };
}

const payloadOf = (number: number) => Buffer.alloc(PAYLOAD_BYTES, `${number} `);

async function expectAll(healthy: RawClient): Promise<void> {
  for (let number = 0; number < MESSAGES; number++) {
    const packet = await healthy.nextPacket(20_000);
    expect(Number.parseInt(readPublish(packet, 5).payload, 10)).toBe(number);
  }
}

/** Who is on which shard must be known: so where connections go in turn. What happens then is the same on any runtime. */
const onShards = test.runIf(needsHandOut());

onShards(
  'a receiver that never reads holds the publisher for its time; then what is for it is dropped, and the others have all',
  async () => {
    const { broker, healthy, publisher, pauses } = await scene(200);
    for (let number = 0; number < MESSAGES; number++)
      publisher.send(wire.publish(5, { topic: 'flow', payload: payloadOf(number) }));
    publisher.send(wire.pingreq);
    await expectAll(healthy);
    await publisher.nextPacket(20_000);
    await until('the drops are counted', () => broker.dropped(DropReason.SLOW_RECEIVER) > 0);
    await until('the pause is counted', () => pauses() > 0);
    await until('the slow receiver is counted', () => broker.counted('slowReceivers').join() === '1,0,0');
    await healthy.expectSilence();
  },
);

onShards('a receiver that reads again in time lets the publisher go, and has lost nothing', async () => {
  const { broker, slow, healthy, publisher, pauses } = await scene(60_000);
  for (let number = 0; number < MESSAGES; number++)
    publisher.send(wire.publish(5, { topic: 'flow', payload: payloadOf(number) }));
  publisher.send(wire.pingreq);
  await until('the publisher is held', () => pauses() > 0);
  slow.read();
  await expectAll(healthy);
  await publisher.nextPacket(20_000);
  const bytes = MESSAGES * PAYLOAD_BYTES;
  await slow.until('it has everything', () => slow.receivedBytes > bytes);
  expect(broker.counted('slowReceivers')).toEqual([0, 0, 0]);
  expect(broker.dropped(DropReason.SLOW_RECEIVER)).toBe(0);
});

onShards('a receiver that goes away lets the publisher go', async () => {
  const { slow, healthy, publisher, pauses } = await scene(60_000);
  for (let number = 0; number < MESSAGES; number++)
    publisher.send(wire.publish(5, { topic: 'flow', payload: payloadOf(number) }));
  publisher.send(wire.pingreq);
  await until('the publisher is held', () => pauses() > 0);
  slow.drop();
  await expectAll(healthy);
  await publisher.nextPacket(20_000);
});
