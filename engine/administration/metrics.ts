// The metrics as Prometheus reads them: a registry of prom-client, made anew for each reading from a snapshot, so that two readers cannot get into each other's way.
import prometheus from 'prom-client';
import { LATENCY_BOUNDS_MS } from '../latency.ts';
import { latencyMetric, metricTable } from './metric-table.ts';
import type { Latency } from './shard-figures.ts';
import type { Snapshot } from './snapshot.ts';

const { Counter, Gauge, Histogram, Registry } = prometheus;

export const METRICS_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

/** The text exposition format 0.0.4. */
export function renderMetrics(snapshot: Snapshot): Promise<string> {
  const registry = new Registry();
  const registers = [registry];
  for (const { name, type, help, labels, read } of metricTable) {
    const samples = read(snapshot);
    if (samples === null) continue;
    const labelNames = [...labels];
    if (type === 'counter') {
      const metric = new Counter({ name, help, labelNames, registers });
      for (const sample of samples) metric.inc(sample.labels, sample.value);
    } else {
      const metric = new Gauge({ name, help, labelNames, registers });
      for (const sample of samples) metric.set(sample.labels, sample.value);
    }
  }
  registry.registerMetric(new CountedHistogram(snapshot.latency));
  return registry.metrics();
}

/** A histogram that was counted elsewhere. */
class CountedHistogram extends Histogram {
  readonly #latency: Latency;

  constructor(latency: Latency) {
    super({ ...latencyMetric, registers: [] });
    this.#latency = latency;
  }

  /** What the registry asks for when it writes text. */
  async getForPromString(): Promise<object> {
    const { name } = latencyMetric;
    const { counts, sumMs } = this.#latency;
    let total = 0;
    const buckets = counts.map((count, at) => {
      total += count;
      const bound = LATENCY_BOUNDS_MS[at];
      return { metricName: `${name}_bucket`, labels: { le: bound === undefined ? '+Inf' : bound / 1_000 }, value: total };
    });
    const sum = { metricName: `${name}_sum`, labels: {}, value: sumMs / 1_000 };
    const count = { metricName: `${name}_count`, labels: {}, value: total };
    return { ...latencyMetric, type: 'histogram', values: [...buckets, sum, count] };
  }
}
