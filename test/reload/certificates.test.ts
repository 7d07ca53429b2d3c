// Certificates, keys and authorities read anew while clients talk, over TLS and wss, in one shard and in three.

import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Clock, systemClock } from '../../engine/clock.ts';
import { createBroker, loadConfig } from '../../engine/lethe.ts';
import { Trust } from '../../engine/network/trust.ts';
import { Reason } from '../../protocol/packet.ts';
import type { RunningBroker } from '../broker.ts';
import { connect } from '../conformance/bytes.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { temporaryCertificates } from '../network/temporary.ts';
import { temporaryFile } from '../security/temporary.ts';
import { LiveFiles, servedBy, Traffic } from './rig.ts';

const one = temporaryCertificates();
const two = temporaryCertificates();
afterAll(() => {
  one.remove();
  two.remove();
});
const fingerprintOf = (path: string) => new X509Certificate(readFileSync(path)).fingerprint256;
const served = { one: fingerprintOf(one.files.serverCert), two: fingerprintOf(two.files.serverCert) };

describe.each([1, 3])('with %i shards', (threads) => {
  const files = new LiveFiles();
  let broker: RunningBroker;
  const toml = () => `
[server]
threads = ${threads}
sys_interval_s = 0
[[listener]]
name = 'tls'
transport = 'tls'
${files.lines}
[[listener]]
name = 'mutual'
transport = 'tls'
${files.lines}
ca_file = '${files.path('ca.pem')}'
client_certificate = 'require'
[[listener]]
name = 'wss'
transport = 'wss'
${files.lines}
`;
  const port = (name: string) => broker.ports.get(name)!;

  beforeAll(async () => {
    files.serve(one.files, one.files, two.files);
    broker = await createBroker({ config: loadConfig({ file: temporaryFile(toml()) }) });
  });
  afterAll(() => broker.stop());

  /** As many as reach every shard. */
  async function expectServed(fingerprint: string): Promise<void> {
    for (const name of ['tls', 'wss'])
      for (let i = 0; i < threads * 3; i++) expect(await servedBy(port(name)), name).toBe(fingerprint);
  }

  const certified = ({ clientCert, clientKey }: typeof one.files, clientId: string) =>
    mqttJs({
      port: port('mutual'),
      transport: 'tls',
      level: 5,
      clientId,
      rejectUnauthorized: false,
      cert: readFileSync(clientCert),
      key: readFileSync(clientKey),
    });

  test('new certificates under load: nobody is lost, and who comes sees the new one', async () => {
    const options = { rejectUnauthorized: false } as const;
    const traffic = [
      await Traffic.start({ port: port('tls'), transport: 'tls', ...options }, 'tls/load'),
      await Traffic.start({ port: port('wss'), transport: 'wss', ...options }, 'wss/load'),
    ];
    await expectServed(served.one);
    for (const now of ['two', 'one', 'two', 'one'] as const) {
      files.serve(now === 'one' ? one.files : two.files, one.files, two.files);
      expect(await broker.reload()).toEqual({ changed: [], restart: [], ended: 0, dropped: 0 });
      await expectServed(served[now]);
      for (const each of traffic) await each.flows();
    }
    for (const each of traffic) await each.proveWhole();
  });

  test('an authority is taken away: its clients are disconnected (0x87), the others stay, and no session of before is resumed', async () => {
    files.serve(one.files, one.files, two.files);
    await broker.reload();
    const first = await certified(one.files, 'first');
    const second = await certified(two.files, 'second');
    const session = await sessionOf(port('mutual'));
    expect(await answersAgain(port('mutual'), session)).toBe(true);

    files.serve(one.files, two.files);
    expect(await broker.reload()).toMatchObject({ ended: 1 });
    await first.until('it is disconnected', () => first.closed);
    expect(first.disconnectReason).toBe(Reason.NOT_AUTHORIZED);
    expect(await answersAgain(port('mutual'), session)).toBe(false);
    await second.publish('still/here', 'x', { qos: 1 });
    await second.end();
    files.serve(one.files, one.files, two.files);
    expect(await broker.reload()).toMatchObject({ ended: 0 });
    await (await certified(one.files, 'first')).end();
  });

  /** A TLS session of a client with a certificate, with which it could skip the proof. */
  function sessionOf(at: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const { socket } = dial(at, undefined);
      socket.once('error', reject);
      socket.once('session', (session: Buffer) => {
        resolve(session);
        socket.destroy();
      });
    });
  }

  /** Whether a client that only has the session is let in by any of the shards. */
  async function answersAgain(at: number, session: Buffer): Promise<boolean> {
    for (let i = 0; i < threads * 4; i++) if (await answersOnce(at, session)) return true;
    return false;
  }

  function answersOnce(at: number, session: Buffer): Promise<boolean> {
    return new Promise((resolve) => {
      const { socket } = dial(at, session);
      socket.once('secureConnect', () => socket.write(connect(5, { clientId: 'resumed' })));
      socket.on('error', () => {});
      socket.once('close', () => resolve(false));
      socket.once('data', () => {
        resolve(true);
        socket.destroy();
      });
    });
  }

  /** TLS 1.2, where a session comes with the handshake. A client that has one shows no certificate. */
  function dial(at: number, session: Buffer | undefined): { socket: TLSSocket } {
    const own = { cert: readFileSync(one.files.clientCert), key: readFileSync(one.files.clientKey) };
    const options = { port: at, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' } as const;
    return { socket: connectTls(session === undefined ? { ...options, ...own } : { ...options, session }) };
  }

  const broken: readonly (readonly [what: string, breakIt: () => void, words: string])[] = [
    ['a certificate that is missing', () => rmSync(files.path('cert.pem')), 'cert_file: cannot read'],
    [
      'a certificate that is a folder',
      () => {
        rmSync(files.path('cert.pem'));
        mkdirSync(files.path('cert.pem'));
      },
      'cert_file: cannot read',
    ],
    ['a certificate that is none', () => void files.write('cert.pem', 'nothing'), 'holds no PEM certificate'],
    ['a key that is missing', () => rmSync(files.path('key.pem')), 'key_file: cannot read'],
    ['a key that is none', () => void files.write('key.pem', 'nothing'), 'holds no PEM private key'],
    ['the key of another certificate', () => files.copy('key.pem', one.files.serverKey), 'is not the key of the certificate'],
    ['a key with a passphrase', () => files.copy('key.pem', one.files.lockedServerKey), 'is encrypted'],
    ['authorities that are none', () => void files.write('ca.pem', 'nothing'), 'ca_file'],
    [
      'authorities of which the second is broken',
      () => void files.write('ca.pem', broke(one.files.ca)),
      'holds a certificate that cannot be read',
    ],
  ];

  test.each(broken)('%s: refused, and everything is as it was', async (_what, breakIt, words) => {
    files.serve(one.files, one.files, two.files);
    await broker.reload();
    const client = await certified(one.files, 'stays');
    // What else has changed must not come into force either.
    files.serve(two.files, two.files);
    breakIt();
    await expect(broker.reload()).rejects.toThrow(words);
    await expectServed(served.one);
    await client.publish('still/here', 'x', { qos: 1 });
    await client.end();
    await (await certified(one.files, 'new')).end();
  });
});

/** A good certificate and one that has lost a line behind it. */
function broke(path: string): string {
  const pem = readFileSync(path, 'utf8');
  const lines = pem.trim().split('\n');
  return `${pem}${[...lines.slice(0, 2), ...lines.slice(3)].join('\n')}\n`;
}

test('a certificate that has expired is refused, and the one of before stays, though it is no better', async () => {
  const files = new LiveFiles();
  files.serve(one.files, one.files);
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, wallMs: () => systemClock.wallMs() + aheadMs };
  const toml = `[server]\nthreads = 1\n[[listener]]\nname = 'tls'\ntransport = 'tls'\n${files.lines}\n[[listener]]\nname = 'wss'\ntransport = 'wss'\n${files.lines}\n`;
  const broker = await createBroker({ config: loadConfig({ file: temporaryFile(toml) }), clock });
  try {
    aheadMs = 10 * 86_400_000;
    files.serve(two.files, two.files);
    await expect(broker.reload()).rejects.toThrow('has expired');
    expect(await servedBy(broker.tls)).toBe(served.one);
    expect(await servedBy(broker.wss)).toBe(served.one);
    // It hinders no other change.
    files.serve(one.files, one.files);
    await broker.reload();
  } finally {
    await broker.stop();
  }
});

test('vouching: by the authority that has signed, not by one of the same name, and only in its time', () => {
  const client = new X509Certificate(readFileSync(one.files.clientCert));
  const stranger = new X509Certificate(readFileSync(one.files.strangerCert));
  const now = Date.parse(client.validFrom) + 1_000;
  const trust = new Trust(readFileSync(one.files.ca));
  expect(trust.vouchesFor(client, now)).toBe(true);
  expect(trust.vouchesFor(stranger, now)).toBe(false);
  expect(trust.vouchesFor(undefined, now)).toBe(false);
  expect(trust.vouchesFor(client, Date.parse(client.validTo) + 1_000)).toBe(false);
  expect(trust.vouchesFor(client, Date.parse(client.validFrom) - 1_000)).toBe(false);
  expect(new Trust(readFileSync(two.files.ca)).vouchesFor(client, now)).toBe(false);
  expect(new Trust(null).vouchesFor(client, now)).toBe(false);
  // A client's own certificate is no authority.
  expect(new Trust(readFileSync(one.files.clientCert)).vouchesFor(client, now)).toBe(false);
});
