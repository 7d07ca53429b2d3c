// Promise 7 (DESIGN.md §2): `inventory` says what is held, for whom, how much and how old; `export` and `erase` answer a data subject's request; the audit log records what was done, without personal data. All of it by the
// command line, as an operator does it, on a broker that runs. More of the same: test/administration (under load, on three shards, on a stopped directory).
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { succeed } from '../cli/command-line.ts';
import { serve } from '../end-to-end/served.ts';
import { Client } from '../forgetting/client.ts';
import { Place, temporaryFolder } from '../forgetting/place.ts';

interface Inventory {
  readonly messages: { readonly count: number; readonly bytes: number; readonly oldestMs: number };
  readonly sessions: { readonly count: number };
  readonly queued: { readonly deliveries: number };
}

test('promise 7, we can show it: what is held is told, exported and erased, and the record of it names nobody', async () => {
  const place = new Place();
  const data = ['--data', place.folder];
  const served = await serve('', data);
  place.pid = served.ready.pid;
  const subject = place.text('subject.client');
  for (const clientId of [subject, 'somebody-else']) {
    const client = await Client.connect(served.port('tcp'), { clientId });
    await client.subscribe(`${place.text('subject.topic')}/#`, 1);
    client.cut();
  }
  const publisher = await Client.connect(served.port('tcp'), { clientId: 'publisher', expiryS: 0 });
  await publisher.publish({ topic: `${place.text('subject.topic')}/1`, payload: place.text('subject.payload') });

  const inventory = async () => JSON.parse((await succeed(['inventory', '--json', ...data])).stdout) as Inventory;
  // Stored once for each shard that has one of the two (docs/SHARDS.md).
  expect(await inventory()).toMatchObject({ queued: { deliveries: 2 } });
  const pseudonym = (await succeed(['pseudonym', subject, ...data])).stdout.trim();
  const byClient = (await succeed(['inventory', '--by-client', ...data])).stdout;
  expect(byClient).toContain(pseudonym);
  expect(byClient).not.toContain(subject);

  const file = join(temporaryFolder(), 'subject.jsonl');
  await succeed(['export', '--client', subject, '--output', file, ...data]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const exported = readFileSync(file, 'utf8');
  expect(exported).toContain(Buffer.from(place.text('subject.payload')).toString('base64'));

  const receipt = JSON.parse((await succeed(['erase', '--client', subject, '--json', ...data])).stdout) as object;
  expect(receipt).toMatchObject({ kind: 'client', subject: pseudonym, erased: { sessions: 1, subscriptions: 1, deliveries: 1 } });
  // Of the subject nothing is left; what somebody else waits for is.
  expect(await inventory()).toMatchObject({ messages: { count: 1 }, queued: { deliveries: 1 } });
  await place.holdsOnly('subject', new Set(['subject.topic', 'subject.payload']));
  await succeed(['erase', '--topic', `${place.text('subject.topic')}/#`, ...data]);
  expect(await inventory()).toMatchObject({ messages: { count: 0 }, queued: { deliveries: 0 } });

  expect(await served.stop()).toEqual({ code: 0, signal: null });
  expect((await succeed(['audit', 'verify', ...data])).stdout).toMatch(/^whole: entries 1 to \d+/);
  const audit = readFileSync(join(place.folder, 'audit.log'), 'utf8');
  expect(audit.match(/"event":"(export|erase)"/g)).toHaveLength(3);
  expect(audit).toContain(pseudonym);
  expect(place.canaries.find(Buffer.from(audit))).toEqual([]);
});
