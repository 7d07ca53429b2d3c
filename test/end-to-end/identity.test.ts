// Who a client is and what it may do, through real clients and sockets: a chain of password file, tokens and an HTTP callout, roles and grants, tokens that run out, and addresses that guess.
import { mkdtempSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import mqttPacket from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, createBroker } from '../../engine/lethe.ts';
import { configOf, shards } from '../broker.ts';
import { directory, mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { type ClientOptions, type MqttJs, mqttJs, refusalOf } from './mqttjs.ts';

const BAD_USER_NAME_OR_PASSWORD = 0x86;
const NOT_AUTHORIZED = 0x87;
const SERVER_UNAVAILABLE = 0x88;
const CONNECTION_RATE_EXCEEDED = 0x9f;

const SECRET = 'a secret of more than thirty-two bytes, for tests';
const passwordFile = temporaryFile('');
mosquittoPasswd('-b', passwordFile, 'alice', 'for alice');

interface Question {
  readonly client_id: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly listener: string;
}

/** The operator's service: knows `carol`, sends `mallory` away, does not know `nemo`, and is broken for `chaos`. */
const questions: Question[] = [];
const service = createServer((request, response) => {
  void text(request).then((body) => {
    const question = JSON.parse(body) as Question;
    questions.push(question);
    const { username, password } = question;
    const acl = { publish: ['carol/%c'], subscribe: ['carol/#'] };
    if (username === 'chaos') response.writeHead(500).end();
    else if (username === 'carol') response.end(JSON.stringify({ result: password === 'for carol' ? 'allow' : 'deny', acl }));
    else response.end(JSON.stringify({ result: username === 'mallory' ? 'deny' : 'ignore' }));
  });
});

let broker: Broker;

const listening = (server: Server) =>
  new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));

beforeAll(async () => {
  const port = await listening(service);
  const file = `[server]
sys_interval_s = 0
[auth]
password_file = '${passwordFile}'
jwt_secret_file = '${temporaryFile(SECRET)}'
jwt_clock_tolerance_s = 0
http_url = 'http://127.0.0.1:${port}/mqtt'
default_roles = ['everybody']
anonymous_roles = ['guest']
failures_per_minute = 1
failures_block_s = 600
[[role]]
name = 'everybody'
subscribe = ['news/#']
deny = ['news/secret']
[[role]]
name = 'editor'
publish = ['news/#', 'last/words']
subscribe = ['last/#']
users = ['alice']
[[role]]
name = 'guest'
subscribe = ['lobby']
[[listener]]
name = 'tcp'
transport = 'tcp'
[[listener]]
name = 'open'
transport = 'tcp'
anonymous = true
[[listener]]
name = 'proxied'
transport = 'tcp'
proxy_protocol = true
proxy_trusted = ['127.0.0.1']
[[listener]]
name = 'web'
transport = 'ws'
real_address_header = 'x-forwarded-for'
proxy_trusted = ['127.0.0.1']
`;
  broker = await createBroker({ config: configOf(temporaryFile(file)) });
});
afterAll(async () => {
  await broker.stop();
  service.closeAllConnections();
  service.close();
});

const port = (listener = 'tcp') => broker.ports.get(listener)!;

function token(claims: JWTPayload, lastsS = 600): Promise<string> {
  const exp = Math.floor(Date.now() / 1_000) + lastsS;
  return new SignJWT({ sub: 'bob', exp, ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET));
}

async function withToken(claims: JWTPayload, options: Partial<ClientOptions> = {}, lastsS = 600): Promise<MqttJs> {
  return mqttJs({ port: port(), level: 5, username: 'bob', password: await token(claims, lastsS), ...options });
}

const alice = (options: Partial<ClientOptions> = {}) =>
  mqttJs({ port: port(), level: 5, username: 'alice', password: 'for alice', ...options });

describe('the chain', () => {
  test('lets in by each method, and asks the service only for those that are left', async () => {
    questions.length = 0;
    await alice();
    await withToken({});
    expect(questions).toEqual([]);
    const carol = await mqttJs({ port: port(), level: 5, clientId: 'carol-1', username: 'carol', password: 'for carol' });
    expect(questions).toEqual([{ client_id: 'carol-1', username: 'carol', password: 'for carol', listener: 'tcp' }]);
    expect(await carol.subscribe(['carol/#', 'news/#', 'last/#'], 1)).toEqual([1, 1, NOT_AUTHORIZED]);
    await carol.publish('carol/carol-1', 'x', { qos: 1 });
    await carol.received(1);
    expect(await carol.client.publishAsync('carol/other', 'x', { qos: 1 }).catch(({ code }) => code)).toBe(NOT_AUTHORIZED);
  });

  test.each<readonly [string, string | undefined, string | undefined, number]>([
    ['a wrong password of the file', 'alice', 'for bob', BAD_USER_NAME_OR_PASSWORD],
    ['no password', 'alice', undefined, BAD_USER_NAME_OR_PASSWORD],
    ['whom the service denies', 'mallory', 'x', NOT_AUTHORIZED],
    ['whom nobody knows', 'nemo', 'x', BAD_USER_NAME_OR_PASSWORD],
    ['for whom the service is broken', 'chaos', 'x', SERVER_UNAVAILABLE],
    ['who offers nothing', undefined, undefined, NOT_AUTHORIZED],
  ])('refuses %s', async (_what, username, password, code) => {
    const options = { port: port(), level: 5 as const, ...(username === undefined ? {} : { username }) };
    expect(await refusalOf({ ...options, ...(password === undefined ? {} : { password }) })).toBe(code);
  });

  test('to MQTT 3.1.1 a service that is down is a server that is unavailable', async () => {
    expect(await refusalOf({ port: port(), level: 4, username: 'chaos', password: 'x' })).toBe(3);
  });

  test('refuses a token that is not good, and one for another user', async () => {
    const tried = { port: port(), level: 5 as const, username: 'bob' };
    expect(await refusalOf({ ...tried, password: `${await token({})}x` })).toBe(BAD_USER_NAME_OR_PASSWORD);
    expect(await refusalOf({ ...tried, password: await token({}, -1) })).toBe(BAD_USER_NAME_OR_PASSWORD);
    expect(await refusalOf({ ...tried, username: 'dave', password: await token({}) })).toBe(BAD_USER_NAME_OR_PASSWORD);
  });

  test('an anonymous listener takes those who offer nothing, not those who offer something wrong', async () => {
    const guest = await mqttJs({ port: port('open'), level: 5 });
    expect(await guest.subscribe(['lobby', 'news/#'], 1)).toEqual([1, NOT_AUTHORIZED]);
    expect(await refusalOf({ port: port('open'), level: 5, username: 'nemo', password: 'x' })).toBe(BAD_USER_NAME_OR_PASSWORD);
  });
});

describe('roles and grants', () => {
  test('what no role allows is refused, and deny wins at delivery', async () => {
    const writer = await withToken({ sub: 'editor-1', roles: ['editor'] }, { username: 'editor-1' });
    const reader = await withToken({});
    expect(await reader.subscribe(['news/#', 'news/secret', 'else'], 1)).toEqual([1, NOT_AUTHORIZED, NOT_AUTHORIZED]);
    await writer
      .publish('news/open', 'kept', { qos: 1, retain: true })
      .then(() => writer.publish('news/open', '', { qos: 1, retain: true }));
    expect(await writer.client.publishAsync('news/secret', 'x', { qos: 1 }).catch(({ code }) => code)).toBe(NOT_AUTHORIZED);
    expect(await reader.client.publishAsync('news/a', 'x', { qos: 1 }).catch(({ code }) => code)).toBe(NOT_AUTHORIZED);
    await reader.received(2);
    expect(reader.payloads).toEqual(['kept', '']);
  });

  test('a queued message whose right is gone when its client comes again is dropped, and is not kept', async () => {
    const identity = { clientId: 'come-again', clean: false, properties: { sessionExpiryInterval: 600 } } as const;
    const first = await withToken({ acl: { subscribe: ['q/#'] } }, identity);
    expect(await first.subscribe('q/#', 1)).toEqual([1]);
    await first.end();
    const writer = await withToken({ sub: 'w', acl: { publish: ['q/#'] } }, { username: 'w' });
    for (const topic of ['q/lost', 'q/kept', 'q/lost', 'q/lost']) await writer.publish(topic, topic, { qos: 1 });
    const second = await withToken({ acl: { subscribe: ['q/kept'] } }, identity);
    expect(second.connack!.sessionPresent).toBe(true);
    await writer.publish('q/lost', 'live', { qos: 1 });
    await writer.publish('q/kept', 'live', { qos: 1 });
    await second.received(2);
    expect(second.payloads).toEqual(['q/kept', 'live']);
    await second.end();
    const third = await withToken({ acl: { subscribe: ['q/#'] } }, identity);
    await writer.publish('q/lost', 'end', { qos: 1 });
    await third.received(1);
    expect(third.payloads).toEqual(['end']);
  });

  test('a retained message is judged by what the client may do now', async () => {
    const writer = await withToken({ sub: 'w', acl: { publish: ['r/#'] } }, { username: 'w' });
    await writer.publish('r/hidden', 'hidden', { qos: 1, retain: true });
    await writer.publish('r/shown', 'shown', { qos: 1, retain: true });
    const reader = await withToken({ acl: { subscribe: ['r/shown', 'r/end'] } });
    await reader.subscribe('r/#', 1);
    await writer.publish('r/end', 'end', { qos: 1 });
    await reader.received(2);
    expect([...reader.payloads].sort()).toEqual(['end', 'shown']);
  });

  test('a delayed will goes out where its client may publish, though it has gone, and nowhere else', async () => {
    const watch = await alice();
    await watch.subscribe('last/#', 1);
    /** The one without the right is first: when the other one has come it is settled. */
    for (const [name, role, willDelayInterval] of [
      ['unheard', 'everybody', 1],
      ['heard', 'editor', 2],
    ] as const) {
      const will = {
        topic: 'last/words',
        payload: Buffer.from(name),
        qos: 1 as const,
        retain: false,
        properties: { willDelayInterval },
      };
      const options = { username: name, clientId: name, will, properties: { sessionExpiryInterval: 600 } };
      const doomed = await withToken({ sub: name, roles: [role] }, options);
      doomed.cut();
    }
    await watch.until('a will is there', () => watch.payloads.includes('heard'));
    await watch.publish('last/words', 'end', { qos: 1 });
    await watch.until('the end is there', () => watch.payloads.includes('end'));
    expect(watch.payloads).toEqual(['heard', 'end']);
  });
});

test('what a token gave is stored with the session: the will of a client that left before a restart is judged by it', async () => {
  const folder = mkdtempSync(join(directory, 'data-'));
  const secret = temporaryFile(SECRET);
  const file = `[server]
data_dir = '${folder}'
sys_interval_s = 0
[auth]
jwt_secret_file = '${secret}'
[[listener]]
name = 'tcp'
transport = 'tcp'
`;
  const start = () => createBroker({ config: configOf(temporaryFile(file)) });
  const first = await start();
  for (const [name, topic] of [
    ['heard', 'will/heard'],
    ['unheard', 'else'],
  ] as const) {
    const will = { topic, payload: Buffer.from(name), qos: 1 as const, retain: true, properties: { willDelayInterval: 1 } };
    const options = { port: first.tcp, username: name, clientId: name, will, properties: { sessionExpiryInterval: 600 } };
    (await withToken({ sub: name, acl: { publish: ['will/%c'] } }, options)).cut();
  }
  await first.stop();
  const second = await start();
  try {
    const watch = await withToken({ acl: { subscribe: ['#'] } }, { port: second.tcp });
    await watch.subscribe('#', 1);
    await watch.received(1);
    expect(watch.payloads).toEqual(['heard']);
  } finally {
    await second.stop();
  }
});

describe('a token that runs out', () => {
  test('ends the connection, which MQTT 5 is told', async () => {
    const client = await withToken({}, {}, 2);
    await client.until('the connection is ended', () => client.closed);
    expect(client.disconnectReason).toBe(NOT_AUTHORIZED);
    const old = await withToken({}, { level: 4 }, 2);
    await old.until('the connection is ended', () => old.closed);
  });
});

describe('addresses that guess', () => {
  /** The code of CONNACK for a client that comes by the proxy from an address. */
  function comesFrom(address: string, level: 4 | 5, username: string, password: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const socket = connectSocket(port('proxied'), '127.0.0.1');
      const packet = {
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: level,
        clean: true,
        clientId: '',
        keepalive: 0,
        username,
        password,
      } as const;
      socket.write(`PROXY TCP4 ${address} 192.0.2.99 1000 1883\r\n`);
      socket.write(mqttPacket.generate({ ...packet, password: Buffer.from(password) }));
      socket.on('error', reject);
      const parser = mqttPacket.parser({ protocolVersion: level });
      parser.on('packet', (answer) => {
        if (answer.cmd === 'connack') resolve((level === 5 ? answer.reasonCode : answer.returnCode) ?? -1);
        socket.destroy();
      });
      socket.on('data', (bytes) => parser.parse(bytes));
    });
  }

  test('wait, and are not even asked for their password; others are not disturbed', async () => {
    const codes: number[] = [];
    while (codes.length < 6) codes.push(await comesFrom('198.51.100.1', 5, 'mallory', 'guess'));
    // Another shard may hear of the first failure while the second guess is under way.
    const failures = shards === 1 ? 1 : codes.indexOf(CONNECTION_RATE_EXCEEDED);
    expect(failures).toBeLessThanOrEqual(2);
    expect(codes).toEqual(codes.map((_, at) => (at < failures ? NOT_AUTHORIZED : CONNECTION_RATE_EXCEEDED)));
    const asked = questions.length;
    let last = -1;
    for (let i = 0; i < 200 && last !== 0; i++) last = await comesFrom('198.51.100.2', 5, 'alice', 'for alice');
    expect(last).toBe(0);
    expect(questions.length).toBe(asked);
  });

  test('are those that a web proxy names: one waits, and another behind the same proxy does not', async () => {
    const web = (address: string, password: string) => ({
      port: port('web'),
      transport: 'ws' as const,
      level: 5 as const,
      username: 'alice',
      password,
      wsOptions: { headers: { 'X-Forwarded-For': `203.0.113.1, ${address}` } },
    });
    const codes = new Set<number | undefined>();
    for (let i = 0; i < 200 && !codes.has(CONNECTION_RATE_EXCEEDED); i++)
      codes.add(await refusalOf(web('198.51.100.4', `guess ${i}`)));
    expect([...codes]).toEqual([BAD_USER_NAME_OR_PASSWORD, CONNECTION_RATE_EXCEEDED]);
    await mqttJs(web('198.51.100.5', 'for alice'));
  });

  test('to MQTT 3.1.1 they are not authorized, with the right password too', async () => {
    const codes = new Set<number>();
    for (let i = 0; i < 200 && !codes.has(5); i++) codes.add(await comesFrom('198.51.100.3', 4, 'alice', 'guess'));
    expect([...codes]).toEqual([4, 5]);
  });
});

describe('a key set at a URL', () => {
  test('is asked for when a token comes; while it cannot be had, nobody comes in', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const keys = [{ ...(await exportJWK(publicKey)), kid: 'k1' }];
    let isUp = false;
    const source = createServer((_request, response) => {
      if (isUp) response.end(JSON.stringify({ keys }));
      else response.writeHead(503).end();
    });
    const at = await listening(source);
    const file = `[auth]\njwks_url = 'http://127.0.0.1:${at}/keys'\n[[listener]]\nname = 'tcp'\ntransport = 'tcp'\n`;
    const other = await createBroker({ config: configOf(temporaryFile(file)) });
    try {
      const exp = Math.floor(Date.now() / 1_000) + 600;
      const password = await new SignJWT({ sub: 'u', exp }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).sign(privateKey);
      const client = { port: other.tcp, level: 5 as const, password };
      expect(await refusalOf({ ...client, username: 'u' })).toBe(SERVER_UNAVAILABLE);
      isUp = true;
      let code: number | undefined = SERVER_UNAVAILABLE;
      // A source that has failed is asked again after some seconds.
      while (code === SERVER_UNAVAILABLE) code = await refusalOf({ ...client, username: 'v' });
      expect(code).toBe(BAD_USER_NAME_OR_PASSWORD);
      // With several shards the next one to be asked may have no keys yet.
      let again: MqttJs | null = null;
      for (let i = 0; i < 200 && again === null; i++) again = await mqttJs({ ...client, username: 'u' }).catch(() => null);
      expect(again!.connack!.reasonCode).toBe(0);
    } finally {
      await other.stop();
      source.closeAllConnections();
      source.close();
    }
  });
});
