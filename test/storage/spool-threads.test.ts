// One spool, three threads that use it: this one and two workers, on real files.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSpool, type PostedEnd, type RunningSpool } from '../../engine/spool/open.ts';
import type { ClientTask } from './client-worker.ts';
import { messageOf } from './message.ts';
import { Recovered, readOnce, settle } from './opened-store.ts';

const MESSAGES = 2_000;
/** The built worker: threads do not run TypeScript here. */
const WORKER = new URL('../../dist/test/storage/client-worker.js', import.meta.url);
const LARGE = 'x'.repeat(1_500_000);

let folder: string;
let spool: RunningSpool;
let workers: Worker[];

function open(clients: number): Promise<RunningSpool> {
  return openSpool({
    folder,
    masterKey: { file: '', env: '', command: [] },
    retentionMs: Infinity,
    eraseWithinMs: 1_000,
    diskFloorBytes: 0,
    commitWindowMs: 2,
    relaxed: false,
    clients,
  });
}

function startWorker({ data, transfer }: PostedEnd): Worker {
  return new Worker(WORKER, { workerData: { end: data }, transferList: [...transfer] });
}

async function ask(worker: Worker, task: ClientTask): Promise<unknown> {
  worker.postMessage(task);
  const [answer] = await once(worker, task.kind === 'close' ? 'exit' : 'message');
  return answer;
}

function payloads(from: number, to: number, payload: string): string[] {
  return Array.from({ length: to - from }, (_, i) => `${from + i}:${payload}`);
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lethe-threads-'));
  spool = await open(3);
  workers = spool.ends.map(startWorker);
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.terminate()));
  await spool.store.close();
  await spool.unlock();
  rmSync(folder, { recursive: true, force: true });
});

test('each thread puts and reads its own at the same time, a session moves, and a start finds everything', async () => {
  expect(await Recovered.of(spool.store)).toEqual(new Recovered());
  const [one, two] = workers as [Worker, Worker];
  spool.store.putSession(1, Buffer.from('session 1'), false);
  for (let position = 0; position < MESSAGES; position++) {
    const number = spool.store.putMessage(messageOf({ payload: `${position}:zero` }));
    spool.store.addDelivery(1, position, number, 1, new Uint8Array(0));
  }
  await Promise.all([
    settle(spool),
    ask(one, { kind: 'put', session: 2, from: 0, messages: MESSAGES, payload: 'one' }),
    ask(two, { kind: 'put', session: 3, from: 0, messages: MESSAGES, payload: 'two' }),
  ]);
  expect(await ask(one, { kind: 'read', session: 2, from: 0 })).toEqual(payloads(0, MESSAGES, 'one'));
  expect(await ask(two, { kind: 'read', session: 3, from: 0 })).toEqual(payloads(0, MESSAGES, 'two'));
  expect(spool.store.held()).toMatchObject({ sessions: 3, messages: 3 * MESSAGES });

  // Its first client has everything of it on the disk, and hands it on.
  await ask(two, { kind: 'put', session: 2, from: MESSAGES, messages: 3, payload: LARGE });
  await ask(two, { kind: 'drop', session: 2, from: 0, to: MESSAGES });
  const moved = payloads(MESSAGES, MESSAGES + 3, LARGE);
  expect(((await ask(two, { kind: 'read', session: 2, from: 0 })) as string[]).map(({ length }) => length)).toEqual(
    moved.map(({ length }) => length),
  );

  await ask(one, { kind: 'close' });
  await ask(two, { kind: 'put', session: 4, from: 0, messages: 1, payload: 'after' });
  await ask(two, { kind: 'close' });
  await spool.store.close();
  await spool.unlock();
  spool = await open(1);
  expect(spool.ends).toEqual([]);
  const found = await Recovered.of(spool.store);
  expect([...found.sessions.keys()]).toEqual([1, 2, 3, 4]);
  expect([...found.deliveries.values()].map(({ messages }) => messages)).toEqual([MESSAGES, 3, MESSAGES, 1]);
  const read = await readOnce(spool, 2, 0, 10);
  expect(read.found.map(({ position }) => position)).toEqual([MESSAGES, MESSAGES + 1, MESSAGES + 2]);
});

test('a client that leaves and one that says nothing do not keep the spool open', async () => {
  await Recovered.of(spool.store);
  await ask(workers[0]!, { kind: 'put', session: 1, from: 0, messages: 1, payload: 'one' });
  await ask(workers[0]!, { kind: 'close' });
  await spool.store.close();
  await spool.unlock();
  spool = await open(1);
  expect([...(await Recovered.of(spool.store)).sessions.keys()]).toEqual([1]);
});
