// How a broker of several shards ends: in order, at once, and when one of its shards has died. Never by an abort of the process.
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { needsHandOut } from '../../engine/network/hand-out.ts';
import { startBroker } from '../broker.ts';
import * as wire from '../conformance/bytes.ts';
import { RawWebSocket } from '../conformance/raw-websocket.ts';
import { Child } from '../end-to-end/child.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { serve } from '../end-to-end/served.ts';
import { directory } from '../security/temporary.ts';

const SHARDS = 3;
const THREE = `[server]\nthreads = ${SHARDS}`;
/** More than the kernel takes for a peer that does not read. */
const LARGE_BYTES = 15_000_000;
/** What a process leaves behind that was ended by its own fault. */
const NATIVE_TRACE = /abort|SIGABRT|FATAL ERROR|Native stack|libuv|Check failed|Segmentation/i;

const left: (() => void)[] = [];
const stops: (() => Promise<void>)[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const drop of left.splice(0)) drop();
  for (const stop of stops.splice(0)) await stop();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

/** A client that subscribes and from then on reads nothing. */
async function deaf(port: number, topic: string): Promise<void> {
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

/** WebSocket clients, so many that every shard has some, which read nothing. */
async function deafWebSockets(port: number): Promise<void> {
  for (let at = 0; at < 24; at++) {
    const socket = await RawWebSocket.open(port, '/mqtt', 'mqtt');
    left.push(() => socket.drop());
    socket.send(2, wire.connect(4));
    await socket.nextBytes(4);
  }
}

test('a stop says 0x8B on every shard and ends with 0', async () => {
  const served = await serve(THREE);
  const clients = [];
  for (let at = 0; at < 2 * SHARDS; at++) clients.push(await mqttJs({ port: served.port('tcp'), level: 5 }));
  for (let at = 0; at < 24; at++) clients.push(await mqttJs({ port: served.port('ws'), transport: 'ws', level: 5 }));
  served.child.kill('SIGTERM');
  await Promise.all(clients.map((client) => client.until('the connection is closed', () => client.closed)));
  expect(clients.map(({ disconnectReason }) => disconnectReason)).toEqual(clients.map(() => 0x8b));
  expect(await served.child.ended()).toEqual({ code: 0, signal: null });
  expect(served.child.stderr).toBe('');
});

test.each([
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)('a second %s ends it at once while a client on each shard does not close', async (signal, code) => {
  const served = await serve('[server]\nthreads = 3\nstop_timeout_ms = 600000');
  for (let at = 0; at < SHARDS; at++) await deaf(served.port('tcp'), 'much');
  await deafWebSockets(served.port('ws'));
  const witness = await mqttJs({ port: served.port('tcp'), level: 5 });
  await witness.publish('much', Buffer.alloc(LARGE_BYTES), { qos: 1 });
  await witness.publish('much', 'more', { qos: 0 });
  await served.child.until('every shard knows that its client does not read', () => {
    return served.child.stderr.split('a receiver does not keep up').length - 1 >= SHARDS;
  });
  served.child.kill(signal);
  await witness.until('the stop has begun', () => witness.closed);
  expect(served.child.exit).toBeNull();
  served.child.kill(signal);
  expect(await served.child.ended()).toEqual({ code, signal: null });
  expect(served.child.stderr).not.toMatch(NATIVE_TRACE);
});

test('a client on each shard that never reads holds the stop no longer than its time', async () => {
  const served = await serve('[server]\nthreads = 3\nstop_timeout_ms = 300');
  for (let at = 0; at < SHARDS; at++) await deaf(served.port('tcp'), 'much');
  const witness = await mqttJs({ port: served.port('tcp'), level: 5 });
  await witness.publish('much', Buffer.alloc(LARGE_BYTES), { qos: 1 });
  served.child.kill('SIGTERM');
  expect(await served.child.ended()).toEqual({ code: 0, signal: null });
  expect(served.child.stderr).not.toMatch(NATIVE_TRACE);
});

test('the wills of those whom a stop ends reach the sessions of every shard, and are there after the next start', async () => {
  const folder = await mkdtemp('/tmp/lethe-wills-');
  folders.push(folder);
  const set = ['server.threads=3', `server.data_dir=${folder}`];
  const sleepers = Array.from({ length: SHARDS }, (_, at) => `sleeper-${at}`);
  const asSleeper = { level: 5, clean: false, properties: { sessionExpiryInterval: 600 } } as const;
  const before = await startBroker(set);
  for (const clientId of sleepers) {
    const sleeper = await mqttJs({ port: before.tcp, clientId, ...asSleeper });
    await sleeper.subscribe('will/#', 1);
    await sleeper.end();
  }
  const names = Array.from({ length: 30 }, (_, at) => String(at));
  for (const name of names) {
    const will = { topic: `will/${name}`, payload: Buffer.from(name), qos: 1 as const, retain: false };
    await mqttJs({ port: before.tcp, level: 5, will });
  }
  await before.stop();
  const after = await startBroker(set);
  stops.push(() => after.stop());
  for (const clientId of sleepers) {
    const sleeper = await mqttJs({ port: after.tcp, clientId, ...asSleeper });
    await sleeper.received(names.length);
    expect([...sleeper.payloads].sort()).toEqual([...names].sort());
    await sleeper.end();
  }
});

describe('a shard that dies', () => {
  /** Whoever publishes to this topic kills the shard that it is on, a moment later. */
  const FATAL = 'fatal';
  const CODE = 7;

  /** A gate whose rights throw in a callback of their own: in the threads of a broker only, or in the thread that made it. */
  function gate(where: 'elsewhere' | 'first'): string {
    const path = join(directory, `gate-${where}.mjs`);
    writeFileSync(
      path,
      `// A gate with a fault.
import { isMainThread } from 'node:worker_threads';
export const rights = {
  mayPublish(_principal, _clientId, topic, from, to) {
    if (Buffer.from(topic.subarray(from, to)).toString() === '${FATAL}' && isMainThread === ${where === 'first'})
      setTimeout(() => { throw new Error('a fault of the gate'); }, 1);
    return true;
  },
  mayReceive: () => true,
  maySubscribe: () => true,
};
`,
    );
    return path;
  }

  /** A program that embeds a broker of three shards and ends with a code of its own when it cannot go on. */
  function program(name: string, gatePath: string, fatal: string): Child {
    const path = join(directory, `${name}.mjs`);
    const library = new URL('../../dist/engine/lethe.js', import.meta.url).href;
    writeFileSync(
      path,
      `// Embeds a broker of three shards.
import { createBroker, createLog } from '${library}';
let broker = null;
const log = createLog('error', (line) => process.stderr.write(line + '\\n'), () => 0);
broker = await createBroker({ set: ['server.threads=3'], gate: '${gatePath}', log${fatal} });
process.stdout.write(JSON.stringify({ tcp: broker.tcp, ws: broker.ws }) + '\\n');
`,
    );
    return new Child(process.execPath, [path]);
  }

  const byAbandon = `, onFatal: () => void broker.abandon().then(() => process.exit(${CODE}))`;

  async function withClients(child: Child): Promise<{ tcp: number; ws: number }> {
    await child.until('the broker runs', () => child.stdout.includes('\n'));
    const ports = JSON.parse(child.stdout) as { tcp: number; ws: number };
    for (let at = 0; at < SHARDS; at++) await deaf(ports.tcp, 'other');
    await deafWebSockets(ports.ws);
    return ports;
  }

  /** Publishes what is fatal by a client on each shard: by so many that each gets one where the kernel spreads them. */
  async function kill(tcp: number): Promise<void> {
    const count = needsHandOut() ? SHARDS : 40;
    for (let at = 0; at < count; at++) {
      const socket = connectSocket(tcp, '127.0.0.1');
      left.push(() => socket.destroy());
      socket.on('error', () => {});
      socket.write(Buffer.concat([wire.connect(4), wire.publish(4, { topic: FATAL })]));
    }
  }

  test('ends the process as onFatal says, with one clear line', async () => {
    const child = program('abandons', gate('elsewhere'), byAbandon);
    const { tcp } = await withClients(child);
    await kill(tcp);
    expect(await child.ended()).toEqual({ code: CODE, signal: null });
    const lines = child.stderr.split('\n').filter((line) => line !== '');
    expect(lines.length, child.stderr).toBe(1);
    expect(lines[0]).toMatch(/the broker cannot go on without all of its shards: shard [12] has died: a fault of the gate/);
  });

  test('stops the broker where nobody says otherwise', async () => {
    const child = program('stops', gate('elsewhere'), '');
    const { tcp } = await withClients(child);
    await kill(tcp);
    expect((await child.ended()).signal).toBeNull();
    expect(child.stderr).toContain('shard');
    expect(child.stderr).not.toMatch(NATIVE_TRACE);
  });

  test('a fault in the thread that made the broker is that program’s own, and no abort either', async () => {
    const child = program('faults', gate('first'), byAbandon);
    const { tcp } = await withClients(child);
    await kill(tcp);
    expect(await child.ended()).toEqual({ code: 1, signal: null });
    expect(child.stderr).toContain('a fault of the gate');
    expect(child.stderr).not.toMatch(NATIVE_TRACE);
  });
});
