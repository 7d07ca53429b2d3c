// The result of a run as `--json` writes it, and the verdict on it.

import { Course, isOpenLoop, type Plan } from '../plan/plan.ts';
import type { Kill, Outcome, StageOutcome, Storm } from '../run.ts';
import { type Account, settleAccounts } from './accounts.ts';
import { type Assertion, judgeAssertion, type MeasuredResult, type Metric, metricOf, type Verdict } from './assertion.ts';
import type { LatencySummary } from './latencies.ts';
import type { Machine } from './machine.ts';
import type { Second } from './recorder.ts';
import type { BrokerUse, Usage } from './usage.ts';

export interface StageResult {
  readonly name: string;
  /** Since the beginning of the run. */
  readonly atS: number;
  readonly seconds: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly received: number;
  readonly receivedBytes: number;
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
  readonly latencyMs: LatencySummary | null;
  readonly acknowledgementMs: LatencySummary | null;
  readonly connectMs: LatencySummary | null;
  /** Share of their time that the threads of the load were not idle. */
  readonly loadBusy: number;
  readonly broker: Usage | null;
}

/** What the run is about. */
export interface Figures {
  /** Stage that they are of. */
  readonly stage: string;
  readonly seconds: number;
  /** Deliveries a second; messages sent where nobody receives; connections where there are only those. */
  readonly perSecond: number;
  readonly perSecondOf: 'deliveries' | 'messages' | 'connections';
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
  readonly receivedBytesPerSecond: number;
  /** Of deliveries, from sent (open loop: due) to received; else of acknowledgements; else of connections. */
  readonly latencyMs: LatencySummary | null;
  readonly latencyOf: 'deliveries' | 'acknowledgements' | 'connections';
  readonly acknowledgementMs: LatencySummary | null;
  readonly connectMs: LatencySummary | null;
  /** Percentile and milliseconds. */
  readonly latencyCurve: readonly (readonly [percent: number, ms: number])[];
}

export interface Result {
  readonly format: 'lethe-bench/1';
  readonly scenario: string;
  readonly startedAt: string;
  readonly machine: Machine;
  readonly broker: BrokerUse;
  readonly plan: Plan;
  readonly figures: Figures;
  readonly stages: readonly StageResult[];
  readonly account: Account;
  readonly seconds: readonly (Second & { readonly cpuCores: number | null; readonly residentBytes: number | null })[];
  readonly storms: readonly Storm[];
  readonly kill: Kill | null;
  /** What a reader of the figures should know. */
  readonly notes: readonly string[];
  readonly assertions: readonly Verdict[];
  /** Whether it was ended by a signal before its time. */
  readonly interrupted: boolean;
  /** Whether everything holds. */
  readonly ok: boolean;
}

/** What must hold unless an assertion speaks of it. */
const ZERO: readonly Metric[] = [
  'lost',
  'duplicated',
  'out_of_order',
  'corrupt',
  'misdelivered',
  'refused',
  'unacknowledged',
  'connections_lost',
  'sessions_lost',
  'failed',
];

/** A load that is this busy may be the limit itself. */
const BUSY = 0.95;
/** An open loop that sends less than this of what it should. */
const KEPT_UP = 0.98;

export interface ResultContext {
  readonly startedAt: Date;
  readonly machine: Machine;
  readonly use: BrokerUse;
  /** Of the broker, of each stage by name and of each second. */
  readonly stageUsage: ReadonlyMap<string, Usage>;
  readonly secondUsage: readonly (Usage | null)[];
  readonly assertions: readonly Assertion[];
}

export function makeResult(outcome: Outcome, context: ResultContext): Result {
  const { plan } = outcome;
  const stages = outcome.stages.map((own) => stageResult(own, context.stageUsage.get(own.stage.name) ?? null));
  const account = settleAccounts(outcome);
  const figures = figuresOf(outcome, stages);
  const measured: MeasuredResult = { figures, account, broker: context.use };
  const assertions = context.assertions.map((assertion) => judgeAssertion(assertion, measured));
  const spoken = new Set(context.assertions.map(({ metric }) => metric));
  const silent = ZERO.filter((metric) => !spoken.has(metric) && isExpected(metric, plan)).map((metric): Verdict => {
    const value = metricOf(metric, measured);
    return { assertion: `${metric}=0`, metric, value, holds: value === 0 };
  });
  const verdicts = [...assertions, ...silent.filter(({ holds }) => !holds)];
  const { broker, ...rest } = plan;
  return {
    format: 'lethe-bench/1',
    scenario: plan.scenario,
    startedAt: context.startedAt.toISOString(),
    machine: context.machine,
    broker: context.use,
    plan: { ...rest, broker: { ...broker, password: null, key: null, cert: null, ca: null } },
    figures,
    stages,
    account,
    seconds: outcome.seconds.map((second) => {
      const usage = context.secondUsage[second.second] ?? null;
      return { ...second, cpuCores: usage?.cpuCores ?? null, residentBytes: usage?.residentBytes ?? null };
    }),
    storms: outcome.storms,
    kill: outcome.kill,
    notes: notesOf(outcome, stages, figures, account),
    assertions: verdicts,
    interrupted: outcome.wasInterrupted,
    ok: verdicts.every(({ holds }) => holds),
  };
}

/** A broker that is killed loses its connections, and storms are not asked. */
function isExpected(metric: Metric, plan: Plan): boolean {
  if (metric === 'connections_lost') return plan.kill === null;
  if (metric === 'sessions_lost') return !plan.clients.clean;
  return true;
}

function stageResult({ stage, ...sums }: StageOutcome, broker: Usage | null): StageResult {
  const { sent, received, seconds } = sums;
  return {
    name: stage.name,
    ...sums,
    sentPerSecond: perSecond(sent, seconds),
    receivedPerSecond: perSecond(received, seconds),
    latencyMs: stage.isTail ? null : stage.deliveries.summary,
    acknowledgementMs: stage.isTail ? null : stage.acknowledgements.summary,
    connectMs: stage.connects.summary,
    loadBusy: stage.busy,
    broker,
  };
}

function perSecond(count: number, seconds: number): number {
  return seconds > 0 ? count / seconds : 0;
}

/** Stages that figures are taken of: where messages are delivered, and where they are sent. */
const MAIN: Readonly<Record<Course, readonly [received: string, sent: string]>> = {
  [Course.TRAFFIC]: ['measured', 'measured'],
  [Course.STORM]: ['measured', 'measured'],
  [Course.PERSISTENT]: ['drain', 'fill'],
  [Course.CONNECTIONS]: ['connect', 'connect'],
};

function figuresOf({ plan, roster, stages }: Outcome, results: readonly StageResult[]): Figures {
  const [receivedIn, sentIn] = MAIN[plan.course];
  const find = (name: string) => results.find((stage) => stage.name === name)!;
  const [main, source, connect] = [find(receivedIn), find(sentIn), find('connect')];
  const { stage } = stages.find((own) => own.stage.name === receivedIn)!;
  const latencyOf =
    roster.subscribers.length > 0 ? 'deliveries' : roster.publishers.length > 0 ? 'acknowledgements' : 'connections';
  const latencies = { deliveries: stage.deliveries, acknowledgements: stage.acknowledgements, connections: stage.connects };
  const rates = {
    deliveries: main.receivedPerSecond,
    acknowledgements: source.sentPerSecond,
    connections: perSecond(stage.connects.count, main.seconds),
  };
  return {
    stage: main.name,
    seconds: main.seconds,
    perSecond: rates[latencyOf],
    perSecondOf: latencyOf === 'acknowledgements' ? 'messages' : latencyOf,
    sentPerSecond: source.sentPerSecond,
    receivedPerSecond: main.receivedPerSecond,
    receivedBytesPerSecond: perSecond(main.receivedBytes, main.seconds),
    latencyMs: latencies[latencyOf].summary,
    latencyOf,
    acknowledgementMs: source.acknowledgementMs,
    connectMs: connect.connectMs,
    latencyCurve: latencies[latencyOf].curve,
  };
}

function notesOf({ plan }: Outcome, stages: readonly StageResult[], figures: Figures, account: Account): string[] {
  const notes: string[] = [];
  const main = stages.find(({ name }) => name === figures.stage)!;
  const open = plan.publishers.filter(isOpenLoop);
  const asked = open.reduce((sum, { rate }) => sum + rate, 0);
  // What waits awake for its time is busy by design.
  if (main.loadBusy > BUSY && (open.length === 0 || !plan.spins))
    notes.push(
      `the load was ${Math.round(main.loadBusy * 100)} % busy: the rate may be its limit and not the broker's (--threads gives it more)`,
    );
  if (open.length === plan.publishers.length && asked > 0 && figures.sentPerSecond < asked * KEPT_UP && plan.durationS > 0)
    notes.push(
      `asked for ${Math.round(asked)} messages a second, ${Math.round(figures.sentPerSecond)} were sent: latencies count from when each was due`,
    );
  if (account.stalls > 0)
    notes.push(
      `publishers waited ${account.stalls} times for a second without any progress and then sent on: a smaller --window may lose less`,
    );
  if (account.foreign > 0) notes.push(`${account.foreign} messages came that are none of this run; they are not counted`);
  return notes;
}
