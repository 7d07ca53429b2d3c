// What a connection's way out rests on: whether runs are copied to it, and what of a message's expiry is left.
import { expect, test } from 'vitest';
import { beginTrace, endTrace } from '../../engine/administration/trace-shard.ts';
import { memoryListener } from '../../engine/network/memory.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { connect, property, puback, publish, subscribe } from '../conformance/bytes.ts';
import { SeededRandom } from '../seeded-random.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { shardOver } from './shard.ts';

/** One whose date can be set, and that counts how often it is asked for. */
class SetClock extends VirtualClock {
  setBackMs = 0;
  looks = 0;

  override wallMs(): number {
    this.looks++;
    return super.wallMs() - this.setBackMs;
  }
}

function open() {
  const clock = new SetClock();
  const shard = shardOver({ clock, random: new SeededRandom(1), store: new MemoryStore() });
  const listener = memoryListener((link) => acceptLink(shard, link), { clock, drive: 'steps' });
  const settle = () => {
    for (let worked = true; worked; ) worked = [listener.step(), clock.endTurn()].includes(true);
  };
  const joined = (clientId: string, properties: readonly Buffer[] = []) => {
    const peer = listener.connect();
    peer.send(connect(5, { clientId, properties }));
    settle();
    return peer;
  };
  return { clock, shard, settle, joined };
}

test('what a PUBACK lets out is no sample of latency, whatever else came with it', () => {
  const { shard, settle, joined } = open();
  const receiver = joined('r', [property.receiveMaximum(1)]);
  receiver.send(subscribe(5, { filters: [['t', 1]] }));
  const publisher = joined('p');
  const send = (packetId: number) => {
    publisher.send(publish(5, { topic: 't', payload: 'x', qos: 1, packetId }));
    settle();
  };
  const samples = () => shard.turn.latency.counts.reduce((sum, count) => sum + count);
  send(1);
  expect(samples()).toBe(1);
  send(2);
  expect([samples(), shard.counters.publishSent]).toEqual([1, 1]);
  receiver.send(Buffer.concat([puback(1), publish(5, { topic: 'nobody', payload: 'x' })]));
  settle();
  expect([samples(), shard.counters.publishSent]).toEqual([1, 2]);
});

test('after a trace a client is again one that runs are copied to', async () => {
  const { shard, joined } = open();
  joined('a');
  const { connection } = shard.sessions.find('a')!;
  expect(connection!.plain).toBe(true);
  await beginTrace(shard, 'a');
  expect(connection!.plain).toBe(false);
  await endTrace(shard, 'a');
  expect(connection!.plain).toBe(true);
});

test('the longest expiry and a clock that was set back: it is still the longest', () => {
  const LONGEST_S = 0xffff_ffff;
  const { clock, settle, joined } = open();
  const publisher = joined('p');
  publisher.send(publish(5, { topic: 't', payload: 'x', retain: true, properties: [property.messageExpiryS(LONGEST_S)] }));
  settle();
  clock.setBackMs = 60_000;
  const receiver = joined('r');
  receiver.send(subscribe(5, { filters: [['t', 0]] }));
  settle();
  expect(Buffer.from(receiver.received()).includes(property.messageExpiryS(LONGEST_S))).toBe(true);
});

test('what is left of a message is worked out once, however many receive it', () => {
  const { clock, settle, joined } = open();
  const receivers = Array.from({ length: 10 }, (_, i) => joined(`r${i}`));
  for (const receiver of receivers) receiver.send(subscribe(5, { filters: [['t', 0]] }));
  const publisher = joined('p');
  const before = clock.looks;
  publisher.send(publish(5, { topic: 't', payload: 'x', properties: [property.messageExpiryS(9)] }));
  settle();
  for (const receiver of receivers) expect(Buffer.from(receiver.received()).includes(property.messageExpiryS(9))).toBe(true);
  // Once to set it, once to see what is left.
  expect(clock.looks - before).toBe(2);
});
