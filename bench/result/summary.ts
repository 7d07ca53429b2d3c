// The result of a run for a person: a few lines on standard output.

import { isOpenLoop, type Plan } from '../plan/plan.ts';
import { showBytes, showCount, showMs } from '../plan/quantity.ts';
import type { Wrongs } from './accounts.ts';
import { showMetric } from './assertion.ts';
import type { LatencySummary } from './latencies.ts';
import { describeMachine } from './machine.ts';
import type { Result } from './result.ts';

/** Clients with something wrong that are named. */
const NAMED_MAX = 10;
const WRONGS: readonly (readonly [key: keyof Wrongs, name: string])[] = [
  ['lost', 'lost'],
  ['duplicated', 'duplicated'],
  ['redelivered', 'redelivered'],
  ['outOfOrder', 'out of order'],
  ['corrupt', 'corrupt'],
  ['misdelivered', 'misdelivered'],
];

export function summarize(result: Result): string {
  const { figures, account } = result;
  const rows: [name: string, text: string][] = [
    ['scenario', `${result.scenario}: ${describePlan(result.plan)}`],
    ['broker', describeBroker(result)],
    ['machine', `${describeMachine(result.machine)}, load average ${result.machine.loadAverage}`],
  ];
  if (figures.connectMs !== null) rows.push(['connections', latencies(figures.connectMs, 'made')]);
  if (figures.perSecondOf !== 'connections') rows.push(...trafficRows(result));
  else rows.push(['rate', `${showCount(figures.perSecond)} connections/s; ${account.failed} failed`]);
  for (const { atS, tookS } of result.storms)
    rows.push(['storm', `at ${atS.toFixed(1)} s; everybody was back after ${showMs(tookS * 1_000)}`]);
  if (result.kill !== null)
    rows.push([
      'kill',
      `at ${result.kill.atS.toFixed(1)} s; it took connections again after ${showMs(result.kill.tookS * 1_000)}`,
    ]);
  const troubles = Object.entries(account.troubles);
  for (const [message, count] of troubles.slice(0, NAMED_MAX)) rows.push(['trouble', `${showCount(count)} × ${message}`]);
  for (const note of result.notes) rows.push(['note', note]);
  for (const { assertion, metric, value, holds } of result.assertions)
    rows.push([
      holds ? 'holds' : 'FAILED',
      `${assertion} (${value === null ? 'there is no such figure' : showMetric(metric, value)})`,
    ]);
  return `${rows.map(([name, text]) => `${name.padEnd(13)}${text}`).join('\n')}\n`;
}

/** Who does what, in a line. */
export function describePlan({ publishers, subscribers, idle, broker, threads }: Plan): string {
  const parts = publishers.map((group) => {
    const pace = isOpenLoop(group) ? `${showCount(group.rate)}/s` : `window ${showCount(group.window)}`;
    const topics = group.topics > 1 ? `${showCount(group.topics)} topics each, ` : '';
    return `${showCount(group.count)} × publisher (${topics}QoS ${group.qos}, ${group.payloadBytes} B, ${pace})`;
  });
  for (const { count, qos, shared, filter } of subscribers)
    parts.push(`${showCount(count)} × subscriber (${shared === null ? '' : `$share/${shared}/`}${filter}, QoS ${qos})`);
  if (idle > 0) parts.push(`${showCount(idle)} × connection`);
  const level = broker.level === 5 ? '5.0' : broker.level === 4 ? '3.1.1' : '3.1';
  const more = threads > 1 ? `, ${threads} threads` : '';
  return `${parts.join(', ')}; MQTT ${level} over ${broker.transport}${more}`;
}

function describeBroker({ broker }: Result): string {
  const parts = [broker.address];
  if (broker.version !== null) parts.push(broker.version);
  if (broker.pid !== null) parts.push(`process ${broker.pid}`);
  if (broker.cpuCores !== null) parts.push(`${broker.cpuCores.toFixed(2)} cores busy`);
  if (broker.residentBytesMax !== null) parts.push(`at most ${showBytes(broker.residentBytesMax)} in memory`);
  return parts.join(', ');
}

function trafficRows({ figures, account, plan }: Result): [string, string][] {
  const rows: [string, string][] = [];
  if (figures.sentPerSecond > 0) rows.push(['sent', `${showCount(account.sent)}; ${showCount(figures.sentPerSecond)}/s`]);
  if (figures.latencyOf === 'deliveries') {
    const rate = `${showCount(figures.receivedPerSecond)}/s, ${showBytes(figures.receivedBytesPerSecond)}/s of payload`;
    rows.push(['received', `${showCount(account.received)}; ${rate}, in ${figures.seconds.toFixed(1)} s of '${figures.stage}'`]);
    if (figures.latencyMs !== null) rows.push(['latency', latencies(figures.latencyMs)]);
  }
  if (figures.acknowledgementMs !== null) rows.push(['acknowledged', latencies(figures.acknowledgementMs)]);
  if (plan.subscribers.length > 0) rows.push(['account', accountLine(account, plan.closed)]);
  for (const row of account.subscribers.filter(isWrong).slice(0, NAMED_MAX))
    rows.push(['', `${row.clientId} (${row.filter}): ${wrongs(row)}`]);
  for (const { filter, lost, duplicated } of account.shares.filter((share) => share.lost + share.duplicated > 0))
    rows.push(['', `${filter}: ${showCount(lost)} lost, ${showCount(duplicated)} duplicated`]);
  return rows;
}

function accountLine(account: Result['account'], closed: boolean): string {
  const owed = closed ? `${showCount(account.owed)} deliveries owed: ` : '';
  return `${owed}${WRONGS.map(([key, name]) => `${showCount(account[key])} ${name}`).join(', ')}`;
}

function wrongs(row: Wrongs): string {
  return WRONGS.filter(([key]) => row[key] > 0)
    .map(([key, name]) => `${showCount(row[key])} ${name}`)
    .join(', ');
}

function isWrong(row: Wrongs): boolean {
  return WRONGS.some(([key]) => row[key] > 0);
}

function latencies({ count, p50, p90, p99, p99_9, max }: LatencySummary, made?: string): string {
  const many = made === undefined ? '' : `${showCount(count)} ${made}; `;
  return `${many}p50 ${showMs(p50)}, p90 ${showMs(p90)}, p99 ${showMs(p99)}, p99.9 ${showMs(p99_9)}, max ${showMs(max)}`;
}
