// Every scenario, small, against Lethe and against Debian's mosquitto: all that was sent is accounted for, nothing is wrong with it, and
// the load ends by itself. Over every transport, protocol level and QoS, on one thread and on several.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makePlan } from '../../bench/plan/planner.ts';
import type { Settings } from '../../bench/plan/settings.ts';
import { type Account, settleAccounts } from '../../bench/result/accounts.ts';
import { type Outcome, run } from '../../bench/run.ts';
import { type Broker, createBroker } from '../../engine/lethe.ts';
import { configOf, startBroker } from '../broker.ts';
import { useMosquitto } from '../cli/command-line.ts';
import { certificates, everyTransport } from '../end-to-end/listeners.ts';
import { temporaryFile } from '../security/temporary.ts';

const CLEAN = {
  lost: 0,
  duplicated: 0,
  outOfOrder: 0,
  corrupt: 0,
  misdelivered: 0,
  foreign: 0,
  refused: 0,
  unacknowledged: 0,
  connectionsLost: 0,
  sessionsLost: 0,
};

let broker: Broker;
beforeAll(async () => {
  broker = await createBroker({ config: configOf(temporaryFile(everyTransport())) });
});
afterAll(() => broker.stop());
const mosquitto = useMosquitto();

interface Measured {
  readonly outcome: Outcome;
  readonly account: Account;
}

async function measure(settings: Settings): Promise<Measured> {
  const outcome = await run(makePlan({ host: '127.0.0.1', settle: 3, ...settings }));
  return { outcome, account: settleAccounts(outcome) };
}

/** Sent, owed and received as they must be, and nothing wrong. */
function expectAll({ account }: Measured, sent: number, deliveries: number): void {
  expect(account).toMatchObject({ ...CLEAN, sent, owed: deliveries, received: deliveries });
}

const brokers: readonly (readonly [string, () => number])[] = [
  ['lethe', () => broker.tcp],
  ['mosquitto', () => mosquitto.port],
];

describe.each(brokers)('%s', (_name, port) => {
  test.each([0, 1, 2] as const)('point-to-point, QoS %i', async (qos) => {
    const settings = { scenario: 'point-to-point', clients: 3, qos, limit: 3_000, size: 32, window: 20, port: port() };
    expectAll(await measure(settings), 3_000, 3_000);
  });

  test.each([3, 5] as const)('point-to-point, MQTT level %i, large payloads', async (version) => {
    const settings = { scenario: 'point-to-point', qos: 1, limit: 40, size: 100_000, window: 8, version, port: port() } as const;
    expectAll(await measure(settings), 40, 40);
  });

  test.each([1, 3])('fan-in on %i threads', async (threads) => {
    const measured = await measure({ scenario: 'fan-in', clients: 8, limit: 4_000, qos: 1, window: 2, threads, port: port() });
    expectAll(measured, 4_000, 4_000);
  });

  test.each([1, 3])('fan-out on %i threads', async (threads) => {
    const measured = await measure({ scenario: 'fan-out', clients: 7, limit: 500, threads, window: 50, port: port() });
    expectAll(measured, 500, 3_500);
  });

  test('shared', async () => {
    const measured = await measure({
      scenario: 'shared',
      clients: 5,
      publishers: 2,
      limit: 2_000,
      qos: 1,
      window: 20,
      version: 5,
      port: port(),
    });
    expectAll(measured, 2_000, 2_000);
    // Nobody is left out.
    expect(measured.account.subscribers.every(({ received }) => received > 0)).toBe(true);
  });

  test('wildcards', async () => {
    const settings = { scenario: 'wildcards', clients: 10, publishers: 4, topics: 5, limit: 400, port: port() };
    const measured = await measure(settings);
    const { owed } = measured.account;
    expect(owed).toBeGreaterThan(400 * 4);
    expectAll(measured, 400, owed);
  });

  test('persistent', async () => {
    const measured = await measure({ scenario: 'persistent', clients: 4, limit: 800, port: port() });
    expectAll(measured, 800, 800);
    const [fill, drain] = measured.outcome.stages.slice(-2);
    expect(fill).toMatchObject({ sent: 800, acknowledged: 800, received: 0 });
    expect(drain).toMatchObject({ sent: 0, received: 800 });
  });

  test('reconnect-storm', async () => {
    const settings = { scenario: 'reconnect-storm', clients: 20, rate: 400, duration: 1.5, stormEvery: 0.4, port: port() };
    const { account, outcome } = await measure(settings);
    expect(account).toMatchObject({ ...CLEAN, sent: account.owed });
    expect(account.received - account.redelivered).toBe(account.owed);
    expect(outcome.storms.length).toBeGreaterThanOrEqual(1);
  });

  test('an open loop sends what is due, also on two threads', async () => {
    const settings = { scenario: 'fan-in', clients: 5, rate: 500, limit: 500, qos: 1, threads: 2, port: port() } as const;
    const measured = await measure(settings);
    expectAll(measured, 500, 500);
    expect(measured.account.publishers.map(({ sent }) => sent)).toEqual([100, 100, 100, 100, 100]);
    // The last one was due a second after the first.
    expect(measured.outcome.stages.find(({ stage }) => stage.name === 'measured')!.seconds).toBeGreaterThan(0.99);
  });

  test('retained messages are accounted for like others', async () => {
    const measured = await measure({ scenario: 'fan-out', clients: 2, retain: true, limit: 50, qos: 1, port: port() });
    expectAll(measured, 50, 100);
  });

  test('pub is timed to its acknowledgement', async () => {
    const { account, outcome } = await measure({ scenario: 'pub', clients: 3, qos: 2, limit: 300, window: 10, port: port() });
    expect(account).toMatchObject({ ...CLEAN, sent: 300, acknowledged: 300, owed: 0 });
    expect(outcome.stages.find(({ stage }) => stage.name === 'measured')!.stage.acknowledgements.count).toBe(300);
  });

  test('conn', async () => {
    const { account, outcome } = await measure({ scenario: 'conn', clients: 60, duration: 0.1, threads: 2, port: port() });
    expect(account.failed).toBe(0);
    expect(outcome.stages[0]!.stage.connects.count).toBe(60);
  });
});

describe('connections that say nothing are kept alive', () => {
  test.each(brokers)('%s: with the keep alive that was asked for', async (_name, port) => {
    const { account } = await measure({ scenario: 'conn', clients: 3, keepalive: 1, duration: 2.5, port: port() });
    expect(account).toMatchObject({ failed: 0, connectionsLost: 0 });
  });

  test('with a shorter one that the broker wants', async () => {
    const strict = await startBroker(['limits.keep_alive_max_s=1']);
    try {
      const settings = { scenario: 'conn', clients: 3, version: 5, keepalive: 300, duration: 2.5, port: strict.tcp } as const;
      expect((await measure(settings)).account).toMatchObject({ failed: 0, connectionsLost: 0 });
    } finally {
      await strict.stop();
    }
  });
});

test('sessions that a run has made are gone after it', async () => {
  const before = broker.counts();
  await measure({ scenario: 'persistent', clients: 5, limit: 50, version: 5, port: broker.tcp });
  await measure({ scenario: 'persistent', clients: 5, limit: 50, version: 4, port: broker.tcp });
  expect(broker.counts()).toMatchObject({ sessions: before.sessions, subscriptions: before.subscriptions });
});

describe('transports', () => {
  test.each([0, 2] as const)('WebSocket, QoS %i', async (qos) => {
    const settings = { scenario: 'fan-out', ws: true, clients: 3, limit: 2_000, qos, port: broker.ws } as const;
    expectAll(await measure(settings), 2_000, 6_000);
  });

  test('WebSocket with payloads of every length field', async () => {
    for (const size of [16, 100, 1_000, 70_000])
      expectAll(await measure({ scenario: 'point-to-point', ws: true, limit: 20, size, port: broker.ws }), 20, 20);
  });
});

describe('TLS', () => {
  test.each([false, true])('WebSocket: %s', async (ws) => {
    const port = ws ? broker.wss : broker.tls;
    const settings = { scenario: 'fan-in', clients: 3, limit: 1_500, qos: 1, ws, port, cafile: certificates.ca } as const;
    expectAll(await measure(settings), 1_500, 1_500);
  });

  test('a certificate that nobody vouches for is refused', async () => {
    await expect(measure({ scenario: 'pub', limit: 1, ssl: true, port: broker.tls })).rejects.toThrow(/certificate|signed/);
  });
});
