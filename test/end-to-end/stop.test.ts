// How the process stops: by one signal in order, by a second one at once, and within its time whatever the clients do.
import { readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import * as wire from '../conformance/bytes.ts';
import { RawWebSocket } from '../conformance/raw-websocket.ts';
import { certificates, everyTransport } from './listeners.ts';
import { type MqttJs, mqttJs } from './mqttjs.ts';
import { type Served, serve } from './served.ts';

const authority = readFileSync(certificates.ca);
const transports = ['tcp', 'tls', 'ws', 'wss'] as const;
const signals = [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const;
/** More than the kernel takes for a peer that does not read. */
const LARGE_BYTES = 15_000_000;

const left: (() => void)[] = [];
afterEach(() => {
  for (const drop of left.splice(0)) drop();
});

/** Opens a connection; resolves with the code of the failure, or with `connected`. */
function tryPort(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectSocket(port, '127.0.0.1');
    left.push(() => socket.destroy());
    socket.on('connect', () => resolve('connected'));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
  });
}

/** A client over TCP that subscribes and from then on reads nothing. */
async function deafOverTcp(port: number, topic: string): Promise<void> {
  const socket: Socket = connectSocket(port, '127.0.0.1');
  left.push(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(Buffer.concat([wire.connect(4), wire.subscribe(4, { filters: [[topic, 0]] })]));
  await new Promise<void>((resolve) => {
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes < 9) return; // CONNACK and SUBACK
      socket.pause();
      resolve();
    });
  });
}

/** The same over WebSocket: RawWebSocket reads only when it is asked to. */
async function deafOverWebSocket(port: number, topic: string): Promise<void> {
  const socket = await RawWebSocket.open(port, '/mqtt', 'mqtt');
  left.push(() => socket.drop());
  socket.send(2, Buffer.concat([wire.connect(4), wire.subscribe(4, { filters: [[topic, 0]] })]));
  await socket.nextBytes(9);
}

/** A broker with a client that never reads what it is sent, and one that tells when the stop has begun. */
async function stuck(transport: 'tcp' | 'ws', stopTimeoutMs: number): Promise<{ served: Served; witness: MqttJs }> {
  const served = await serve(`[server]\nstop_timeout_ms = ${stopTimeoutMs}`);
  const port = served.port(transport);
  await (transport === 'tcp' ? deafOverTcp(port, 'much') : deafOverWebSocket(port, 'much'));
  const witness = await mqttJs({ port: served.port('tcp'), level: 5 });
  await witness.publish('much', Buffer.alloc(LARGE_BYTES), { qos: 1 });
  // It is over the mark now; another message starts the time after which it counts as slow.
  await witness.publish('much', 'more', { qos: 0 });
  await served.child.until('the broker knows that the client does not read', () =>
    served.child.stderr.includes('a receiver does not keep up'),
  );
  return { served, witness };
}

describe.each(signals)('%s', (signal, codeOfSecond) => {
  test('says 0x8B to MQTT 5 clients, closes the others, and ends with 0', async () => {
    const served = await serve(everyTransport());
    const clients = await Promise.all(
      transports.flatMap((transport) =>
        ([4, 5] as const).map((level) => mqttJs({ transport, level, port: served.port(transport), ca: authority })),
      ),
    );
    served.child.kill(signal);
    await Promise.all(clients.map((client) => client.until('the connection is closed', () => client.closed)));
    expect(clients.map(({ disconnectReason }) => disconnectReason)).toEqual(transports.flatMap(() => [null, 0x8b]));
    expect(clients.map(({ error }) => error)).toEqual(clients.map(() => null));
    expect(await served.child.ended()).toEqual({ code: 0, signal: null });
    expect(served.child.stderr).toBe('');
    for (const transport of transports) expect(await tryPort(served.port(transport))).toBe('ECONNREFUSED');
  });

  test('refuses new connections while it stops; a second signal ends it at once', async () => {
    const { served, witness } = await stuck('tcp', 600_000);
    served.child.kill(signal);
    await witness.until('the stop has begun', () => witness.closed);
    expect(witness.disconnectReason).toBe(0x8b);
    // With several shards each closes its own part of the port, one a moment after the other.
    for (const transport of ['tcp', 'ws'] as const) while ((await tryPort(served.port(transport))) !== 'ECONNREFUSED');
    expect(served.child.exit).toBeNull();
    served.child.kill(signal);
    expect(await served.child.ended()).toEqual({ code: codeOfSecond, signal: null });
  });
});

test.each(['tcp', 'ws'] as const)(
  'a client over %s that never reads holds the stop no longer than its time',
  async (transport) => {
    const { served, witness } = await stuck(transport, 300);
    served.child.kill('SIGTERM');
    await witness.until('the stop has begun', () => witness.closed);
    expect(await served.child.ended()).toEqual({ code: 0, signal: null });
  },
);

test('what was acknowledged before the stop has reached its subscribers', async () => {
  const served = await serve();
  const sub = await mqttJs({ transport: 'ws', port: served.port('ws'), level: 5 });
  await sub.subscribe('last/#', 2);
  const pub = await mqttJs({ port: served.port('tcp'), level: 5 });
  const payloads = Array.from({ length: 200 }, (_, index) => String(index));
  await Promise.all(payloads.map((payload) => pub.publish('last/words', payload, { qos: 1 })));
  served.child.kill('SIGTERM');
  await sub.until('the connection is closed', () => sub.closed);
  expect(sub.payloads).toEqual(payloads);
  expect(await served.child.ended()).toEqual({ code: 0, signal: null });
});

test('a connection that has not said CONNECT, or is in the middle of a handshake, does not hold the stop', async () => {
  const served = await serve(everyTransport('[server]\nstop_timeout_ms = 600000\n[limits]\nconnect_timeout_ms = 600000'));
  for (const transport of transports) expect(await tryPort(served.port(transport))).toBe('connected');
  expect(await served.stop()).toEqual({ code: 0, signal: null });
});
