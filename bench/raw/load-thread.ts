// A thread of the load: does what it is told, one command after the other, and tells what happens every second. Whoever started it ends it.
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../../engine/cli/failure.ts';
import type { FromThread, LoadData, ToThread } from './account.ts';
import { Load } from './load.ts';

const port = parentPort!;

function say(message: FromThread): void {
  port.postMessage(message);
}

const load = new Load(workerData as LoadData, (interval) => say({ kind: 'interval', interval }));

port.on('message', ({ number, command }: ToThread) => {
  load.act(command).then(
    (answer) => say({ kind: 'answer', number, answer }),
    (error: unknown) => say({ kind: 'failed', number, message: messageOf(error) }),
  );
});
