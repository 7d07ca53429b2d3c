// Promise 5 (DESIGN.md §2): a message record is dropped the moment every subscriber has acknowledged it; a message that nobody waits for is never stored. More of the same: test/forgetting/drop.test.ts, test/storage.
import { expect, test } from 'vitest';
import { startBroker } from '../broker.ts';
import { Client } from '../forgetting/client.ts';
import { Place } from '../forgetting/place.ts';

test('promise 5, kept only until consumed: a record goes with its last acknowledgement, and what nobody waits for is never one', async () => {
  const place = new Place();
  const broker = await startBroker([`server.data_dir=${place.folder}`]);
  const held = async () => (await broker.inventory()).messages.count;
  const heldUntil = async (count: number) => {
    while ((await held()) !== count) await new Promise((resolve) => setImmediate(resolve));
  };
  const publisher = await Client.connect(broker.tcp, { clientId: 'publisher' });
  await publisher.publish({ topic: 'nobody/waits', payload: place.text('nobody') });
  expect(await held()).toBe(0);
  await place.isGone('nobody');

  const one = await Client.connect(broker.tcp, { clientId: 'one', holds: true });
  const two = await Client.connect(broker.tcp, { clientId: 'two', holds: true });
  for (const client of [one, two]) await client.subscribe('both/#', 1);
  await publisher.publish({ topic: 'both/1', payload: place.text('both') });
  await Promise.all([one.got(1), two.got(1)]);
  await place.isThere('both');
  one.acknowledge();
  // Whoever else waits keeps it, once.
  await heldUntil(1);
  await place.isThere('both');
  two.acknowledge();
  await heldUntil(0);
  await place.isGone('both');
  await broker.stop();
});
