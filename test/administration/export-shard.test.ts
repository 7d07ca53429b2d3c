// The export where it can end early or be refused: a session that ends while it is read, more than is written at once, a path beside the audit log, a record when it fails.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { Administration } from '../../engine/administration/administration.ts';
import { exportHeld } from '../../engine/administration/export.ts';
import { exportInShard } from '../../engine/administration/export-shard.ts';
import { endSession } from '../../engine/routing/lifecycle.ts';
import { temporaryFolder } from '../forgetting/place.ts';
import { Caller } from '../peers/caller.ts';
import { Company } from '../peers/company.ts';

const folder = temporaryFolder();

/** Exports what shard 1 holds for `sleeper`, whose messages have these payloads; `meanwhile` is called before the first of them are read. */
async function exported(name: string, payloads: readonly string[], meanwhile: (company: Company) => void) {
  const company = new Company();
  const [sleeper, pub] = [new Caller(company, 'sleeper'), new Caller(company, 'pub')];
  sleeper.connect(1);
  company.settle();
  sleeper.subscribe('a', 1);
  company.settle();
  sleeper.disconnect();
  pub.connect(1);
  company.settle();
  for (const payload of payloads) {
    pub.publish('a', payload, 1);
    company.settle();
  }
  const { shard, store } = company.members[1]!;
  const read = store.read.bind(store);
  vi.spyOn(store, 'read').mockImplementationOnce((...rest) => {
    meanwhile(company);
    read(...rest);
  });
  const path = join(folder, name);
  writeFileSync(path, '', { mode: 0o600, flag: 'wx' });
  const work = exportInShard(shard, 'sleeper', path);
  company.settle();
  const answer = await work;
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return { answer, kinds: lines.map((line) => (JSON.parse(line) as { kind: string }).kind) };
}

test('a session that ends while it is read: the file does not say that it is whole', async () => {
  const { answer, kinds } = await exported('ended', ['one', 'two'], ({ members }) => {
    const { shard } = members[1]!;
    endSession(shard, shard.sessions.find('sleeper')!);
  });
  expect(answer).toEqual({ problem: 'the session has ended meanwhile; what was written is not all of it' });
  expect(kinds).toEqual(['session', 'subscription']);
});

test('more than is written at once', async () => {
  const payloads = ['one', 'two', 'three', 'four', 'five'].map((payload) => payload.repeat(120_000));
  const { answer, kinds } = await exported('much', payloads, () => {});
  expect(answer).toMatchObject({ subscriptions: 1, messages: 5 });
  expect(kinds).toEqual(['session', 'subscription', 'message', 'message', 'message', 'message', 'message', 'end']);
});

test('not beside the audit log; and an export that fails, or is given up, is in it', async () => {
  const record = vi.fn();
  const administration = {
    config: { server: { dataDir: '' }, audit: { file: join(folder, 'audit.log') } },
    audit: { record },
    pseudonym: (name: string) => name,
    askAll: () => Promise.reject(new Error('a shard does not answer')),
    whileNothingMoves: (act: () => Promise<unknown>) => act(),
  } as unknown as Administration;
  await expect(exportHeld(administration, 'c', join(folder, 'x'))).rejects.toThrow('beside the audit log');
  expect(record).not.toHaveBeenCalled();
  await expect(exportHeld(administration, 'c', join(folder, 'below', 'x'))).rejects.toThrow('a shard does not answer');
  expect(record.mock.calls).toEqual([['export', { subject: 'c', result: 'failed' }]]);
});
