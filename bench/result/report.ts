// The result of a run as one HTML page that needs nothing else: plots (uPlot, inlined), tables, and the result itself as JSON inside.
import { packagedText } from '../../engine/packaged.ts';
import { showBytes, showCount, showMs } from '../plan/quantity.ts';
import { showMetric } from './assertion.ts';
import { describeMachine } from './machine.ts';
import { reportScript } from './report-script.ts';
import { reportStyle } from './report-style.ts';
import type { Result, StageResult } from './result.ts';
import { describePlan } from './summary.ts';

export function renderReport(result: Result): string {
  const title = `${result.scenario} · lethe bench`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${html(title)}</title>
<style>${asset('uPlot.min.css')}</style>
<style>${reportStyle}</style>
</head>
<body>
<header>
<p class="verdict ${result.ok ? 'holds' : 'fails'}">${result.ok ? 'holds' : 'fails'}</p>
<h1>${html(result.scenario)}</h1>
<p>${html(describePlan(result.plan))}</p>
<p class="quiet">${html(result.startedAt.slice(0, 19).replace('T', ' '))} UTC · ${html(brokerLine(result))}</p>
</header>
<main>
<section class="cards">${cards(result)}</section>
${plot('throughput', 'Throughput', 'messages a second; what counts is shaded')}
${plot('latency', 'Latency over time', 'milliseconds, by second')}
${plot('percentiles', 'Latency by percentile', `milliseconds, of ${showCount(result.figures.latencyMs?.count ?? 0)} ${result.figures.latencyOf}`)}
${plot('broker', 'Broker', 'CPU cores busy, and memory')}
${verdicts(result)}
<section class="pairs"><h2>Account</h2>${table(['', ''], accountRows(result))}</section>
<section class="numbers"><h2>Stages</h2>${stageTable(result.stages)}</section>
<section><h2>Conditions</h2>${table(['', ''], conditionRows(result))}</section>
</main>
<script type="application/json" id="result">${JSON.stringify(result).replaceAll('<', '\\u003c')}</script>
<script>${asset('uPlot.iife.min.js').replaceAll('</script', '<\\/script')}</script>
<script>${reportScript}</script>
</body>
</html>
`;
}

function asset(name: string): string {
  return packagedText(`uplot/dist/${name}`);
}

function brokerLine({ broker }: Result): string {
  return broker.version === null ? broker.address : `${broker.address}, ${broker.version}`;
}

function cards({ figures, account, broker }: Result): string {
  const { latencyMs } = figures;
  const all: [name: string, value: string, alarm: boolean][] = [
    [`${figures.perSecondOf} a second`, showCount(figures.perSecond), false],
    ['p50', latencyMs === null ? '–' : showMs(latencyMs.p50), false],
    ['p99', latencyMs === null ? '–' : showMs(latencyMs.p99), false],
    ['p99.9', latencyMs === null ? '–' : showMs(latencyMs.p99_9), false],
    ['max', latencyMs === null ? '–' : showMs(latencyMs.max), false],
    ['lost', showCount(account.lost), account.lost > 0],
    ['duplicated', showCount(account.duplicated), account.duplicated > 0],
  ];
  if (broker.cpuCores !== null) all.push(['broker cores', broker.cpuCores.toFixed(2), false]);
  if (broker.residentBytesMax !== null) all.push(['broker memory', showBytes(broker.residentBytesMax), false]);
  return all
    .map(
      ([name, value, alarm]) => `<div class="card${alarm ? ' alarm' : ''}"><b>${html(value)}</b><span>${html(name)}</span></div>`,
    )
    .join('');
}

/** The script removes those that it has no figures for. */
function plot(id: string, title: string, about: string): string {
  return `<section class="plot" id="${id}"><h2>${title}</h2><p class="quiet">${html(about)}</p><div class="area"></div></section>`;
}

function verdicts({ assertions, notes }: Result): string {
  if (assertions.length + notes.length === 0) return '';
  const items = [
    ...assertions.map(({ assertion, metric, value, holds }) => {
      const found = value === null ? 'there is no such figure' : showMetric(metric, value);
      return `<li class="${holds ? 'holds' : 'fails'}"><b>${holds ? 'holds' : 'fails'}</b> ${html(assertion)} <span class="quiet">(${found})</span></li>`;
    }),
    ...notes.map((note) => `<li><b>note</b> ${html(note)}</li>`),
  ];
  return `<section><h2>Verdict</h2><ul>${items.join('')}</ul></section>`;
}

function accountRows({ account, plan }: Result): [string, string][] {
  const rows: [string, number | null][] = [
    ['messages sent', account.sent],
    ['acknowledged by the broker', account.acknowledged],
    ['not acknowledged (QoS 1 and 2)', account.unacknowledged],
    ['refused by the broker', account.refused],
    ['deliveries owed', plan.closed ? account.owed : null],
    ['received', account.received],
    ['lost', account.lost],
    ['duplicated', account.duplicated],
    ['redelivered, as QoS 1 allows after a lost connection', account.redelivered],
    ['out of order', account.outOfOrder],
    ['corrupt', account.corrupt],
    ['misdelivered', account.misdelivered],
    ['not of this run', account.foreign],
    ['connections lost', account.connectionsLost],
    ['connections that failed', account.failed],
    ['sessions lost', account.sessionsLost],
  ];
  return rows.flatMap(([name, count]) => (count === null ? [] : [[name, showCount(count)] as [string, string]]));
}

function conditionRows({ machine, broker, plan, storms, kill, account }: Result): [string, string][] {
  const rows: [string, string][] = [
    ['machine', describeMachine(machine)],
    ['load average before', String(machine.loadAverage)],
    ['load', `lethe bench ${machine.lethe}, ${plan.threads} ${plan.threads === 1 ? 'thread' : 'threads'}`],
    [
      'broker',
      `${broker.address}${broker.version === null ? '' : `, ${broker.version}`}${broker.pid === null ? '' : `, process ${broker.pid}`}`,
    ],
    ['warm-up, duration', `${plan.warmUpS} s, ${plan.durationS === 0 ? 'until everything was sent' : `${plan.durationS} s`}`],
  ];
  for (const { atS, tookS } of storms)
    rows.push(['storm', `at ${atS.toFixed(1)} s, everybody back after ${showMs(tookS * 1_000)}`]);
  if (kill !== null)
    rows.push(['kill', `at ${kill.atS.toFixed(1)} s, took connections again after ${showMs(kill.tookS * 1_000)}`]);
  for (const [message, count] of Object.entries(account.troubles)) rows.push(['trouble', `${showCount(count)} × ${message}`]);
  return rows;
}

function stageTable(stages: readonly StageResult[]): string {
  const rows = stages.map((stage) => [
    stage.name,
    `${stage.seconds.toFixed(2)} s`,
    showCount(stage.sentPerSecond),
    showCount(stage.receivedPerSecond),
    stage.latencyMs === null ? '–' : showMs(stage.latencyMs.p99),
    stage.acknowledgementMs === null ? '–' : showMs(stage.acknowledgementMs.p99),
    `${Math.round(stage.loadBusy * 100)} %`,
    stage.broker === null ? '–' : stage.broker.cpuCores.toFixed(2),
  ]);
  return table(['stage', 'time', 'sent/s', 'received/s', 'p99', 'p99 acknowledged', 'load busy', 'broker cores'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[], tag: string): string => row.map((text) => `<${tag}>${html(text)}</${tag}>`).join('');
  const title = head.every((name) => name === '') ? '' : `<thead><tr>${cells(head, 'th')}</tr></thead>`;
  return `<div class="scroll"><table>${title}<tbody>${rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('')}</tbody></table></div>`;
}

function html(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
