// A storm of take-overs: 64 connections fight for one client identifier with a persistent session, over three shards, while QoS 1 and 2 flows to it.
import { mkdtemp, rm } from 'node:fs/promises';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import { startBroker } from '../broker.ts';
import { Contender, Contest } from './contender.ts';

const CONTENDERS = 64;
const PUBLISHERS = 4;
/** Each publisher sends so many, and more as long as the fight is not one. */
const MESSAGES = 1_000;
const MESSAGES_MAX = 20_000;
const TAKEOVERS = 150;

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function until(condition: () => boolean, what: () => string): Promise<void> {
  const endMs = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > endMs) throw new Error(what());
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Publishes until enough was published and fought; returns how many messages were acknowledged. */
async function publishAll(contest: Contest, client: MqttClient, topic: string, qos: 1 | 2, name: string): Promise<number> {
  const window = 32;
  const under = new Set<Promise<unknown>>();
  let count = 0;
  while (count < MESSAGES || (contest.accepted < TAKEOVERS && count < MESSAGES_MAX)) {
    const i = count++;
    const one: Promise<unknown> = client.publishAsync(topic, `${name} ${i}`, { qos }).then(() => under.delete(one));
    under.add(one);
    if (under.size >= window) await Promise.race(under);
  }
  await Promise.all(under);
  return count;
}

test.each(['memory', 'disk'] as const)(
  '64 connections fight for one session in %s: nothing acknowledged is lost, QoS 2 comes once, one is live at a time',
  async (where) => {
    const folder = await mkdtemp('/tmp/lethe-fight-');
    cleanups.push(() => rm(folder, { recursive: true }));
    const disk = where === 'disk' ? [`server.data_dir=${folder}`] : [];
    const broker = await startBroker(['server.threads=3', ...disk]);
    cleanups.push(() => broker.stop());
    const contest = new Contest();
    cleanups.push(() => {
      for (const contender of contest.contenders) contender.drop();
    });
    let fighting = true;
    new Contender(contest, broker.tcp, 'prize');
    await until(
      () => contest.accepted === 1,
      () => 'the first connection was not accepted',
    );
    await until(
      () => broker.counts().subscriptions === 1,
      () => 'the subscription did not come',
    );
    const fights = Array.from({ length: CONTENDERS }, async () => {
      while (fighting) await new Contender(contest, broker.tcp, 'prize').over;
    });
    const publishers = await Promise.all(
      Array.from({ length: PUBLISHERS }, () => connectAsync(`mqtt://127.0.0.1:${broker.tcp}`, { protocolVersion: 5 })),
    );
    cleanups.push(() => Promise.all(publishers.map((client) => client.endAsync(true))));
    const counts = await Promise.all(
      publishers.map((client, i) => publishAll(contest, client, `fight/${i}`, i % 2 === 0 ? 1 : 2, String(i))),
    );
    const during = contest.accepted;
    fighting = false;
    // The last word: whoever came into the fight late may still win, until the others are closed and there is no doubt which one is live.
    const fought = Promise.all(fights).then(() => true);
    let last = new Contender(contest, broker.tcp, 'prize');
    while (!(await Promise.race([fought, last.over.then(() => false)]))) last = new Contender(contest, broker.tcp, 'prize');
    await until(
      () => contest.contenders.size === 1,
      () => 'connections that had lost were left open',
    );
    contest.live = last;
    const expected = counts.reduce((sum, count) => sum + count, 0);
    await until(
      () => contest.received.size === expected,
      () => `of ${expected} acknowledged messages ${contest.received.size} came; ${JSON.stringify(broker.counts())}`,
    );
    // The fight was one: hundreds of take-overs while the messages flowed.
    expect(during).toBeGreaterThanOrEqual(TAKEOVERS);
    expect(contest.absent).toBe(0);
    expect(contest.pairs).toBe(0);
    const twice = [...contest.received].filter(([payload, times]) => times > 1 && Number(payload[0]) % 2 === 1);
    expect(twice).toEqual([]);
    for (const [topic, payloads] of contest.order) {
      const name = topic.slice('fight/'.length);
      expect(payloads, topic).toEqual(Array.from({ length: counts[Number(name)]! }, (_, i) => `${name} ${i}`));
    }
  },
);
