// The storage thread: opens the data directory, says so, and works until it is told to stop. It never returns to its event loop: it sleeps on
// a bell between two steps.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Doorbell, Sleep } from '../../storage/doorbell.ts';
import { Figures } from '../../storage/figures.ts';
import { FolderError, openFolder } from '../../storage/folder.ts';
import { RingConsumer, RingProducer } from '../../storage/ring.ts';
import type { ServerLink } from '../../storage/served-client.ts';
import { Spool } from '../../storage/spool.ts';
import { SpoolServer } from '../../storage/spool-server.ts';
import { clockWith } from '../clock.ts';
import { systemRandom } from '../random.ts';

/** What the thread is started with. */
export interface SpoolThreadData {
  readonly folder: string;
  readonly master: Uint8Array | null;
  readonly retentionMs: number;
  readonly eraseWithinMs: number;
  readonly diskFloorBytes: number;
  readonly commitWindowMs: number;
  /** What the broker calls now (clock.ts). */
  readonly keptTime: SharedArrayBuffer;
  readonly figures: SharedArrayBuffer;
  readonly threadBell: SharedArrayBuffer;
  readonly clients: readonly SpoolThreadClient[];
}

/** What the thread shares with one client. */
export interface SpoolThreadClient {
  readonly intents: SharedArrayBuffer;
  readonly reports: SharedArrayBuffer;
  readonly engineBell: SharedArrayBuffer;
  /** Counts up when room was made among the intents. */
  readonly room: SharedArrayBuffer;
  readonly largePort: MessagePort;
}

/** First word of the thread: it is open, or it cannot be. */
export type SpoolThreadAnswer = { readonly open: true } | { readonly open: false; readonly message: string };

const PAUSE_MS = 1;

function run(data: SpoolThreadData): void {
  const figures = new Figures(data.figures);
  const bell = new Doorbell(data.threadBell);
  const server = new SpoolServer(data.clients.map(linkOf), { commitWindowMs: data.commitWindowMs });
  const random = (bytes: number) => systemRandom.bytes(bytes);
  const { ground, started } = openFolder(data.folder, data.master, random);
  const settings = { retentionMs: data.retentionMs, eraseWithinMs: data.eraseWithinMs, diskFloorBytes: data.diskFloorBytes };
  const { keptMs, monotonicMs } = clockWith(data.keptTime);
  server.attach(new Spool(ground, settings, { wallMs: keptMs, monotonicMs }, figures, server.events, started));
  say({ open: true });
  for (let sleepMs = server.step(); sleepMs >= 0; sleepMs = server.step()) {
    if (sleepMs === 0) continue;
    // In a deep sleep what has come already waits too: only what is rung urgently ends it.
    bell.sleep(server.sleep, () => (server.sleep === Sleep.DEEP ? server.hasUrgentWork : server.hasWork), sleepMs);
  }
  ground.disk.close();
  ground.vault.close();
  for (const { largePort } of data.clients) largePort.close();
}

function linkOf({ intents, reports, engineBell, largePort, ...shared }: SpoolThreadClient): ServerLink {
  const room = new Int32Array(shared.room);
  const pauses = new Int32Array(new SharedArrayBuffer(4));
  return {
    intents: new RingConsumer(intents),
    reports: new RingProducer(reports),
    engineBell: new Doorbell(engineBell),
    sendLarge: (bytes) => largePort.postMessage(bytes),
    receiveLarge: () => (receiveMessageOnPort(largePort)?.message as Uint8Array | undefined) ?? null,
    roomMade: () => {
      Atomics.add(room, 0, 1);
      Atomics.notify(room, 0);
    },
    pause: () => void Atomics.wait(pauses, 0, 0, PAUSE_MS),
  };
}

function say(answer: SpoolThreadAnswer): void {
  parentPort?.postMessage(answer);
}

try {
  run(workerData as SpoolThreadData);
} catch (error) {
  if (!(error instanceof FolderError)) throw error;
  say({ open: false, message: error.message });
}
