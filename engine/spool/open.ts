// From a configuration to a store that runs on a thread of its own: locks the data directory, finds the master key, starts the thread and
// waits until it is open.
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { allocateDoorbell, Doorbell } from '../../storage/doorbell.ts';
import { allocateFigures, Figures } from '../../storage/figures.ts';
import { allocateRing, RingConsumer, RingProducer } from '../../storage/ring.ts';
import { SpoolStore } from '../../storage/spool-store.ts';
import { FolderBusyError, type FolderLock, lockFolder } from './folder-lock.ts';
import { findMasterKey, type MasterKeySource } from './master-key.ts';
import type { SpoolThreadAnswer, SpoolThreadData } from './thread.ts';

export interface SpoolOptions {
  readonly folder: string;
  readonly masterKey: MasterKeySource;
  readonly retentionMs: number;
  readonly eraseWithinMs: number;
  readonly diskFloorBytes: number;
  readonly commitWindowMs: number;
  readonly relaxed: boolean;
}

/** A spool that runs. */
export interface RunningSpool {
  readonly store: SpoolStore;
  readonly figures: Figures;
  readonly hasMasterKey: boolean;
  /** Rejects when the thread has died on its own: nothing is durable any more, and the process should end. */
  readonly died: Promise<never>;
  /** Answers those who may enter the directory and ask. */
  answer(respond: (request: string) => Promise<unknown>): void;
  /** Lets another process have the directory; after `store.close()`. */
  unlock(): Promise<void>;
}

const INTENT_RING_BYTES = 33_554_432;
const REPORT_RING_BYTES = 8_388_608;

/** @throws Error in one line that names the directory or the key and says what to do */
export async function openSpool(options: SpoolOptions): Promise<RunningSpool> {
  const master = findMasterKey(options.masterKey);
  const lock = await lockFolder(options.folder);
  try {
    return await start(options, master, lock);
  } catch (error) {
    await lock.unlock();
    throw error;
  }
}

async function start(options: SpoolOptions, master: Uint8Array | null, lock: FolderLock): Promise<RunningSpool> {
  const { port1: largePort, port2: threadLargePort } = new MessageChannel();
  const shared = {
    intents: allocateRing(INTENT_RING_BYTES),
    reports: allocateRing(REPORT_RING_BYTES),
    figures: allocateFigures(),
    threadBell: allocateDoorbell(),
    engineBell: allocateDoorbell(),
    room: new SharedArrayBuffer(4),
  };
  const { folder, retentionMs, eraseWithinMs, diskFloorBytes, commitWindowMs, relaxed } = options;
  const data: SpoolThreadData = {
    folder,
    master,
    retentionMs,
    eraseWithinMs,
    diskFloorBytes,
    commitWindowMs,
    ...shared,
    largePort: threadLargePort,
  };
  const worker = new Worker(threadFile(), { workerData: data, transferList: [threadLargePort], name: 'storage' });
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
  const room = new Int32Array(shared.room);
  const figures = new Figures(shared.figures);
  let closing = false;
  const store = new SpoolStore(
    {
      intents: new RingProducer(shared.intents),
      reports: new RingConsumer(shared.reports),
      figures,
      threadBell: new Doorbell(shared.threadBell),
      engineBell: new Doorbell(shared.engineBell),
      sendLarge: (bytes) => largePort.postMessage(bytes),
      receiveLarge: () => (receiveMessageOnPort(largePort)?.message as Uint8Array | undefined) ?? null,
      waitForRoom: (timeoutMs) => void Atomics.wait(room, 0, Atomics.load(room, 0), timeoutMs),
      ended: async () => {
        closing = true;
        await ended;
        largePort.close();
      },
    },
    { relaxed },
  );
  return {
    store,
    figures,
    hasMasterKey: master !== null,
    died,
    answer: lock.answer,
    unlock: lock.unlock,
  };
}

/** The thread runs the built file, also when the engine runs from its sources in a test. */
function threadFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? '../../dist/engine/spool/thread.js' : './thread.js', import.meta.url);
}
