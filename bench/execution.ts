// One run as it was asked for on the command line: the broker is found or started, the plan is run, and the result goes where it was wanted.
import { writeFileSync } from 'node:fs';
import { ExitCode, interruptedBy } from '../engine/cli/exit-code.ts';
import { Failure, messageOf } from '../engine/cli/failure.ts';
import type { OutputFlags } from './bench-options.ts';
import { BrokerProcess } from './broker-process.ts';
import type { Plan } from './plan/plan.ts';
import { makePlan } from './plan/planner.ts';
import type { Settings } from './plan/settings.ts';
import { probe, showBroker } from './probe.ts';
import { ProgressLine } from './progress-line.ts';
import { type Assertion, parseAssertions, showMetric } from './result/assertion.ts';
import { thisMachine } from './result/machine.ts';
import { renderReport } from './result/report.ts';
import { makeResult, type Result } from './result/result.ts';
import { summarize } from './result/summary.ts';
import { UsageWatch } from './result/usage.ts';
import { JoinError, type Outcome, run } from './run.ts';

/** Returns the exit code. Throws SettingsError before anything has happened, Failure afterwards. */
export async function execute(settings: Settings, output: OutputFlags): Promise<number> {
  const plan = makePlan(settings);
  const assertions = (settings.assertions ?? []).flatMap(parseAssertions);
  for (const file of [output.json, output.report]) if (typeof file === 'string') claim(file);
  const interrupt = interruption();
  const { broker: place } = plan;
  const broker =
    settings.start !== undefined
      ? await BrokerProcess.start(settings.start, place)
      : settings.pid !== undefined
        ? BrokerProcess.watch(settings.pid, place)
        : null;
  try {
    const result = await measure(plan, broker, assertions, interrupt.signal);
    deliver(result, output);
    const isEndless = plan.durationS === 0 && plan.publishers.every(({ limit }) => limit === 0);
    if (result.interrupted && !isEndless) return interruptedBy[interrupt.by()!];
    return result.ok ? ExitCode.OK : ExitCode.FAILURE;
  } finally {
    interrupt.forget();
    await broker?.stop();
  }
}

async function measure(
  plan: Plan,
  broker: BrokerProcess | null,
  assertions: readonly Assertion[],
  signal: AbortSignal,
): Promise<Result> {
  const machine = thisMachine();
  const version = await probe(plan);
  const progress = new ProgressLine(process.stderr, plan.warmUpS + plan.durationS);
  const usage = new UsageWatch(broker);
  const startedAt = new Date();
  let outcome: Outcome;
  try {
    outcome = await run(plan, {
      signal,
      mortal: broker,
      second: (second) => {
        usage.second(second.second);
        progress.second(second);
      },
      stage: (name, edge) => {
        usage.stage(name, edge);
        if (edge === 'begin') progress.stage(name);
      },
    });
  } catch (error) {
    if (!(error instanceof JoinError)) throw error;
    throw new Failure(`${showBroker(plan.broker)}: ${error.message}`, ExitCode.REFUSED);
  } finally {
    progress.end();
  }
  const main = usage.stages.get(mainStage(outcome));
  return makeResult(outcome, {
    startedAt,
    machine,
    use: {
      address: showBroker(plan.broker),
      version,
      pid: broker?.pid ?? null,
      cpuCores: main?.cpuCores ?? null,
      residentBytesMax: usage.residentBytesMax,
    },
    stageUsage: usage.stages,
    secondUsage: usage.seconds,
    assertions,
  });
}

function mainStage({ stages }: Outcome): string {
  const names = stages.map(({ stage }) => stage.name);
  return ['measured', 'drain', 'connect'].find((name) => names.includes(name)) ?? '';
}

function deliver(result: Result, { json, report, quiet }: OutputFlags): void {
  const text = `${JSON.stringify(result, null, 2)}\n`;
  if (typeof json === 'string') writeFileSync(json, text);
  if (report !== undefined) writeFileSync(report, renderReport(result));
  if (json === true) process.stdout.write(text);
  else if (quiet !== true) process.stdout.write(summarize(result));
  for (const { assertion, metric, value, holds } of result.assertions) {
    const found = value === null ? 'the run has no such figure' : `it is ${showMetric(metric, value)}`;
    if (!holds) process.stderr.write(`lethe bench: ${assertion} does not hold: ${found}\n`);
  }
}

/** A file that cannot be written is told before the run, not after it. */
function claim(file: string): void {
  try {
    writeFileSync(file, '');
  } catch (error) {
    throw new Failure(`${file} cannot be written: ${messageOf(error)}`);
  }
}

interface Interruption {
  readonly signal: AbortSignal;
  by(): keyof typeof interruptedBy | null;
  forget(): void;
}

/** The first signal ends the run, which is accounted for; a second one ends the program. */
function interruption(): Interruption {
  const controller = new AbortController();
  let first: keyof typeof interruptedBy | null = null;
  const handlers = (['SIGINT', 'SIGTERM'] as const).map((name) => {
    const handler = (): void => {
      if (first !== null) process.exit(interruptedBy[name]);
      first = name;
      controller.abort();
    };
    process.on(name, handler);
    return [name, handler] as const;
  });
  return {
    signal: controller.signal,
    by: () => first,
    forget: () => {
      for (const [name, handler] of handlers) process.off(name, handler);
    },
  };
}
