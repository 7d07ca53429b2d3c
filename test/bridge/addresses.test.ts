// Several addresses of one remote broker: where the bridge goes when one of them is away, and when it is back.
import { expect, test } from 'vitest';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { Cut, Line } from './line.ts';
import { bridgedBroker, bridgeSays } from './rig.ts';

test.each([
  [false, 'goes back to the first'],
  [true, 'stays with the second'],
])('round_robin = %s: %s', async (roundRobin) => {
  const [first, second] = [await bridgedBroker(), await bridgedBroker()];
  const [toFirst, toSecond] = [await Line.to(first.tcp), await Line.to(second.tcp)];
  toFirst.down();
  const edge = await bridgedBroker({
    bridge: [
      `addresses = ["127.0.0.1:${toFirst.port}", "127.0.0.1:${toSecond.port}"]`,
      `round_robin = ${roundRobin}`,
      'topics = ["up/# out 2"]',
      'protocol_version = "mqttv50"',
    ],
  });
  await bridgeSays(edge, '1');
  expect(toSecond.connections).toBe(1);
  const near = await mqttJs({ port: edge.tcp, level: 5 });
  const [atFirst, atSecond] = [await mqttJs({ port: first.tcp, level: 5 }), await mqttJs({ port: second.tcp, level: 5 })];
  for (const client of [atFirst, atSecond]) await client.subscribe('up/#', 2);
  await near.publish('up/1', 'to the second', { qos: 2 });
  await atSecond.received(1);
  toFirst.up();
  if (roundRobin) toSecond.cut(Cut.RESET);
  const [next, other] = roundRobin ? [atSecond, atFirst] : [atFirst, atSecond];
  // The first one has been looked at before the link goes there.
  await expect.poll(() => (roundRobin ? toSecond : toFirst).connections, { timeout: 15_000 }).toBeGreaterThanOrEqual(2);
  await bridgeSays(edge, '1');
  await near.publish('up/1', 'later', { qos: 2 });
  await next.until('it goes there', () => next.payloads.includes('later'));
  expect(other.payloads).not.toContain('later');
});
