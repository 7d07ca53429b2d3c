// Several shards on one port: who gets the connections of each transport, which ports are refused, and that shards stop in any
// order without loss. Workers are real threads; TCP is handed out, and where node can, spread by the kernel as well.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { joinHandOut, needsHandOut, openHandOut } from '../../engine/network/hand-out.ts';
import type { Kind } from './shard.ts';
import { Client, Shards, spread, type Way } from './shards.ts';
import { temporaryCertificates, until } from './temporary.ts';

const COUNT = 3;
const HOST = '127.0.0.1';
const WAYS: readonly Way[] = needsHandOut() ? ['handOut'] : ['handOut', 'reusePort'];

let certificates: ReturnType<typeof temporaryCertificates>;
let authority: Buffer;
const running: Shards[] = [];
const clients: Client[] = [];

beforeAll(() => {
  certificates = temporaryCertificates();
  authority = readFileSync(certificates.files.ca);
});
afterAll(() => certificates.remove());
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const shards of running.splice(0)) await shards.stop();
});

async function openFirst(way: Way, kinds: readonly Kind[], choose?: () => number): Promise<Shards> {
  const ports = Object.fromEntries(kinds.map((kind) => [kind, 0]));
  const shards = await Shards.openFirst(way, ports, certificates.files, COUNT, choose);
  running.push(shards);
  return shards;
}

async function open(way: Way, kinds: readonly Kind[], choose?: () => number): Promise<Shards> {
  const shards = await openFirst(way, kinds, choose);
  await shards.addWorkers();
  return shards;
}

function connect(shards: Shards, kind: Kind, times: number): Client[] {
  const made = Array.from({ length: times }, () => Client.open(kind, shards.port(kind), authority));
  clients.push(...made);
  return made;
}

async function answered(waiting: readonly Client[]): Promise<void> {
  await until('every client has an answer', () => waiting.every(({ isSettled }) => isSettled));
  expect(waiting.filter(({ answer }) => answer === '')).toEqual([]);
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

describe.each(WAYS)('by %s', (way) => {
  test.each<Kind>(['tcp', 'tls', 'proxy', 'ws', 'wss'])(
    '%s: each connection reaches a shard, with its first bytes and its peer',
    async (kind) => {
      const shards = await open(way, [kind]);
      const some = connect(shards, kind, 60);
      await answered(some);
      for (const { answer, localPort, shard } of some) {
        const peer = { tcp: `${HOST} ${localPort()}`, tls: `${HOST} ${localPort()}`, proxy: '192.0.2.7 4711' };
        expect(answer).toBe(`${shard} ${kind === 'ws' || kind === 'wss' ? `${HOST} 0` : peer[kind]} hello`);
      }
      const found = spread(some, COUNT);
      if (way === 'handOut' && kind !== 'ws' && kind !== 'wss') expect(found).toEqual([20, 20, 20]);
      expect(Math.min(...found)).toBeGreaterThan(0);
    },
  );

  test.each<Kind>(['tcp', 'ws'])('%s: 1,000 connections at once, none is lost, and every shard has its part', async (kind) => {
    const shards = await open(way, [kind]);
    const all = connect(shards, kind, 1_000);
    await answered(all);
    const found = spread(all, COUNT);
    console.info(`${kind} by ${kind === 'ws' ? 'uWebSockets' : way}: ${found.join(' + ')}`);
    if (kind === 'tcp' && way === 'handOut') expect(found).toEqual([334, 333, 333]);
    expect(Math.min(...found)).toBeGreaterThan(1_000 / COUNT / 4);
  });

  test.each([
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ])(
    'shards with open connections stop in the order %i %i %i: all are closed, threads end, no descriptor is left',
    async (...order) => {
      const round = async () => {
        const shards = await open(way, ['tcp', 'tls', 'ws']);
        const some = (['tcp', 'tls', 'ws'] as const).flatMap((kind) => connect(shards, kind, 30));
        await answered(some);
        await shards.stop(order);
        await until('every client is closed', () => some.every(({ isClosed }) => isClosed));
        expect(shards.workers.map(({ exitCode, failure }) => [exitCode, failure])).toEqual([
          [0, null],
          [0, null],
        ]);
      };
      await round(); // what is opened once and for all
      const before = openDescriptors();
      await round();
      await until('descriptors are as before', () => openDescriptors() <= before);
    },
  );

  test('a worker that stops in a burst: every connection is answered or closed', async () => {
    const shards = await open(way, ['tcp', 'ws']);
    const some = [...connect(shards, 'tcp', 500), ...connect(shards, 'ws', 100)];
    await until('it is in full swing', () => spread(some, COUNT)[1]! > 10);
    await shards.workers[0]!.stop();
    await until('every client has an answer or is closed', () => some.every(({ isSettled }) => isSettled));
    const ofStopped = some.filter(({ shard }) => shard === 1);
    await until('what the worker had is closed', () => ofStopped.every(({ isClosed }) => isClosed));
    const next = connect(shards, 'tcp', 30);
    await answered(next);
    expect(spread(next, COUNT)[1]).toBe(0);
  });

  describe('a port is refused', () => {
    const refused =
      /^listener "(tcp|ws)": port \d+ of 127\.0\.0\.1 is in use; stop the program that has it, or set another port$/;
    const openAt = (kind: Kind, port: number) => Shards.openFirst(way, { [kind]: port }, certificates.files, COUNT);

    test.each<Kind>(['tcp', 'ws'])('%s: that another program has', async (kind) => {
      const other = createServer();
      const port = await new Promise<number>((resolve) => {
        other.listen(0, HOST, () => resolve((other.address() as { port: number }).port));
      });
      await expect(openAt(kind, port)).rejects.toThrow(refused);
      await new Promise((resolve) => other.close(resolve));
    });

    test.each<Kind>(['tcp', 'ws'])('%s: that another broker with several shards has', async (kind) => {
      const others = await open(way, [kind]);
      await expect(openAt(kind, others.port(kind))).rejects.toThrow(refused);
      await expect(Shards.openFirst(way, { [kind]: others.port(kind) }, certificates.files, 1)).rejects.toThrow(refused);
      await answered(connect(others, kind, 10));
    });
  });

  test.each<Kind>(['tcp', 'ws'])('%s: the port is free when all have closed', async (kind) => {
    const shards = await open(way, [kind]);
    await answered(connect(shards, kind, 10));
    const port = shards.port(kind);
    for (const worker of shards.workers) worker.tell('closeListeners');
    for (const worker of shards.workers) await worker.heard('closeListeners');
    await shards.first.closeListeners();
    const next = await Shards.openFirst(way, { [kind]: port }, certificates.files, COUNT);
    running.push(next);
    expect(next.port(kind)).toBe(port);
  });
});

describe('the hand-out', () => {
  test('asks who is next', async () => {
    const order = [2, 2, 0, 1, 2];
    let asked = 0;
    const shards = await open('handOut', ['tcp', 'tls'], () => order[asked++ % order.length]!);
    for (const kind of ['tcp', 'tls'] as const) {
      for (const expected of order) {
        const [client] = connect(shards, kind, 1);
        await answered([client!]);
        expect(client!.shard).toBe(expected);
      }
    }
  });

  test('a TLS session that began in one shard is resumed in another', async () => {
    let index = -1;
    const shards = await open('handOut', ['tls'], () => ++index % COUNT);
    let session: Buffer | undefined;
    for (const expected of [0, 1, 2]) {
      const resumed = session === undefined ? {} : { session };
      const socket = connectTls({ host: HOST, port: shards.port('tls'), ca: authority, ...resumed });
      let answer = '';
      socket.on('session', (ticket) => {
        session = ticket;
      });
      socket.on('data', (chunk) => {
        answer += chunk.toString();
      });
      socket.write('hello');
      await until('there are an answer and a ticket', () => answer !== '' && session !== undefined);
      expect([answer[0], socket.isSessionReused()]).toEqual([String(expected), expected > 0]);
      socket.destroy();
    }
  });

  test('keeps a connection for a shard that is not there yet', async () => {
    const shards = await openFirst('handOut', ['tcp'], () => 1);
    const early = connect(shards, 'tcp', 20);
    await until('all are connected', () => early.every(({ localPort }) => localPort() > 0));
    await shards.addWorkers();
    await answered(early);
    expect(spread(early, COUNT)).toEqual([0, 20, 0]);
  });

  test('keeps no more than 1,024 for one shard: the rest is served by the first', async () => {
    const shards = await openFirst('handOut', ['tcp'], () => 1);
    const early = connect(shards, 'tcp', 1_100);
    await until('the rest has answers', () => spread(early, COUNT)[0] === 76);
    await shards.addWorkers();
    await answered(early);
    expect(spread(early, COUNT)).toEqual([76, 1_024, 0]);
  });

  test('closes what waits for a shard that never comes', async () => {
    const shards = await openFirst('handOut', ['tcp'], () => 1);
    const early = connect(shards, 'tcp', 20);
    await until('all are connected', () => early.every(({ localPort }) => localPort() > 0));
    await shards.stop();
    await until('all are closed', () => early.every(({ isClosed }) => isClosed));
  });

  test('leaves no file behind, and lets nobody in meanwhile', async () => {
    const giver = await openHandOut(2);
    const { path } = giver.end(1);
    const folder = dirname(path);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const receiver = await joinHandOut(giver.end(1));
    await until('the folder is gone', () => statSync(folder, { throwIfNoEntry: false }) === undefined);
    await receiver.close();
    await giver.close();
    await expect(joinHandOut(giver.end(1))).rejects.toThrow(/^shard 1 cannot join shard 0 \(ENOENT\)$/);
  });

  test('says what to do when the temporary folder is no place for a socket', async () => {
    const { TMPDIR } = process.env;
    const folder = mkdtempSync(join(tmpdir(), 'lethe-network-'));
    const long = join(folder, 'x'.repeat(100));
    mkdirSync(long);
    try {
      process.env['TMPDIR'] = long;
      await expect(openHandOut(2)).rejects.toThrow(/ cannot hold a socket \(\w+\); set TMPDIR to a short local path$/);
      process.env['TMPDIR'] = join(folder, 'none');
      await expect(openHandOut(2)).rejects.toThrow(/none cannot hold a socket \(ENOENT\); set TMPDIR to a short local path$/);
      expect(readdirSync(folder)).toEqual(['x'.repeat(100)]);
      expect(readdirSync(long)).toEqual([]);
    } finally {
      if (TMPDIR === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = TMPDIR;
      rmSync(folder, { recursive: true });
    }
  });

  test('is needed where several threads cannot listen on one port', async () => {
    if (!needsHandOut()) return;
    await expect(Shards.openFirst('reusePort', { tcp: 0 }, certificates.files, COUNT)).rejects.toThrow(
      /several shards need a hand-out/,
    );
  });

  test('opened and closed often, with a file that takes its numbers: none is closed that is not its own', async () => {
    const before = openDescriptors();
    for (let round = 0; round < 50; round++) {
      const giver = await openHandOut(4);
      const receivers = await Promise.all([1, 2, 3].map((index) => joinHandOut(giver.end(index))));
      await until('all have joined', () => statSync(dirname(giver.end(1).path), { throwIfNoEntry: false }) === undefined);
      await Promise.all([giver.close(), ...receivers.map((receiver) => receiver.close())]);
    }
    await until('descriptors are as before', () => openDescriptors() <= before);
  });
});
