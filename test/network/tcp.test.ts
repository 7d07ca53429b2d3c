// What is particular to TCP and TLS: options that are refused, certificates, handshakes that stall, peers that never close.

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Admission } from '../../engine/admission.ts';
import { systemClock } from '../../engine/clock.ts';
import { Counters } from '../../engine/counters.ts';
import type { Listener } from '../../engine/link.ts';
import type { TlsOptions } from '../../engine/network/certificate.ts';
import { listenTcp, type TcpOptions } from '../../engine/network/tcp.ts';
import { causeName, Recorder } from './recorder.ts';
import { temporaryCertificates, until } from './temporary.ts';

let certificates: ReturnType<typeof temporaryCertificates>;
const listeners: Listener[] = [];
const sockets: Socket[] = [];
let sinks: Recorder[] = [];

beforeAll(() => {
  certificates = temporaryCertificates();
});
afterAll(() => certificates.remove());
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await until('every link is closed', () => sinks.every(({ closed }) => closed !== null));
  for (const listener of listeners.splice(0)) await listener.close();
  for (const { breach } of sinks) expect(breach).toBeNull();
  sinks = [];
});

async function listen(options: Partial<TcpOptions> = {}): Promise<Listener> {
  const listener = await listenTcp({
    name: 'field',
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    endTimeoutMs: 5_000,
    accept: (link) => {
      sinks.push(new Recorder(link));
      return sinks.at(-1)!;
    },
    ...options,
  });
  listeners.push(listener);
  return listener;
}

function tlsOptions(options: Partial<TlsOptions> = {}): TlsOptions {
  const { serverCert, serverKey, ca } = certificates.files;
  return { certFile: serverCert, keyFile: serverKey, caFile: ca, minVersion: 'TLSv1.2', clientCertificate: 'none', ...options };
}

function open(listener: Listener): Socket {
  return kept(connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true }));
}

function openTls(listener: Listener, options: ConnectionOptions = {}): TLSSocket {
  return kept(connectTls({ port: listener.port, host: '127.0.0.1', ca: readFileSync(certificates.files.ca), ...options }));
}

function kept<Kind extends Socket>(socket: Kind): Kind {
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

describe('tcp', () => {
  test.each([
    [{ host: '203.0.113.9' }, /^listener "field": host 203\.0\.113\.9 is not an address of this machine; /],
    [{ host: 'no-such-host.invalid' }, /^listener "field": host no-such-host\.invalid cannot be resolved; /],
  ])('refuses %o in words', async (options, message) => {
    await expect(listen(options)).rejects.toThrow(message);
  });

  test('end closes hard when the peer never closes its side', async () => {
    const listener = await listen({ endTimeoutMs: 50 });
    const socket = open(listener);
    await until('the link is accepted', () => sinks.length === 1);
    socket.resume();
    sinks[0]!.call(() => sinks[0]!.link.end());
    await until('the link is closed', () => sinks[0]!.closed !== null);
    expect(causeName(sinks[0]!.closed)).toBe('LOCAL');
  });

  test('a peer that half-closes and does not read is closed hard', async () => {
    const listener = await listen({ endTimeoutMs: 50 });
    const socket = open(listener);
    await until('the link is accepted', () => sinks.length === 1);
    sinks[0]!.write(new Uint8Array(16_777_216));
    sinks[0]!.flush();
    socket.end();
    await until('the link is closed', () => sinks[0]!.closed !== null);
    expect(causeName(sinks[0]!.closed)).toBe('PEER');
  });

  test('a reset by the peer is the peer going', async () => {
    const listener = await listen();
    const socket = open(listener);
    await until('the link is accepted', () => sinks.length === 1);
    socket.resetAndDestroy();
    await until('the link is closed', () => sinks[0]!.closed !== null);
    expect(causeName(sinks[0]!.closed)).toBe('PEER');
  });
});

describe('tls', () => {
  test('a verified client certificate becomes part of the peer', async () => {
    const listener = await listen({ tls: tlsOptions({ clientCertificate: 'require' }) });
    const cert = readFileSync(certificates.files.clientCert);
    openTls(listener, { cert, key: readFileSync(certificates.files.clientKey) });
    await until('the link is accepted', () => sinks.length === 1);
    const fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
    expect(sinks[0]!.link.peer.certificate).toEqual({ commonName: 'client-1', fingerprint });
  });

  test('a resumed session still has the certificate', async () => {
    const listener = await listen({ tls: tlsOptions({ clientCertificate: 'require' }) });
    const identity = { cert: readFileSync(certificates.files.clientCert), key: readFileSync(certificates.files.clientKey) };
    const first = openTls(listener, identity);
    let session: Buffer | null = null;
    first.on('session', (ticket) => {
      session = ticket;
    });
    first.resume();
    await until('there is a ticket', () => session !== null);
    const second = openTls(listener, { ...identity, session: session! });
    await until('the link is accepted', () => sinks.length === 2);
    expect(second.isSessionReused()).toBe(true);
    expect(sinks[1]!.link.peer.certificate?.commonName).toBe('client-1');
  });

  test.each([
    ['field', true],
    ['another', false],
  ])('a session of "field" at a listener "%s" with the same ticket keys: resumed %s', async (name, isResumed) => {
    const shared = { tls: tlsOptions(), ticketKeys: new Uint8Array(48).fill(7) };
    const first = openTls(await listen(shared));
    let session: Buffer | null = null;
    first.on('session', (ticket) => {
      session = ticket;
    });
    first.resume();
    await until('there is a ticket', () => session !== null);
    const second = openTls(await listen({ ...shared, name }), { session: session! });
    await until('the link is accepted', () => sinks.length === 2);
    expect(second.isSessionReused()).toBe(isResumed);
  });

  test.each(['none', 'stranger'])('require refuses %s', async (kind) => {
    const listener = await listen({ tls: tlsOptions({ clientCertificate: 'require' }) });
    const { strangerCert, strangerKey } = certificates.files;
    const socket = openTls(listener, kind === 'none' ? {} : { cert: readFileSync(strangerCert), key: readFileSync(strangerKey) });
    await until('it is closed', () => socket.closed);
    expect(sinks).toHaveLength(0);
  });

  test.each(['none', 'stranger'])('request accepts %s, without a certificate', async (kind) => {
    const listener = await listen({ tls: tlsOptions({ clientCertificate: 'request' }) });
    const { strangerCert, strangerKey } = certificates.files;
    openTls(listener, kind === 'none' ? {} : { cert: readFileSync(strangerCert), key: readFileSync(strangerKey) });
    await until('the link is accepted', () => sinks.length === 1);
    expect(sinks[0]!.link.peer.certificate).toBeNull();
  });

  test('versions below the least are refused', async () => {
    const listener = await listen({ tls: tlsOptions({ minVersion: 'TLSv1.3' }) });
    const old = openTls(listener, { maxVersion: 'TLSv1.2' });
    await until('it is closed', () => old.closed);
    openTls(listener);
    await until('the link is accepted', () => sinks.length === 1);
  });

  test('a handshake that stalls is ended, and does not keep its place', async () => {
    const options = { tls: tlsOptions(), handshakes: { perSecondMax: 0, pendingMax: 2 }, handshakeTimeoutMs: 500 };
    const listener = await listen(options);
    const silent = [open(listener), open(listener)];
    for (const socket of silent) socket.resume();
    await until('both are connected', () => silent.every((socket) => !socket.connecting));
    const third = openTls(listener);
    await until('the third is refused', () => third.closed);
    await until('the silent ones are ended', () => silent.every((socket) => socket.readableEnded || socket.closed));
    for (const socket of silent) socket.destroy();
    openTls(listener);
    await until('the link is accepted', () => sinks.length === 1);
  });

  test('destroy ends the handshakes under way and leaves the links alone', async () => {
    const listener = await listen({ tls: tlsOptions(), handshakeTimeoutMs: 600_000 });
    const client = openTls(listener);
    await until('the link is accepted', () => sinks.length === 1);
    const silent = open(listener);
    silent.resume();
    await until('it is connected', () => !silent.connecting);
    await listener.close();
    listener.destroy();
    await until('the silent one is ended', () => silent.readableEnded || silent.closed);
    client.write('still there');
    await until('the link has the bytes', () => sinks[0]!.receivedBytes > 0);
  });

  test('bytes that are no TLS close the connection', async () => {
    const listener = await listen({ tls: tlsOptions() });
    const socket = open(listener);
    socket.resume();
    socket.end(Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54]));
    await until('it is closed', () => socket.closed);
    expect(sinks).toHaveLength(0);
  });

  test('handshakes above the rate are refused', async () => {
    const clock = { ...systemClock, monotonicMs: () => 0 };
    const listener = await listen({ clock, tls: tlsOptions(), handshakes: { perSecondMax: 2, pendingMax: 0 } });
    for (let i = 1; i <= 2; i++) {
      openTls(listener);
      await until('the link is accepted', () => sinks.length === i);
    }
    const third = openTls(listener);
    await until('the third is refused', () => third.closed);
  });

  test('an address that is banned while its handshake is under way does not come in', async () => {
    const counters = new Counters();
    const admission = new Admission(counters);
    let looks = 0;
    admission.banned = { has: () => ++looks > 1 };
    const listener = await listen({ tls: tlsOptions(), admission });
    const socket = openTls(listener);
    await until('it is closed', () => socket.closed);
    expect([sinks.length, looks, counters.refusedBanned]).toEqual([0, 2, 1]);
  });

  test('an encrypted key opens with its passphrase', async () => {
    const listener = await listen({ tls: tlsOptions({ keyFile: certificates.files.lockedServerKey, passphrase: 'secret' }) });
    openTls(listener);
    await until('the link is accepted', () => sinks.length === 1);
  });

  test('each wrong file is named, with what to do', async () => {
    const { clientKey, serverCert, serverKey, lockedServerKey } = certificates.files;
    const wrong: [Partial<TlsOptions>, RegExp][] = [
      [{ certFile: '/nowhere.pem' }, /^listener "field": cert_file: cannot read \/nowhere\.pem \(ENOENT\); give a file /],
      [{ keyFile: '/nowhere.key' }, /key_file: cannot read/],
      [{ caFile: '/nowhere.pem' }, /ca_file: cannot read/],
      [{ certFile: serverKey }, /cert_file: .* holds no PEM certificate/],
      [{ keyFile: serverCert }, /key_file: .* holds no PEM private key/],
      [{ caFile: serverKey }, /ca_file: .* holds no PEM certificate/],
      [{ keyFile: clientKey }, /key_file: .* is not the key of the certificate/],
      [{ keyFile: lockedServerKey }, /key_file: .* is encrypted/],
      [{ keyFile: lockedServerKey, passphrase: 'wrong' }, /key_file: .* is encrypted/],
    ];
    for (const [options, message] of wrong) await expect(listen({ tls: tlsOptions(options) })).rejects.toThrow(message);
    const { caFile: _, ...withoutCa } = tlsOptions({ clientCertificate: 'require' });
    await expect(listen({ tls: withoutCa })).rejects.toThrow(/ca_file: is missing; client_certificate "require" needs/);
  });
});
