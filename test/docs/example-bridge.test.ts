// docs/examples/edge.toml and central.toml as two brokers, as they stand but for files, ports and the address that the one has of the other: what edge.toml says can be tried by hand is tried.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Child } from '../end-to-end/child.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { lethe } from '../end-to-end/served.ts';
import { temporaryCertificates } from '../network/temporary.ts';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';

const { files, remove } = temporaryCertificates();
const folder = mkdtempSync(join(tmpdir(), 'lethe-example-'));
afterAll(() => {
  remove();
  rmSync(folder, { recursive: true, force: true });
});

/** A certificate of the tests' authority for a box of this name. */
function certify(name: string): { readonly cert: string; readonly key: string } {
  const [cert, key, request] = ['pem', 'key', 'csr'].map((end) => join(folder, `${name}.${end}`)) as [string, string, string];
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
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
  const authority = ['-CA', files.ca, '-CAkey', join(dirname(files.ca), 'ca.key'), '-CAcreateserial', '-days', '2'];
  openssl('x509', '-req', '-in', request, ...authority, '-out', cert);
  return { cert, key };
}

function passwordsOf(user: string): string {
  const file = temporaryFile('');
  mosquittoPasswd('-b', file, user, 'secret');
  return file;
}

interface Started {
  readonly child: Child;
  /** Ports by listener. */
  readonly ports: Readonly<Record<string, number>>;
}

async function started(name: 'edge' | 'central', set: readonly string[]): Promise<Started> {
  const config = new URL(`../../docs/examples/${name}.toml`, import.meta.url).pathname;
  const own = [
    `server.data_dir=${join(folder, name)}`,
    `spool.key_file=${temporaryFile('ab'.repeat(32))}`,
    ...['cert_file', 'key_file'].map(
      (key) =>
        `listener.${name === 'edge' ? 'sensors' : 'sites'}.${key}=${key === 'cert_file' ? files.serverCert : files.serverKey}`,
    ),
    ...set,
  ];
  const child = lethe(['serve', '--ready-json', '--config', config, ...own.flatMap((option) => ['--set', option])]);
  await child.until('the broker is ready', () => child.stdout.includes('\n'));
  return { child, ports: JSON.parse(child.stdout) as Started['ports'] };
}

test('what a sensor says arrives at the central broker, and a command from there at the box', async () => {
  const central = await started('central', [
    'spool.key_command=[]',
    `auth.password_file=${passwordsOf('staff')}`,
    `listener.sites.ca_file=${files.ca}`,
    'listener.sites.port=0',
    'listener.local.port=0',
  ]);
  const { cert, key } = certify('site-7');
  const edge = await started('edge', [
    `auth.password_file=${passwordsOf('box')}`,
    `auth.acl_file=${temporaryFile('user box\ntopic readwrite #\ntopic read $SYS/#\n')}`,
    `listener.sensors.ca_file=${files.ca}`,
    'listener.sensors.port=0',
    'listener.local.port=0',
    `bridge.central.addresses=["127.0.0.1:${central.ports['tls']}"]`,
    `bridge.central.cert_file=${cert}`,
    `bridge.central.key_file=${key}`,
    `bridge.central.ca_file=${files.ca}`,
  ]);
  const there = await mqttJs({ port: central.ports['tcp']!, level: 5, username: 'staff', password: 'secret' });
  const here = await mqttJs({ port: edge.ports['tcp']!, level: 5, username: 'box', password: 'secret' });
  await here.subscribe('$SYS/broker/connection/central/state', 1);
  await here.until('the link stands', () => here.payloads.at(-1) === '1');
  here.messages.length = 0;
  await there.subscribe('site-7/#', 1);
  await here.subscribe('commands/#', 1);
  await here.publish('sensors/door', 'open', { qos: 1 });
  await there.received(1);
  expect(there.messages).toMatchObject([{ topic: 'site-7/sensors/door', payload: Buffer.from('open'), qos: 1 }]);
  await there.publish('site-7/commands/door', 'close', { qos: 1 });
  await here.received(1);
  expect(here.messages).toMatchObject([{ topic: 'commands/door', payload: Buffer.from('close'), qos: 1 }]);
  // A box has no right to what another one says.
  await there.publish('site-8/commands/door', 'close', { qos: 1 });
  await there.publish('site-7/commands/door', 'again', { qos: 1 });
  await here.received(2);
  expect(here.payloads).toEqual(['close', 'again']);
  for (const { child } of [edge, central]) {
    child.kill('SIGTERM');
    expect(await child.ended(), child.stderr).toEqual({ code: 0, signal: null });
  }
});
