// Several brokers in a row and in a ring: what is meant to pass by a broker does, and nothing goes round.
import { expect, test } from 'vitest';
import type { Broker } from '../../engine/lethe.ts';
import { type MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';
import { bridgedBroker, bridgeSays } from './rig.ts';

async function watching(broker: Broker): Promise<MqttJs> {
  const client = await mqttJs({ port: broker.tcp, level: 5 });
  await client.subscribe('x/#', 2);
  return client;
}

/** Lines of a bridge to a broker. */
function to(broker: Broker, topics: string, ...more: readonly string[]): string[] {
  return [`addresses = ["127.0.0.1:${broker.tcp}"]`, `topics = ["${topics}"]`, ...more];
}

test('a hub passes on what comes in by one bridge over another, both ways', async () => {
  const [left, right] = [await bridgedBroker(), await bridgedBroker()];
  const second = ['[[bridge]]', 'name = "second"', 'transport = "tcp"', ...to(right, 'x/# both 2')];
  const hub = await bridgedBroker({ bridge: [...to(left, 'x/# both 2'), ...second] });
  await bridgeSays(hub, '1', 'cloud');
  await bridgeSays(hub, '1', 'second');
  const [atLeft, atHub, atRight] = [await watching(left), await watching(hub), await watching(right)];
  await atLeft.publish('x/1', 'from the left', { qos: 2 });
  await atRight.publish('x/1', 'from the right', { qos: 2 });
  await atHub.publish('x/1', 'from the hub', { qos: 2 });
  for (const client of [atLeft, atHub, atRight]) {
    await client.received(3);
    expect(client.payloads.toSorted()).toEqual(['from the hub', 'from the left', 'from the right']);
  }
});

test.each(['out', 'in', 'both'])('nothing goes round in a ring of three whose lines are %s', async (direction) => {
  // The first does not know the port of the last yet: the ring is closed by a second bridge of the last one.
  const first = await bridgedBroker();
  const second = await bridgedBroker({ bridge: to(first, `x/# ${direction} 1`) });
  const closing = [
    '[[bridge]]',
    'name = "second"',
    'transport = "tcp"',
    ...to(first, `x/# ${direction === 'both' ? 'both' : direction === 'out' ? 'in' : 'out'} 1`),
  ];
  const third = await bridgedBroker({ bridge: [...to(second, `x/# ${direction} 1`), ...closing] });
  await bridgeSays(second, '1', 'cloud');
  await bridgeSays(third, '1', 'cloud');
  await bridgeSays(third, '1', 'second');
  const clients = [await watching(first), await watching(second), await watching(third)];
  for (const [at, client] of clients.entries()) await client.publish('x/1', `from ${at}`, { qos: 1 });
  for (const client of clients) await client.until('all three are here', () => new Set(client.payloads).size === 3);
  // What still goes round would be ahead of this.
  for (const [at, client] of clients.entries()) await client.publish('x/2', `last of ${at}`, { qos: 1 });
  for (const client of clients) {
    await client.until('all six are here', () => new Set(client.payloads).size === 6);
    for (const payload of new Set(client.payloads))
      expect(client.payloads.filter((own) => own === payload).length, payload).toBeLessThanOrEqual(3);
  }
});
