// A client of the storage thread, in the thread of the engine that it is for: what it shares with that thread, and the store over it. Loads
// nothing of the disk.
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { Doorbell } from '../../storage/doorbell.ts';
import { Figures } from '../../storage/figures.ts';
import { RingConsumer, RingProducer } from '../../storage/ring.ts';
import { SpoolStore } from '../../storage/spool-store.ts';

/** A client's end of the spool, as plain data that can be posted to a worker thread; its port must be transferred. */
export interface SpoolEnd {
  /** Number of the client, from 0. */
  readonly client: number;
  readonly intents: SharedArrayBuffer;
  readonly reports: SharedArrayBuffer;
  readonly figures: SharedArrayBuffer;
  readonly threadBell: SharedArrayBuffer;
  readonly engineBell: SharedArrayBuffer;
  /** Counts up when room was made among the intents. */
  readonly room: SharedArrayBuffer;
  readonly largePort: MessagePort;
  readonly relaxed: boolean;
}

/** Makes the store of a client other than client 0, in the thread that is to use it, once. Its `close` leaves the spool as it is. */
export function joinSpool(end: SpoolEnd): SpoolStore {
  return makeStore(end, () => Promise.resolve());
}

/** The store of any client; `ended` waits, when it closes, for what must be over then. */
export function makeStore(end: SpoolEnd, ended: () => Promise<void>): SpoolStore {
  const { client, largePort, relaxed } = end;
  const room = new Int32Array(end.room);
  return new SpoolStore(
    {
      client,
      intents: new RingProducer(end.intents),
      reports: new RingConsumer(end.reports),
      figures: new Figures(end.figures),
      threadBell: new Doorbell(end.threadBell),
      engineBell: new Doorbell(end.engineBell),
      sendLarge: (bytes) => largePort.postMessage(bytes),
      receiveLarge: () => (receiveMessageOnPort(largePort)?.message as Uint8Array | undefined) ?? null,
      waitForRoom: (timeoutMs) => void Atomics.wait(room, 0, Atomics.load(room, 0), timeoutMs),
      ended: async () => {
        await ended();
        largePort.close();
      },
    },
    { relaxed },
  );
}
