// Promise 6 (DESIGN.md §2): within the erasure bound (1 s) no byte of a consumed message can be recovered from the data directory, free pages and deleted-but-open files included. More of the same: test/forgetting (every way that
// a message, a will or a session can end) and test/forgetting/crash.test.ts.
import { test } from 'vitest';
import { startBroker } from '../broker.ts';
import { Client } from '../forgetting/client.ts';
import { Place } from '../forgetting/place.ts';

test('promise 6, gone once consumed: after the last acknowledgement nothing can be found with every key that is there', async () => {
  const place = new Place();
  const broker = await startBroker([`server.data_dir=${place.folder}`]);
  const fields = ['payload', 'topic', 'user-property', 'client', 'user'];
  const options = { clientId: place.text('subject.client'), username: place.text('subject.user'), password: 'x' };
  const subscriber = await Client.connect(broker.tcp, options);
  await subscriber.subscribe(`${place.text('subject.topic')}/#`, 1);
  subscriber.cut();
  const publisher = await Client.connect(broker.tcp, { clientId: 'publisher' });
  for (let at = 0; at < 20; at++) {
    const properties = { userProperties: { name: place.text('subject.user-property') } };
    await publisher.publish({
      topic: `${place.text('subject.topic')}/${at}`,
      payload: place.text('subject.payload'),
      properties,
    });
  }
  await place.isThere(...fields.filter((field) => field !== 'user').map((field) => `subject.${field}`));

  const again = await Client.connect(broker.tcp, options);
  await again.got(20);
  await again.leave(0);
  await place.isGone('subject');
  await broker.stop();
});
