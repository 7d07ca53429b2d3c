// What sessions hold beside their queues has its bounds too: nodes of the topic tree, bytes of filters and wills. Being full is told
// by a reason code, costs nobody what he has, and ends when room is made.
import { expect, test } from 'vitest';
import { ONE_SHARD } from '../broker.ts';
import { type ConnectFields, connect, type Level, property, unsubscribe } from '../conformance/bytes.ts';
import { readConnack } from '../conformance/decode.ts';
import type { RawClient } from '../conformance/raw-client.ts';
import { comesTo, delivered, published, subscribed, useRig } from '../conformance/rig.ts';

/** Nodes are given to shards by the block: how many are left for each client can be said of one shard only. */
const narrow = useRig([
  ONE_SHARD,
  'limits.trie_nodes_max=1024',
  'limits.trie_subscriptions_max=1024',
  'limits.subscriptions_per_client_max=1000',
]);
const small = useRig(['limits.session_bytes_max=10000', 'limits.sessions_max=100']);

const deepFilter = (index: number) => `${index}/${Array.from({ length: 99 }, () => '+').join('/')}`;

test('filters that find no node in the tree are refused with 0x97 and leave nothing behind', async () => {
  const client = await narrow.connect(5);
  const codes = await subscribed(client, { filters: Array.from({ length: 20 }, (_, index) => [deepFilter(index), 1]) });
  expect(codes).toEqual([...Array.from({ length: 10 }, () => 1), ...Array.from({ length: 10 }, () => 0x97)]);
  expect(narrow.broker.counts().subscriptions).toBe(10);

  const other = await narrow.connect(5);
  const filters: [string, number][] = [
    [deepFilter(30), 0],
    [deepFilter(0), 0],
    ['short', 0],
  ];
  expect(await subscribed(other, { filters }), 'a path that is there already, and a short one').toEqual([0x97, 0, 0]);
  await published(await narrow.connect(5), { topic: deepFilter(3).replaceAll('+', 'x'), payload: 'kept' });
  expect((await delivered(client)).payload).toBe('kept');

  client.send(unsubscribe(5, 2, [deepFilter(5)]));
  await client.expect('b0 04 00 02 00 00');
  expect(await subscribed(other, { filters: [[deepFilter(30), 0]] }), 'room was made').toEqual([0]);
});

test('filters beyond the bytes of all sessions are refused, and every end gives its bytes back', async () => {
  const name = (index: number) => `${index}`.padStart(1_000, 'x');
  const filters = Array.from({ length: 12 }, (_, index) => [name(index), 0] as const);
  const accepted = Array.from({ length: 10 }, () => 0);
  const first = await small.connect(5);
  expect(await subscribed(first, { filters })).toEqual([...accepted, 0x97, 0x97]);
  expect(await subscribed(first, { filters: filters.slice(0, 2) }), 'the same again takes nothing').toEqual([0, 0]);

  const second = await small.connect(5);
  await comesTo(() => tried(second), [0x97]);
  first.send(unsubscribe(5, 2, [name(0)]));
  await first.expect('b0 04 00 02 00 00');
  await comesTo(() => tried(second), [0]);
  first.drop();
  await second.expectSilence();
  await comesTo(() => subscribed(second, { filters: filters.slice(0, 9) }), accepted.slice(1)); // the session has ended
});

test('a will that finds no room refuses the CONNECT; wills that wait hold their room until they are gone', async () => {
  const will = { topic: 'will', payload: Buffer.alloc(4_000), properties: [property.willDelayS(1_000)] };
  const lasting = { properties: [property.sessionExpiryS(1_000)], will };
  for (const clientId of ['one', 'two']) await comesTo(() => answer(5, { clientId, ...lasting }), 0);
  await comesTo(() => answer(5, { clientId: 'three', will }), 0x97);
  await comesTo(() => answer(4, { clientId: 'old', will: { topic: 'will', payload: Buffer.alloc(4_000) } }), 3);

  const again = await small.connect(5, { clientId: 'one', clean: false });
  await again.expectSilence();
  await comesTo(() => answer(5, { clientId: 'three', ...lasting }), 0);
});

/** What a short filter is answered; it does not stay. */
async function tried(client: RawClient): Promise<number[]> {
  const codes = await subscribed(client, { filters: [['a', 0]] });
  if (codes[0] === 0) {
    client.send(unsubscribe(5, 3, ['a']));
    await client.expect('b0 04 00 03 00 00');
  }
  return codes;
}

/** What CONNECT is answered. A client that is refused is closed, any other one is cut. */
async function answer(level: Level, fields: ConnectFields): Promise<number> {
  const client = await small.open(level);
  client.send(connect(level, fields));
  const { reason } = readConnack(await client.nextPacket(), level);
  if (reason !== 0) await client.expectClosed();
  client.drop();
  return reason;
}
