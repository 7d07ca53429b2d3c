// The report of a result: one page that needs nothing else, tells what the result tells, and whose script draws it. The script runs here
// with a plot library that only takes down what it is given; how it looks was looked at in a browser.
import { runInNewContext } from 'node:vm';
import { beforeAll, describe, expect, test } from 'vitest';
import { makePlan } from '../../bench/plan/planner.ts';
import type { Settings } from '../../bench/plan/settings.ts';
import { parseAssertions } from '../../bench/result/assertion.ts';
import { thisMachine } from '../../bench/result/machine.ts';
import { renderReport } from '../../bench/result/report.ts';
import { makeResult, type Result } from '../../bench/result/result.ts';
import { run } from '../../bench/run.ts';
import { startBroker } from '../broker.ts';

async function resultOf(settings: Settings, assertions = ''): Promise<Result> {
  const broker = await startBroker();
  try {
    const outcome = await run(makePlan({ ...settings, port: broker.tcp }));
    return makeResult(outcome, {
      startedAt: new Date(0),
      machine: thisMachine(),
      use: { address: 'mqtt://127.0.0.1:1', version: null, pid: 1, cpuCores: 0.5, residentBytesMax: 1_048_576 },
      stageUsage: new Map(),
      secondUsage: outcome.seconds.map(() => ({ cpuUserS: 0.3, cpuSystemS: 0.2, cpuCores: 0.5, residentBytes: 2_097_152 })),
      assertions: parseAssertions(assertions),
    });
  } finally {
    await broker.stop();
  }
}

interface Plot {
  readonly id: string;
  readonly labels: readonly string[];
  readonly data: readonly (readonly (number | null)[])[];
}

/** Runs the page's own script: the plots that it draws, and the sections that it takes away. */
function draw(page: string): { readonly plots: Plot[]; readonly removed: string[] } {
  const scripts = [...page.matchAll(/<script(?: [^>]*)?>([\s\S]*?)<\/script>/g)].map((match) => match[1]!);
  expect(scripts).toHaveLength(3);
  const plots: Plot[] = [];
  const removed: string[] = [];
  const element = (id: string) => ({
    textContent: id === 'result' ? scripts[0] : '',
    querySelector: () => ({ id, clientWidth: 800, replaceChildren() {} }),
    remove: () => removed.push(id),
  });
  class UPlot {
    constructor(options: { series: { label: string }[] }, data: Plot['data'], area: { id: string }) {
      plots.push({ id: area.id, labels: options.series.map(({ label }) => label), data });
    }
  }
  runInNewContext(scripts[2]!, {
    document: { getElementById: element, documentElement: {}, body: {} },
    getComputedStyle: () => ({ getPropertyValue: () => ' #123456' }),
    matchMedia: () => ({ addEventListener() {} }),
    ResizeObserver: class {
      observe() {}
    },
    uPlot: UPlot,
  });
  return { plots, removed };
}

describe('of a run with deliveries', () => {
  let result: Result;
  let page: string;
  beforeAll(async () => {
    const settings = { scenario: 'fan-out', clients: 2, rate: 400, duration: 1.3, warmUp: 0.3, name: 'a <b> & "c"' };
    result = await resultOf(settings, 'p99<60s,lost=0,rate>1000M');
    page = renderReport(result);
  });

  test('needs nothing from outside', () => {
    expect(page).not.toMatch(/\b(?:src|href)\s*=|@import|url\(/i);
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).toContain('<meta name="viewport" content="width=device-width, initial-scale=1">');
    // uPlot itself lies in it.
    expect(page).toMatch(/uPlot\.js|var uPlot=/);
  });

  test('holds the result, and nothing of it as markup', () => {
    const embedded = /<script type="application\/json" id="result">([^<]*)<\/script>/.exec(page)![1]!;
    expect(JSON.parse(embedded)).toEqual(JSON.parse(JSON.stringify(result)));
    expect(page).toContain('<h1>a &lt;b&gt; &amp; &quot;c&quot;</h1>');
    expect(page).not.toContain('<b> & "c"');
  });

  test('shows figures, account, verdicts and conditions', () => {
    const text = page.replace(/<(style|script)[\s\S]*?<\/\1>/g, '').replace(/<[^>]+>/g, ' ');
    expect(text).toContain(result.account.received.toLocaleString('en-US'));
    expect(text).toMatch(/holds\s+p99&lt;60s/);
    expect(text).toMatch(/fails\s+rate&gt;1000M/);
    for (const word of ['connect', 'warm-up', 'measured', 'settle', 'deliveries owed', result.machine.cpu])
      expect(text).toContain(word);
  });

  test('draws throughput, latency, percentiles and the broker from the figures', () => {
    const { plots, removed } = draw(page);
    expect(removed).toEqual([]);
    expect(plots.map(({ id }) => id)).toEqual(['throughput', 'latency', 'percentiles', 'broker']);
    const [throughput, latency, percentiles, usage] = plots;
    const seconds = result.seconds.filter(({ spanS }) => spanS > 0.2);
    expect(throughput!.labels).toEqual(['second', 'sent', 'received']);
    expect(throughput!.data[2]).toEqual(seconds.map(({ received, spanS }) => received / spanS));
    expect(latency!.labels).toEqual(['second', 'p50', 'p99', 'max']);
    expect(latency!.data[2]).toEqual(seconds.map(({ p99 }) => p99));
    expect(percentiles!.data[1]).toEqual(result.figures.latencyCurve.map(([, ms]) => Math.max(ms, 0.001)));
    expect(percentiles!.data[0]![8]).toBeCloseTo(1, 9);
    expect(usage!.data.slice(1)).toEqual([seconds.map(() => 0.5), seconds.map(() => 2)]);
  });
});

test('of connections alone, it leaves out what there is none of', async () => {
  const result = await resultOf({ scenario: 'conn', clients: 5, duration: 1.2 });
  expect(result.figures).toMatchObject({ perSecondOf: 'connections', latencyOf: 'connections' });
  const { plots, removed } = draw(
    renderReport({ ...result, seconds: result.seconds.map((own) => ({ ...own, cpuCores: null, residentBytes: null })) }),
  );
  expect(plots.map(({ id }) => id)).toEqual(['throughput', 'percentiles']);
  expect(plots[0]!.labels).toEqual(['second', 'connected']);
  expect(removed).toEqual(['latency', 'broker']);
});
