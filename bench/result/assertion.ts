// Assertions on a result, for CI: `p99<5ms`, `lost=0`, `rate>=100k`. A metric is a number of the result; each has its kind of unit.

import { showBytes, showCount, showMs } from '../plan/quantity.ts';
import { SettingsError } from '../plan/settings.ts';
import type { Result } from './result.ts';

export const METRICS = {
  rate: 'count',
  publish_rate: 'count',
  min: 'time',
  mean: 'time',
  p50: 'time',
  p90: 'time',
  p99: 'time',
  'p99.9': 'time',
  max: 'time',
  ack_p50: 'time',
  ack_p99: 'time',
  ack_max: 'time',
  connect_p50: 'time',
  connect_p99: 'time',
  connect_max: 'time',
  sent: 'count',
  received: 'count',
  lost: 'count',
  duplicated: 'count',
  redelivered: 'count',
  out_of_order: 'count',
  corrupt: 'count',
  misdelivered: 'count',
  refused: 'count',
  unacknowledged: 'count',
  connections_lost: 'count',
  sessions_lost: 'count',
  failed: 'count',
  stalls: 'count',
  cpu: 'count',
  memory: 'bytes',
} as const;
export type Metric = keyof typeof METRICS;

export interface Assertion {
  readonly text: string;
  readonly metric: Metric;
  readonly operator: string;
  /** Times in milliseconds. */
  readonly bound: number;
}

export interface Verdict {
  readonly assertion: string;
  readonly metric: Metric;
  /** Null when the run has no such figure: the assertion fails. */
  readonly value: number | null;
  readonly holds: boolean;
}

const UNITS: Readonly<Record<(typeof METRICS)[Metric], Readonly<Record<string, number>>>> = {
  time: { us: 1e-3, µs: 1e-3, ms: 1, s: 1e3 },
  count: { '': 1, k: 1e3, M: 1e6 },
  bytes: { B: 1, KiB: 1_024, MiB: 2 ** 20, GiB: 2 ** 30 },
};

const OPERATORS: Readonly<Record<string, (value: number, bound: number) => boolean>> = {
  '<': (value, bound) => value < bound,
  '<=': (value, bound) => value <= bound,
  '=': (value, bound) => value === bound,
  '!=': (value, bound) => value !== bound,
  '>=': (value, bound) => value >= bound,
  '>': (value, bound) => value > bound,
};

/** Reads a list with commas. Throws SettingsError with what is allowed. */
export function parseAssertions(list: string): Assertion[] {
  return list
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map(parseAssertion);
}

function parseAssertion(text: string): Assertion {
  const match = /^([a-z][a-z0-9_.]*)\s*(<=|>=|!=|==|<|>|=)\s*([0-9.]+)\s*(\S*)$/.exec(text);
  if (match === null)
    throw new SettingsError(
      `assertion '${text}' must be written as METRIC OPERATOR NUMBER, for example p99<5ms; ${metricList()}`,
    );
  const [, name, operator, digits, unit = ''] = match;
  if (!Object.hasOwn(METRICS, name!)) throw new SettingsError(`assertion '${text}' names no metric; ${metricList()}`);
  const metric = name as Metric;
  const units = UNITS[METRICS[metric]];
  const factor = units[unit];
  if (factor === undefined)
    throw new SettingsError(
      `assertion '${text}' needs a number ${unit === '' ? 'with' : 'in'} one of: ${Object.keys(units).filter(Boolean).join(', ')}`,
    );
  return { text, metric, operator: operator === '==' ? '=' : operator!, bound: Number(digits) * factor };
}

function metricList(): string {
  return `metrics are ${Object.keys(METRICS).join(', ')}`;
}

/** A metric's value for a person. */
export function showMetric(metric: Metric, value: number): string {
  if (METRICS[metric] === 'time') return showMs(value);
  if (METRICS[metric] === 'bytes') return showBytes(value);
  return Number.isInteger(value) || value >= 1_000 ? showCount(value) : value.toFixed(2);
}

export function judgeAssertion({ text, metric, operator, bound }: Assertion, result: MeasuredResult): Verdict {
  const value = metricOf(metric, result);
  return { assertion: text, metric, value, holds: value !== null && OPERATORS[operator]!(value, bound) };
}

/** What of a result assertions can speak of. */
export type MeasuredResult = Pick<Result, 'figures' | 'account' | 'broker'>;

export function metricOf(metric: Metric, { figures, account, broker }: MeasuredResult): number | null {
  const { latencyMs, acknowledgementMs, connectMs } = figures;
  switch (metric) {
    case 'rate':
      return figures.perSecond;
    case 'publish_rate':
      return figures.sentPerSecond;
    case 'min':
    case 'mean':
    case 'p50':
    case 'p90':
    case 'p99':
    case 'max':
      return latencyMs?.[metric] ?? null;
    case 'p99.9':
      return latencyMs?.p99_9 ?? null;
    case 'ack_p50':
      return acknowledgementMs?.p50 ?? null;
    case 'ack_p99':
      return acknowledgementMs?.p99 ?? null;
    case 'ack_max':
      return acknowledgementMs?.max ?? null;
    case 'connect_p50':
      return connectMs?.p50 ?? null;
    case 'connect_p99':
      return connectMs?.p99 ?? null;
    case 'connect_max':
      return connectMs?.max ?? null;
    case 'out_of_order':
      return account.outOfOrder;
    case 'connections_lost':
      return account.connectionsLost;
    case 'sessions_lost':
      return account.sessionsLost;
    case 'cpu':
      return broker.cpuCores;
    case 'memory':
      return broker.residentBytesMax;
    default:
      return account[metric];
  }
}
