// A client of the spool in a thread of its own, run from the build: does what it is asked to, and answers.
import { parentPort, workerData } from 'node:worker_threads';
import { joinSpool, type SpoolEnd } from '../../engine/spool/join.ts';
import { messageOf, payloadOf } from './message.ts';

/** What the thread is asked, and answers once it is done. */
export type ClientTask =
  /** Puts a session with so many messages from a position on, and waits until all is durable. */
  | { readonly kind: 'put'; readonly session: number; readonly from: number; readonly messages: number; readonly payload: string }
  /** Gives the payloads of a session, its numbers before the colon, from a position on. */
  | { readonly kind: 'read'; readonly session: number; readonly from: number }
  | { readonly kind: 'drop'; readonly session: number; readonly from: number; readonly to: number }
  | { readonly kind: 'close' };

const NO_IDS = new Uint8Array(0);
const READ_MAX = 500;

const port = parentPort!;
const store = joinSpool((workerData as { readonly end: SpoolEnd }).end);
let told: () => void = () => {};
store.listener = {
  taken() {},
  durable: () => told(),
  gone() {},
  retainedGone() {},
  trouble() {},
};

async function durable(): Promise<void> {
  store.flush();
  while (store.written !== store.sequence)
    await new Promise<void>((resolve) => {
      told = resolve;
    });
}

async function put(session: number, from: number, messages: number, payload: string): Promise<void> {
  store.putSession(session, Buffer.from(`session ${session}`), false);
  for (let position = from; position < from + messages; position++) {
    const number = store.putMessage(messageOf({ payload: `${position}:${payload}` }));
    if (number < 0) throw new Error('refused');
    store.addDelivery(session, position, number, 1, NO_IDS);
    if (store.isBehind) await durable();
  }
  await durable();
}

async function read(session: number, from: number): Promise<string[]> {
  const found: string[] = [];
  for (let next = from, before = -1; found.length > before; ) {
    before = found.length;
    next = await new Promise((resolve) => {
      const sink = {
        delivery: (...given: unknown[]) => void found.push(payloadOf(given[4] as Parameters<typeof payloadOf>[0])),
        end: resolve,
      };
      store.read(session, next, READ_MAX, sink);
      store.flush();
    });
  }
  return found;
}

async function run(task: ClientTask): Promise<unknown> {
  switch (task.kind) {
    case 'put':
      return put(task.session, task.from, task.messages, task.payload);
    case 'read':
      return read(task.session, task.from);
    case 'drop':
      for (let position = task.from; position < task.to; position++) store.dropDelivery(task.session, position);
      return durable();
    case 'close':
      await store.close();
      port.close();
      return;
  }
}

port.on('message', (task: ClientTask) => {
  const isLast = task.kind === 'close';
  run(task).then(
    (answer) => {
      if (!isLast) port.postMessage(answer);
    },
    (error: unknown) => {
      throw error;
    },
  );
});
