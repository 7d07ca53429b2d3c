// The session of a bridge in this broker: nobody's but the bridge's, and as the configuration says, over restarts and erasure.
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MemoryStore } from '../../storage/memory.ts';
import { shards } from '../broker.ts';
import { mqttJs, refusalOf } from '../end-to-end/mqttjs.ts';
import { directory, temporaryFile } from '../security/temporary.ts';
import { bridgedBroker, bridgeSays, stopBroker } from './rig.ts';

/** A port on loopback where nobody listens. */
const NOWHERE = 'addresses = ["127.0.0.1:1"]';

describe('a client', () => {
  test.each([
    ['$bridge/cloud', 'network'],
    ['$bridge/other', 'network'],
    ['mine', 'network'],
  ])('cannot be %s', async (clientId) => {
    const edge = await bridgedBroker({ bridge: [NOWHERE, 'topics = ["up/# out 1"]', 'local_clientid = "mine"'] });
    expect(await refusalOf({ port: edge.tcp, level: 5, clientId })).toBe(0x85);
    expect(await refusalOf({ port: edge.tcp, level: 4, clientId })).toBe(2);
    expect(edge.counts().sessions).toBe(1);
  });
});

test('rights and limits of clients do not hold for it', async () => {
  const remote = await bridgedBroker();
  const edge = await bridgedBroker({
    bridge: [`addresses = ["127.0.0.1:${remote.tcp}"]`, 'topics = ["# both 1"]'],
    set: [
      `auth.acl_file=${temporaryFile('topic readwrite mine/#\ntopic read $SYS/#\n')}`,
      'limits.client_messages_per_s=1000',
      'limits.client_connects_per_minute=1',
      'limits.connections_max=3',
      'limits.keep_alive_max_s=1',
      'limits.banned_networks=["192.0.2.0/24"]',
    ],
  });
  await bridgeSays(edge, '1');
  const near = await mqttJs({ port: edge.tcp, level: 5 });
  await near.subscribe('mine/#', 1);
  const far = await mqttJs({ port: remote.tcp, level: 5 });
  await far.subscribe('#', 1);
  await near.publish('mine/a', 'out', { qos: 1 });
  await far.publish('mine/b', 'in', { qos: 1 });
  await far.publish('other/b', 'nobody there may read it', { qos: 1 });
  await near.received(2);
  expect(near.payloads.toSorted()).toEqual(['in', 'out']);
  await edge.reload();
  await near.publish('mine/c', 'after a reload', { qos: 1 });
  await far.until('it is there too', () => far.payloads.includes('after a reload'));
});

test.runIf(shards === 1)('follows the configuration from start to start', async () => {
  const store = new MemoryStore();
  const start = (topics: string, ...more: string[]) => bridgedBroker({ bridge: [NOWHERE, `topics = ${topics}`, ...more], store });
  const first = await start('["a/# out 1", "b/# out 1"]');
  expect(first.counts()).toMatchObject({ sessions: 1, subscriptions: 2 });
  const client = await mqttJs({ port: first.tcp, level: 5 });
  for (const topic of ['a/1', 'b/1', 'c/1']) await client.publish(topic, 'kept', { qos: 1 });
  expect(first.counts().queuedMessages).toBe(2);
  await stopBroker(first);
  const second = await start('["b/# out 1", "c/# out 2"]');
  expect(second.counts()).toMatchObject({ sessions: 1, subscriptions: 2, queuedMessages: 2 });
  await stopBroker(second);
  const renamed = await start('["b/# out 1"]', 'local_clientid = "other"');
  expect(renamed.counts()).toMatchObject({ sessions: 1, subscriptions: 1, queuedMessages: 0 });
  await stopBroker(renamed);
  const without = await bridgedBroker({ store });
  expect(without.counts()).toMatchObject({ sessions: 0, subscriptions: 0 });
});

test.runIf(shards === 1)('of a client that had its name before is not taken over', async () => {
  const store = new MemoryStore();
  const first = await bridgedBroker({ store });
  const client = await mqttJs({ port: first.tcp, level: 5, clientId: 'mine', properties: { sessionExpiryInterval: 600 } });
  await client.subscribe('a/#', 1);
  await client.end();
  const publisher = await mqttJs({ port: first.tcp, level: 5 });
  await publisher.publish('a/1', 'for the client', { qos: 1 });
  await stopBroker(first);
  const second = await bridgedBroker({ bridge: [NOWHERE, 'topics = ["b/# out 1"]', 'local_clientid = "mine"'], store });
  expect(second.counts()).toMatchObject({ sessions: 1, subscriptions: 1, queuedMessages: 0 });
});

test('outlives its longest absence: only what is queued has a ceiling', async () => {
  const folder = join(directory, 'absent');
  const set = [`server.data_dir=${folder}`, 'limits.session_expiry_max_s=1', 'spool.max_retention_s=1'];
  const first = await bridgedBroker({ bridge: [NOWHERE, 'topics = ["a/# out 1"]'], set });
  const client = await mqttJs({ port: first.tcp, level: 5 });
  await client.publish('a/1', 'expires', { qos: 1 });
  await expect.poll(() => first.counts().queuedMessages, { timeout: 10_000 }).toBe(0);
  await client.publish('a/2', 'expires too', { qos: 1 });
  expect(first.counts()).toMatchObject({ sessions: 2, queuedMessages: 1 });
});

test('QoS 0 is not kept while the link is cut, and what is not kept is counted', async () => {
  const edge = await bridgedBroker({ bridge: [NOWHERE, 'topics = ["a/# out 1"]'], set: ['admin.port=0', 'admin.open=true'] });
  const client = await mqttJs({ port: edge.tcp, level: 5 });
  for (const payload of ['1', '2', '3']) await client.publish('a/1', payload, { qos: 0 });
  await client.publish('a/1', 'kept', { qos: 1 });
  const metrics = async () => String(await (await fetch(`http://127.0.0.1:${edge.admin}/metrics`)).text());
  await expect.poll(metrics, { timeout: 10_000 }).toMatch(/^lethe_messages_dropped_total\{reason="no_link"\} 3$/m);
  const text = await metrics();
  expect(text).toMatch(/^lethe_bridge_connected\{bridge="cloud"\} 0$/m);
  expect(text).toMatch(/^lethe_bridge_messages_total\{bridge="cloud",direction="out"\} 0$/m);
  expect(edge.counts().queuedMessages).toBe(1);
});

test('a broker with a bridge stops at once, also while it cannot reach anybody', async () => {
  const edge = await bridgedBroker({ bridge: ['addresses = ["127.0.0.1:1", "localhost:1"]', 'topics = ["a/# out 1"]'] });
  const port = edge.tcp;
  await stopBroker(edge);
  const refused = await new Promise((resolve) =>
    connect(port, '127.0.0.1')
      .once('error', () => resolve(true))
      .once('connect', () => resolve(false)),
  );
  expect(refused).toBe(true);
});
