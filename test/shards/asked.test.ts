// Questions to all shards: a failure is told when nothing of them is under way any more, and none stays open when a shard is gone; and a shard keeps nothing open of what it has prepared in vain.
import { expect, test } from 'vitest';
import { systemClock } from '../../engine/clock.ts';
import { loadConfig } from '../../engine/config/load.ts';
import { silentLog } from '../../engine/log.ts';
import { systemRandom } from '../../engine/random.ts';
import { AskedShards } from '../../engine/shards/asked.ts';
import { type Gatekeeper, loadSecurity } from '../../engine/shards/gatekeeper.ts';
import { Host } from '../../engine/shards/host.ts';
import { MemoryStore } from '../../storage/memory.ts';

/** Whether a promise is settled by now, and how. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  const open = new Promise<string>((resolve) => setImmediate(resolve, 'open'));
  return Promise.race([
    promise.then(
      () => 'answered',
      (error: Error) => error.message,
    ),
    open,
  ]);
}

test('answers are in the order of the shards, in whatever order they come', async () => {
  const asked = new AskedShards();
  let number = 0;
  const answers = asked.ask(2, (given) => {
    number = given;
  });
  asked.answered(number, 1, { isRefusing: true });
  asked.answered(number, 0, { isRefusing: false });
  expect(await answers).toEqual([{ isRefusing: false }, { isRefusing: true }]);
});

test('one failure is told when the others have answered too, the first one of several', async () => {
  const asked = new AskedShards();
  let number = 0;
  const answers = asked.ask(3, (given) => {
    number = given;
  });
  answers.catch(() => {});
  asked.failed(number, new Error('first'));
  expect(await stateOf(answers)).toBe('open');
  asked.failed(number, new Error('second'));
  expect(await stateOf(answers)).toBe('open');
  asked.answered(number, 2, null);
  expect(await stateOf(answers)).toBe('first');
});

test('what is open when a shard is gone fails, and whatever is asked afterwards', async () => {
  const asked = new AskedShards();
  const before = asked.ask(2, () => {});
  before.catch(() => {});
  asked.lost(new Error('shard 1 has died'));
  expect(await stateOf(before)).toBe('shard 1 has died');
  expect(await stateOf(asked.ask(2, () => {}))).toBe('shard 1 has died');
});

test('a shard destroys what it has prepared and never put in force', async () => {
  const config = loadConfig({ set: ['listener.tcp.port=0'] });
  const destroyed: number[] = [];
  let built = 0;
  const keeperOf = async (): Promise<Gatekeeper> => {
    const number = ++built;
    return { ...(await loadSecurity(config, silentLog)), destroy: () => destroyed.push(number) };
  };
  const seams = { config, clock: systemClock, random: systemRandom, log: silentLog, store: new MemoryStore(1_000), keeperOf };
  const host = new Host({ ...seams, ...(await keeperOf()) });
  await host.prepare(config);
  await host.prepare(config);
  expect(destroyed).toEqual([2]);
  host.close();
  expect(destroyed).toEqual([2, 3, 1]);
});
