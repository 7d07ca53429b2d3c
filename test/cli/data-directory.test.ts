// `lethe inventory` and `lethe key` on a data directory: while a broker runs on it, and after it has gone, by SIGKILL too.
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import type { Inventory } from '../../engine/lethe.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { directory, temporaryFile } from '../security/temporary.ts';
import { run, succeed } from './command-line.ts';

let folders = 0;
const running: Served[] = [];

afterEach(async () => {
  for (const served of running.splice(0)) if (served.child.exit === null) await served.stop();
});

function newFolder(): string {
  return join(directory, `data-${++folders}`);
}

async function started(folder: string, set: readonly string[] = []): Promise<Served> {
  const served = await serve('', ['--data', folder, ...set]);
  running.push(served);
  return served;
}

/** Leaves a session with three messages, a retained message and a client with a will behind. */
async function fill(port: number): Promise<mqtt.MqttClient> {
  const url = `mqtt://127.0.0.1:${port}`;
  const away = await mqtt.connectAsync(url, { clientId: 'away', clean: false, protocolVersion: 4 });
  await away.subscribeAsync('kept/#', { qos: 1 });
  await away.endAsync();
  const options = {
    clientId: 'willing',
    clean: false,
    protocolVersion: 4,
    will: { topic: 'gone', payload: Buffer.from('x'), qos: 1, retain: false },
  } as const;
  const client = await mqtt.connectAsync(url, options);
  for (let i = 0; i < 3; i++) await client.publishAsync('kept/1', 'four', { qos: 1 });
  await client.publishAsync('retained', 'five5', { qos: 1, retain: true });
  return client;
}

async function inventory(folder: string, set: readonly string[] = []): Promise<Inventory> {
  return JSON.parse((await succeed(['inventory', '--data', folder, '--json', ...set])).stdout) as Inventory;
}

function expectFilled(found: Inventory): void {
  expect(found.messages).toMatchObject({ count: 3, bytes: 3 * 'kept/1four'.length });
  expect(found.retained).toMatchObject({ count: 1, bytes: 'retainedfive5'.length });
  expect(found.sessions.count).toBe(2);
  expect(found.wills.count).toBe(1);
  expect(found.queued).toEqual({ deliveries: 3, bytes: 3 * 'kept/1four'.length });
  for (const { oldestMs } of [found.messages, found.retained, found.sessions])
    expect(Math.abs(Date.now() - oldestMs!)).toBeLessThan(600_000);
}

test('inventory is the same of a running broker, after SIGKILL and after a stop; it names nobody', async () => {
  const folder = newFolder();
  const served = await started(folder);
  const client = await fill(served.port('tcp'));
  expectFilled(await inventory(folder));
  const table = (await succeed(['inventory', '--data', folder])).stdout;
  expect(table).toMatch(/messages +3 +30/);
  expect(table).toContain('no master key');
  expect(table).not.toMatch(/away|willing|kept|retained\/|four|five5/);
  process.kill(served.ready.pid, 'SIGKILL');
  await served.child.exited;
  client.end(true);
  expectFilled(await inventory(folder));
  await (await started(folder)).stop();
  expect((await inventory(folder)).messages.count).toBe(3);
});

test('a second broker on the directory is refused and disturbs nothing', async () => {
  const folder = newFolder();
  const served = await started(folder);
  const client = await fill(served.port('tcp'));
  const second = await run(['serve', '--port', '0', '--ws-port', '0', '--data', folder]);
  expect(second.exit?.code).toBe(1);
  expect(second.stderr).toContain('another lethe uses this data directory');
  expectFilled(await inventory(folder));
  client.end(true);
});

test('a master key is rotated under a running broker; the old one is refused from then on, with nothing touched', async () => {
  const folder = newFolder();
  const [first, second] = [(await succeed(['key', 'new'])).stdout, (await succeed(['key', 'new'])).stdout];
  expect(first).toMatch(/^[0-9a-f]{64}\n$/);
  expect(first).not.toBe(second);
  const [firstFile, secondFile] = [temporaryFile(first), temporaryFile(second)];
  const withFirst = ['--set', `spool.key_file=${firstFile}`];
  const withSecond = ['--set', `spool.key_file=${secondFile}`];
  const served = await started(folder, withFirst);
  const client = await fill(served.port('tcp'));
  await succeed(['key', 'rotate', '--data', folder, ...withFirst, '--new-key-file', secondFile]);
  await client.publishAsync('kept/1', 'four', { qos: 1 });
  await client.endAsync();
  await served.stop();
  const before = readFileSync(join(folder, 'spool.keys'));
  const refused = await run(['serve', '--port', '0', '--ws-port', '0', '--data', folder, ...withFirst]);
  expect(refused.exit?.code).toBe(2);
  expect(refused.stderr).toContain('is not the one that wraps this spool');
  const missing = await run(['serve', '--port', '0', '--ws-port', '0', '--data', folder]);
  expect(missing.stderr).toContain('wrapped by a master key, and none is configured');
  expect(readFileSync(join(folder, 'spool.keys')).equals(before)).toBe(true);
  const found = await inventory(folder, withSecond);
  expect(found.messages.count).toBe(4);
  expect(found.hasMasterKey).toBe(true);
});

test('files are 0600 in a 0700 directory', async () => {
  const folder = newFolder();
  await started(folder);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  for (const name of ['spool.mdb', 'spool.mdb-lock', 'spool.keys', 'lethe.sock']) {
    expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
  }
});

test('a directory that others use is refused, and stays open to them', async () => {
  const folder = newFolder();
  mkdirSync(folder, { mode: 0o755 });
  writeFileSync(join(folder, 'theirs'), '');
  const refused = await run(['serve', '--port', '0', '--ws-port', '0', '--data', folder]);
  expect([refused.exit?.code, refused.stderr]).toEqual([2, expect.stringContaining('give one of its own')]);
  expect(statSync(folder).mode & 0o777).toBe(0o755);
});

test('mistakes are named', async () => {
  const none = await run(['inventory']);
  expect([none.exit?.code, none.stderr]).toEqual([2, expect.stringContaining('give --data DIR')]);
  const absent = await run(['inventory', '--data', join(directory, 'nowhere')]);
  expect([absent.exit?.code, absent.stderr]).toEqual([1, expect.stringContaining('there is no such directory')]);
  const keys = await run(['key', 'rotate', '--data', newFolder()]);
  expect([keys.exit?.code, keys.stderr]).toEqual([2, expect.stringContaining('exactly one of')]);
  const empty = newFolder();
  mkdirSync(empty);
  const noKeys = await run(['key', 'rotate', '--data', empty, '--no-key']);
  expect([noKeys.exit?.code, noKeys.stderr]).toEqual([1, expect.stringContaining('there is no spool.keys here')]);
  const bad = await run([
    'serve',
    '--port',
    '0',
    '--ws-port',
    '0',
    '--data',
    newFolder(),
    '--set',
    `spool.key_file=${temporaryFile('short')}`,
  ]);
  expect([bad.exit?.code, bad.stderr]).toEqual([2, expect.stringContaining('64 hex digits')]);
});
