// The steady state: after a warm-up a million publishes, with every packet that follows from them, leave nothing behind, allocate next to nothing
// and have no function optimised in vain. The broker runs in a process of its own, over loopback, from the build.
//
// What may be allocated is what a turn costs (a view of each block that is written, now and then a request of libuv), and a turn carries about a
// thousand messages here. Measured: 2 to 4 bytes a message. The smallest object has 16 bytes, so that a single one for each message is
// more than the bound, and one for every second message about as much.
import { type ChildProcess, fork } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import { CONTROL_DEOPTIMISATIONS, CONTROL_OBJECTS, Command, type Ready, type Sample } from './broker-on-watch.ts';
import { Lane, type LaneShape, type QoS } from './lane.ts';
import { type Collections, type Deoptimisation, readCollections, readDeoptimisations } from './traces.ts';

const PUBLISHES = 1_000_000;
/** V8 learns for longer than one would think: after a third of this single functions still go back once. */
const WARM_UP = 2_000_000;

const ALLOCATED_BYTES_MAX = 12;
/** One collection of the young generation for each MiB (the semi-space below). */
const MINOR_MAX = Math.ceil((PUBLISHES * ALLOCATED_BYTES_MAX) / 1_048_576);
/** The one that ends the watch, and two that V8 may find due: code comes and goes. */
const MAJOR_MAX = 3;
/** Code and feedback still move by some ten KiB. One byte for each message would be eight times this. */
const HEAP_GROWTH_MAX = 131_072;
/** A pool may meet a new peak and take some more blocks of 64 KiB. */
const BUFFER_GROWTH_MAX = 262_144;
/** An assumption may turn out to be wrong, and once more; what is wrong a third time was not learned. */
const SAME_DEOPTIMISATION_MAX = 2;

const FLAGS = ['--expose-gc', '--min-semi-space-size=1', '--max-semi-space-size=1'];
const BUILT = new URL('../../dist/test/steady/broker-on-watch.js', import.meta.url);

let watched: Watched | null = null;
afterEach(() => watched?.kill());

/** The broker's process, and what V8 says in it. */
class Watched {
  readonly #child: ChildProcess;
  #trace = '';

  constructor() {
    this.#child = fork(BUILT, { execArgv: FLAGS, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#trace += text;
    });
  }

  /** What it says next; rejects when it ends instead. */
  answer<T>(command?: Command): Promise<T> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null) => reject(new Error(`the broker's process ended with ${code}`));
      this.#child.once('exit', ended);
      this.#child.once('message', (message) => {
        this.#child.off('exit', ended);
        resolve(message as T);
      });
      if (command !== undefined) this.#child.send(command);
    });
  }

  /** Ends it; all that V8 said while it was watched. */
  trace(): Promise<string> {
    return new Promise((resolve) => {
      this.#child.once('close', () => resolve(this.#trace));
      this.#child.send(Command.STOP);
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

interface Watch {
  readonly publishes: number;
  readonly collections: Collections;
  readonly deoptimisations: readonly Deoptimisation[];
  readonly heapGrowth: number;
  readonly bufferGrowth: number;
}

/** Starts a broker, warms it up and watches it under load from a lane of each shape; `control` is done while it is watched. */
async function watch(shapes: readonly LaneShape[], control: readonly Command[] = []): Promise<Watch> {
  watched = new Watched();
  const ready = await watched.answer<Ready>();
  const lanes: Lane[] = [];
  for (const [at, shape] of shapes.entries()) lanes.push(await Lane.open(ready, shape, `steady/lane-${at}`));
  const publish = async (messages: number): Promise<number> => {
    const published = await Promise.all(lanes.map((lane) => lane.publish(messages / lanes.length)));
    return published.reduce((sum, count) => sum + count, 0);
  };
  await publish(WARM_UP);
  const before = await watched.answer<Sample>(Command.BEGIN);
  const publishes = await publish(PUBLISHES);
  for (const command of control) await watched.answer(command);
  const after = await watched.answer<Sample>(Command.END);
  for (const lane of lanes) lane.close();
  const trace = await watched.trace();
  return {
    publishes,
    collections: readCollections(trace),
    deoptimisations: readDeoptimisations(trace),
    heapGrowth: after.heap - before.heap,
    bufferGrowth: after.arrayBuffers - before.arrayBuffers,
  };
}

const TRANSPORTS = ['tcp', 'ws'] as const;

/** Both transports, publishers of both families, receivers of both. */
function pairs(qos: QoS): LaneShape[] {
  return TRANSPORTS.flatMap((transport) => [
    { transport, qos, publisher: 4, subscribers: [5] },
    { transport, qos, publisher: 5, subscribers: [4] },
  ]);
}

const fanOut: readonly LaneShape[] = TRANSPORTS.flatMap((transport) => [
  { transport, qos: 0, publisher: 4, subscribers: [4, 5, 4] },
  { transport, qos: 0, publisher: 5, subscribers: [5, 4, 5] },
]);

test.each<[string, readonly LaneShape[]]>([
  ['QoS 0, fan-out', fanOut],
  ['QoS 1, pairs', pairs(1)],
  ['QoS 2, pairs', pairs(2)],
  ['all of them at once', [...fanOut, ...pairs(1), ...pairs(2)]],
])('a million publishes: %s', async (_name, shapes) => {
  const { publishes, collections, deoptimisations, heapGrowth, bufferGrowth } = await watch(shapes);
  expect(publishes).toBeGreaterThanOrEqual(PUBLISHES);
  expect.soft(collections.allocated / publishes, 'bytes allocated for a message').toBeLessThan(ALLOCATED_BYTES_MAX);
  expect.soft(collections.minor, 'collections of the young generation').toBeLessThanOrEqual(MINOR_MAX);
  expect.soft(collections.major, 'collections of the whole heap').toBeLessThanOrEqual(MAJOR_MAX);
  expect.soft(heapGrowth, 'growth of the heap').toBeLessThan(HEAP_GROWTH_MAX);
  expect.soft(bufferGrowth, 'growth of the buffers').toBeLessThan(BUFFER_GROWTH_MAX);
  expect.soft(deoptimisations.filter(isLoop)).toEqual([]);
});

test('the watch sees an object for each message, and a function that is optimised in vain', async () => {
  const { collections, deoptimisations } = await watch([], [Command.CONTROL]);
  expect.soft(collections.allocated / CONTROL_OBJECTS).toBeGreaterThan(ALLOCATED_BYTES_MAX);
  expect.soft(collections.minor).toBeGreaterThan(MINOR_MAX);
  const loops = deoptimisations.filter(isLoop);
  expect(loops.map(({ name, times }) => ({ name, times }))).toEqual([{ name: 'looping', times: CONTROL_DEOPTIMISATIONS }]);
});

/** What node does with its own functions is not ours to mend. */
function isLoop({ place, times }: Deoptimisation): boolean {
  return times > SAME_DEOPTIMISATION_MAX && !place.startsWith('node:');
}
