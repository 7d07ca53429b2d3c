// Promise 4 (DESIGN.md §2): everything in the data directory is ciphertext, keys included when the operator brings a master key. More of the same: test/forgetting/keys.ts, test/storage.
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startBroker } from '../broker.ts';
import { Client } from '../forgetting/client.ts';
import { Place } from '../forgetting/place.ts';
import { Effort } from '../forgetting/scanner.ts';
import { temporaryFile } from '../security/temporary.ts';

test('promise 4, encrypted at rest: the directory alone tells nothing; with a master key its keys tell nothing either', async () => {
  const place = new Place();
  const master = randomBytes(32);
  const broker = await startBroker([`server.data_dir=${place.folder}`, `spool.key_file=${temporaryFile(master)}`]);
  const names = ['client', 'topic', 'payload', 'user-property', 'retained'];
  const sleeper = await Client.connect(broker.tcp, { clientId: place.text('client') });
  await sleeper.subscribe(place.text('topic'), 1);
  sleeper.cut();
  const publisher = await Client.connect(broker.tcp, { clientId: 'publisher' });
  const properties = { userProperties: { name: place.text('user-property') } };
  await publisher.publish({ topic: place.text('topic'), payload: place.text('payload'), properties });
  await publisher.publish({ topic: 'retained', payload: place.text('retained'), retain: true });

  // With the master key everything can be read: it is there, and the search for it works.
  place.masters = [master];
  await place.isThere(...names);
  expect(place.scan({ effort: Effort.NO_KEYS }).found).toEqual([]);
  place.masters = [];
  expect(place.scan({ effort: Effort.EVERY_KEY }).found).toEqual([]);
  place.masters = [randomBytes(32)];
  expect(place.scan({ effort: Effort.EVERY_KEY }).found).toEqual([]);
  // What names clients outside is derived from the master key, and stands nowhere.
  expect(readdirSync(place.folder)).not.toContain('pseudonym.key');
  for (const file of ['spool.mdb', 'spool.keys']) expect(statSync(join(place.folder, file)).mode & 0o777).toBe(0o600);
  expect(statSync(place.folder).mode & 0o777).toBe(0o700);
  await broker.stop();
});
