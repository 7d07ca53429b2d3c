// What waits for receivers that do not read, when all of it together is more than there is memory for: who is fed, who is disconnected and when. Time and the network stand still until a test moves them.
import { expect, test } from 'vitest';
import { DropReason } from '../../engine/counters.ts';
import { memoryListener } from '../../engine/network/memory.ts';
import type { MemoryPeer } from '../../engine/network/memory-link.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { connect, publish, subscribe } from '../conformance/bytes.ts';
import { SeededRandom } from '../seeded-random.ts';
import { roomy, shardOver } from '../sessions/shard.ts';
import { VirtualClock } from '../virtual-clock.ts';

const KERNEL_BYTES = 4_096;
const PAYLOAD_BYTES = 20_000;
const SHARE_BYTES = 200_000;
const FROZEN = 10;
/** Twice what a receiver may take nothing for, and some: it is looked at from when it is slow. */
const LONG_MS = 61_000;
const STEP_MS = 1_000;

function open(unsentBytesMax: number) {
  const clock = new VirtualClock();
  const shard = shardOver({
    limits: { ...roomy, unsentBytesMax, inflightMax: 100 },
    clock,
    random: new SeededRandom(1),
    store: new MemoryStore(),
  });
  const listener = memoryListener((link) => acceptLink(shard, link), { clock, drive: 'steps', kernelBytes: KERNEL_BYTES });
  const settle = () => {
    for (let worked = true; worked; ) worked = [listener.step(), clock.endTurn()].includes(true);
  };
  const joined = (clientId: string, qos: number): MemoryPeer => {
    const peer = listener.connect();
    peer.send(connect(5, { clientId }));
    settle();
    if (qos >= 0) peer.send(subscribe(5, { filters: [['flood', qos]] }));
    settle();
    return peer;
  };
  const publisher = joined('publisher', -1);
  /** Lets a second pass in which a message is published. */
  const second = (qos: number, packetId = 0) => {
    publisher.send(
      publish(5, { topic: 'flood', payload: Buffer.alloc(PAYLOAD_BYTES, 'x'), ...(qos === 0 ? {} : { qos, packetId }) }),
    );
    settle();
    clock.advance(STEP_MS);
    settle();
  };
  return { clock, shard, listener, settle, joined, second };
}

test('one that takes nothing is disconnected, one that takes a little is not, and those who read miss no more than its time', () => {
  const { shard, listener, settle, joined, second } = open(SHARE_BYTES);
  const frozen = Array.from({ length: FROZEN }, (_, at) => joined(`frozen-${at}`, 0));
  for (const peer of frozen) peer.pause();
  const slow = joined('slow', 0);
  slow.pause();
  const good = joined('good', 0);
  let most = 0;
  for (let at = 0; at * STEP_MS < LONG_MS; at++) {
    second(0);
    most = Math.max(most, shard.blocks.unsentBytes);
    // 4 KiB in ten seconds: no whole message.
    if (at % 10 !== 0) continue;
    slow.resume();
    listener.step();
    slow.pause();
  }
  expect(frozen.map(({ closed }) => closed)).toEqual(frozen.map(() => true));
  expect([slow.closed, good.closed]).toEqual([false, false]);
  expect(most).toBeGreaterThan(SHARE_BYTES);
  expect(most).toBeLessThan(SHARE_BYTES + (FROZEN + 2) * (PAYLOAD_BYTES + 16_384));
  expect(good.received().length).toBeGreaterThan((LONG_MS / STEP_MS) * PAYLOAD_BYTES);
  expect(shard.counters.dropped[DropReason.SLOW_RECEIVER]).toBeGreaterThan(0);
  slow.resume();
  settle();
  expect(shard.blocks.unsentBytes).toBe(0);
});

test('while there is room for all of it nobody is disconnected', () => {
  const { shard, joined, second } = open(1_000 * SHARE_BYTES);
  const frozen = joined('frozen', 0);
  frozen.pause();
  for (let at = 0; at * STEP_MS < 2 * LONG_MS; at++) second(0);
  expect(frozen.closed).toBe(false);
  expect(shard.slowConnections).toBe(1);
});

test('QoS 1 waits in the queue of a receiver of which the kernel takes no more, and comes whole when it reads', () => {
  const { shard, settle, joined, second } = open(SHARE_BYTES / 4);
  const reader = joined('reader', 1);
  reader.pause();
  const COUNT = 40;
  for (let at = 0; at < 20; at++) second(1, at + 1);
  expect(shard.blocks.unsentBytes).toBeLessThan(SHARE_BYTES / 4 + PAYLOAD_BYTES + 16_384);
  reader.resume();
  settle();
  // Others fill the share while it is fed: what it takes at once, it gets.
  const frozen = Array.from({ length: FROZEN }, (_, at) => joined(`frozen-${at}`, 0));
  for (const peer of frozen) peer.pause();
  for (let at = 20; at < COUNT; at++) second(1, at + 1);
  expect(shard.blocks.unsentBytes).toBeGreaterThan(SHARE_BYTES / 4);
  expect(reader.closed).toBe(false);
  const bytes = Buffer.from(reader.received());
  expect(bytes.length).toBeGreaterThan(COUNT * PAYLOAD_BYTES);
  expect(shard.queuedMessages).toBe(0);
});
