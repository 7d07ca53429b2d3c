// 16. Data races in the memory that shards share. Deeper: test/topics/trie-stress.test.ts, trie-steps.test.ts, test/peers/, test/shards/.
// Red when: a shard reads a node, list or ring while another writes it, so that a message reaches nobody, somebody else, twice or out of order.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningBroker, startBroker } from '../../broker.ts';
import { connect, publish, subscribe, unsubscribe } from '../../conformance/bytes.ts';
import { readConnack, readPublish } from '../../conformance/decode.ts';
import { RawClient } from '../../conformance/raw-client.ts';
import { delivered, subscribed } from '../../conformance/rig.ts';

const MESSAGES = 3_000;
const CHURNERS = 9;
let broker: RunningBroker;
const clients: RawClient[] = [];

beforeAll(async () => {
  broker = await startBroker([
    'server.threads=3',
    'limits.trie_nodes_max=2048',
    'limits.trie_subscriptions_max=2048',
    'limits.subscriptions_per_client_max=100',
  ]);
});
afterAll(async () => {
  for (const client of clients) client.drop();
  await broker.stop();
});

async function login(clientId: string): Promise<RawClient> {
  const client = await RawClient.connect(broker.tcp, 5);
  clients.push(client);
  client.send(connect(5, { clientId }));
  expect(readConnack(await client.nextPacket(), 5).reason).toBe(0);
  return client;
}

/** Subscribes and unsubscribes filters around those of the others without end; whatever it receives must fit a filter that it asked for. */
async function churn(at: number, isOver: () => boolean): Promise<number> {
  const client = await login(`churner-${at}`);
  let rounds = 0;
  let strays = 0;
  while (!isOver()) {
    rounds++;
    const filters = [`flow/${rounds % 4}`, 'flow/+', `noise/${at}/${rounds % 50}/#`, `$share/g${at}/flow/#`, `+/${rounds % 7}`];
    client.send(subscribe(5, { filters: filters.map((filter) => [filter, 0]) }), unsubscribe(5, 2, filters));
    for (let answers = 0; answers < 2; ) {
      const packet = await client.nextPacket(20_000);
      if (packet.type === 3) strays += Number(!/^flow\/[0-3]$/.test(readPublish(packet, 5).topic));
      else answers++;
    }
  }
  expect(strays).toBe(0);
  return rounds;
}

test('nine clients of three shards change the tree while messages pass through it: each arrives once, in order, at those who asked', async () => {
  const steady = await Promise.all(Array.from({ length: 4 }, (_, at) => login(`steady-${at}`)));
  for (const [at, client] of steady.entries()) expect(await subscribed(client, { filters: [[`flow/${at}`, 0]] })).toEqual([0]);
  const bystander = await login('bystander');
  await subscribed(bystander, {
    filters: [
      ['flow', 0],
      ['flow/4', 0],
      ['other/#', 0],
    ],
  });
  let isOver = false;
  const churning = Array.from({ length: CHURNERS }, (_, at) => churn(at, () => isOver));
  const publishers = await Promise.all(steady.map((_, at) => login(`publisher-${at}`)));
  await Promise.all(
    steady.map(async (client, at) => {
      const publisher = publishers[at]!;
      for (let from = 0; from < MESSAGES; from += 100) {
        publisher.send(
          ...Array.from({ length: 100 }, (_, next) => publish(5, { topic: `flow/${at}`, payload: `${from + next}` })),
        );
        for (let next = 0; next < 100; next++) {
          const { topic, payload } = await delivered(client, 20_000);
          expect(`${topic} ${payload}`).toBe(`flow/${at} ${from + next}`);
        }
      }
    }),
  );
  isOver = true;
  const rounds = await Promise.all(churning);
  for (const count of rounds) expect(count).toBeGreaterThan(3);
  for (const client of [...steady, bystander]) await client.expectSilence();
});
