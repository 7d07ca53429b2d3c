// The package as a library, used the way a test suite of another project does: installed below node_modules, imported by its name,
// in a process that must end by itself once the broker has stopped.
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { shards } from '../broker.ts';
import { directory, temporaryFile } from '../security/temporary.ts';
import { Child } from './child.ts';
import { everyTransport } from './listeners.ts';

const root = new URL('../..', import.meta.url).pathname;
let project = '';

beforeAll(() => {
  project = mkdtempSync(join(directory, 'project-'));
  mkdirSync(join(project, 'node_modules', '@types'), { recursive: true });
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'project', type: 'module' }));
  symlinkSync(root, join(project, 'node_modules', 'lethe'));
  for (const name of ['mqtt', '@types/node']) symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name));
});

/** Runs a module of the project; returns what it printed as JSON, one value a line. It must end by itself, with code 0. */
async function run(source: string): Promise<unknown[]> {
  const path = join(project, 'script.mjs');
  writeFileSync(path, source);
  const child = new Child(process.execPath, [path], { cwd: project });
  expect(await child.ended(), child.stderr).toEqual({ code: 0, signal: null });
  expect(child.stderr).toBe('');
  return child.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

/** For brokers that do not say otherwise: the suite's shards. */
const SET = `['server.threads=${shards}']`;
const SAY = 'const say = (value) => console.log(JSON.stringify(value));';

test('starts on free ports, tells them, serves, and stops with nothing left open', async () => {
  const [ports, second, message, counts, stopped] = await run(`
    import { createBroker } from 'lethe';
    import mqtt from 'mqtt';
    ${SAY}
    const broker = await createBroker({ set: ${SET} });
    const { tcp, ws, tls, wss } = broker;
    say({ tcp, ws, tls, wss, ports: Object.fromEntries(broker.ports), insecure: broker.insecure });
    const other = await createBroker({ set: ${SET} });
    say(other.tcp !== tcp && other.ws !== ws);
    const sub = await mqtt.connectAsync('ws://127.0.0.1:' + ws + '/mqtt');
    const received = new Promise((resolve) => sub.on('message', (topic, payload) => resolve([topic, payload.toString()])));
    await sub.subscribeAsync('from/#', { qos: 1 });
    const pub = await mqtt.connectAsync('mqtt://127.0.0.1:' + tcp, { protocolVersion: 5 });
    await pub.publishAsync('from/library', 'hello', { qos: 2, retain: true });
    say(await received);
    const { connections, sessions, subscriptions, queuedMessages, retained } = broker.counts();
    // The figures of $SYS are retained messages too.
    say({ connections, sessions, subscriptions, queuedMessages, retained: retained > 0 });
    await pub.endAsync();
    sub.options.reconnectPeriod = 0;
    const twice = [broker.stop(), broker.stop()];
    await Promise.all([...twice, other.stop()]);
    say([twice[0] === twice[1], broker.counts().connections]);
  `);
  expect(ports).toEqual({
    tcp: expect.any(Number),
    ws: expect.any(Number),
    tls: 0,
    wss: 0,
    ports: { tcp: (ports as { tcp: number }).tcp, ws: (ports as { ws: number }).ws },
    insecure: [],
  });
  expect((ports as { tcp: number }).tcp).toBeGreaterThan(0);
  expect(second).toBe(true);
  expect(message).toEqual(['from/library', 'hello']);
  expect(counts).toEqual({ connections: 2, sessions: 2, subscriptions: 1, queuedMessages: 0, retained: true });
  expect(stopped).toEqual([true, 0]);
});

test('stops with strangers in the middle of a handshake, on every transport', async () => {
  const config = temporaryFile(everyTransport('[server]\nstop_timeout_ms = 600000\n[limits]\nconnect_timeout_ms = 600000'));
  const lines = await run(`
    import { createBroker, loadConfig } from 'lethe';
    import { connect } from 'node:net';
    ${SAY}
    const broker = await createBroker({ config: loadConfig({ file: ${JSON.stringify(config)}, set: ${SET} }) });
    // These sockets do not keep the process alive; what is at their other end would.
    for (const port of broker.ports.values()) {
      for (const bytes of ['', 'GET /mqtt HTTP/1.1\\r\\n']) {
        const socket = connect(port, '127.0.0.1');
        socket.unref();
        socket.on('error', () => {}); // the broker does not read what a stranger says while it stops
        await new Promise((resolve) => socket.once('connect', resolve));
        if (bytes !== '') socket.write(bytes);
      }
    }
    say(broker.ports.size);
    await broker.stop();
    say('stopped');
  `);
  expect(lines).toEqual([4, 'stopped']);
});

test('refuses what it cannot do, and leaves nothing open', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve);
  });
  const { port } = taken.address() as { port: number };
  const lines = await run(`
    import { ConfigError, createBroker, loadConfig } from 'lethe';
    ${SAY}
    await createBroker({ set: [...${SET}, 'listener.ws.port=${port}'] }).catch((error) => say(error.message));
    await createBroker({ set: ['limits.inflight_max=0', 'limits.nonsense=1'] }).catch((error) =>
      say([error instanceof ConfigError, error.problems.map(({ where }) => where)]),
    );
    await createBroker({ set: [...${SET}, 'auth.acl_file=/nowhere'] }).catch((error) => say(error.message.split(':')[0]));
    say(loadConfig({ set: ['session.maximum_qos=1'] }).session.maximumQos);
  `);
  taken.close();
  expect(lines).toEqual([
    `listener "ws": port ${port} of 127.0.0.1 is in use; stop the program that has it, or set another port`,
    [true, ['--set limits.inflight_max', '--set limits.nonsense']],
    '/nowhere',
    1,
  ]);
});

test('asks an authenticator and rights of its own, which belong to one thread', async () => {
  const lines = await run(`
    import { createBroker, createLog } from 'lethe';
    import mqtt from 'mqtt';
    ${SAY}
    const text = (bytes, from, to) => Buffer.from(bytes.subarray(from, to)).toString();
    const asked = [];
    const broker = await createBroker({
      set: ['server.threads=1'],
      log: createLog('warn', say, Date.now),
      authenticator: {
        authenticate: async ({ clientId, username, password, peer }) => {
          asked.push([clientId, username, password === null ? null : Buffer.from(password).toString(), peer.transport, peer.listener]);
          return password === null ? { ok: false, reason: 0x86 } : { ok: true, username };
        },
      },
      rights: {
        mayPublish: ({ username }, clientId, topic, from, to) => text(topic, from, to).startsWith(username),
        mayReceive: () => true,
        maySubscribe: ({ username }, clientId, filter, from, to) => text(filter, from, to) !== '#',
      },
    });
    const url = 'mqtt://127.0.0.1:' + broker.tcp;
    const options = { protocolVersion: 5, reconnectPeriod: 0 };
    await mqtt.connectAsync(url, { ...options, clientId: 'nobody' }).catch((error) => say(error.code));
    const client = await mqtt.connectAsync(url, { ...options, clientId: 'somebody', username: 'ada', password: 'secret' });
    await client.subscribeAsync('#').catch((error) => say(error.packet.granted[0]));
    await client.publishAsync('ada/a', 'x', { qos: 1 });
    await client.publishAsync('bob/a', 'x', { qos: 1 }).catch((error) => say(error.code));
    say(asked);
    await client.endAsync();
    await broker.stop();
  `);
  expect(lines).toEqual([
    0x86,
    0x87,
    0x87,
    [
      ['nobody', null, null, 'tcp', 'tcp'],
      ['somebody', 'ada', 'secret', 'tcp', 'tcp'],
    ],
  ]);
});

test('asks a module for them, which every thread loads; objects are refused with several threads', async () => {
  const gate = join(project, 'gate.mjs');
  writeFileSync(
    gate,
    `
    const text = (bytes, from, to) => Buffer.from(bytes.subarray(from, to)).toString();
    export const authenticator = { authenticate: ({ username }) => (username === null ? { ok: false, reason: 0x86 } : { ok: true, username }) };
    export const rights = {
      mayPublish: ({ username }, clientId, topic, from, to) => text(topic, from, to).startsWith(username),
      mayReceive: () => true,
      maySubscribe: () => true,
    };
  `,
  );
  const lines = await run(`
    import { createBroker } from 'lethe';
    import mqtt from 'mqtt';
    ${SAY}
    const broker = await createBroker({ set: ${SET}, gate: ${JSON.stringify(gate)} });
    const url = 'mqtt://127.0.0.1:' + broker.tcp;
    // As many as there are threads, so that each is asked.
    for (let at = 0; at < ${shards}; at++) {
      await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 }).catch((error) => say(error.code));
      const client = await mqtt.connectAsync(url, { protocolVersion: 5, username: 'ada' });
      await client.publishAsync('ada/a', 'x', { qos: 1 });
      await client.publishAsync('bob/a', 'x', { qos: 1 }).catch((error) => say(error.code));
      await client.endAsync();
    }
    await broker.stop();
    await createBroker({ set: ${SET}, gate: '/nowhere.mjs' }).catch((error) => say(error.message.split(':')[0]));
    const rights = { mayPublish: () => true, mayReceive: () => true, maySubscribe: () => true };
    await createBroker({ set: ['server.threads=2'], rights }).catch((error) => say(error.message.split(':')[0]));
  `);
  const refusals = Array.from({ length: shards }, () => [0x86, 0x87]).flat();
  expect(lines).toEqual([...refusals, 'gate module /nowhere.mjs', 'rights']);
});

describe('its types', () => {
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--types',
    'node',
    '--skipLibCheck',
    'false',
  ];

  async function check(source: string): Promise<string> {
    writeFileSync(join(project, 'typed.ts'), source);
    const child = new Child(process.execPath, [compiler, ...options, 'typed.ts'], { cwd: project });
    await child.ended();
    return child.stdout;
  }

  test('stand for what it does', async () => {
    const source = `
      import { type Broker, type BrokerOptions, ConfigError, createBroker, loadConfig, type Rights, version } from 'lethe';
      const rights: Rights = { mayPublish: () => true, mayReceive: () => true, maySubscribe: (_user, _client, filter) => filter.length > 0 };
      const options: BrokerOptions = { set: ['listener.tcp.port=0'], rights };
      const broker: Broker = await createBroker(options);
      const port: number = broker.tcp + (broker.ports.get('ws') ?? 0) + broker.counts().sessions;
      const stopped: Promise<void> = broker.stop();
      export const all: readonly unknown[] = [port, stopped, version.length, loadConfig().limits.inflightMax, ConfigError];
    `;
    expect(await check(source)).toBe('');
  });

  test('refuse what it does not take', async () => {
    expect(await check("import { createBroker } from 'lethe';\nawait createBroker({ port: 1883 });\n")).toMatch(
      /'port' does not exist/,
    );
  });
});
