// Who may come in and what they may do, through real clients: password file, ACL file, client certificates, origins.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { Child } from './child.ts';
import { certificates } from './listeners.ts';
import { type Level, MosquittoSub, mosquittoPub, mosquittoSub, wayArguments } from './mosquitto.ts';
import { type ClientOptions, MqttJs, mqttJs, refusalOf } from './mqttjs.ts';
import { type Served, useServed } from './served.ts';

const NOT_AUTHORIZED = 0x87;
const BAD_USER_NAME_OR_PASSWORD = 0x86;
const LEVELS = [3, 4, 5] as const satisfies readonly Level[];

const passwords = { alice: 'for alice', bob: 'pässword', '+': 'plus' } as const;
type User = keyof typeof passwords;

const passwordFile = temporaryFile('');
for (const [user, password] of Object.entries(passwords)) mosquittoPasswd('-b', passwordFile, user, password);

const aclFile = temporaryFile(`# Whoever has no user name:
topic read open/#

user alice
topic readwrite shared/#
topic write outbox/alice
topic read inbox/alice

user bob
topic read shared/#
topic deny shared/secret/#
topic write inbox/+
topic write shared/of/bob

user client-1
topic readwrite devices/#

pattern readwrite own/%u/#
pattern read clients/%c/#
`);

const served = useServed(
  () => `[session]
takeover = 'any_user'
[auth]
password_file = '${passwordFile}'
acl_file = '${aclFile}'
[[listener]]
name = 'tcp'
transport = 'tcp'
[[listener]]
name = 'ws'
transport = 'ws'
path = '/broker/mqtt'
origins = ['https://app.example', 'http://localhost:3000']
`,
);

function as(user: User, options: Partial<ClientOptions> = {}): Promise<MqttJs> {
  return mqttJs({ port: served.port('tcp'), level: 5, username: user, password: passwords[user], ...options });
}

function credentials(user: User): string[] {
  return ['-u', user, '-P', passwords[user]];
}

/** Runs mosquitto_pub to its end, which may be a refusal. */
async function tried(args: readonly string[]): Promise<Child> {
  const pub = new Child('mosquitto_pub', args);
  await pub.ended();
  return pub;
}

describe('the password file', () => {
  describe.each(LEVELS)('level %i', (level) => {
    const port = () => served.port('tcp');
    /** Codes of CONNACK before MQTT 5: 4 for credentials, 5 for the rest. */
    const [badCredentials, notAuthorized] = level === 5 ? [BAD_USER_NAME_OR_PASSWORD, NOT_AUTHORIZED] : [4, 5];

    test('lets its users in', async () => {
      await mosquittoPub({ port: port(), level }, [...credentials('alice'), '-t', 'shared/a', '-m', 'x', '-q', '1']);
      for (const user of ['alice', 'bob'] as const) await as(user, { level });
    });

    test.each<readonly [what: string, options: Partial<ClientOptions>, code: number]>([
      ['a wrong password', { username: 'alice', password: 'for Alice' }, badCredentials],
      ['the password of another', { username: 'alice', password: passwords.bob }, badCredentials],
      ['an empty password', { username: 'alice', password: '' }, badCredentials],
      ['no password', { username: 'alice' }, badCredentials],
      ['a name that nobody has', { username: 'carol', password: 'for carol' }, badCredentials],
      ['no user name', {}, notAuthorized],
    ])('refuses %s', async (_what, options, code) => {
      expect(await refusalOf({ port: port(), level, ...options })).toBe(code);
    });

    test('refuses mosquitto_pub with a wrong password, in words', async () => {
      const { exit, stderr } = await tried([
        ...wayArguments({ port: port(), level }),
        '-u',
        'bob',
        '-P',
        'wrong',
        '-t',
        'a',
        '-m',
        'x',
      ]);
      expect(exit!.code).toBe(level === 5 ? BAD_USER_NAME_OR_PASSWORD : 4);
      expect(stderr).toMatch(/bad user name or password/i);
    });
  });

  test('holds over WebSocket too', async () => {
    const ws = { transport: 'ws', port: served.port('ws'), path: '/broker/mqtt', level: 5 } as const;
    expect(await refusalOf({ ...ws, username: 'alice', password: 'wrong' })).toBe(BAD_USER_NAME_OR_PASSWORD);
    expect(await refusalOf(ws)).toBe(NOT_AUTHORIZED);
    await as('alice', ws);
  });
});

describe('the ACL file', () => {
  test('lets through what it allows', async () => {
    const bob = await as('bob');
    expect(await bob.subscribe(['shared/#', 'own/bob/#'], 1)).toEqual([1, 1]);
    const alice = await as('alice');
    await alice.publish('shared/a', 'from alice', { qos: 1 });
    await bob.publish('own/bob/a', 'from bob', { qos: 1 });
    await bob.received(2);
    expect(bob.payloads).toEqual(['from alice', 'from bob']);
  });

  test.each(LEVELS)('refuses to publish elsewhere, level %i', async (level) => {
    const alice = await as('alice', { clientId: `writer-${level}`, level });
    const watch = await as('bob');
    await watch.subscribe(['inbox/#', '#'], 2);
    const reader = await as('alice');
    await reader.subscribe(['inbox/alice', 'shared/#'], 2);
    const codes: number[] = [];
    for (const topic of ['inbox/alice', 'own/bob/x', 'clients/writer', 'else']) {
      for (const qos of [0, 1, 2] as const) {
        await alice.publish(topic, 'forbidden', { qos, retain: true }).catch((error: { code: number }) => codes.push(error.code));
      }
    }
    // Before MQTT 5 there are no words for it: the message is acknowledged and goes nowhere.
    expect(codes).toEqual(level === 5 ? Array<number>(8).fill(NOT_AUTHORIZED) : []);
    await alice.publish('shared/marker', 'allowed', { qos: 2 });
    await Promise.all([watch.received(1), reader.received(1)]);
    expect(watch.payloads).toEqual(['allowed']);
    expect(reader.payloads).toEqual(['allowed']);
  });

  test('refuses subscriptions by which nothing could ever come', async () => {
    const filters = [
      'shared/secret/#',
      'shared/secret/a',
      'inbox/alice',
      'else',
      '$share/g/shared/secret/#',
      'own/alice/#',
      'shared/ok',
    ];
    expect(await (await as('bob')).subscribe(filters, 1)).toEqual([...Array<number>(6).fill(NOT_AUTHORIZED), 1]);
    expect(await (await as('bob', { level: 4 })).subscribe(filters, 1)).toEqual([...Array<number>(6).fill(0x80), 1]);
    // MQTT 3.1 has no code for it: the connection ends.
    const old = await as('bob', { level: 3 });
    old.client.subscribe('shared/secret/#');
    await old.until('the broker closes the connection', () => old.closed);
    // Mosquitto's client hears of it as well.
    const sub = new MosquittoSub({ port: served.port('tcp'), level: 4 }, [...credentials('bob'), '-t', 'shared/secret/#']);
    await sub.ended();
    expect(sub.stderr).toContain('All subscription requests were denied');
  });

  test.each(LEVELS)('is asked again for each live message, level %i', async (level) => {
    const bob = await as('bob', { level });
    expect(await bob.subscribe(['#', 'shared/+/+'], 2)).toEqual([2, 2]);
    const alice = await as('alice');
    for (const qos of [0, 1, 2] as const) {
      await alice.publish('shared/secret/plan', 'secret', { qos });
      await alice.publish('outbox/alice', 'not for bob', { qos });
      await alice.publish('shared/open/plan', `open ${qos}`, { qos });
    }
    await bob.received(3);
    expect(bob.payloads).toEqual(['open 0', 'open 1', 'open 2']);
  });

  test('is asked again for each retained message', async () => {
    const alice = await as('alice');
    await alice.publish('shared/secret/kept', 'secret', { qos: 1, retain: true });
    await alice.publish('shared/open/kept', 'open', { qos: 1, retain: true });
    const bob = await as('bob');
    await bob.subscribe('shared/+/kept', 1);
    await alice.publish('shared/end/kept', 'end', { qos: 1 });
    await bob.received(2);
    // With several shards a live message may come before what was retained on another topic.
    expect([...bob.payloads].sort()).toEqual(['end', 'open']);
    const sub = await mosquittoSub({ port: served.port('tcp'), level: 5 }, ...credentials('bob'), '-t', 'shared/#', '-C', '1');
    await sub.ended();
    expect(sub.payloads).toEqual(['open']);
  });

  test('is asked again for each queued message: a session that another user takes up gives nothing away', async () => {
    const identity = { clientId: 'passed-on', clean: false, properties: { sessionExpiryInterval: 600 } };
    const first = await as('alice', identity);
    await first.subscribe('shared/+/queued', 1);
    await first.end();
    const alice = await as('alice');
    await alice.publish('shared/secret/queued', 'secret', { qos: 1 });
    await alice.publish('shared/open/queued', 'open', { qos: 1 });
    const bob = await as('bob', identity);
    expect(bob.connack!.sessionPresent).toBe(true);
    await alice.publish('shared/secret/queued', 'secret', { qos: 1 });
    await alice.publish('shared/open/queued', 'live', { qos: 1 });
    await bob.received(2);
    expect(bob.payloads).toEqual(['open', 'live']);
  });

  test.each([
    ['where its owner may publish and the reader may read', 'shared/open/will', ['gone', 'end']],
    ['but not where its owner may not publish', 'inbox/alice', ['end']],
    ['nor to whom may not read it', 'shared/secret/will', ['end']],
  ])('is asked for a will: it goes out %s', async (_what, topic, expected) => {
    const bob = await as('bob');
    await bob.subscribe('#', 1);
    const clientId = `doomed-${topic}`;
    const doomed = await as('alice', { clientId, will: { topic, payload: Buffer.from('gone'), qos: 1, retain: true } });
    doomed.cut();
    // Once its next connection is accepted, the end of this one is settled.
    const alice = await as('alice', { clientId });
    await alice.subscribe('inbox/#', 1);
    await alice.publish('shared/end', 'end', { qos: 1 });
    await bob.until('the end is there', () => bob.payloads.includes('end'));
    const live = bob.messages.filter(({ retain }) => !retain).map(({ payload }) => String(payload));
    expect(live).toEqual(expected);
    expect(alice.payloads).toEqual([]);
    await alice.publish(topic, '', { qos: 0, retain: true });
  });

  test('fills names into patterns, but no name that would be a wildcard', async () => {
    const alice = await as('alice');
    const bob = await as('bob', { clientId: 'device-7' });
    expect(await bob.subscribe(['clients/device-7/#', 'clients/device-8/#', 'own/alice/#'], 1)).toEqual([
      1,
      NOT_AUTHORIZED,
      NOT_AUTHORIZED,
    ]);
    for (const clientId of ['+', '#', 'device-7/+', '/']) {
      const sly = await as('bob', { clientId });
      const refused = await sly.subscribe(['clients/device-7/a', 'clients/+/a', 'clients/#'], 1);
      expect(refused, clientId).toEqual([NOT_AUTHORIZED, NOT_AUTHORIZED, NOT_AUTHORIZED]);
    }
    const plus = await as('+');
    expect(await plus.subscribe(['own/alice/#', 'own/+/#', 'own/#'], 1)).toEqual(Array<number>(3).fill(NOT_AUTHORIZED));
    await alice.subscribe('own/alice/#', 1);
    expect(await plus.client.publishAsync('own/alice/a', 'x', { qos: 1 }).catch(({ code }) => code)).toBe(NOT_AUTHORIZED);
    await alice.publish('own/alice/a', 'mine', { qos: 1 });
    await alice.received(1);
    expect(alice.payloads).toEqual(['mine']);
  });
});

describe('an anonymous listener beside a password file', () => {
  const open = useServed(
    () => `[auth]
password_file = '${passwordFile}'
acl_file = '${aclFile}'
[[listener]]
name = 'tcp'
transport = 'tcp'
anonymous = true
`,
  );

  test('gives those without a name what stands before the first user, and nothing to a wrong password', async () => {
    const port = open.port('tcp');
    const guest = await mqttJs({ port, level: 5 });
    expect(await guest.subscribe(['open/#', 'shared/#', 'own/#'], 1)).toEqual([1, NOT_AUTHORIZED, NOT_AUTHORIZED]);
    expect(await guest.client.publishAsync('open/a', 'x', { qos: 1 }).catch(({ code }) => code)).toBe(NOT_AUTHORIZED);
    expect(await refusalOf({ port, level: 5, username: 'alice', password: 'wrong' })).toBe(BAD_USER_NAME_OR_PASSWORD);
    expect(await refusalOf({ port, level: 5, username: 'carol', password: 'x' })).toBe(BAD_USER_NAME_OR_PASSWORD);
    const alice = await as('alice', { port });
    expect(await alice.subscribe('shared/#', 1)).toEqual([1]);
  });
});

describe('client certificates', () => {
  const { ca, serverCert, serverKey, clientCert, clientKey, strangerCert, strangerKey } = certificates;
  const tls = (rest: string) => `[[listener]]
name = 'tls'
transport = 'tls'
cert_file = '${serverCert}'
key_file = '${serverKey}'
ca_file = '${ca}'
client_certificate = 'require'
${rest}`;
  const plain = useServed(() => tls(''));
  const named = useServed(() => `[auth]\nacl_file = '${aclFile}'\n${tls('certificate_user = "common_name"')}`);
  const own = { ca: readFileSync(ca), cert: readFileSync(clientCert), key: readFileSync(clientKey) };

  function over(broker: Served, options: Partial<ClientOptions>): ClientOptions {
    return { transport: 'tls', level: 5, port: broker.port('tls'), ca: own.ca, ...options };
  }

  test('let in who shows one of the authority', async () => {
    await mqttJs(over(plain, own));
    const way = { port: plain.port('tls'), level: 4, ca } as const;
    const sub = await mosquittoSub(way, '--cert', clientCert, '--key', clientKey, '-t', 'a', '-C', '1');
    await mosquittoPub(way, ['--cert', clientCert, '--key', clientKey, '-t', 'a', '-m', 'x']);
    await sub.ended();
    expect(sub.payloads).toEqual(['x']);
  });

  test.each([
    ['none', {}],
    ['one that it signed itself', { cert: readFileSync(strangerCert), key: readFileSync(strangerKey) }],
  ])('keep out who shows %s', async (_what, options) => {
    const client = new MqttJs(over(plain, options));
    await client.until('the connection is closed', () => client.closed);
    expect(client.connack).toBeNull();
    const shown = 'cert' in options ? ['--cert', strangerCert, '--key', strangerKey] : [];
    const way = wayArguments({ port: plain.port('tls'), ca });
    expect((await tried([...way, ...shown, '-t', 'a', '-m', 'x', '-q', '1'])).exit!.code).not.toBe(0);
  });

  test('are the user name when the listener says so, whatever CONNECT says', async () => {
    const client = await mqttJs(over(named, { ...own, username: 'alice', password: passwords.alice }));
    expect(await client.subscribe(['devices/#', 'own/client-1/#', 'shared/#', 'own/alice/#'], 1)).toEqual([
      1,
      1,
      NOT_AUTHORIZED,
      NOT_AUTHORIZED,
    ]);
    await client.publish('devices/1', 'x', { qos: 1 });
    await client.received(1);
    expect(client.payloads).toEqual(['x']);
  });
});

describe('the origins of a WebSocket listener', () => {
  const ws = () => ({ transport: 'ws', port: served.port('ws'), path: '/broker/mqtt' }) as const;
  const from = (origin: string): Partial<ClientOptions> => ({ wsOptions: { headers: { Origin: origin } } });

  /** HTTP status of a handshake that is refused. MQTT.js does not tell it. */
  async function statusOf(origin: string | undefined, path: string): Promise<number | undefined> {
    const socket = new WebSocket(`ws://127.0.0.1:${served.port('ws')}${path}`, ['mqtt'], origin === undefined ? {} : { origin });
    return new Promise((resolve, reject) => {
      socket.on('open', () => reject(new Error('the handshake was accepted')));
      socket.on('error', reject);
      socket.on('unexpected-response', (request, { statusCode }) => {
        request.destroy();
        resolve(statusCode);
      });
    });
  }

  async function expectClosed(options: Partial<ClientOptions>): Promise<void> {
    const client = new MqttJs({ ...ws(), username: 'alice', password: passwords.alice, ...options });
    await client.until('the connection is closed', () => client.closed);
    expect(client.connack).toBeNull();
  }

  test.each(['https://app.example', 'HTTPS://APP.example', 'http://localhost:3000'])('%s may connect', async (origin) => {
    await as('alice', { ...ws(), ...from(origin) });
  });

  test('what is no browser may connect', async () => {
    await as('alice', ws());
  });

  test.each(['https://evil.example', 'https://app.example.evil.example', 'http://app.example', 'http://localhost', 'null'])(
    '%s may not',
    async (origin) => {
      expect(await statusOf(origin, '/broker/mqtt')).toBe(403);
      await expectClosed(from(origin));
    },
  );

  test.each(['/mqtt', '/', '/broker/mqtt/', '/broker/mqtt/more'])('nothing is served on %s', async (path) => {
    expect(await statusOf(undefined, path)).toBe(404);
    await expectClosed({ path });
  });
});
