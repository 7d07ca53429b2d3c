// What is particular to WebSocket: the HTTP request, frames, and what uWebSockets.js cannot do.
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { systemClock } from '../../engine/clock.ts';
import type { Listener } from '../../engine/link.ts';
import type { TlsOptions } from '../../engine/network/certificate.ts';
import { listenWebSocket, type WebSocketOptions } from '../../engine/network/websocket.ts';
import { chooseSubprotocol } from '../../engine/network/websocket-handshake.ts';
import { causeName, Recorder } from './recorder.ts';
import { temporaryCertificates, until } from './temporary.ts';

const listeners: Listener[] = [];
const clients: WebSocket[] = [];
const sockets: Socket[] = [];
let sinks: Recorder[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  for (const socket of sockets.splice(0)) socket.destroy();
  await until('every link is closed', () => sinks.every(({ closed }) => closed !== null));
  for (const listener of listeners.splice(0)) await listener.close();
  for (const { breach } of sinks) expect(breach).toBeNull();
  sinks = [];
});

async function listen(options: Partial<WebSocketOptions> = {}): Promise<Listener> {
  const listener = await listenWebSocket({
    name: 'web',
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    endTimeoutMs: 5_000,
    origins: null,
    payloadBytesMax: 1_000_000,
    accept: (link) => {
      sinks.push(new Recorder(link));
      return sinks.at(-1)!;
    },
    ...options,
  });
  listeners.push(listener);
  return listener;
}

async function open(listener: Listener, options: ClientOptions = {}): Promise<{ client: WebSocket; sink: Recorder }> {
  const client = new WebSocket(`ws://127.0.0.1:${listener.port}/mqtt`, ['mqtt'], options);
  client.on('error', () => {});
  clients.push(client);
  const before = sinks.length;
  await until('the link is accepted', () => sinks.length > before && client.readyState === WebSocket.OPEN);
  return { client, sink: sinks.at(-1)! };
}

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly text: string;
}

/** Sends a handshake by hand; resolves with the head of the answer, and with the body when it is refused. */
async function handshake(listener: Listener, headers: Record<string, string>, path = '/mqtt'): Promise<Answer> {
  const socket = connect(listener.port, '127.0.0.1');
  sockets.push(socket);
  let answer = '';
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
  });
  const request = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    ...headers,
  };
  const lines = Object.entries(request).map(([key, value]) => `${key}: ${value}\r\n`);
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  await until('there is an answer', () => (answer.startsWith('HTTP/1.1 101') && answer.includes('\r\n\r\n')) || socket.closed);
  const [head = '', text = ''] = answer.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), head: head.toLowerCase(), text };
}

const MQTT = { 'Sec-WebSocket-Protocol': 'mqtt' };

describe('the handshake', () => {
  test.each([
    ['mqtt', 'mqtt'],
    ['mqttv3.1', 'mqttv3.1'],
    ['chat, mqtt', 'mqtt'],
    ['mqttv3.1,mqtt', 'mqttv3.1'],
    ['mqtt, mqttv3.1', 'mqtt'],
  ])('offered "%s", "%s" is selected [MQTT-6.0.0-3] [MQTT-6.0.0-4]', async (offered, selected) => {
    const listener = await listen();
    const { status, head } = await handshake(listener, { 'Sec-WebSocket-Protocol': offered });
    expect(status).toBe(101);
    expect(head).toContain(`sec-websocket-protocol: ${selected}\r\n`);
  });

  test.each([{}, { 'Sec-WebSocket-Protocol': 'chat' }, { 'Sec-WebSocket-Protocol': 'MQTT' }])(
    'without a subprotocol of MQTT it is refused: %o [MQTT-6.0.0-3]',
    async (headers) => {
      const listener = await listen();
      const { status, text } = await handshake(listener, headers);
      expect(status).toBe(400);
      expect(text).toContain('mqtt, mqttv3.1');
      expect(sinks).toHaveLength(0);
    },
  );

  test('the subprotocol is one of the offered ones, or none', () => {
    const names = fc.constantFrom('mqtt', 'mqttv3.1', 'chat', '', 'mqtt5');
    fc.assert(
      fc.property(fc.array(names), (offered) => {
        expect(chooseSubprotocol(offered.join(', '))).toBe(offered.find((name) => name === 'mqtt' || name === 'mqttv3.1') ?? '');
      }),
    );
  });

  test('another path is not found; the path without an upgrade says so', async () => {
    const listener = await listen();
    expect((await handshake(listener, MQTT, '/')).status).toBe(404);
    expect((await handshake(listener, MQTT, '/mqtt/more')).status).toBe(404);
    expect((await handshake(listener, { Upgrade: 'none', 'Sec-WebSocket-Key': '' })).status).toBe(426);
    const other = await listen({ path: '/' });
    expect((await handshake(other, MQTT, '/')).status).toBe(101);
    expect((await handshake(other, MQTT, '/mqtt')).status).toBe(404);
    await expect(listen({ path: 'mqtt' })).rejects.toThrow(
      /^listener "web": path: "mqtt" cannot be served; write it like \/mqtt/,
    );
    await expect(listen({ path: '/*' })).rejects.toThrow(/path/);
  });

  test('only listed origins may connect, and those who are no browser', async () => {
    const listener = await listen({ origins: ['https://Example.org'] });
    expect((await handshake(listener, { ...MQTT, Origin: 'https://example.org' })).status).toBe(101);
    expect((await handshake(listener, MQTT)).status).toBe(101);
    for (const origin of ['https://example.org.evil.test', 'http://example.org', 'null']) {
      const { status, head, text } = await handshake(listener, { ...MQTT, Origin: origin });
      expect(status).toBe(403);
      expect(head).toContain('403 origin not allowed');
      expect(text).not.toContain(origin);
    }
  });

  test('handshakes above the rate are told to come back', async () => {
    const clock = { ...systemClock, monotonicMs: () => 0 };
    const listener = await listen({ clock, handshakes: { perSecondMax: 2, pendingMax: 0 } });
    expect((await handshake(listener, MQTT)).status).toBe(101);
    expect((await handshake(listener, MQTT)).status).toBe(101);
    const { status, head } = await handshake(listener, MQTT);
    expect(status).toBe(503);
    expect(head).toContain('retry-after: 1');
  });

  test('silent connections above the bound are closed; upgraded and closed ones do not count', async () => {
    const listener = await listen({ handshakes: { perSecondMax: 0, pendingMax: 2 } });
    for (let i = 0; i < 5; i++) expect((await handshake(listener, MQTT)).status).toBe(101);
    for (let i = 0; i < 5; i++) expect((await handshake(listener, MQTT, '/nothing')).status).toBe(404);
    const silent = Array.from({ length: 5 }, () => connect(listener.port, '127.0.0.1'));
    for (const socket of silent) socket.on('error', () => {});
    await until('three are closed', () => silent.filter((socket) => socket.closed).length === 3);
    for (const socket of silent) socket.destroy();
    let status = 0;
    while (status !== 101) ({ status } = await handshake(listener, MQTT));
  });
});

describe('frames', () => {
  test('a text frame closes with 1003 [MQTT-6.0.0-1]', async () => {
    const { client, sink } = await open(await listen());
    let code = 0;
    client.on('close', (received) => {
      code = received;
    });
    client.send('text');
    client.send(Buffer.from('late'));
    await until('both sides are closed', () => code !== 0 && sink.closed !== null);
    expect(code).toBe(1_003);
    expect(causeName(sink.closed)).toBe('ERROR');
    expect(sink.receivedBytes).toBe(0);
  });

  test('fragments are joined [MQTT-6.0.0-2]', async () => {
    const { client, sink } = await open(await listen());
    client.send(Buffer.from('one '), { binary: true, fin: false });
    client.send(Buffer.from('two '), { binary: true, fin: false });
    client.send(Buffer.from('three'), { binary: true, fin: true });
    await until('all has arrived', () => sink.receivedBytes === 13);
    expect(Buffer.concat(sink.received).toString()).toBe('one two three');
  });

  test('a message above the bound closes the connection', async () => {
    const { client, sink } = await open(await listen({ payloadBytesMax: 1_000 }));
    client.send(new Uint8Array(1_000));
    client.send(new Uint8Array(1_001));
    await until('the link is closed', () => sink.closed !== null);
    expect(sink.receivedBytes).toBe(1_000);
    expect(causeName(sink.closed)).toBe('ERROR');
  });

  test('the writes of a turn share a frame, links do not', async () => {
    const listener = await listen();
    const one = await open(listener);
    const two = await open(listener);
    const frames: string[][] = [[], []];
    one.client.on('message', (data) => frames[0]!.push(data.toString()));
    two.client.on('message', (data) => frames[1]!.push(data.toString()));
    for (const text of ['a', 'b', 'c']) one.sink.write(Buffer.from(text));
    two.sink.write(Buffer.from('x'));
    one.sink.write(Buffer.from('d'));
    two.sink.write(Buffer.from('y'));
    one.sink.flush();
    two.sink.flush();
    await until('all has arrived', () => frames[0]!.join('') === 'abcd' && frames[1]!.join('') === 'xy');
    expect(frames[0]).toEqual(['abc', 'd']);
  });

  test('bytes that a closed link left behind reach nobody else', async () => {
    const listener = await listen();
    const one = await open(listener);
    const two = await open(listener);
    const received: string[] = [];
    two.client.on('message', (data) => received.push(data.toString()));
    one.sink.write(Buffer.from('secret'));
    one.sink.call(() => one.sink.link.destroy());
    two.sink.write(Buffer.from('mine'));
    two.sink.flush();
    await until('bytes arrive', () => received.length > 0);
    expect(received).toEqual(['mine']);
  });

  test('end closes with 1000; a peer that does not read is closed hard', async () => {
    const listener = await listen({ endTimeoutMs: 50 });
    const polite = await open(listener);
    let code = 0;
    polite.client.on('close', (received) => {
      code = received;
    });
    polite.sink.call(() => polite.sink.link.end());
    await until('the client sees the end', () => code === 1_000);
    const frozen = await open(listener);
    frozen.client.pause();
    frozen.sink.write(new Uint8Array(16_777_216));
    frozen.sink.call(() => frozen.sink.link.end());
    await until('the link is closed', () => frozen.sink.closed !== null);
    expect(causeName(frozen.sink.closed)).toBe('LOCAL');
  });

  test.each([true, false])('compression %s: bytes are the same', async (compression) => {
    const { client, sink } = await open(await listen({ compression }));
    expect(client.extensions.includes('permessage-deflate')).toBe(compression);
    const received: Buffer[] = [];
    client.on('message', (data: Buffer) => received.push(data));
    const bytes = Buffer.alloc(100_000, 'abc');
    sink.write(bytes);
    sink.flush();
    client.send(bytes);
    await until('all has arrived', () => sink.receivedBytes === bytes.length && received.length === 1);
    expect(received[0]!.equals(bytes)).toBe(true);
    expect(Buffer.concat(sink.received).equals(bytes)).toBe(true);
  });

  test('a client that vanishes is the peer going', async () => {
    const { client, sink } = await open(await listen());
    client.terminate();
    await until('the link is closed', () => sink.closed !== null);
    expect(causeName(sink.closed)).toBe('PEER');
  });
});

describe('over TLS', () => {
  let certificates: ReturnType<typeof temporaryCertificates>;
  beforeAll(() => {
    certificates = temporaryCertificates();
  });
  afterAll(() => certificates.remove());

  function tls(options: Partial<TlsOptions> = {}): TlsOptions {
    const { serverCert, serverKey } = certificates.files;
    return { certFile: serverCert, keyFile: serverKey, minVersion: 'TLSv1.2', clientCertificate: 'none', ...options };
  }

  test('what uWebSockets cannot do is refused in words, and so is a wrong file', async () => {
    const { ca, clientKey } = certificates.files;
    const wrong: [Partial<TlsOptions>, RegExp][] = [
      [{ clientCertificate: 'request', caFile: ca }, /^listener "web": client_certificate: WebSocket cannot ask/],
      [{ clientCertificate: 'require', caFile: ca }, /client_certificate/],
      [{ minVersion: 'TLSv1.3' }, /tls_min_version: WebSocket cannot be limited/],
      [{ certFile: '/nowhere.pem' }, /cert_file: cannot read/],
      [{ keyFile: clientKey }, /key_file: .* is not the key/],
    ];
    for (const [options, message] of wrong) await expect(listen({ tls: tls(options) })).rejects.toThrow(message);
  });

  test('an encrypted key opens with its passphrase', async () => {
    await listen({ tls: tls({ keyFile: certificates.files.lockedServerKey, passphrase: 'secret' }) });
  });

  test('handshakes that stall do not keep others out for ever', async () => {
    const listener = await listen({ tls: tls(), handshakes: { perSecondMax: 0, pendingMax: 1 } });
    const silent = connect(listener.port, '127.0.0.1');
    await until('it is connected', () => !silent.connecting);
    silent.destroy();
    let accepted = false;
    while (!accepted) {
      const client = new WebSocket(`wss://127.0.0.1:${listener.port}/mqtt`, ['mqtt'], { rejectUnauthorized: false });
      client.on('error', () => {});
      clients.push(client);
      await until('it is decided', () => client.readyState === WebSocket.OPEN || client.readyState === WebSocket.CLOSED);
      accepted = client.readyState === WebSocket.OPEN;
    }
  });
});
