// From a configuration to a store that runs on a thread of its own: locks the data directory, finds the master key, starts the thread and
// waits until it is open.
import type { RequestListener } from 'node:http';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { allocateDoorbell } from '../../storage/doorbell.ts';
import { allocateFigures, Figures } from '../../storage/figures.ts';
import { allocateRing } from '../../storage/ring.ts';
import type { SpoolStore } from '../../storage/spool-store.ts';
import { allocateKeptTime, clockWith } from '../clock.ts';
import { type Log, silentLog } from '../log.ts';
import { startThread } from '../thread.ts';
import { FolderBusyError } from './folder-busy.ts';
import { type FolderLock, lockFolder } from './folder-lock.ts';
import { makeStore, type SpoolEnd } from './join.ts';
import { KeptTime } from './kept-time.ts';
import { findMasterKey, type MasterKeySource } from './master-key.ts';
import type { SpoolThreadAnswer, SpoolThreadClient, SpoolThreadData } from './thread.ts';

export interface SpoolOptions {
  readonly folder: string;
  readonly masterKey: MasterKeySource;
  readonly retentionMs: number;
  readonly eraseWithinMs: number;
  readonly diskFloorBytes: number;
  readonly commitWindowMs: number;
  readonly relaxed: boolean;
  /** Continued from where the directory left it; absent: its time begins now. */
  readonly keptTime?: SharedArrayBuffer;
  /** Threads of the engine that use the spool; default 1. */
  readonly clients?: number;
}

/** What another thread of the engine joins the spool with: `new Worker(…, { workerData: { end: data }, transferList: transfer })`. */
export interface PostedEnd {
  readonly data: SpoolEnd;
  readonly transfer: readonly MessagePort[];
}

/** A spool that runs. */
export interface RunningSpool {
  /** The store of client 0: it alone recovers, takes the inventory, keeps retained messages, and closes the spool, last. */
  readonly store: SpoolStore;
  /** Of clients 1 and up, in order: each for one call of `joinSpool`. */
  readonly ends: readonly PostedEnd[];
  readonly figures: Figures;
  readonly hasMasterKey: boolean;
  /** A key for a purpose beside the spool, which only the master key opens; null where there is no master key. */
  keyFor(purpose: string): Promise<Uint8Array | null>;
  /** Rejects when the thread has died on its own: nothing is durable any more, and the process should end. */
  readonly died: Promise<never>;
  /** Answers those who may enter the directory and ask, from now on. */
  answer(listener: RequestListener): void;
  /** Lets another process have the directory; after `store.close()`. */
  unlock(): Promise<void>;
}

/** Of all clients together, as far as each has the least that it needs. A ring's memory is used as it is first written to. */
const INTENT_BYTES = 33_554_432;
const REPORT_BYTES = 8_388_608;
/** Room for what may be in a ring (LARGE_BYTES) beside what is kept free. */
const INTENT_BYTES_MIN = 8_388_608;
const REPORT_BYTES_MIN = 4_194_304;

/** @throws Error in one line that names the directory or the key and says what to do */
export async function openSpool(options: SpoolOptions, log: Log = silentLog): Promise<RunningSpool> {
  const master = findMasterKey(options.masterKey);
  const lock = await lockFolder(options.folder, log);
  try {
    return await start(options, master, lock, log);
  } catch (error) {
    await lock.unlock();
    throw error;
  }
}

async function start(options: SpoolOptions, master: Uint8Array | null, lock: FolderLock, log: Log): Promise<RunningSpool> {
  const figures = allocateFigures(options.clients ?? 1);
  const pairs = makePairs(options, figures);
  const { folder, retentionMs, eraseWithinMs, diskFloorBytes, commitWindowMs, keptTime = allocateKeptTime() } = options;
  const time = new KeptTime(folder, keptTime, clockWith(keptTime), log);
  const data: SpoolThreadData = {
    folder,
    master,
    retentionMs,
    eraseWithinMs,
    diskFloorBytes,
    commitWindowMs,
    keptTime,
    figures,
    threadBell: pairs[0]!.end.threadBell,
    clients: pairs.map(({ thread }) => thread),
  };
  const transferList = data.clients.map(({ largePort }) => largePort);
  const worker = startThread(threadFile(), { workerData: data, transferList, name: 'storage' });
  const answer = await new Promise<SpoolThreadAnswer>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error(`${folder}: the storage thread ended before it was open`)));
  });
  if (!answer.open) {
    await worker.terminate();
    throw new Error(answer.message);
  }
  if (!lock.isHeld()) {
    await worker.terminate();
    throw new FolderBusyError(`${folder}: another lethe took this data directory at the same moment; give each its own --data`);
  }
  worker.removeAllListeners();
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const died = new Promise<never>((_, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => {
      if (!closing) reject(new Error('the storage thread has ended'));
    });
  });
  died.catch(() => {}); // whoever waits for it is told
  let closing = false;
  time.start();
  const [first, ...others] = pairs.map(({ end }) => end);
  const store = makeStore(first!, () => {
    closing = true;
    return ended;
  });
  return {
    store,
    ends: others.map((end) => ({ data: end, transfer: [end.largePort] })),
    figures: new Figures(figures),
    hasMasterKey: master !== null,
    keyFor: async (purpose) =>
      master === null ? null : (await import('../../storage/folder.ts')).folderKey(folder, master, purpose),
    died,
    answer: lock.answer,
    async unlock() {
      await time.close();
      await lock.unlock();
    },
  };
}

/** The two ends of what each client shares with the thread. */
function makePairs(
  { clients = 1, relaxed }: SpoolOptions,
  figures: SharedArrayBuffer,
): readonly { readonly end: SpoolEnd; readonly thread: SpoolThreadClient }[] {
  const threadBell = allocateDoorbell();
  return Array.from({ length: clients }, (_, client) => {
    const { port1, port2 } = new MessageChannel();
    const shared = {
      intents: allocateRing(shareOf(INTENT_BYTES, clients, INTENT_BYTES_MIN)),
      reports: allocateRing(shareOf(REPORT_BYTES, clients, REPORT_BYTES_MIN)),
      engineBell: allocateDoorbell(),
      room: new SharedArrayBuffer(4),
    };
    return {
      end: { client, ...shared, figures, threadBell, largePort: port1, relaxed },
      thread: { ...shared, largePort: port2 },
    };
  });
}

/** A power of two, so that all together have about `bytes`, and each at least `least`. */
function shareOf(bytes: number, clients: number, least: number): number {
  return Math.max(least, bytes / 2 ** Math.ceil(Math.log2(clients)));
}

/** The thread runs the built file, also when the engine runs from its sources in a test. */
function threadFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? '../../dist/engine/spool/thread.js' : './thread.js', import.meta.url);
}
