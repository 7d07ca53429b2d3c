// The account of a run finds exactly what was done to its messages on the way, by a proxy that does it to chosen ones.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { localPlan, publisherGroup, subscriberGroup } from '../../bench/plan/local-plan.ts';
import type { Plan } from '../../bench/plan/plan.ts';
import { type Account, settleAccounts } from '../../bench/result/accounts.ts';
import { run } from '../../bench/run.ts';
import type { Broker } from '../../engine/lethe.ts';
import { startBroker } from '../broker.ts';
import { type Meddle, Meddler } from './meddler.ts';

const MESSAGES = 2_000;
const CLEAN = {
  lost: 0,
  duplicated: 0,
  redelivered: 0,
  outOfOrder: 0,
  corrupt: 0,
  misdelivered: 0,
  foreign: 0,
  unacknowledged: 0,
};

let broker: Broker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

type Change = Partial<Omit<Plan, 'broker' | 'clients'>> & { readonly level?: 3 | 4 | 5 };

/** One publisher of 2,000 messages to one subscriber, through the proxy. */
async function account(meddle: Meddle, { level = 4, ...change }: Change = {}): Promise<Account> {
  const meddler = await Meddler.start(broker.tcp, meddle);
  try {
    const plan = localPlan({
      port: meddler.port,
      broker: { level },
      settleS: 0.3,
      publishers: [publisherGroup({ topic: 'account/%i', window: 100, limit: MESSAGES })],
      subscribers: [subscriberGroup({ filter: 'account/%i' })],
      ...change,
    });
    return settleAccounts(await run(plan));
  } finally {
    await meddler.stop();
  }
}

test('nothing is found where nothing was done', async () => {
  const found = await account((packet) => [packet]);
  expect(found).toMatchObject({ ...CLEAN, sent: MESSAGES, owed: MESSAGES, received: MESSAGES });
  expect(found.subscribers).toMatchObject([{ owed: MESSAGES, received: MESSAGES, lost: 0 }]);
});

test('losses: single ones, a row of them, the first and the last', async () => {
  const dropped = new Set([0, 17, 400, 401, 402, 403, 1_000, MESSAGES - 1]);
  const found = await account((packet, number) => (dropped.has(number) ? [] : [packet]));
  expect(found).toMatchObject({ ...CLEAN, lost: dropped.size, received: MESSAGES - dropped.size });
  expect(found.subscribers[0]).toMatchObject({ owed: MESSAGES, lost: dropped.size });
});

test('a loss of everything', async () => {
  // What does not come holds a window up for two seconds; then it is given up.
  const found = await account(() => [], { publishers: [publisherGroup({ topic: 'account/%i', window: 100, limit: 200 })] });
  expect(found).toMatchObject({ ...CLEAN, sent: 200, lost: 200, received: 0, stalls: 1 });
});

test('duplicates, side by side and late', async () => {
  let first: Buffer | null = null;
  const found = await account((packet, number) => {
    first ??= packet;
    if (number % 100 === 50) return [packet, packet];
    return number === 1_500 ? [packet, first] : [packet];
  });
  expect(found).toMatchObject({ ...CLEAN, duplicated: 21, received: MESSAGES + 21 });
});

test('order: a message that comes behind three later ones', async () => {
  const kept: Buffer[] = [];
  const found = await account((packet, number) => {
    if (number % 500 === 10) {
      kept.push(packet);
      return [];
    }
    return number % 500 === 13 ? [packet, kept.pop()!] : [packet];
  });
  expect(found).toMatchObject({ ...CLEAN, outOfOrder: 4, received: MESSAGES });
});

describe('corruption', () => {
  test.each([
    ['the stream', 32],
    ['the number', 27],
    ['the time', 23],
    ['the check', 18],
    ['the pattern', 4],
    ['the topic', 34],
  ])('of %s', async (_what, fromEnd) => {
    const found = await account((packet, number) => {
      if (number === 777) packet[packet.length - fromEnd]! ^= 0x01;
      return [packet];
    });
    // What cannot be believed has not come.
    expect(found).toMatchObject({ ...CLEAN, corrupt: 1, lost: 1, received: MESSAGES - 1 });
  });

  test('of the length', async () => {
    const found = await account((packet, number) => {
      if (number !== 777) return [packet];
      const shorter = Buffer.from(packet.subarray(0, -1));
      shorter[1]! -= 1;
      return [shorter];
    });
    expect(found).toMatchObject({ ...CLEAN, corrupt: 1, lost: 1 });
  });

  test('in the middle of a large payload', async () => {
    const bytes = 100_000;
    const found = await account(
      (packet, number) => {
        if (number === 5) packet[50_000]! ^= 0x80;
        return [packet];
      },
      { publishers: [publisherGroup({ topic: 'account/%i', payloadBytes: bytes, window: 4, limit: 20 })] },
    );
    expect(found).toMatchObject({ ...CLEAN, corrupt: 1, lost: 1, received: 19 });
  });
});

test('a message for somebody else is misdelivered', async () => {
  const publishers = [publisherGroup({ count: 2, topic: 'account/%i', limit: MESSAGES })];
  const subscribers = [subscriberGroup({ count: 2, filter: 'account/%i' })];
  // The two streams differ in the fourth byte of the payload, the topics in their last: a swap of both is whole, and wrong.
  let theirs: Buffer | null = null;
  let done = 0;
  const found = await account(
    (packet) => {
      if (theirs === null || packet.equals(theirs) || topicOf(packet) === topicOf(theirs)) {
        theirs ??= packet;
        return [packet];
      }
      const stray = theirs;
      theirs = packet;
      return done++ === 0 ? [packet, stray] : [packet];
    },
    { publishers, subscribers },
  );
  expect(found).toMatchObject({ ...CLEAN, misdelivered: 1 });
});

function topicOf(packet: Buffer): string {
  return packet.toString('latin1', 4, 4 + packet.readUInt16BE(2));
}

describe('with MQTT 5 and QoS', () => {
  test.each([1, 2] as const)('QoS %i: losses and duplicates are found', async (qos) => {
    const found = await account(
      (packet, number) => {
        if (number === 300) return [];
        // A new identifier: the broker is taken to have sent it twice, not again.
        const twin = Buffer.from(packet);
        twin.writeUInt16BE(40_000 + number, 2 + 2 + twin.readUInt16BE(2));
        return number === 500 ? [packet, twin] : [packet];
      },
      {
        level: 5,
        publishers: [publisherGroup({ topic: 'account/%i', qos, limit: 1_000 })],
        subscribers: [subscriberGroup({ filter: 'account/%i', qos })],
      },
    );
    expect(found).toMatchObject({ ...CLEAN, lost: 1, duplicated: 1, sent: 1_000, acknowledged: 1_000 });
  });

  test('QoS 2: a PUBLISH that is sent again before PUBREL is one delivery', async () => {
    const found = await account((packet, number) => (number % 10 === 3 ? [packet, packet] : [packet]), {
      publishers: [publisherGroup({ topic: 'account/%i', qos: 2, limit: 500 })],
      subscribers: [subscriberGroup({ filter: 'account/%i', qos: 2 })],
    });
    expect(found).toMatchObject({ ...CLEAN, received: 500 });
  });
});

describe('shared subscriptions', () => {
  const shared = {
    publishers: [publisherGroup({ count: 2, topic: 'account/%i', qos: 1, limit: MESSAGES })],
    subscribers: [subscriberGroup({ count: 5, filter: 'account/+', qos: 1, shared: 'group' })],
  } as const;

  test.each([1, 2])('%i threads: each message to one member', async (threads) => {
    const found = await account((packet) => [packet], { ...shared, threads });
    expect(found).toMatchObject({ ...CLEAN, owed: MESSAGES, received: MESSAGES });
    expect(found.shares).toMatchObject([{ owed: MESSAGES, lost: 0, duplicated: 0 }]);
  });

  test.each([1, 2])('%i threads: what no member or a second one gets is found', async (threads) => {
    let extra: Buffer | null = null;
    const found = await account(
      (packet, number) => {
        if (number % 400 === 7) return [];
        if (number === 100) {
          extra = packet;
          return [packet];
        }
        // To whichever member this one goes to.
        return number === 1_001 ? [packet, extra!] : [packet];
      },
      { ...shared, threads },
    );
    expect(found).toMatchObject({ lost: 5, duplicated: 1, corrupt: 0, misdelivered: 0, owed: MESSAGES });
  });
});

test('several threads find the same as one', async () => {
  const dropped = new Set([3, 333, 2_500]);
  const found = await account((packet, number) => (dropped.has(number) ? [] : [packet]), {
    publishers: [publisherGroup({ count: 3, topic: 'account/%i', limit: 999 })],
    subscribers: [subscriberGroup({ count: 4, filter: 'account/+' })],
    threads: 3,
  });
  expect(found).toMatchObject({ ...CLEAN, owed: 4 * 999, lost: 3, received: 4 * 999 - 3 });
});
