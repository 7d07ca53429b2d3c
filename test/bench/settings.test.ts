// What a person may say and what becomes of it: assertions, scenario files and plans. Every mistake is told with what is allowed.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makePlan } from '../../bench/plan/planner.ts';
import { parseBytes, parseSeconds } from '../../bench/plan/quantity.ts';
import { readScenario } from '../../bench/plan/scenario-file.ts';
import { type Settings, SettingsError } from '../../bench/plan/settings.ts';
import { judgeAssertion, METRICS, type MeasuredResult, metricOf, parseAssertions } from '../../bench/result/assertion.ts';
import type { LatencySummary } from '../../bench/result/latencies.ts';
import { messageOf, temporaryFile } from '../security/temporary.ts';

describe('assertions', () => {
  const summary = (ms: number): LatencySummary => ({
    count: 10,
    min: 0.1,
    mean: 1,
    p50: 1,
    p90: 3,
    p99: ms,
    p99_9: 8,
    max: 9,
  });
  const result: MeasuredResult = {
    figures: {
      stage: 'measured',
      seconds: 1,
      perSecond: 150_000,
      perSecondOf: 'deliveries',
      sentPerSecond: 50_000,
      receivedPerSecond: 150_000,
      receivedBytesPerSecond: 0,
      latencyMs: summary(5),
      latencyOf: 'deliveries',
      acknowledgementMs: null,
      connectMs: summary(7),
      latencyCurve: [],
    },
    account: {
      sent: 1,
      acknowledged: 2,
      refused: 3,
      unacknowledged: 4,
      owed: 5,
      received: 6,
      lost: 7,
      duplicated: 8,
      redelivered: 9,
      outOfOrder: 10,
      corrupt: 11,
      misdelivered: 12,
      foreign: 13,
      connectionsLost: 14,
      sessionsLost: 15,
      failed: 16,
      stalls: 17,
      publishers: [],
      subscribers: [],
      shares: [],
      troubles: {},
    },
    broker: { address: '', version: null, pid: 1, cpuCores: 0.5, residentBytesMax: 64 * 1_048_576 },
  };
  const holds = (text: string): boolean[] => parseAssertions(text).map((assertion) => judgeAssertion(assertion, result).holds);

  test('are read with their units and judged', () => {
    expect(holds('p99<=5ms, p99<5ms, p99<5001us, p99 < 0.006s')).toEqual([true, false, true, true]);
    expect(holds('rate>100k,rate>=0.15M,rate=150000,rate>150k,publish_rate!=1')).toEqual([true, true, true, false, true]);
    expect(holds('lost=7,lost==7,lost=0')).toEqual([true, true, false]);
    expect(holds('memory<=64MiB,memory<64MiB,cpu<0.6')).toEqual([true, false, true]);
    expect(holds('p99.9=8ms,min>0ms,connect_p99=7ms')).toEqual([true, true, true]);
  });

  test('of a figure that the run does not have fail', () => {
    expect(judgeAssertion(parseAssertions('ack_p99<1s')[0]!, result)).toMatchObject({ value: null, holds: false });
  });

  test('speak of every metric, each with a value of its own', () => {
    const values = (Object.keys(METRICS) as (keyof typeof METRICS)[]).map((metric) => metricOf(metric, result));
    expect(values.every((value) => value === null || Number.isFinite(value))).toBe(true);
    const counts = ['sent', 'refused', 'unacknowledged', 'lost', 'out_of_order', 'misdelivered', 'stalls'] as const;
    expect(counts.map((metric) => metricOf(metric, result))).toEqual([1, 3, 4, 7, 10, 12, 17]);
  });

  test.each([
    ['p98<5ms', /names no metric; metrics are rate, .*p99/],
    ['p99<5', /needs a number with one of: us, µs, ms, s/],
    ['rate>5ms', /needs a number in one of: k, M/],
    ['p99', /must be written as METRIC OPERATOR NUMBER/],
    ['p99=>5ms', /must be written as METRIC OPERATOR NUMBER/],
  ])('%s is refused', (text, message) => {
    expect(() => parseAssertions(text)).toThrow(SettingsError);
    expect(() => parseAssertions(text)).toThrow(message);
  });
});

test('times and sizes', () => {
  expect(['30s', '500ms', '2m', '1.5', '.5s', '1h'].map(parseSeconds)).toEqual([30, 0.5, 120, 1.5, 0.5, 3_600]);
  expect(['256', '4KiB', '1MiB', '16B'].map(parseBytes)).toEqual([256, 4_096, 1_048_576, 16]);
  expect(['5 days', 's', '-1', '1e3', ''].map(parseSeconds)).toEqual([null, null, null, null, null]);
});

describe('scenario files', () => {
  test('give what flags give, and groups of clients', () => {
    const file = temporaryFile(`
name = "greenhouse"
duration = "30s"
warm_up = 0.5
size = "1KiB"
assert = ["p99<20ms", "lost=0"]

[broker]
host = "broker.example"
port = 2883
version = 5

[[publishers]]
count = 200
topic = "greenhouse/%i/temperature"
qos = 1
rate = 2000

[[publishers]]
count = 1
topic = "greenhouse/door"
retain = true

[[subscribers]]
count = 3
filter = "greenhouse/+/temperature"
qos = 1
shared = "writers"
`);
    const plan = makePlan(readScenario(file));
    expect(plan).toMatchObject({
      scenario: 'greenhouse',
      durationS: 30,
      warmUpS: 0.5,
      broker: { host: 'broker.example', port: 2_883, level: 5 },
      publishers: [
        { count: 200, topic: 'greenhouse/%i/temperature', qos: 1, rate: 2_000, payloadBytes: 1_024 },
        { count: 1, topic: 'greenhouse/door', qos: 0, rate: 0, retain: true },
      ],
      subscribers: [{ count: 3, filter: 'greenhouse/+/temperature', qos: 1, shared: 'writers' }],
    });
  });

  test('may name a scenario, whose numbers they give', () => {
    const file = temporaryFile('scenario = "fan-in"\nclients = 30\nsubscribers = 2\nqos = 2\nrate = 100\n');
    expect(makePlan(readScenario(file))).toMatchObject({
      publishers: [{ count: 30, qos: 2, rate: 100 }],
      subscribers: [{ count: 2, qos: 2 }],
    });
  });

  test('mistakes are told with file, line, key and what is allowed', () => {
    const file = temporaryFile(`scenario = "fan-inn"
qos = 3
duration = "soon"
clients = 0
colour = "red"

[broker]
port = 99999
hots = "x"

[[publishers]]
topic = "a"
count = "many"
size = 1.5
`);
    const lines = messageOf(() => readScenario(file)).split('\n');
    const names = 'point-to-point, fan-in, fan-out, shared, persistent, reconnect-storm, wildcards, custom';
    const expected = [
      /:1: scenario must be one of: NAMES$/,
      /:2: qos must be one of: 0, 1, 2$/,
      /:3: duration must be a time such as 30s, 500ms, 2m, or a number of seconds$/,
      /:4: clients must be a whole number from 1 to 1000000$/,
      /:5: unknown key 'colour'; allowed here: scenario, name, .*broker, kill, publishers, subscribers$/,
      /:8: broker.port must be a whole number from 1 to 65535$/,
      /:9: unknown key 'broker.hots'; allowed here: host, port, ws, /,
      /:13: publishers.count must be a whole number from 1 to 1000000$/,
      /:14: publishers.size must be a size such as 256, 4KiB, 1MiB$/,
    ];
    expect(lines).toHaveLength(expected.length);
    for (const pattern of expected) {
      const own = lines.filter((line) => pattern.test(line.replace(names, 'NAMES')));
      expect(own, `${pattern} in ${lines.join('\n')}`).toHaveLength(1);
      expect(own[0]).toMatch(file);
    }
  });

  test.each([
    ['a = \n', /:1: is not TOML/],
    ['[[publishers]]\ncount = 1\n', /:1: publishers.topic is missing; it must be a string/],
    ['publishers = "x"\n', /:1: publishers must be a whole number from 1/],
  ])('%j', (text, message) => {
    expect(() => readScenario(temporaryFile(text))).toThrow(message);
  });

  test('a file that is not there', () => {
    expect(() => readScenario('/nowhere/x.toml')).toThrow(/^\/nowhere\/x.toml cannot be read/);
  });
});

describe('plans', () => {
  test('windows keep what waits for one subscriber under what brokers hold', () => {
    const window = (settings: Settings) => makePlan(settings).publishers[0]!.window;
    expect(window({ scenario: 'point-to-point', clients: 500 })).toBe(16_384);
    expect(window({ scenario: 'fan-in', clients: 16 })).toBe(1_024);
    expect(window({ scenario: 'fan-in', clients: 100, qos: 1 })).toBe(10);
    expect(window({ scenario: 'fan-out', clients: 1_000 })).toBe(262);
    expect(window({ scenario: 'point-to-point', size: 1_048_576 })).toBe(4);
    expect(window({ scenario: 'fan-in', clients: 100_000 })).toBe(1);
  });

  test('an interval of messages is a rate, an interval of connections too', () => {
    expect(makePlan({ scenario: 'pub', clients: 100, interval: 10 }).publishers[0]!.rate).toBe(10_000);
    expect(makePlan({ scenario: 'pub', clients: 100, interval: 0 }).publishers[0]!.rate).toBe(0);
    expect(makePlan({ scenario: 'conn', connectInterval: 5 }).clients.connectPerSecond).toBe(200);
  });

  test('persistent sessions, storms and kills keep sessions and take them away afterwards', () => {
    const kept = { clients: { clean: false, sessionExpiryS: 3_600 }, cleansUp: true };
    expect(makePlan({ scenario: 'persistent' })).toMatchObject(kept);
    expect(makePlan({ scenario: 'reconnect-storm' })).toMatchObject(kept);
    expect(makePlan({ scenario: 'fan-in', qos: 1, killAfter: 1, start: 'broker' })).toMatchObject({
      ...kept,
      kill: { afterS: 1, restartCommand: 'broker' },
    });
    expect(makePlan({ scenario: 'sub', clean: false })).toMatchObject({ clients: { clean: false }, cleansUp: false });
    expect(makePlan({ scenario: 'fan-in' })).toMatchObject({ clients: { clean: true }, cleansUp: false });
  });

  const refusals: readonly (readonly [Settings, RegExp])[] = [
    [{ scenario: 'fan' }, /no scenario 'fan'; there are: point-to-point, /],
    [{ scenario: 'pub', size: 15 }, /-s must be from 16 /],
    [{ scenario: 'pub', rate: 5, interval: 5 }, /--rate and -I/],
    [{ scenario: 'conn', connectRate: 5, connectInterval: 5 }, /-R and -i/],
    [{ scenario: 'pub', topic: 'a/+' }, /-t 'a\/\+' is no topic name/],
    [{ scenario: 'sub', topic: 'a/#/b' }, /-t 'a\/#\/b' is no topic filter/],
    [{ scenario: 'pub', topics: 3, topic: 'a' }, /needs %t/],
    [{ scenario: 'persistent', qos: 0 }, /persistent needs -q 1 or -q 2/],
    [{ scenario: 'persistent', clean: true }, /-C true does not go with persistent/],
    [{ scenario: 'fan-in', killAfter: 1, start: 'x' }, /--kill-after needs -q 1/],
    [{ scenario: 'fan-in', qos: 1, killAfter: 1 }, /--kill-after needs the broker: its --pid, or --start/],
    [{ scenario: 'fan-in', qos: 1, killAfter: 1, pid: 5 }, /--kill-after needs --restart-command/],
    [{ scenario: 'fan-in', restartCommand: 'x' }, /--restart-command needs --kill-after/],
    [{ scenario: 'fan-in', pid: 1, start: 'x' }, /--pid and --start/],
    [{ scenario: 'pub', certfile: 'x' }, /--certfile and --keyfile go together/],
    [{ scenario: 'pub', cafile: '/nowhere' }, /--cafile \/nowhere cannot be read/],
    [{ scenario: 'pub', path: '/x' }, /--path is for WebSocket/],
    [{ scenario: 'custom' }, /custom scenario needs/],
    [{ scenario: 'wildcards', topic: 'x' }, /-t does not go with wildcards/],
  ];
  test.each(refusals)('%j is refused', (settings, message) => {
    expect(() => makePlan(settings)).toThrow(SettingsError);
    expect(() => makePlan(settings)).toThrow(message);
  });

  describe('addresses', () => {
    const broker = (settings: Partial<Settings>) => makePlan({ scenario: 'pub', ...settings }).broker;
    beforeAll(() => {
      process.env['LETHE_PASSWORD'] = 'from the environment';
    });
    afterAll(() => {
      delete process.env['LETHE_PASSWORD'];
    });

    test('ports follow the transport', () => {
      expect(broker({})).toMatchObject({ transport: 'tcp', port: 1_883 });
      expect(broker({ ssl: true })).toMatchObject({ transport: 'tls', port: 8_883 });
      expect(broker({ port: 8_883 })).toMatchObject({ transport: 'tls' });
      expect(broker({ ws: true })).toMatchObject({ transport: 'ws', port: 8_083, path: '/mqtt' });
      expect(broker({ ws: true, insecure: true })).toMatchObject({ transport: 'wss', port: 443, checksName: false });
      expect(broker({ port: 8_883, ssl: false })).toMatchObject({ transport: 'tcp' });
    });

    test('the password may come from the environment', () => {
      expect(broker({ username: 'ada' })).toMatchObject({ userName: 'ada', password: 'from the environment' });
      expect(broker({ username: 'ada', password: 'x' })).toMatchObject({ password: 'x' });
      expect(broker({})).toMatchObject({ userName: null, password: null });
    });
  });
});
