// A shard of the tests in a thread of its own, run from the build: does what it is told and ends by itself when nothing is left.
import { parentPort, workerData } from 'node:worker_threads';
import { type ShardCommand, type ShardJob, type ShardReport, TestShard } from './shard.ts';

if (parentPort !== null) {
  const port = parentPort;
  const shard = await TestShard.join(workerData as ShardJob);
  const report = (done: ShardReport['done']) => port.postMessage({ done, accepted: shard.accepted } satisfies ShardReport);
  port.on('message', async (command: ShardCommand) => {
    await shard[command]();
    report(command);
    // What still keeps the thread now is a leak, and the test waits in vain for its end.
    if (command === 'stop') port.unref();
  });
  report('open');
}
