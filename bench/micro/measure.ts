// How one task is measured: by tinybench, between two runs of a calibration loop. What slows the whole machine down slows both, so that
// their ratio says more about the task than its time does. Each figure is the lower quartile of calls, since others on the machine interrupt
// long ones again and again, and the result a median of such figures.
//
// What others do on the machine can slow memory down ten times and leave the caches alone. A task that waits for memory now and then stands in
// between, so that it is compared with a loop of either kind; a change of the code shows in both ratios.
import { Bench } from 'tinybench';
import { median } from '../median.ts';
import type { Nature, Task } from './suite.ts';

export interface Figure {
  readonly key: string;
  readonly title: string;
  /** Nanoseconds for one item. */
  readonly ns: number;
  /** The same in steps of the calibration loop. */
  readonly ratio: number;
  /** In steps of the loop that waits for memory; null for a task that does not. */
  readonly farRatio: number | null;
  /** Tolerance that the task asks for where the baseline has none. */
  readonly tolerance: number;
}

const TASK_MS = 60;
const CALIBRATION_MS = 20;
/** Calls at least, however long they take. */
const ITERATIONS = 4;

const STEPS = 10_000;
/** Words that the loops visit: 64 KiB, which the second cache holds, and 64 MiB, which none does. */
const TABLE_WORDS = { cached: 16_384, far: 16_777_216 } as const;

/** Everything that the loops found, so that nothing is optimised away. */
let found = 0;

/** A chain of multiplications, shifts and loads, each of which needs the one before: as the broker's inner loops are. */
function calibrationLoop(words: number): () => void {
  const table = new Int32Array(words);
  for (let at = 0; at < words; at++) table[at] = Math.imul(at, 0x9e3779b1);
  const mask = words - 1;
  return () => {
    let word = found | 1;
    for (let step = 0; step < STEPS; step++) {
      word = Math.imul(word ^ table[word & mask]!, 0x85ebca6b);
      word ^= word >>> 13;
    }
    found = word;
  };
}

const cachedLoop = calibrationLoop(TABLE_WORDS.cached);
const farLoop = calibrationLoop(TABLE_WORDS.far);

/** @param repetitions how many figures the result is the median of */
export async function measure(task: Task, repetitions: number): Promise<Figure> {
  const { key, title, nature } = task;
  const ns: number[] = [];
  const ratios: number[] = [];
  const farRatios: number[] = [];
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const before = await stepTimes(nature);
    const taskNs = (await timeOf(task.once, TASK_MS)) / task.items;
    const after = await stepTimes(nature);
    ns.push(taskNs);
    ratios.push((taskNs * 2) / (before.cached + after.cached));
    farRatios.push((taskNs * 2) / (before.far + after.far));
  }
  const farRatio = nature.isFar ? median(farRatios) : null;
  return { key, title, ns: median(ns), ratio: median(ratios), farRatio, tolerance: nature.tolerance };
}

/** Nanoseconds for a step of either loop; of the far one NaN when the task does not ask for it. */
async function stepTimes({ isFar }: Nature): Promise<{ readonly cached: number; readonly far: number }> {
  const far = isFar ? await stepOf(farLoop) : NaN;
  return { cached: await stepOf(cachedLoop), far };
}

async function stepOf(loop: () => void): Promise<number> {
  return (await timeOf(loop, CALIBRATION_MS)) / STEPS;
}

/** Lower quartile of the calls that fit into the time, in nanoseconds. */
async function timeOf(once: () => void, timeMs: number): Promise<number> {
  const bench = new Bench({
    time: timeMs,
    iterations: ITERATIONS,
    warmupTime: timeMs / 4,
    warmupIterations: 1,
    throws: true,
    retainSamples: true,
  });
  bench.add('once', once);
  const [task] = await bench.run();
  const result = task!.result;
  if (result.state !== 'completed') throw new Error('bench: a task did not complete');
  const sorted = result.latency.samples!;
  return sorted[sorted.length >> 2]! * 1e6;
}
