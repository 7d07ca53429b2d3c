// npm run bench:micro: what the parts of the broker take each for itself, beside a committed baseline. Figures are compared as ratios to a
// calibration loop of the same process (micro/measure.ts), so that neither another machine nor a busy one is taken for a change of the code.
//
// A task that seems slower than it may be is measured again: only what is slow every time is slow.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ExitCode } from '../engine/cli/exit-code.ts';
import { Failure } from '../engine/cli/failure.ts';
import { keysOf, positive, runProgram } from './choice.ts';
import {
  type Baseline,
  baselinePath,
  compare,
  compareFigure,
  fails,
  type Row,
  readBaseline,
  renew,
  Verdict,
} from './micro/baseline.ts';
import { type Figure, measure } from './micro/measure.ts';
import { protocolSuite } from './micro/protocol.bench.ts';
import { routingSuite } from './micro/routing.bench.ts';
import { sessionsSuite } from './micro/sessions.bench.ts';
import { shardsSuite } from './micro/shards.bench.ts';
import { storageSuite } from './micro/storage.bench.ts';
import type { Suite, Task } from './micro/suite.ts';
import { topicsSuite } from './micro/topics.bench.ts';
import { describeMachine, thisMachine } from './result/machine.ts';

const SUITES: readonly Suite[] = [protocolSuite, topicsSuite, sessionsSuite, routingSuite, shardsSuite, storageSuite];
const REPETITIONS = 5;
/** A baseline is worth more of them: one that is wrong by chance lets pass what it should not. */
const WRITE_REPETITIONS = 15;
/** How often a task is measured again before it is called slower. */
const DOUBTS = 2;

const help = `usage: npm run bench:micro -- [options]
  --only KEYS         suites or tasks, such as topics,protocol.framer (suites: ${keysOf(SUITES)}; default all)
  --write             make what was measured the baseline
  --repetitions N     figures that each result is the median of (default ${REPETITIONS}, with --write ${WRITE_REPETITIONS})
  --help
A ratio is the time of one item in steps of the calibration loop. Exits with 1 when a task is slower than its tolerance, or when the
baseline is not about the tasks that there are.
`;

/** What --only asks for. */
class Choice {
  readonly suites: readonly Suite[];
  readonly #keys: readonly string[] | null;

  constructor(keys: string | undefined) {
    this.#keys = keys?.split(',').map((key) => key.trim()) ?? null;
    const wanted = this.#keys?.map((key) => key.split('.')[0]!);
    const unknown = wanted?.find((key) => !SUITES.some((suite) => suite.key === key));
    if (unknown !== undefined) throw new Failure(`there is no suite '${unknown}'; there are: ${keysOf(SUITES)}`, ExitCode.USAGE);
    this.suites = SUITES.filter(({ key }) => wanted === undefined || wanted.includes(key));
  }

  /** The tasks of a suite that are wanted; those that are asked for by name must exist. */
  of(suite: Suite, tasks: readonly Task[]): readonly Task[] {
    const named = this.#keys?.filter((key) => key.startsWith(`${suite.key}.`)) ?? [];
    const unknown = named.find((key) => !tasks.some((task) => task.key === key));
    if (unknown !== undefined) throw new Failure(`there is no task '${unknown}'; there are: ${keysOf(tasks)}`, ExitCode.USAGE);
    if (this.isWhole(suite)) return tasks;
    return tasks.filter(({ key }) => named.includes(key));
  }

  isWhole({ key }: Suite): boolean {
    return this.#keys === null || this.#keys.includes(key);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      write: { type: 'boolean', default: false },
      repetitions: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return;
  }
  const choice = new Choice(values.only);
  const usual = values.write ? WRITE_REPETITIONS : REPETITIONS;
  const repetitions = Math.ceil(positive('--repetitions', values.repetitions ?? String(usual)));
  const baseline = readBaseline();
  const machine = describeMachine(thisMachine());
  console.log(`${machine}\n`);
  console.log(HEAD);
  const figures: Figure[] = [];
  for (const suite of choice.suites) {
    const tasks = suite.build();
    for (const task of choice.of(suite, tasks.list)) {
      const figure = await measureInDoubt(task, repetitions, values.write ? null : baseline);
      figures.push(figure);
      console.log(line(compareFigure(figure, baseline.tasks[figure.key])));
    }
    tasks.end();
  }
  const rows = compare(
    figures,
    baseline,
    choice.suites.filter((suite) => choice.isWhole(suite)).map(({ key }) => key),
  );
  for (const row of rows.filter(({ verdict }) => verdict === Verdict.GONE)) console.log(line(row));
  if (values.write) {
    writeFileSync(baselinePath(), `${JSON.stringify(renew(baseline, rows, figures, machine), null, 2)}\n`);
    console.log(`\nwritten: ${baselinePath()}`);
    return;
  }
  const failed = rows.filter(fails);
  console.log(`\n${rows.length - failed.length} of ${rows.length} tasks as the baseline has them`);
  if (failed.length > 0) process.exitCode = 1;
}

/** The best of up to three results: the first that is not slower than it may be. */
async function measureInDoubt(task: Task, repetitions: number, baseline: Baseline | null): Promise<Figure> {
  let best = await measure(task, repetitions);
  const mark = baseline?.tasks[task.key];
  for (let doubt = 0; doubt < DOUBTS && compareFigure(best, mark).verdict === Verdict.SLOWER; doubt++) {
    const again = await measure(task, repetitions);
    if (again.ratio < best.ratio) best = again;
  }
  return best;
}

const WIDTHS = { key: 32, number: 11 } as const;
const TITLES = ['ns/item', 'ratio', 'baseline', 'deviation', 'allowed'];
const HEAD = `${'task'.padEnd(WIDTHS.key)}${TITLES.map((title) => title.padStart(WIDTHS.number)).join('')}  verdict`;

function line({ key, title, ns, ratio, mark, deviation, verdict }: Row): string {
  const numbers = [
    ns === null ? '' : ns.toFixed(ns < 100 ? 1 : 0),
    ratio === null ? '' : ratio.toPrecision(3),
    mark === null ? '' : mark.ratio.toPrecision(3),
    deviation === null ? '' : percent(deviation),
    mark === null ? '' : percent(mark.tolerance),
  ];
  return `${key.padEnd(WIDTHS.key)}${numbers.map((text) => text.padStart(WIDTHS.number)).join('')}  ${verdict.padEnd(7)} ${title}`;
}

function percent(part: number): string {
  return `${part >= 0 ? '+' : ''}${(part * 100).toFixed(0)} %`;
}

await runProgram(main);
