// The PROXY header: as a parser on bytes, at every split, and in front of a listener.
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../engine/clock.ts';
import type { Listener } from '../../engine/link.ts';
import { PROXY_HEADER_BYTES_MAX, type ProxyHeader, parseProxyHeader } from '../../engine/network/proxy-protocol.ts';
import { listenTcp, type TcpOptions } from '../../engine/network/tcp.ts';
import { Recorder } from './recorder.ts';
import { temporaryCertificates, until } from './temporary.ts';

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

function v2(command: number, family: number, rest: readonly number[]): Buffer {
  return Buffer.from([...SIGNATURE, command, family, rest.length >> 8, rest.length & 0xff, ...rest]);
}
const v1 = (text: string) => Buffer.from(`${text}\r\n`, 'latin1');
const port = (value: number) => [value >> 8, value & 0xff];
const TCP4 = [192, 0, 2, 7, 198, 51, 100, 1, ...port(40_000), ...port(1_883)];
const TCP6 = [0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 7, ...new Array(15).fill(0), 1, ...port(40_000), ...port(1_883)];
const TLV = [0x04, 0, 3, 0, 0, 0];

const v4Origin = { address: '192.0.2.7', port: 40_000 };
const v6Origin = { address: '2001:db8::7', port: 40_000 };

const wellFormed: readonly [name: string, header: Buffer, origin: { address: string; port: number } | null][] = [
  ['v1 TCP4', v1('PROXY TCP4 192.0.2.7 198.51.100.1 40000 1883'), v4Origin],
  ['v1 TCP6', v1('PROXY TCP6 2001:db8::7 ::1 40000 1883'), v6Origin],
  ['v1 UNKNOWN', v1('PROXY UNKNOWN'), null],
  ['v1 UNKNOWN with addresses', v1('PROXY UNKNOWN ffff::1 ffff::2 1 2'), null],
  ['v2 TCP4', v2(0x21, 0x11, TCP4), v4Origin],
  ['v2 TCP6', v2(0x21, 0x21, TCP6), v6Origin],
  ['v2 TCP4 with TLVs', v2(0x21, 0x11, [...TCP4, ...TLV]), v4Origin],
  [
    'v2 TCP6 with a mapped IPv4 address',
    v2(0x21, 0x21, [...new Array(10).fill(0), 0xff, 0xff, 192, 0, 2, 7, ...TCP6.slice(16)]),
    v4Origin,
  ],
  ['v2 LOCAL', v2(0x20, 0x00, []), null],
  ['v2 LOCAL with addresses', v2(0x20, 0x11, TCP4), null],
  ['v2 UNSPEC', v2(0x21, 0x00, TLV), null],
];

const malformed: readonly [name: string, header: Buffer][] = [
  ['an MQTT packet', Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54])],
  ['an HTTP request', Buffer.from('PUT / HTTP/1.1\r\n')],
  ['v1 with an unknown family', v1('PROXY UDP4 192.0.2.7 198.51.100.1 40000 1883')],
  ['v1 with an address of the other family', v1('PROXY TCP4 ::1 ::1 40000 1883')],
  ['v1 with a missing field', v1('PROXY TCP4 192.0.2.7 198.51.100.1 40000')],
  ['v1 with a field too many', v1('PROXY TCP4 192.0.2.7 198.51.100.1 40000 1883 1')],
  ['v1 with two spaces', v1('PROXY TCP4  192.0.2.7 198.51.100.1 40000 1883')],
  ['v1 with a port above 65535', v1('PROXY TCP4 192.0.2.7 198.51.100.1 65536 1883')],
  ['v1 with a leading zero', v1('PROXY TCP4 192.0.2.7 198.51.100.1 040 1883')],
  ['v1 with CR alone', Buffer.from('PROXY UNKNOWN\rX')],
  ['v1 without an end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(107)}`)],
  ['v1 of 108 bytes', v1(`PROXY UNKNOWN ${'x'.repeat(92)}`)],
  ['v2 of another version', v2(0x11, 0x11, TCP4)],
  ['v2 with another command', v2(0x22, 0x11, TCP4)],
  ['v2 over UDP', v2(0x21, 0x12, TCP4)],
  ['v2 too short for TCP4', v2(0x21, 0x11, TCP4.slice(0, 11))],
  ['v2 too short for TCP6', v2(0x21, 0x21, TCP4)],
  ['v2 longer than the bound', Buffer.from([...SIGNATURE, 0x21, 0x11, 0xff, 0xff])],
];

describe('the parser', () => {
  test.each(wellFormed)('%s, at every split', (_name, header, origin) => {
    const bytes = Buffer.concat([header, Buffer.from([0x10, 0x00])]);
    for (let split = 0; split < header.length; split++) {
      expect(parseProxyHeader(bytes.subarray(0, split)), `after ${split} bytes`).toEqual({ kind: 'incomplete' });
    }
    const complete: ProxyHeader = { kind: 'complete', bytes: header.length, origin };
    expect(parseProxyHeader(header)).toEqual(complete);
    expect(parseProxyHeader(bytes)).toEqual(complete);
  });

  test('v1 of 107 bytes is the longest', () => {
    expect(parseProxyHeader(v1(`PROXY UNKNOWN ${'x'.repeat(91)}`))).toEqual({ kind: 'complete', bytes: 107, origin: null });
  });

  test.each(malformed)('%s is malformed', (_name, header) => {
    expect(parseProxyHeader(header)).toEqual({ kind: 'malformed' });
  });

  test('any addresses and ports survive, in both versions, and more bytes never change a verdict', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const portNumber = fc.integer({ min: 0, max: 65_535 });
    fc.assert(
      fc.property(
        fc.tuple(octet, octet, octet, octet),
        portNumber,
        fc.uint8Array({ maxLength: 40 }),
        (source, sourcePort, tail) => {
          const origin = { address: source.join('.'), port: sourcePort };
          const text = v1(`PROXY TCP4 ${origin.address} 127.0.0.1 ${sourcePort} 1`);
          const binary = v2(0x21, 0x11, [...source, 127, 0, 0, 1, ...port(sourcePort), ...port(1)]);
          for (const header of [text, binary]) {
            expect(parseProxyHeader(Buffer.concat([header, tail]))).toEqual({ kind: 'complete', bytes: header.length, origin });
          }
        },
      ),
    );
  });

  test('random bytes: a verdict, once final, stays; and no header is longer than its bound', () => {
    const start = fc.constantFrom(Buffer.alloc(0), Buffer.from('PROXY '), Buffer.from('PROXY TCP4 '), Buffer.from(SIGNATURE));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 200 }), (prefix, rest) => {
        const bytes = Buffer.concat([prefix, rest]);
        let verdict: ProxyHeader = { kind: 'incomplete' };
        for (let length = 0; length <= bytes.length; length++) {
          const next = parseProxyHeader(bytes.subarray(0, length));
          if (verdict.kind === 'incomplete') verdict = next;
          else expect(next).toEqual(verdict);
        }
        if (verdict.kind === 'complete') expect(verdict.bytes).toBeLessThanOrEqual(PROXY_HEADER_BYTES_MAX);
      }),
    );
  });
});

describe('a listener behind a proxy', () => {
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
      name: 'edge',
      host: '127.0.0.1',
      port: 0,
      clock: systemClock,
      endTimeoutMs: 1_000,
      proxyProtocol: { trusted: ['127.0.0.0/8'], timeoutMs: 5_000 },
      accept: (link) => {
        sinks.push(new Recorder(link));
        return sinks.at(-1)!;
      },
      ...options,
    });
    listeners.push(listener);
    return listener;
  }

  function open(listener: Listener): Socket {
    const socket = connect(listener.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.setNoDelay(true);
    sockets.push(socket);
    return socket;
  }

  test.each(wellFormed)('%s names the peer, and what follows goes on', async (_name, header, origin) => {
    const listener = await listen();
    const socket = open(listener);
    socket.write(Buffer.concat([header, Buffer.from('first')]));
    await until('bytes arrive', () => sinks[0]?.receivedBytes === 5);
    socket.write('second');
    await until('more bytes arrive', () => sinks[0]?.receivedBytes === 11);
    expect(Buffer.concat(sinks[0]!.received).toString()).toBe('firstsecond');
    expect(sinks[0]!.link.peer).toMatchObject(origin ?? { address: '127.0.0.1' });
    sinks[0]!.write(Buffer.from('answer'));
    sinks[0]!.flush();
    const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    expect(answer.toString()).toBe('answer');
  });

  test('byte by byte, and paused in accept', async () => {
    const listener = await listen({
      accept: (link) => {
        sinks.push(new Recorder(link));
        link.pause();
        return sinks.at(-1)!;
      },
    });
    const socket = open(listener);
    for (const byte of wellFormed[4]![1]) await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve));
    socket.write('behind');
    await until('the link is accepted', () => sinks.length === 1);
    expect(sinks[0]!.receivedBytes).toBe(0);
    sinks[0]!.call(() => sinks[0]!.link.resume());
    await until('bytes arrive', () => sinks[0]!.receivedBytes === 6);
  });

  test('the TLS handshake follows the header, also in the same bytes', async () => {
    const { serverCert, serverKey, ca } = certificates.files;
    const listener = await listen({
      tls: { certFile: serverCert, keyFile: serverKey, minVersion: 'TLSv1.2', clientCertificate: 'none' },
    });
    const socket = open(listener);
    socket.cork();
    socket.write(wellFormed[0]![1]);
    const secure = connectTls({ socket, ca: readFileSync(ca), servername: 'localhost' });
    secure.on('error', () => {});
    socket.uncork();
    secure.write('hidden');
    await until('bytes arrive', () => sinks[0]?.receivedBytes === 6);
    expect(sinks[0]!.link.peer).toMatchObject({ ...v4Origin, transport: 'tls', secure: true });
  });

  test('an address that is not trusted is refused', async () => {
    const listener = await listen({ proxyProtocol: { trusted: ['192.0.2.0/24', '::1'], timeoutMs: 5_000 } });
    const socket = open(listener);
    socket.write(wellFormed[0]![1]);
    await until('it is closed', () => socket.closed);
    expect(sinks).toHaveLength(0);
  });

  test.each(malformed)('%s closes the connection', async (_name, header) => {
    const listener = await listen();
    const socket = open(listener);
    socket.write(header);
    await until('it is closed', () => socket.closed);
    expect(sinks).toHaveLength(0);
  });

  test('a late header closes the connection, and its place is free again', async () => {
    const listener = await listen({
      proxyProtocol: { trusted: ['127.0.0.1'], timeoutMs: 50 },
      handshakes: { perSecondMax: 0, pendingMax: 1 },
    });
    const late = open(listener);
    late.write('PROXY ');
    await until('it is closed', () => late.closed);
    const socket = open(listener);
    socket.write(wellFormed[0]![1]);
    await until('the link is accepted', () => sinks.length === 1);
  });

  test('a trusted entry that is no address is refused in words', async () => {
    for (const entry of ['localhost', '10.0.0.0/33', '10.0.0.0/8/8', '10.0.0.0/x']) {
      const options = { proxyProtocol: { trusted: [entry], timeoutMs: 1_000 } };
      await expect(listen(options)).rejects.toThrow(`listener "edge": proxy_trusted: "${entry}" is no address or network`);
    }
  });
});
