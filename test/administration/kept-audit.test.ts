// What a broker writes into its audit log of itself; and that a receipt outlives the process that gave it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../engine/administration/audit-chain.ts';
import { verifyAudit } from '../../engine/administration/audit-verify.ts';
import { loadConfig } from '../../engine/lethe.ts';
import { administer, auditKeyOf, rotateMasterKey } from '../../engine/shards/stopped-directory.ts';
import { lockFolder } from '../../engine/spool/folder-lock.ts';
import { succeed } from '../cli/command-line.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { Client } from '../forgetting/client.ts';
import { Place, temporaryFolder } from '../forgetting/place.ts';
import { temporaryFile } from '../security/temporary.ts';
import { Subjects, Trust } from './subjects.ts';

const running: Served[] = [];
afterEach(async () => {
  for (const served of running.splice(0)) if (served.child.exit === null) await served.stop();
});

function entries(folder: string): AuditEntry[] {
  return readFileSync(join(folder, 'audit.log'), 'utf8')
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line) as AuditEntry);
}

const eventsOf = (folder: string) => entries(folder).map(({ event }) => event);

test.each([1, 3])('start, configuration and stop, and refused logins as a number: %i shards', async (threads) => {
  const subjects = await Subjects.start(threads, ['listener.tcp.anonymous=false'], new Place(), Trust.AS_CONFIGURED);
  for (let attempt = 0; attempt < 5; attempt++) {
    const client = await subjects.connect('stranger', { username: `${subjects.text('stranger')}-${attempt}` });
    expect(client.connack!.reasonCode).toBeGreaterThanOrEqual(0x80);
  }
  await subjects.stop();
  const { folder } = subjects.place;
  expect(eventsOf(folder)).toEqual(['start', 'configuration', 'logins-refused', 'stop']);
  expect(entries(folder)[0]!.fields).toMatchObject({ threads });
  expect(entries(folder)[1]!.fields).toEqual({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
  expect(entries(folder)[2]!.fields).toEqual({ count: 5 });
  expect(subjects.left('stranger')).toEqual([]);
});

test('a changed configuration has another hash, and the same one the same', async () => {
  const place = new Place();
  for (const set of [[], [], ['limits.topic_levels_max=9']]) await (await Subjects.start(1, set, place)).stop();
  const hashes = entries(place.folder).flatMap(({ event, fields }) => (event === 'configuration' ? [fields['sha256']] : []));
  expect(hashes[1]).toBe(hashes[0]);
  expect(hashes[2]).not.toBe(hashes[0]);
});

test('with a master key lines are sealed, over its rotation too, which is recorded: on a running broker and on a stopped directory', async () => {
  const place = new Place();
  const keys = ['a', 'b', 'c'].map((digit) => temporaryFile(digit.repeat(64)));
  const configOf = (key: string) => loadConfig({ set: [`server.data_dir=${place.folder}`, `spool.key_file=${key}`] });
  const next = (key: string) => ({ file: key, env: '', command: [] });
  const subjects = await Subjects.start(1, [`spool.key_file=${keys[0]}`], place);
  await rotateMasterKey(configOf(keys[0]!), next(keys[1]!));
  await subjects.stop();
  await rotateMasterKey(configOf(keys[1]!), next(keys[2]!));
  expect(eventsOf(place.folder)).toEqual(['start', 'configuration', 'key-rotated', 'stop', 'key-rotated']);
  const config = configOf(keys[2]!);
  const key = await auditKeyOf(config);
  expect(verifyAudit(join(place.folder, 'audit.log'), key)).toMatchObject({ broken: null, sealed: 5, notes: [] });
  const { stdout } = await succeed(['audit', 'verify', '--data', place.folder, '--set', `spool.key_file=${keys[2]}`]);
  expect(stdout).toMatch(/^whole: .* 5 seals checked\n$/);
  expect((await succeed(['audit', 'verify', join(place.folder, 'audit.log')])).stdout).toContain(
    '5 entries bear a seal, which was not checked',
  );
});

describe('a master key that comes and goes', () => {
  const key = temporaryFile('a'.repeat(64));
  const configOf = (place: Place, keyFile: string) =>
    loadConfig({ set: [`server.data_dir=${place.folder}`, `spool.key_file=${keyFile}`] });
  const source = (file: string) => ({ file, env: '', command: [] });
  const start = async (place: Place, keyFile: string) => Subjects.start(1, [`spool.key_file=${keyFile}`], place);

  test.each(['running', 'stopped'])(
    'the log is whole all along, and no unsealed entry can follow a sealed one unsaid: %s',
    async (when) => {
      const place = new Place();
      const file = join(place.folder, 'audit.log');
      const verdict = async () => verifyAudit(file, await auditKeyOf(configOf(place, key)));
      let broker = await start(place, '');
      const rotate = async (from: string, to: string) => {
        if (when === 'stopped') await broker.stop();
        await rotateMasterKey(configOf(place, from), source(to));
        if (when === 'stopped') broker = await start(place, to);
      };
      await rotate('', key);
      expect(await verdict()).toMatchObject({ broken: null });
      await rotate(key, '');
      await broker.stop();
      broker = await start(place, '');
      await rotate('', key);
      await broker.stop();
      const events = eventsOf(place.folder);
      expect(events.filter((event) => event === 'sealing-ends')).toHaveLength(1);
      expect(await verdict()).toMatchObject({ broken: null, entries: events.length });
      // Without the entry that says so, what follows was made up.
      const lines = readFileSync(file, 'utf8').split('\n');
      const end = events.indexOf('sealing-ends');
      expect(entries(place.folder)[end + 1]).not.toHaveProperty('seal');
      expect(entries(place.folder).at(-1)).toHaveProperty('seal');
      lines.splice(end, 1);
      writeFileSync(file, lines.join('\n'));
      expect((await verdict()).broken).toContain('bears no seal, and those before it do');
    },
  );

  test.each(['running', 'stopped'])('the names of clients stay when the master key that gave them goes: %s', async (when) => {
    const place = new Place();
    let broker = await start(place, key);
    const { stdout } = await succeed(['pseudonym', 'someone', '--data', place.folder, '--set', `spool.key_file=${key}`]);
    if (when === 'stopped') await broker.stop();
    await rotateMasterKey(configOf(place, key), source(''));
    if (when === 'running') await broker.stop();
    broker = await start(place, '');
    await broker.stop();
    expect((await succeed(['pseudonym', 'someone', '--data', place.folder])).stdout).toBe(stdout);
  });

  test('a broker that is starting cannot record it, and the command says so', async () => {
    const place = new Place();
    await (await start(place, '')).stop();
    const lock = await lockFolder(place.folder);
    await expect(rotateMasterKey(configOf(place, ''), source(key))).rejects.toThrow(
      'the keys are wrapped anew, but the audit log does not say so: the broker that runs here says the broker is starting',
    );
    await lock.unlock();
  });
});

test('where there is no data directory there is a log only where one is named', async () => {
  const file = join(temporaryFolder(), 'named.log');
  const served = await serve(`[audit]\nfile = "${file}"\n`);
  running.push(served);
  await served.stop();
  expect(verifyAudit(file, null)).toMatchObject({ broken: null, entries: 3 });
});

test('a receipt outlives kill -9: nothing of what it counts is found afterwards', async () => {
  const place = new Place();
  const served = await serve('', ['--data', place.folder]);
  running.push(served);
  place.pid = served.ready.pid;
  const port = served.port('tcp');
  const sleeper = await Client.connect(port, { clientId: place.text('killed.client') });
  await sleeper.subscribe(`${place.text('killed.topic')}/#`);
  sleeper.cut();
  const from = await Client.connect(port, { clientId: '', clean: true, expiryS: 0 });
  for (let left = 20; left > 0; left--)
    await from.publish({ topic: `${place.text('killed.topic')}/x`, payload: place.text('killed.payload') });
  await place.isThere('killed.client', 'killed.payload');
  const config = loadConfig({ set: [`server.data_dir=${place.folder}`] });
  const { status } = await administer(config, 'POST', '/v1/erase', { client: place.text('killed.client') });
  served.child.kill('SIGKILL');
  expect(status).toBe(200);
  await served.child.exited;
  expect(place.scan().names.filter((name) => name.startsWith('killed'))).toEqual([]);
  const inventory = await administer(config, 'GET', '/v1/inventory');
  expect(inventory.body).toMatchObject({ sessions: { count: 0 }, messages: { count: 0 } });
  expect(verifyAudit(join(place.folder, 'audit.log'), null).broken).toBeNull();
});
