// The admin port: who is let in, what is refused at the start, and how it answers what it does not know.
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type AdminPort, openAdminPort } from '../../engine/administration/admin-port.ts';
import type { Administration } from '../../engine/administration/administration.ts';
import { routes } from '../../engine/administration/api.ts';
import { hasToken } from '../../engine/administration/token.ts';
import { type AdminConfig, ConfigError, loadConfig } from '../../engine/config/load.ts';
import { createLog, silentLog } from '../../engine/log.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { ONE_SHARD, type RunningBroker, startBroker } from '../broker.ts';
import { makeCertificates } from '../certificates.ts';
import { directory, temporaryFile } from '../security/temporary.ts';
import { ask, TOKEN, useAdmin } from './admin.ts';

const rig = useAdmin([], { log: createLog('warn', () => {}, Date.now) });

const running: RunningBroker[] = [];
afterEach(async () => {
  for (const broker of running.splice(0)) await broker.stop();
});

async function start(set: readonly string[], options: Parameters<typeof startBroker>[1] = {}): Promise<RunningBroker> {
  const broker = await startBroker([ONE_SHARD, 'server.sys_interval_s=0', ...set], options);
  running.push(broker);
  return broker;
}

describe('the token', () => {
  const closed = routes.filter(({ isPublic }) => isPublic !== true);

  test.each(closed.map((route) => [`${route.method} ${route.path}`, route] as const))(
    '%s is refused without it',
    async (_, route) => {
      const path = route.path.replace(/\{\w+\}/g, 'someone');
      const answer = await ask(rig.broker.admin, path, { method: route.method });
      expect([answer.status, answer.headers['www-authenticate']]).toEqual([401, 'Bearer']);
    },
  );

  test.each([
    ['another one', `Bearer ${TOKEN}x`],
    ['a part of it', `Bearer ${TOKEN.slice(0, -1)}`],
    ['none at all', 'Bearer '],
    ['another scheme', `Basic ${TOKEN}`],
    ['more than one', `Bearer ${TOKEN} ${TOKEN}`],
  ])('%s is refused', async (_, authorization) => {
    expect((await ask(rig.broker.admin, '/metrics', { headers: { authorization } })).status).toBe(401);
  });

  test('lets in, in whatever case its scheme is written', async () => {
    expect((await rig.ask('/v1/inventory')).status).toBe(200);
    expect(hasToken(`bearer  ${TOKEN}`, TOKEN)).toBe(true);
    expect(hasToken(undefined, TOKEN)).toBe(false);
  });

  test('is not asked for by what tells only whether the broker is there', async () => {
    expect(routes.filter(({ isPublic }) => isPublic === true).map(({ path }) => path)).toEqual(['/healthz', '/readyz', '/']);
    expect(await ask(rig.broker.admin, '/healthz')).toMatchObject({ status: 200, text: 'alive\n' });
    expect(await ask(rig.broker.admin, '/readyz')).toMatchObject({ status: 200, text: 'ready\n' });
  });

  test.each([
    ['others may read it', () => temporaryFile(TOKEN, 0o640), /others may read the token; chmod 600 it/],
    ['it is short', () => temporaryFile('0123456789'), /at least 32 .*openssl rand -hex 32/],
    ['it has two lines', () => temporaryFile(`${TOKEN}\n${TOKEN}`), /is no token/],
    ['it is not there', () => join(directory, 'none'), /cannot be read \(ENOENT\); correct admin\.token_file/],
  ])('stops the start when %s', async (_, file, says) => {
    await expect(start(['admin.port=0', `admin.token_file=${file()}`])).rejects.toThrow(says);
  });
});

describe('what a browser brings', () => {
  const authorization = `Bearer ${TOKEN}`;
  const own = () => `127.0.0.1:${rig.broker.admin}`;

  test('another site may not send requests', async () => {
    const headers = { authorization, origin: 'https://example.org' };
    expect((await ask(rig.broker.admin, '/v1/inventory', { headers })).status).toBe(403);
    expect((await ask(rig.broker.admin, '/readyz', { headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(403);
    const post = { method: 'POST', headers: { authorization, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' } };
    expect((await ask(rig.broker.admin, '/v1/clients/x/kick', post)).status).toBe(403);
  });

  test('its own page may, and a link may lead to it', async () => {
    const headers = { authorization, host: own(), origin: `http://${own()}`, 'sec-fetch-site': 'same-origin' };
    expect((await ask(rig.broker.admin, '/v1/inventory', { headers })).status).toBe(200);
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    expect((await ask(rig.broker.admin, '/', { headers: link })).status).toBe(200);
  });

  test('without a token a name that somebody else has made point here is refused', async () => {
    const { admin } = await start(['admin.port=0', 'admin.open=true']);
    expect((await ask(admin, '/v1/inventory')).status).toBe(200);
    expect((await ask(admin, '/v1/inventory', { headers: { host: `localhost:${admin}` } })).status).toBe(200);
    expect((await ask(admin, '/v1/inventory', { headers: { host: `example.org:${admin}` } })).status).toBe(403);
  });
});

describe('answers', () => {
  test('404 for another path, 405 for another method, the head alone for HEAD', async () => {
    expect((await rig.ask('/v1/payloads')).status).toBe(404);
    expect((await rig.ask('/v1/inventory/')).status).toBe(404);
    expect((await rig.ask('/v1/inventory', { method: 'DELETE' })).status).toBe(405);
    expect(await rig.ask('/v1/inventory', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
    expect((await rig.ask('/v1/clients/%ff')).status).toBe(400);
    expect((await rig.ask('//[')).status).toBe(400);
  });

  test('413 for a body without an end or a large one, 400 for one that is not JSON', async () => {
    const put = (headers: Record<string, string>, body: unknown) => rig.ask('/v1/log-level', { method: 'PUT', headers, body });
    expect((await put({ 'transfer-encoding': 'chunked' }, {})).status).toBe(413);
    expect((await put({}, 'x'.repeat(70_000))).status).toBe(413);
    expect((await rig.ask('/v1/log-level', { method: 'PUT', headers: { 'content-length': '0' } })).status).toBe(400);
  });

  test('409 for the level of a log that is the embedding program’s own', async () => {
    const { level: _, ...log } = createLog('warn', () => {}, Date.now);
    const { admin } = await start(['admin.port=0', 'admin.open=true'], { log });
    expect((await ask(admin, '/v1/log-level')).status).toBe(409);
  });

  test('are not kept, and are what they say they are', async () => {
    const { headers } = await rig.ask('/v1/inventory');
    expect(headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  });
});

describe('where it listens', () => {
  test('nowhere unless it is told to', async () => {
    expect((await start([])).admin).toBe(0);
    expect(loadConfig().admin.port).toBe(null);
  });

  test('with TLS', async () => {
    const { serverCert, serverKey, clientKey, ca } = makeCertificates(directory);
    const { admin } = await start([
      'admin.port=0',
      'admin.host=0.0.0.0',
      `admin.token_file=${temporaryFile(TOKEN)}`,
      `admin.cert_file=${serverCert}`,
      `admin.key_file=${serverKey}`,
    ]);
    const answer = await ask(admin, '/v1/inventory', {
      ca: readFileSync(ca, 'utf8'),
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    expect(answer.status).toBe(200);
    await expect(ask(admin, '/healthz')).rejects.toThrow();
    const wrong = [
      `admin.cert_file=${serverCert}`,
      `admin.key_file=${clientKey}`,
      'admin.port=0',
      `admin.token_file=${temporaryFile(TOKEN)}`,
    ];
    await expect(start(wrong)).rejects.toThrow(/that go together .*correct admin\.cert_file and admin\.key_file/);
  });

  test('on a UNIX socket of mode 0600, for those who may open it, one broker at a time', async () => {
    const socketPath = join(directory, 'admin.sock');
    await start([`admin.socket=${socketPath}`]);
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    expect((await ask(0, '/v1/inventory', { socketPath })).status).toBe(200);
    await expect(start([`admin.socket=${socketPath}`])).rejects.toThrow(/another process listens there/);
    for (const broker of running.splice(0)) await broker.stop();
    writeFileSync(socketPath, 'no socket');
    await expect(start([`admin.socket=${socketPath}`])).rejects.toThrow(/is no socket; correct admin\.socket/);
  });

  test('a port that is in use is said by name', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    const file = temporaryFile(TOKEN);
    await expect(start([`admin.port=${port}`, `admin.token_file=${file}`])).rejects.toThrow(
      /"admin": port \d+ of 127\.0\.0\.1 is in use/,
    );
    await new Promise((resolve) => other.close(resolve));
  });
});

describe('options that do not go together', () => {
  const problems = (...set: string[]): string => {
    try {
      loadConfig({ set });
    } catch (error) {
      if (error instanceof ConfigError) return error.message;
    }
    return '';
  };
  const token = 'admin.token_file=t';

  test.each([
    [
      'a port without a token',
      ['admin.port=9083'],
      /admin\.port needs admin\.token_file, or in so many words admin\.open = true/,
    ],
    [
      'open beyond loopback',
      ['admin.port=1', 'admin.host=0.0.0.0', 'admin.open=true'],
      /admin\.open = true is for loopback only/,
    ],
    ['open with a token', ['admin.port=1', 'admin.open=true', token], /contradict each other/],
    ['no TLS beyond loopback', ['admin.port=1', 'admin.host=0.0.0.0', token], /beyond loopback: that needs TLS/],
    ['a certificate without a key', ['admin.cert_file=c'], /admin\.cert_file needs admin\.key_file/],
    ['a key without a certificate', ['admin.key_file=k'], /admin\.key_file needs admin\.cert_file/],
    [
      'a socket beside that of the data directory',
      ['admin.socket=s', 'server.data_dir=d'],
      /lethe\.sock in the data directory serves/,
    ],
    ['the address of a listener', ['admin.port=1883', token], /has the address of listener 'tcp'/],
  ])('%s', (_, set, says) => {
    expect(problems(...set)).toMatch(says);
  });
});

describe('token and certificate anew', () => {
  /** An admin port by itself, so that what is prepared can be put in force, or not. */
  async function open(config: Partial<AdminConfig>): Promise<AdminPort> {
    const administration = {
      config: { admin: { ...loadConfig().admin, port: 0, ...config } },
      log: silentLog,
      version: '0',
      isStopping: () => isStopping,
    };
    const port = await openAdminPort(administration as unknown as Administration);
    opened.push(port!);
    return port!;
  }
  const opened: AdminPort[] = [];
  let isStopping = false;
  afterEach(async () => {
    isStopping = false;
    for (const port of opened.splice(0)) await port.close();
  });
  const statusOf = async (port: number, token: string, ca?: string) => {
    const headers = { authorization: `Bearer ${token}` };
    return (await ask(port, '/v1/openapi.json', { headers, ...(ca === undefined ? {} : { ca }) })).status;
  };

  test('the new token counts from then on, and a file that is wrong leaves the old one', async () => {
    const tokenFile = temporaryFile(TOKEN);
    const { port, prepare } = await open({ tokenFile });
    const next = TOKEN.toUpperCase();
    writeFileSync(tokenFile, 'short');
    await expect(prepare()).rejects.toThrow(/is no token/);
    writeFileSync(tokenFile, next);
    const apply = await prepare();
    expect([await statusOf(port, TOKEN), await statusOf(port, next)]).toEqual([200, 401]);
    apply();
    expect([await statusOf(port, TOKEN), await statusOf(port, next)]).toEqual([401, 200]);
  });

  test('a broker on its way down answers for its health only', async () => {
    const { port } = await open({ tokenFile: temporaryFile(TOKEN) });
    isStopping = true;
    const headers = { authorization: `Bearer ${TOKEN}` };
    expect(await ask(port, '/v1/erase', { method: 'POST', headers, body: { client: 'c' } })).toMatchObject({
      status: 503,
      text: '{"error":"the broker is stopping"}\n',
    });
    expect((await ask(port, '/healthz')).text).toBe('alive\n');
    expect((await ask(port, '/readyz')).text).toBe('not ready\n');
  });

  test('what only the socket in the data directory takes is not here', async () => {
    const { port } = await open({ tokenFile: temporaryFile(TOKEN) });
    const headers = { authorization: `Bearer ${TOKEN}` };
    const body = { sealing: 'ends' };
    expect((await ask(port, '/v1/audit/key-rotated', { method: 'POST', headers, body })).status).toBe(404);
  });

  test('a reload of the broker takes it, and refuses as a whole when it is wrong', async () => {
    const tokenFile = temporaryFile(TOKEN);
    const broker = await start(['admin.port=0', `admin.token_file=${tokenFile}`]);
    const next = TOKEN.toUpperCase();
    writeFileSync(tokenFile, 'short');
    await expect(broker.reload()).rejects.toThrow(/is no token/);
    expect(await statusOf(broker.admin, TOKEN)).toBe(200);
    writeFileSync(tokenFile, next);
    await broker.reload();
    expect([await statusOf(broker.admin, TOKEN), await statusOf(broker.admin, next)]).toEqual([401, 200]);
  });

  test('the new certificate counts from then on, and a key of another one leaves the old', async () => {
    const [old, next] = ['old', 'next'].map((name) => {
      mkdirSync(join(directory, name));
      return makeCertificates(join(directory, name));
    });
    const certFile = temporaryFile(readFileSync(old!.serverCert));
    const keyFile = temporaryFile(readFileSync(old!.serverKey));
    const { port, prepare } = await open({ certFile, keyFile, tokenFile: temporaryFile(TOKEN) });
    writeFileSync(certFile, readFileSync(next!.serverCert));
    await expect(prepare()).rejects.toThrow(/that go together/);
    writeFileSync(keyFile, readFileSync(next!.serverKey));
    const apply = await prepare();
    expect(await statusOf(port, TOKEN, readFileSync(old!.ca, 'utf8'))).toBe(200);
    apply();
    expect(await statusOf(port, TOKEN, readFileSync(next!.ca, 'utf8'))).toBe(200);
    await expect(statusOf(port, TOKEN, readFileSync(old!.ca, 'utf8'))).rejects.toThrow();
  });
});

test('not ready while the store refuses messages, alive all the same', async () => {
  class FullStore extends MemoryStore {
    override readonly isRefusing = true as never;
  }
  const { admin } = await start(['admin.port=0', 'admin.open=true'], { store: new FullStore(1_000) });
  expect(await ask(admin, '/readyz')).toMatchObject({ status: 503, text: 'not ready\n' });
  expect((await ask(admin, '/healthz')).status).toBe(200);
});

test('a stop waits for an erasure that is under way: its entry is there, before that of the stop', async () => {
  let begun = () => {};
  let finish = () => {};
  const isUnderWay = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const mayEnd = new Promise<void>((resolve) => {
    finish = resolve;
  });
  class SlowStore extends MemoryStore {
    override async erase(): Promise<number> {
      begun();
      await mayEnd;
      return super.erase();
    }
  }
  const file = join(directory, 'stopped.log');
  const broker = await start(['admin.port=0', 'admin.open=true', `audit.file=${file}`], { store: new SlowStore(1_000) });
  // The answer may be lost with the connection; the log has the receipt.
  void ask(broker.admin, '/v1/erase', { method: 'POST', body: { client: 'somebody' } }).catch(() => {});
  await isUnderWay;
  const stopped = broker.stop();
  expect((await ask(broker.admin, '/v1/inventory')).status).toBe(503);
  finish();
  await stopped;
  const events = readFileSync(file, 'utf8').match(/(?<="event":")[a-z-]+/g);
  expect(events).toEqual(['start', 'configuration', 'erase', 'stop']);
});
