// A bridge between two brokers over a real connection: what passes, under which names, and what is left when the link is cut.
import { expect, test } from 'vitest';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { bridgedBroker, bridgeSays, stopBroker } from './rig.ts';

const TOPICS = ['"up/# out 2 local/ far/"', '"down/# in 2 here/ there/"', '"shared/# both 1"'];

test('passes what a line means, both ways, under the names of the other side [MQTT3-7.0.0-1]', async () => {
  const remote = await bridgedBroker();
  const edge = await bridgedBroker({ bridge: [`addresses = ["127.0.0.1:${remote.tcp}"]`, `topics = [${TOPICS.join()}]`] });
  await bridgeSays(edge, '1');
  const far = await mqttJs({ port: remote.tcp, level: 5 });
  const near = await mqttJs({ port: edge.tcp, level: 5 });
  await far.subscribe(['far/#', 'shared/#'], 2);
  await near.subscribe(['here/#', 'shared/#'], 2);
  for (const qos of [0, 1, 2] as const) {
    await near.publish('local/up/a', `out ${qos}`, {
      qos,
      properties: { userProperties: { key: 'value' }, contentType: 'text' },
    });
    await far.publish('there/down/b', `in ${qos}`, { qos });
  }
  await near.publish('local/other', 'not meant', { qos: 1 });
  await near.publish('shared/x', 'from near', { qos: 1 });
  await far.publish('shared/x', 'from far', { qos: 1 });
  await far.received(5);
  await near.received(5);
  expect(far.messages.map(({ topic, payload, qos }) => [topic, String(payload), qos]).sort()).toEqual([
    ['far/up/a', 'out 0', 0],
    ['far/up/a', 'out 1', 1],
    ['far/up/a', 'out 2', 2],
    ['shared/x', 'from far', 1],
    ['shared/x', 'from near', 1],
  ]);
  expect(near.messages.map(({ topic, payload, qos }) => [topic, String(payload), qos]).sort()).toEqual([
    ['here/down/b', 'in 0', 0],
    ['here/down/b', 'in 1', 1],
    ['here/down/b', 'in 2', 2],
    ['shared/x', 'from far', 1],
    ['shared/x', 'from near', 1],
  ]);
  const [first] = far.messages;
  expect(first!.properties?.contentType).toBe('text');
  expect(first!.properties?.userProperties).toMatchObject({
    key: 'value',
    'lethe-bridge': expect.stringMatching(/^[a-z2-7]{16}>$/),
  });
});

test('keeps what goes out while the remote broker is away, from the first moment', async () => {
  const first = await bridgedBroker();
  const port = first.tcp;
  await stopBroker(first);
  const edge = await bridgedBroker({ bridge: [`addresses = ["127.0.0.1:${port}"]`, `topics = ["up/# out 2"]`] });
  const near = await mqttJs({ port: edge.tcp, level: 5 });
  for (let i = 0; i < 300; i++) await near.publish('up/a', String(i), { qos: i % 2 === 0 ? 1 : 2 });
  const remote = await bridgedBroker({ set: [`listener.tcp.port=${port}`] });
  const far = await mqttJs({ port: remote.tcp, level: 5 });
  await far.subscribe('up/#', 2);
  await far.received(300);
  expect(far.arrived.map(({ payload }) => String(payload))).toEqual(Array.from({ length: 300 }, (_, i) => String(i)));
  await bridgeSays(edge, '1');
  await expect.poll(() => edge.counts().queuedMessages, { timeout: 10_000 }).toBe(0);
});
