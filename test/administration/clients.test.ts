// Clients and sessions in the admin API: pseudonyms, pages over all shards, the end of a connection; the log's level; and that no answer holds what clients have chosen.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { routes } from '../../engine/administration/api.ts';
import { pseudonymOf } from '../../engine/administration/pseudonym.ts';
import type { SessionRow } from '../../engine/administration/session-rows.ts';
import { createLog } from '../../engine/log.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { directory, temporaryFile } from '../security/temporary.ts';
import { useAdmin } from './admin.ts';

const KEY = randomBytes(32);
const lines: string[] = [];
const AUDIT = join(directory, 'audit.log');
const rig = useAdmin(() => ['server.threads=3', `admin.pseudonym_key_file=${temporaryFile(KEY)}`, `audit.file=${AUDIT}`], {
  log: createLog('warn', (line) => lines.push(line), Date.now),
});

interface Page {
  readonly clients?: SessionRow[];
  readonly sessions?: SessionRow[];
  readonly next: string | null;
}

/** All rows of a list, by pages of that size. */
async function all(what: 'clients' | 'sessions', limit: number): Promise<SessionRow[]> {
  const rows: SessionRow[] = [];
  let after = '';
  for (;;) {
    const page = (await rig.ask(`/v1/${what}?limit=${limit}${after}`)).json<Page>();
    expect(page[what]!.length).toBeLessThanOrEqual(limit);
    rows.push(...page[what]!);
    if (page.next === null) return rows;
    after = `&after=${page.next}`;
  }
}

const connect = (clientId: string, expiryS = 0) =>
  mqttJs({ port: rig.broker.tcp, level: 5, clientId, clean: true, properties: { sessionExpiryInterval: expiryS } });
const named = (clientId: string) => pseudonymOf(KEY, clientId);

test('lists every client once, by its pseudonym, in pages over all shards', async () => {
  const names = Array.from({ length: 12 }, (_, at) => `listed-${at}`);
  for (const name of names) await connect(name);
  const wanted = names.map(named);
  for (const limit of [1, 5, 1_000]) {
    const found = (await all('clients', limit)).map(({ client }) => client).filter((client) => wanted.includes(client));
    expect(found.sort()).toEqual([...wanted].sort());
  }
  expect(new Set((await all('clients', 100)).map(({ shard }) => shard)).size).toBeGreaterThan(1);
});

test.each(['limit=0', 'limit=1001', 'limit=x', 'after=9.0', 'after=0', 'after=0.0.0', 'after=-1.0'])(
  'refuses %s',
  async (query) => {
    expect((await rig.ask(`/v1/clients?${query}`)).status).toBe(400);
  },
);

test('tells of a session that is away what it holds, and not in the list of clients', async () => {
  const client = await connect('away', 300);
  await client.subscribe(['one/#', 'two'], 1);
  await client.end();
  const publisher = await connect('publisher');
  await publisher.publish('two', Buffer.alloc(100), { qos: 1 });
  const row = (await rig.ask(`/v1/clients/${named('away')}`)).json<SessionRow>();
  expect(row).toMatchObject({
    protocol: '5.0',
    connection: null,
    expiryS: 300,
    subscriptions: 2,
    queuedMessages: 1,
    inFlight: 0,
  });
  expect(row.queuedBytes).toBeGreaterThanOrEqual(100);
  expect(Math.abs(Date.parse(row.disconnectedAt!) - Date.now())).toBeLessThan(60_000);
  expect((await all('clients', 100)).map((one) => one.client)).not.toContain(named('away'));
  expect((await all('sessions', 100)).map((one) => one.client)).toContain(named('away'));
});

test('tells of a connection', async () => {
  const client = await connect('here');
  await client.publish('nowhere', Buffer.alloc(5_000), { qos: 1 });
  const { connection } = (await rig.ask(`/v1/clients/${named('here')}`)).json<SessionRow>();
  expect(connection).toMatchObject({ listener: 'tcp', transport: 'tcp', slow: false, held: false, bytesUnsent: 0 });
  expect(connection!.bytesReceived).toBeGreaterThan(5_000);
  expect(connection!.bytesSent).toBeGreaterThan(4);
});

describe('kick', () => {
  const kick = (clientId: string) => rig.ask(`/v1/clients/${named(clientId)}/kick`, { method: 'POST' });

  test('says DISCONNECT 0x98, and leaves the session', async () => {
    const client = await connect('kicked', 300);
    expect((await kick('kicked')).json()).toEqual({ kicked: true });
    await client.until('the broker has said why', () => client.disconnectReason === 0x98);
    await client.until('the connection is closed', () => client.closed);
    expect((await rig.ask(`/v1/clients/${named('kicked')}`)).json<SessionRow>().connection).toBe(null);
    expect((await kick('kicked')).status).toBe(409);
    expect((await rig.ask('/metrics')).text).toContain('lethe_connections_ended_total{reason="administrative_action"} 1');
  });

  test('finds nobody by another name, the client identifier included', async () => {
    await connect('unknown');
    expect((await kick('nobody')).status).toBe(404);
    expect((await rig.ask('/v1/clients/unknown/kick', { method: 'POST' })).status).toBe(404);
  });
});

describe('the level of the log', () => {
  const put = (body: unknown) => rig.ask('/v1/log-level', { method: 'PUT', body });
  const ended = () => lines.filter((line) => line.includes('a connection was ended')).length;
  /** On each of the shards, by and by. */
  async function endSome(): Promise<void> {
    for (let at = 0; at < 12; at++) {
      const client = await connect(`ended-${at}`);
      await rig.ask(`/v1/clients/${named(`ended-${at}`)}/kick`, { method: 'POST' });
      await client.until('the connection is closed', () => client.closed);
    }
  }

  test('is set for all shards', async () => {
    expect((await rig.ask('/v1/log-level')).json()).toEqual({ level: 'warn' });
    await endSome();
    expect(ended()).toBe(0);
    expect((await put({ level: 'debug' })).json()).toEqual({ level: 'debug' });
    await endSome();
    // The answer to a question comes behind the lines that a shard has logged before.
    await rig.ask('/v1/live');
    expect(ended()).toBe(12);
    await put({ level: 'error' });
    await endSome();
    await rig.ask('/v1/live');
    expect(ended()).toBe(12);
  });

  test.each([[{ level: 'loud' }], [{}], [null], ['debug']])('refuses %j', async (body) => {
    expect((await put(body)).status).toBe(400);
  });
});

test('a kick and a level of the log are recorded in the audit log, what was refused is not', async () => {
  const entries = () =>
    readFileSync(AUDIT, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { event: string; fields: Record<string, string> });
  await connect('recorded');
  const kick = () => rig.ask(`/v1/clients/${named('recorded')}/kick`, { method: 'POST' });
  expect([(await kick()).status, (await kick()).status]).toEqual([200, 404]);
  await rig.ask('/v1/log-level', { method: 'PUT', body: { level: 'info' } });
  const untilMs = Date.now() + 20_000;
  const isThere = () => entries().some(({ event, fields }) => event === 'log-level' && fields['level'] === 'info');
  while (!isThere()) {
    if (Date.now() > untilMs) throw new Error('nothing was recorded');
    await rig.ask('/healthz');
  }
  const kicks = entries().filter(({ event, fields }) => event === 'kick' && fields['client'] === named('recorded'));
  expect(kicks.length).toBe(1);
});

test('no answer and no line of the log holds a payload, a topic, a user name, a client identifier or an address', async () => {
  await rig.ask('/v1/log-level', { method: 'PUT', body: { level: 'debug' } });
  const canary = 'canary-3f9d';
  const will = { topic: `will/${canary}`, payload: Buffer.from(canary), qos: 1, retain: true } as const;
  const client = await mqttJs({
    port: rig.broker.tcp,
    level: 5,
    clientId: `client-${canary}`,
    username: `user-${canary}`,
    password: canary,
    will,
    properties: { sessionExpiryInterval: 300, userProperties: { [canary]: canary } },
  });
  await client.subscribe(`topic/${canary}/#`, 1);
  await client.publish(`topic/${canary}`, canary, { qos: 1, retain: true, properties: { userProperties: { [canary]: canary } } });
  await client.received(1);
  const texts: string[] = [];
  // A trace shows topics of the client that it was begun for (trace.test.ts), and there is none here.
  for (const route of routes.filter(({ method, path }) => method === 'GET' && path !== '/v1/traces/{trace}')) {
    const path = route.path.replace('{client}', named(`client-${canary}`));
    const answer = await rig.ask(path);
    // The spool's figures are those of a data directory.
    expect([path, answer.status]).toEqual([path, path === '/v1/figures' ? 404 : 200]);
    texts.push(answer.text, JSON.stringify(answer.headers));
  }
  client.cut();
  expect(texts.join('\n').length).toBeGreaterThan(10_000);
  expect(texts.filter((text) => text.includes(canary) || text.includes('127.0.0.1'))).toEqual([]);
  expect(lines.filter((line) => line.includes(canary) || line.includes('127.0.0.1'))).toEqual([]);
});
