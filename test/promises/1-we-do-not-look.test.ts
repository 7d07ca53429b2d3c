// Promise 1 (DESIGN.md §2): nothing that the broker writes or answers holds a payload, topic, user name, client identifier, address or certificate subject in the clear. Canaries stand in every field
// that a client can fill and on every way by which a client can fail; then everything that the process has written and answered is searched: its log at the lowest level, metrics, $SYS, every page of
// the admin API, the audit log, names of files, and its end leaves no core file. More of the same: test/operations/memory.test.ts (that a core file would tell), test/promises/log-lines.test.ts (every log line of the code).
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { routes } from '../../engine/administration/api.ts';
import { ask, TOKEN } from '../administration/admin.ts';
import { environmentFor } from '../broker.ts';
import * as wire from '../conformance/bytes.ts';
import { Child } from '../end-to-end/child.ts';
import { MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';
import { Client } from '../forgetting/client.ts';
import { Place } from '../forgetting/place.ts';
import { temporaryCertificates } from '../network/temporary.ts';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';

/** Loopback as well, and nobody else's. */
const ADDRESS = '127.41.7.213';

test('promise 1, we do not look: nothing that the process writes or answers holds what clients have sent, or who they are', async () => {
  const place = new Place();
  const text = (name: string) => place.text(name);
  const certificates = temporaryCertificates();
  const { files } = certificates;
  const cwd = mkdtempSync(join(place.folder, 'core-'));
  // A subject of our own: the authority signs whatever the test writes.
  const key = join(cwd, 'key.pem');
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    `/CN=${text('subject').slice(0, 60)}`,
    '-keyout',
    key,
    '-out',
    join(cwd, 'csr.pem'),
  );
  const authority = ['-CA', files.ca, '-CAkey', files.ca.replace('.pem', '.key'), '-CAcreateserial', '-days', '2'];
  openssl('x509', '-req', '-in', join(cwd, 'csr.pem'), ...authority, '-out', join(cwd, 'cert.pem'));

  const passwords = temporaryFile('');
  mosquittoPasswd('-b', passwords, text('user'), text('password'));
  const acl = temporaryFile(`user ${text('user')}\ntopic readwrite ${text('topic')}/#\ntopic read $SYS/#\n`);
  const toml = `
[server]
data_dir = "${place.folder}"
log_level = "debug"
sys_interval_s = 1
[auth]
password_file = "${passwords}"
acl_file = "${acl}"
failures_per_minute = 3
[limits]
trie_nodes_max = 16384
trie_subscriptions_max = 16384
[admin]
port = 0
token_file = "${temporaryFile(TOKEN)}"
[[listener]]
name = "tcp"
transport = "tcp"
anonymous = true
[[listener]]
name = "tls"
transport = "tls"
cert_file = "${files.serverCert}"
key_file = "${files.serverKey}"
ca_file = "${files.ca}"
client_certificate = "request"
certificate_user = "common_name"
`;
  const command = [process.execPath, LETHE_MAIN, 'serve', '--ready-json', '--config', temporaryFile(toml)];
  const child = new Child('sh', ['-c', 'ulimit -c unlimited; exec "$@"', 'sh', ...command], {
    cwd,
    env: environmentFor('serve'),
  });
  await child.until('the broker is ready', () => child.stdout.includes('\n'));
  const { tcp, tls, admin } = JSON.parse(child.stdout) as { tcp: number; tls: number; admin: number };
  const told: [where: string, what: string][] = [];

  // A client with a session, everything in it, and messages that wait.
  const credentials = { username: text('user'), password: text('password') };
  const will = { topic: `${text('topic')}/will`, payload: Buffer.from(text('will')), qos: 1, retain: false } as const;
  const sleeper = await Client.connect(tcp, { clientId: text('client'), ...credentials, will });
  await sleeper.subscribe(`${text('topic')}/#`, 1);
  await sleeper.leave();
  const publisher = await mqttJs({ port: tcp, level: 5, clientId: text('publisher'), ...credentials });
  const properties = {
    userProperties: { [text('user-key')]: text('user-value') },
    contentType: text('content-type'),
    responseTopic: text('response-topic'),
    correlationData: Buffer.from(text('correlation')),
  };
  for (const retain of [false, true])
    await publisher.publish(`${text('topic')}/1`, text('payload'), { qos: 1, retain, properties });
  const system = await mqttJs({ port: tcp, level: 5, clientId: text('watcher'), ...credentials });
  await system.subscribe('$SYS/#');

  // On every way to fail that leaves a trace: no right, wrong password, slowed address, certificate, malformed packets of every kind, too large, taken over, killed by the operator.
  await publisher.publish(`${text('denied')}/1`, text('payload'), { qos: 1 }).catch(() => {});
  await publisher.subscribe(`${text('denied')}/#`);
  for (let attempt = 0; attempt < 5; attempt++) {
    const stranger = new MqttJs({
      port: tcp,
      level: 5,
      clientId: text('stranger'),
      username: text('user'),
      password: text('wrong'),
    });
    await stranger.until('it is refused', () => stranger.error !== null || stranger.closed);
  }
  const certified = new MqttJs({
    ...{
      port: tls,
      transport: 'tls',
      level: 5,
      clientId: text('certified'),
      ca: readFileSync(files.ca),
      rejectUnauthorized: true,
    },
    ...{ cert: readFileSync(join(cwd, 'cert.pem')), key: readFileSync(key), servername: 'localhost' },
  });
  await certified.until('it is in, or refused', () => certified.connack !== null || certified.error !== null);
  const bad: readonly Buffer[] = [
    Buffer.from(`\x10\x7f${text('garbage')}${text('garbage')}`),
    Buffer.concat([wire.connect(5), Buffer.from(`\x30\x50\x00\x10${text('topic')}#+${text('garbage')}`)]),
    Buffer.concat([wire.connect(4), wire.subscribe(4, { filters: [[`${text('topic')}/#/x`, 0]] })]),
    Buffer.from(`GET /${text('path')} HTTP/1.1\r\nHost: ${text('host')}\r\n\r\n`),
  ];
  for (const bytes of bad)
    await new Promise<void>((resolve) => {
      const socket = connectSocket({ port: tcp, host: '127.0.0.1', localAddress: ADDRESS });
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.write(bytes);
      socket.resume();
      socket.end();
    });
  const twin = await mqttJs({ port: tcp, level: 5, clientId: text('watcher'), ...credentials, clean: false });
  await twin.subscribe('$SYS/#');

  // Everything that can be asked, in a way that is right and one that is not.
  const headers = { authorization: `Bearer ${TOKEN}` };
  const rows = (await ask(admin, '/v1/sessions', { headers })).json<{ sessions: readonly { client: string }[] }>().sessions;
  expect(rows.length).toBeGreaterThanOrEqual(3);
  const pseudonym = rows[0]!.client;
  for (const { method, path } of routes) {
    const at = path.replace(/\{client\}/, pseudonym).replace(/\{[a-z]+\}/, text('parameter'));
    // What it takes is to be asked for first.
    if (path === '/v1/erase') continue;
    const { status, text: answer } = await ask(
      admin,
      at,
      method === 'GET' ? { headers } : { method, headers, body: { [text('key')]: text('value') } },
    );
    told.push([`${method} ${path}`, `${status} ${answer}`]);
  }
  const erased = await ask(admin, '/v1/erase', { method: 'POST', headers, body: { client: text('client') } });
  expect(erased.json()).toMatchObject({ erased: { sessions: 1, deliveries: 2 } });
  told.push(['erase', erased.text]);
  told.push(['metrics', (await ask(admin, '/metrics', { headers })).text]);
  const statistics = () => twin.messages.map(({ topic, payload }) => `${topic} ${payload.toString()}`);
  await twin.until('$SYS has come', () => statistics().length > 20);
  told.push(['$SYS', statistics().join('\n')]);
  told.push(['audit log', readFileSync(join(place.folder, 'audit.log'), 'utf8')]);
  told.push(['file names', (readdirSync(place.folder, { recursive: true }) as string[]).join('\n')]);

  child.kill('SIGABRT');
  await child.ended();
  told.push(['log', child.stderr], ['standard output', child.stdout]);
  expect(readdirSync(cwd).filter((name) => name.startsWith('core'))).toEqual([]);

  // What was searched is there.
  for (const [where, what] of told) expect([where, what.length > 0]).toEqual([where, true]);
  expect(child.stderr).toMatch(/debug a connection was ended/);
  const found = told.flatMap(([where, what]) => {
    const canaries = place.canaries.find(Buffer.from(what)).map(({ name, encoding }) => `${name} (${encoding}) in ${where}`);
    return what.includes(ADDRESS) ? [...canaries, `address in ${where}`] : canaries;
  });
  expect(found).toEqual([]);
  certificates.remove();
});
