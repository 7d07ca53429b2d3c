// The export of what is held for a client, and the inventory by client: the subject's own data in a file of the caller's, and nothing of it anywhere else.
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ExportReceipt } from '../../engine/administration/export.ts';
import type { ClientsHeld } from '../../engine/administration/held-by-client.ts';
import { run, succeed } from '../cli/command-line.ts';
import { temporaryFolder } from '../forgetting/place.ts';
import { Subjects } from './subjects.ts';

interface Line {
  readonly kind: string;
  readonly payload?: string;
  readonly sent?: boolean;
  readonly will?: object;
  readonly expiresAt?: string | null;
  readonly exportedAt?: string;
}

const folder = temporaryFolder();
let files = 0;

function freshFile(): string {
  const path = join(folder, `export-${++files}.jsonl`);
  writeFileSync(path, '', { mode: 0o600, flag: 'wx' });
  return path;
}

function linesOf(path: string): Line[] {
  const text = readFileSync(path, 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

const text = (payload: unknown): string => Buffer.from(String(payload), 'base64').toString();

describe.each([1, 3])('with %i shards', (threads) => {
  let subjects: Subjects;
  const exported = async (client: string) => {
    const path = freshFile();
    const receipt = await subjects.ask<ExportReceipt>('POST', '/v1/export', { client, path });
    return { receipt, lines: linesOf(path) };
  };

  beforeAll(async () => {
    subjects = await Subjects.start(threads);
  });
  afterAll(() => subjects.stop());

  test('a client that is away: session, will, subscriptions and every message with its properties', async () => {
    const will = {
      topic: 'a will',
      payload: Buffer.from('last'),
      qos: 1,
      retain: false,
      properties: { willDelayInterval: 900 },
    } as const;
    const client = await subjects.connect('away', { will });
    await client.subscribe('own/#', 2, 7);
    await client.subscribe('more/+', 1);
    client.cut();
    const properties = {
      contentType: 'text/plain',
      payloadFormatIndicator: true,
      responseTopic: 'answers',
      correlationData: Buffer.of(0, 1, 255),
      userProperties: { one: '1', two: '2' },
      messageExpiryInterval: 5_000,
    };
    await subjects.publish({ topic: 'own/a', payload: 'first', qos: 2, properties }, { topic: 'more/b', payload: 'second' });
    const { receipt, lines } = await exported(subjects.text('away.client'));
    expect(lines.map(({ kind }) => kind)).toEqual(['session', 'subscription', 'subscription', 'message', 'message', 'end']);
    const [session, first, , message, second, end] = lines;
    expect(session).toMatchObject({
      client: subjects.text('away.client'),
      username: subjects.text('away.username'),
      connected: false,
    });
    expect(session!.will).toMatchObject({ topic: 'a will', payload: Buffer.from('last').toString('base64'), delayS: 900 });
    expect(first).toMatchObject({ filter: 'own/#', qos: 2, identifier: 7 });
    expect(message).toMatchObject({
      topic: 'own/a',
      qos: 2,
      sent: false,
      properties: {
        contentType: 'text/plain',
        payloadFormatIndicator: 1,
        responseTopic: 'answers',
        correlationData: 'AAH/',
        userProperties: [
          ['one', '1'],
          ['two', '2'],
        ],
      },
    });
    expect(message!.expiresAt).toMatch(/^\d{4}-/);
    expect(text(message!.payload)).toBe('first');
    expect(second).toMatchObject({ topic: 'more/b', qos: 1, properties: {}, expiresAt: null });
    expect(end).toEqual({ kind: 'end', subscriptions: 2, messages: 2 });
    expect(receipt).toMatchObject({ subscriptions: 2, messages: 2, subject: expect.stringMatching(/^[a-z2-7]{26}$/) });
  });

  test('under load: all that waits, in order, while the session lives on and loses nothing', async () => {
    const COUNT = 500;
    const client = await subjects.connect('busy', { holds: true, receiveMaximum: 5 });
    await client.subscribe('busy/#');
    const from = await subjects.connect('busy-from', { clean: true, expiryS: 0 });
    await Promise.all(
      Array.from({ length: COUNT }, (_, at) => from.publish({ topic: 'busy/x', payload: `${at}`, qos: at % 2 === 0 ? 1 : 2 })),
    );
    await client.got(5);
    const reader = await subjects.connect('busy-reader');
    await reader.subscribe('passing/#');
    let isOver = false;
    let passed = 0;
    const passing = (async () => {
      while (!isOver || passed < 50)
        await from.publish({ topic: 'passing/x', payload: `${passed++}`, qos: passed % 2 === 0 ? 1 : 2 });
    })();
    const { lines } = await exported(subjects.text('busy.client'));
    isOver = true;
    await passing;
    await reader.got(passed);
    expect(reader.payloads).toEqual(Array.from({ length: passed }, (_, at) => `${at}`));
    const messages = lines.filter(({ kind }) => kind === 'message');
    expect(messages.map(({ payload }) => text(payload))).toEqual(Array.from({ length: COUNT }, (_, at) => `${at}`));
    expect(messages.map(({ sent }) => sent)).toEqual(Array.from({ length: COUNT }, (_, at) => at < 5));
    while (client.received.length < COUNT) {
      const before = client.received.length;
      client.acknowledge();
      await client.until('more comes', () => client.received.length > before);
    }
    client.acknowledge();
    expect(client.payloads).toEqual(Array.from({ length: COUNT }, (_, at) => `${at}`));
  });

  test('of a session that ends with its connection, what is in memory', async () => {
    const client = await subjects.connect('fleeting', { holds: true, receiveMaximum: 2, expiryS: 0 });
    await client.subscribe('fleeting/#');
    await subjects.publish(...['a', 'b', 'c', 'd'].map((payload) => ({ topic: 'fleeting/x', payload })));
    await client.got(2);
    const { lines } = await exported(subjects.text('fleeting.client'));
    // The copies of what was sent are gone: such a session cannot come back for them.
    expect(lines.filter(({ kind }) => kind === 'message').map(({ payload }) => text(payload))).toEqual(['c', 'd']);
  });

  test('only into an empty file that is there, whole, and nobody else may read', async () => {
    const client = subjects.text('away.client');
    const ask = (path: string) => subjects.ask('POST', '/v1/export', { client, path });
    const full = freshFile();
    writeFileSync(full, 'something');
    const open = join(folder, `open-${threads}`);
    writeFileSync(open, '', { mode: 0o644 });
    const link = join(folder, `link-${threads}`);
    symlinkSync(freshFile(), link);
    for (const path of [full, open]) await expect(ask(path)).rejects.toThrow('409: the file must be a regular one, empty');
    await expect(ask(link)).rejects.toThrow('409: the broker cannot open the file (ELOOP)');
    await expect(ask(join(folder, 'nowhere'))).rejects.toThrow('(ENOENT)');
    await expect(ask(folder)).rejects.toThrow('(EISDIR)');
    for (const name of ['own.jsonl', 'lethe.sock', 'audit.log'])
      await expect(ask(join(subjects.place.folder, name))).rejects.toThrow('400: the file must not stand in the data directory');
    const way = join(folder, `way-${threads}`);
    symlinkSync(subjects.place.folder, way);
    writeFileSync(join(subjects.place.folder, 'own.jsonl'), '', { mode: 0o600 });
    await expect(ask(join(way, 'own.jsonl'))).rejects.toThrow('400: the file must not stand in the data directory');
    await expect(ask('relative')).rejects.toThrow('400: the path of the file must be absolute');
    expect(readFileSync(full, 'utf8')).toBe('something');
    await expect(subjects.ask('POST', '/v1/export', { client: 'nobody', path: freshFile() })).rejects.toThrow(
      '404: nothing is held',
    );
  });

  test('the inventory by client names pseudonyms only, the largest first', async () => {
    await subjects.sleeper('small', 'sizes/#');
    await subjects.sleeper('large', 'sizes/#');
    await subjects.sleeper('large', 'more-sizes/#');
    await subjects.publish({ topic: 'sizes/x', payload: 'xxxx' }, { topic: 'more-sizes/x', payload: 'x'.repeat(10_000) });
    const { sessions, clients } = await subjects.ask<ClientsHeld>('GET', '/v1/inventory/clients');
    expect(clients).toHaveLength(sessions);
    expect(clients[0]).toMatchObject({
      isConnected: false,
      subscriptions: 2,
      messages: 2,
      bytes: 10_000 + 'more-sizes/x'.length + 'sizes/xxxxx'.length,
    });
    for (const { messages, oldestMs } of clients) {
      if (messages === 0) expect(oldestMs).toBeNull();
      else expect(Math.abs(Date.now() - oldestMs!)).toBeLessThan(600_000);
    }
    expect(clients.map(({ bytes }) => bytes)).toEqual(clients.map(({ bytes }) => bytes).sort((a, b) => b - a));
    const answer = JSON.stringify(clients);
    for (const name of ['small', 'large']) expect(answer).not.toContain(subjects.text(`${name}.client`));
    const { clients: one } = await subjects.ask<ClientsHeld>('GET', '/v1/inventory/clients?limit=1');
    expect(one).toEqual([clients[0]]);
    await expect(subjects.ask('GET', '/v1/inventory/clients?limit=0')).rejects.toThrow('400: limit must be');
  });
});

test('the commands, on a running broker and on a stopped directory: what they print names nobody', async () => {
  const subjects = await Subjects.start(1);
  const data = ['--data', subjects.place.folder];
  const client = subjects.text('typed.client');
  await subjects.sleeper('typed', 'typed/#');
  await subjects.publish({ topic: 'typed/x', payload: 'hello' });
  const pseudonym = (await succeed(['pseudonym', client, ...data])).stdout.trim();
  const output = join(folder, 'typed.jsonl');
  const exports = ['export', '--client', client, '--output', output, ...data];
  const first = await succeed(exports);
  expect(first.stdout).toContain(`client ${pseudonym}`);
  const running = linesOf(output);
  expect((await run(exports)).stderr).toContain('cannot be made (EEXIST)');
  expect((await succeed(['inventory', '--by-client', ...data])).stdout).toMatch(new RegExp(`${pseudonym} +1 +12 `));
  await subjects.stop();
  const later = join(folder, 'typed-later.jsonl');
  await succeed(['export', '--client', client, '--output', later, ...data]);
  const withoutTime = (lines: Line[]) => lines.map(({ exportedAt, ...line }) => line);
  expect(withoutTime(linesOf(later))).toEqual(withoutTime(running));
  const erased = await succeed(['erase', '--client', client, '--json', ...data]);
  expect(JSON.parse(erased.stdout)).toMatchObject({ subject: pseudonym, erased: { sessions: 1, deliveries: 1 } });
  const again = await succeed(['erase', '--client', client, ...data]);
  expect(again.stdout).toMatch(/^nothing was held at \S+ \(\d+ ms\)\nreceipt /);
  const gone = join(folder, 'gone.jsonl');
  const missing = await run(['export', '--client', client, '--output', gone, ...data]);
  expect([missing.exit?.code, missing.stderr]).toEqual([1, 'lethe export: nothing is held for this client: it has no session\n']);
  expect((await run(['erase', '--client', 'a', '--user', 'b', ...data])).exit?.code).toBe(2);
  const verified = await succeed(['audit', 'verify', ...data]);
  expect(verified.stdout).toContain('whole: entries 1 to ');
  const log = readFileSync(join(subjects.place.folder, 'audit.log'), 'utf8');
  const events = log
    .slice(0, -1)
    .split('\n')
    .map((line) => (JSON.parse(line) as { event: string }).event);
  expect(events).toEqual(['start', 'configuration', 'export', 'stop', 'export', 'erase', 'erase', 'export']);
  expect(log).toContain(pseudonym);
  expect(log).not.toContain(client);
  writeFileSync(join(subjects.place.folder, 'audit.log'), log.replace('"event":"erase"', '"event":"start"'));
  const broken = await run(['audit', 'verify', ...data]);
  expect([broken.exit?.code, broken.stdout]).toEqual([
    1,
    expect.stringContaining('BROKEN: audit.log, line 7: entry 7 names another line'),
  ]);
});
