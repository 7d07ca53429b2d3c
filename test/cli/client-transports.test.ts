// `lethe pub` and `lethe sub` over TLS and WebSocket, and what they refuse to trust.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Broker, createBroker } from '../../engine/lethe.ts';
import { configOf } from '../broker.ts';
import { makeCertificates } from '../certificates.ts';
import { temporaryFile } from '../security/temporary.ts';
import { run, succeed, unique } from './command-line.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-cli-'));
const files = makeCertificates(folder);
const elsewhere = signedFor('elsewhere.example');
const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
let broker: Broker;

/** A certificate of the same authority for a name that is not this machine's. */
function signedFor(name: string): { readonly cert: string; readonly key: string } {
  const [cert, key, request, extensions] = ['pem', 'key', 'csr', 'ext'].map((end) => join(folder, `${name}.${end}`)) as [
    string,
    string,
    string,
    string,
  ];
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  writeFileSync(extensions, `subjectAltName=DNS:${name}`);
  openssl(
    'req',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    key,
    '-out',
    request,
  );
  const authority = ['-CA', files.ca, '-CAkey', join(folder, 'ca.key'), '-CAcreateserial', '-days', '2'];
  openssl('x509', '-req', '-in', request, ...authority, '-extfile', extensions, '-out', cert);
  return { cert, key };
}

beforeAll(async () => {
  const tls = `cert_file = '${files.serverCert}'\nkey_file = '${files.serverKey}'`;
  const client = `ca_file = '${files.ca}'\nclient_certificate = 'require'`;
  const listeners = [
    ['tcp', 'tcp', ''],
    ['ws', 'ws', "path = '/here'"],
    ['tls', 'tls', tls],
    ['wss', 'wss', tls],
    ['mutual', 'tls', `${tls}\n${client}`],
    ['elsewhere', 'tls', `cert_file = '${elsewhere.cert}'\nkey_file = '${elsewhere.key}'`],
    ['elsewhere-ws', 'wss', `cert_file = '${elsewhere.cert}'\nkey_file = '${elsewhere.key}'`],
    ...(hasIpv6 ? [['six', 'ws', "host = '::1'"]] : []),
  ].map(([name, transport, rest]) => `[[listener]]\nname = '${name}'\ntransport = '${transport}'\n${rest}\n`);
  broker = await createBroker({ config: configOf(temporaryFile(listeners.join(''))) });
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const port = (name: string) => `${broker.ports.get(name)}`;
const trusting = ['--cafile', files.ca];

const ways: readonly (readonly [name: string, args: () => readonly string[]])[] = [
  ['mqtt://', () => ['-L', `mqtt://localhost:${port('tcp')}`]],
  ['--ws --path', () => ['--ws', '--path', '/here', '-h', '127.0.0.1', '-p', port('ws')]],
  ['ws://', () => ['-L', `ws://127.0.0.1:${port('ws')}/here`]],
  ['ws:// over IPv6', () => ['-L', `ws://[::1]:${port('six')}`]],
  ['--ws over IPv6', () => ['--ws', '-h', '::1', '-p', port('six')]],
  ['--cafile', () => ['-h', '127.0.0.1', '-p', port('tls'), ...trusting]],
  ['--cafile with a name', () => ['-h', 'localhost', '-p', port('tls'), ...trusting]],
  ['mqtts://', () => ['-L', `mqtts://localhost:${port('tls')}`, ...trusting]],
  ['--ws --cafile', () => ['--ws', '-h', 'localhost', '-p', port('wss'), ...trusting]],
  ['wss://', () => ['-L', `wss://127.0.0.1:${port('wss')}/mqtt`, ...trusting]],
  [
    '--cert --key',
    () => ['-h', '127.0.0.1', '-p', port('mutual'), ...trusting, '--cert', files.clientCert, '--key', files.clientKey],
  ],
];

test.each(ways.filter(([name]) => hasIpv6 || !name.includes('IPv6')))('%s', async (_name, way) => {
  const topic = unique('way');
  await succeed(['pub', ...way(), '-t', topic, '-m', 'x', '-r', '-q', '1']);
  expect((await succeed(['sub', ...way(), '-t', topic, '-C', '1', '-q', '2'])).stdout).toBe('x\n');
});

test.each([
  ['tls', ['--tls']],
  ['wss', ['--tls', '--ws']],
])('a certificate of an unknown authority is refused over %s', async (name, flags) => {
  for (const more of [[], ['--insecure']]) {
    const { exit, stderr } = await run(['pub', '-h', '127.0.0.1', '-p', port(name), ...flags, ...more, '-t', 'a', '-m', 'x']);
    expect(exit?.code).toBe(3);
    expect(stderr).toContain('signed by no authority that is trusted here; give the authority with --cafile');
  }
});

test.each([
  ['elsewhere', []],
  ['elsewhere-ws', ['--ws']],
])('a certificate for another name is refused at %s, but for --insecure', async (name, flags) => {
  const args = ['pub', '-h', '127.0.0.1', '-p', port(name), ...flags, ...trusting, '-t', 'a', '-m', 'x', '-q', '1'];
  const { exit, stderr } = await run(args);
  expect(exit?.code).toBe(3);
  expect(stderr).toContain('the certificate of the broker is for another name; give that name with -h, or --insecure');
  await succeed([...args, '--insecure']);
});

test('a broker that wants a certificate sends away a client without one', async () => {
  const { exit, stderr } = await run([
    'pub',
    '-h',
    '127.0.0.1',
    '-p',
    port('mutual'),
    ...trusting,
    '-t',
    'a',
    '-m',
    'x',
    '-q',
    '1',
  ]);
  expect(exit?.code).toBe(3);
  expect(stderr).toContain('give one with --cert and --key');
});
