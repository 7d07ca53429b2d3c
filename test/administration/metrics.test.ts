// The metrics: what promtool says of them, that they are right in total over shards, and that the alert rules and the dashboard name none that is not there.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { latencyMetric, metricTable } from '../../engine/administration/metric-table.ts';
import { LatencySampler } from '../../engine/latency.ts';
import { mqttJs, refusalOf } from '../end-to-end/mqttjs.ts';
import { directory, temporaryFile } from '../security/temporary.ts';
import { useAdmin } from './admin.ts';

const docs = new URL('../../docs/', import.meta.url).pathname;
const RULES = join(docs, 'prometheus/lethe.rules.yml');

const rig = useAdmin(() => ['server.threads=3', 'server.sys_interval_s=0', `server.data_dir=${join(directory, 'metrics')}`]);

type Samples = ReadonlyMap<string, number>;

/** Values by name and labels. */
async function samples(): Promise<Samples> {
  const { text } = await rig.ask('/metrics');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

/** Figures that come a little later, as those of the storage thread. */
async function eventually(holds: (now: Samples) => boolean): Promise<Samples> {
  const untilMs = Date.now() + 20_000;
  for (;;) {
    const now = await samples();
    if (holds(now)) return now;
    if (Date.now() > untilMs) throw new Error(`waited in vain; the metrics are ${[...now].join('\n')}`);
  }
}

function promtool(args: readonly string[], input = ''): { readonly status: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  return { status, said: `${stdout}${stderr}` };
}

test('promtool check metrics has nothing to say, when all of them are there', async () => {
  const { text, headers, status } = await rig.ask('/metrics');
  expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, said: '' });
  const served = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!));
  expect([...served].sort()).toEqual([latencyMetric.name, ...metricTable.map(({ name }) => name)].sort());
  // Prometheus' own check does find something where there is something to be found.
  expect(promtool(['check', 'metrics'], '# TYPE x counter\nx 1\n').status).not.toBe(0);
});

test('are right in total over the shards', async () => {
  const before = await samples();
  const change = (now: Samples, name: string) => (now.get(name) ?? 0) - (before.get(name) ?? 0);
  const away = await mqttJs({ port: rig.broker.tcp, level: 5, clientId: 'away', properties: { sessionExpiryInterval: 600 } });
  await away.subscribe('kept', 1);
  await away.end();
  const receivers = await Promise.all(Array.from({ length: 8 }, () => mqttJs({ port: rig.broker.tcp, level: 5 })));
  for (const receiver of receivers) await receiver.subscribe('topic', 0);
  const publishers = await Promise.all(Array.from({ length: 4 }, () => mqttJs({ port: rig.broker.tcp, level: 5 })));
  for (const publisher of publishers) {
    await publisher.publish('topic', Buffer.alloc(10), { qos: 1 });
    await publisher.publish('kept', Buffer.alloc(1_000), { qos: 1, retain: true });
  }
  for (const receiver of receivers) await receiver.received(4);
  const now = await eventually((found) => found.get('lethe_held_messages') === 4);
  expect({
    accepted: change(now, 'lethe_connects_accepted_total'),
    received: change(now, 'lethe_messages_received_total'),
    sent: change(now, 'lethe_messages_sent_total'),
    receivedBytes: change(now, 'lethe_messages_received_bytes_total'),
  }).toEqual({ accepted: 13, received: 8, sent: 32, receivedBytes: 4_040 });
  expect(Object.fromEntries(now)).toMatchObject({
    lethe_shards: 3,
    lethe_ready: 1,
    lethe_clients_connected: 12,
    lethe_connections: 12,
    lethe_sessions: 13,
    lethe_subscriptions: 9,
    lethe_shared_subscriptions: 0,
    lethe_retained_messages: 1,
    lethe_queued_messages: 4,
    lethe_erasure_bound_seconds: 1,
    lethe_spool_state: 0,
  });
  expect(now.get('lethe_held_bytes')).toBeGreaterThan(4_000);
  expect(now.get('lethe_retained_bytes')).toBeGreaterThan(1_000);
  expect(now.get('lethe_event_loop_delay_seconds{shard="2",statistic="p99"}')).toBeGreaterThanOrEqual(0);
  expect(now.get('lethe_event_loop_busy_seconds_total{shard="1"}')).toBeGreaterThan(0);
  expect(change(now, 'lethe_network_sent_bytes_total')).toBeGreaterThan(32 * 10);
  expect(now.get('process_resident_memory_bytes')).toBeGreaterThan(10_000_000);
  expect(Math.abs(now.get('lethe_start_time_seconds')! - Date.now() / 1_000)).toBeLessThan(120);
  // The oldest is known as it was at most a little while ago.
  const later = await eventually((found) => (found.get('lethe_held_oldest_age_seconds{class="messages"}') ?? 0) > 0);
  expect(later.get('lethe_held_oldest_age_seconds{class="messages"}')).toBeLessThan(60);
  expect(later.has('lethe_held_oldest_age_seconds{class="quarantined"}')).toBe(false);

  const back = await mqttJs({ port: rig.broker.tcp, level: 5, clientId: 'away', clean: false });
  await back.received(4);
  const gone = await eventually(
    (found) => found.get('lethe_held_messages') === 0 && change(found, 'lethe_spool_keys_destroyed_total') > 0,
  );
  expect(gone.get('lethe_queued_messages')).toBe(0);
  expect(gone.get('lethe_erasure_lag_seconds')).toBeLessThanOrEqual(gone.get('lethe_erasure_lag_maximum_seconds')!);
});

test('the histogram counts a sample of what is published and delivered, in cumulative buckets', async () => {
  const now = await samples();
  const buckets = [...now].filter(([name]) => name.startsWith(`${latencyMetric.name}_bucket`)).map(([, value]) => value);
  expect(buckets.length).toBe(16);
  expect(buckets).toEqual([...buckets].sort((a, b) => a - b));
  const count = now.get(`${latencyMetric.name}_count`)!;
  expect(count).toBeGreaterThan(0);
  expect(buckets.at(-1)).toBe(count);
  expect(now.get(`${latencyMetric.name}_sum`)).toBeGreaterThan(0);
});

test('the sampler takes the first of a turn, and puts it where it belongs', () => {
  const sampler = new LatencySampler();
  for (const [arrivedMs, endedMs] of [
    [0, 0.05],
    [10, 10.06],
    [20, 25],
    [30, 9_999],
  ] as const) {
    sampler.took(arrivedMs);
    sampler.took(arrivedMs + 1);
    sampler.finish(endedMs);
    expect(sampler.arrivedMs).toBe(-1);
  }
  expect(Array.from(sampler.counts)).toEqual([1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  expect(sampler.sumMs).toBeCloseTo(0.05 + 0.06 + 5 + 9_969);
});

describe('by reason', () => {
  test('messages that are dropped, connections that are ended', async () => {
    const receiver = await mqttJs({ port: rig.broker.tcp, level: 5, properties: { maximumPacketSize: 200 } });
    await receiver.subscribe('large', 0);
    const publisher = await mqttJs({ port: rig.broker.tcp, level: 5 });
    await publisher.publish('large', Buffer.alloc(1_000), { qos: 1 });
    publisher.client.stream.write(Buffer.from([0xf0, 0x00]));
    await publisher.until('it is ended', () => publisher.closed);
    const now = await eventually((found) => found.get('lethe_messages_dropped_total{reason="too_large"}') === 1);
    const ended = [...now].filter(([name, value]) => name.startsWith('lethe_connections_ended_total') && value > 0);
    expect(ended.map(([name]) => name)).toEqual(['lethe_connections_ended_total{reason="protocol_error"}']);
  });

  test('logins that are refused', async () => {
    expect(await refusalOf({ port: rig.broker.tcp, level: 5, clientId: 'x'.repeat(65_536 / 2), username: 'no' })).toBeGreaterThan(
      0,
    );
    const now = await samples();
    const refused = [...now].filter(([name]) => name.startsWith('lethe_connects_refused_total')).map(([name]) => name);
    expect(refused).toEqual(['lethe_connects_refused_total{reason="client_identifier_not_valid"}']);
  });
});

test('each reading is of its moment, also when several are under way', async () => {
  const texts = await Promise.all(Array.from({ length: 8 }, () => rig.ask('/metrics')));
  for (const { text, status } of texts) {
    expect(status).toBe(200);
    expect(text.match(/^# TYPE lethe_sessions gauge$/gm)).toHaveLength(1);
  }
});

/** Names of metrics in an expression, without what Prometheus makes of a histogram. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/\b(?:lethe|process)_\w+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ''));
}

const known = new Set([latencyMetric.name, ...metricTable.map(({ name }) => name)]);

describe('the alert rules', () => {
  test('are right for promtool, and name only metrics that there are', () => {
    expect(promtool(['check', 'rules', RULES])).toMatchObject({ status: 0 });
    const expressions = readFileSync(RULES, 'utf8')
      .match(/^ +expr: .*$/gm)!
      .join('\n');
    expect(namesIn(expressions).length).toBeGreaterThan(15);
    expect(namesIn(expressions).filter((name) => !known.has(name))).toEqual([]);
  });

  test('fire when they should, and not before', () => {
    const labels = { job: 'lethe', instance: 'one' };
    const series = (name: string, values: string, more = '') => ({
      series: `${name}{job="lethe",instance="one"${more}}`,
      values,
    });
    const input_series = [
      series('up', '1x9 0x20'),
      series('lethe_ready', '1x30'),
      series('lethe_spool_state', '0x9 1x20'),
      series('lethe_erasure_lag_seconds', '0.4x9 1.5x20'),
      series('lethe_erasure_bound_seconds', '1x30'),
      series('lethe_connections', '10x30'),
      series('lethe_connections_limit', '100x30'),
      series('lethe_messages_dropped_total', '0+600x30', ',reason="expired"'),
    ];
    const firing = (alertname: string, at: number, isFiring: boolean) => ({
      eval_time: `${at}m`,
      alertname,
      ...(isFiring ? { exp_alerts: [{ exp_labels: { ...labels, severity: 'critical' } }] } : {}),
    });
    const tests = {
      rule_files: [RULES],
      evaluation_interval: '1m',
      tests: [
        {
          interval: '1m',
          input_series,
          alert_rule_test: ['LetheDown', 'LetheSpoolFull', 'LetheErasureLate']
            .flatMap((name) => [firing(name, 8, false), firing(name, 14, true)])
            .concat(
              ['LetheNotReady', 'LetheConnectionsNearLimit', 'LetheMessagesDropped'].map((name) => firing(name, 20, false)),
            ),
        },
      ],
    };
    // The words of an alert are not the subject: they are taken from what promtool says it got.
    const file = temporaryFile(JSON.stringify(tests));
    const { said } = promtool(['test', 'rules', file]);
    const got = [...said.matchAll(/alertname: (\w+), time: (\w+)/g)].map(([, name, at]) => `${name} ${at}`);
    const gotAlerts = [...said.matchAll(/got:\[[^\]]*alertname="(\w+)"/gs)].map(([, name]) => name);
    expect(got.sort()).toEqual(['LetheDown 14m', 'LetheErasureLate 14m', 'LetheSpoolFull 14m']);
    expect(gotAlerts.sort()).toEqual(['LetheDown', 'LetheErasureLate', 'LetheSpoolFull']);
  });
});

describe('the dashboard', () => {
  interface Panel {
    readonly type: string;
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }
  const { panels } = JSON.parse(readFileSync(join(docs, 'grafana/lethe.json'), 'utf8')) as { readonly panels: readonly Panel[] };
  const expressions = panels.flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr));

  test('names only metrics that there are', () => {
    expect(expressions.length).toBeGreaterThan(30);
    expect(expressions.flatMap(namesIn).filter((name) => !known.has(name))).toEqual([]);
  });

  test('asks what Prometheus understands', () => {
    const rules = expressions.map((expr, at) => ({
      record: `panel:${at}`,
      expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'),
    }));
    const file = temporaryFile(JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    expect(promtool(['check', 'rules', file])).toMatchObject({ status: 0 });
  });
});
