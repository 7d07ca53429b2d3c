// What three shards are to their clients over sockets: one broker. Connections are spread, groups share, retained messages agree, limits hold for all together.
import { afterEach, describe, expect, test } from 'vitest';
import { needsHandOut } from '../../engine/network/hand-out.ts';
import { Gauge } from '../../engine/peers/gauges.ts';
import { startBroker } from '../broker.ts';
import * as wire from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';
import { type Crewed, crewed, SHARDS, until } from './crewed.ts';

const QUOTA_EXCEEDED = 0x97;
const SERVER_BUSY = 0x89;

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function start(...set: string[]): Promise<Crewed> {
  const running = await crewed(set);
  stops.push(() => running.stop());
  return running;
}

/** Clients one after the other: each shard has as many as the next one. */
async function clients(port: number, count: number, options: Partial<Parameters<typeof mqttJs>[0]> = {}): Promise<MqttJs[]> {
  const all: MqttJs[] = [];
  for (let i = 0; i < count; i++) all.push(await mqttJs({ port, level: 5, ...options }));
  return all;
}

/** Reason code of the answer to a message; 0 when it was taken. */
async function answerOf(client: MqttJs, topic: string, options: Parameters<MqttJs['publish']>[2] = { qos: 1 }): Promise<number> {
  try {
    await client.publish(topic, 'x', options);
    return 0;
  } catch (error) {
    return (error as { code: number }).code;
  }
}

describe('connections', () => {
  test.runIf(needsHandOut())('over TCP go to the shards in turn', async () => {
    const broker = await start();
    await clients(broker.tcp, 3 * SHARDS);
    await until('all are counted', () => broker.each(Gauge.CONNECTED).join() === '3,3,3');
  });

  // By the kernel, where the runtime can leave it to it.
  test.skipIf(needsHandOut())('over TCP come to every shard', async () => {
    const broker = await start();
    await clients(broker.tcp, 40);
    await until('all are counted', () => broker.each(Gauge.CONNECTED).reduce((sum, count) => sum + count, 0) === 40);
    expect(Math.min(...broker.each(Gauge.CONNECTED))).toBeGreaterThan(0);
  });

  test('over WebSocket come to every shard', async () => {
    const broker = await start();
    await clients(broker.ws, 40, { transport: 'ws' });
    await until('all are counted', () => broker.each(Gauge.CONNECTED).reduce((sum, count) => sum + count, 0) === 40);
    expect(Math.min(...broker.each(Gauge.CONNECTED))).toBeGreaterThan(0);
  });
});

describe('a shared group over all shards', () => {
  const COUNT = 300;
  /** The group's turn is one for all shards: with one publisher the shares differ by what was under way when a member came. */
  const SHARE_BOUND = 3;

  test('gives every member its share, and each message to one', async () => {
    const broker = await start();
    const members = await clients(broker.tcp, SHARDS);
    for (const member of members) await member.subscribe('$share/g/work', 1);
    const [publisher] = await clients(broker.tcp, 1);
    await Promise.all(Array.from({ length: COUNT }, (_, i) => publisher!.publish('work', String(i), { qos: 1 })));
    await until('all is there', () => members.reduce((sum, { messages }) => sum + messages.length, 0) >= COUNT);
    for (const { messages } of members) expect(Math.abs(messages.length - COUNT / SHARDS)).toBeLessThanOrEqual(SHARE_BOUND);
    const all = members.flatMap(({ payloads }) => payloads);
    expect(all.length).toBe(COUNT);
    expect(new Set(all).size).toBe(COUNT);
  });

  test('what a member that leaves has not answered goes to the others', async () => {
    const broker = await start();
    const mute = await RawClient.connect(broker.tcp, 5);
    mute.send(wire.connect(5, { clientId: 'mute' }), wire.subscribe(5, { filters: [['$share/g/work', 1]] }));
    await mute.nextPacket();
    await mute.nextPacket();
    const members = await clients(broker.tcp, 2);
    for (const member of members) await member.subscribe('$share/g/work', 1);
    const [publisher] = await clients(broker.tcp, 1);
    await Promise.all(Array.from({ length: 90 }, (_, i) => publisher!.publish('work', String(i), { qos: 1 })));
    await mute.nextPacket();
    mute.drop();
    const payloads = () => members.flatMap((member) => member.payloads);
    await until('the others have all of it', () => new Set(payloads()).size === 90);
    expect(payloads().length).toBe(90);
  });
});

describe('retained messages', () => {
  test('are there for a subscription in the same write as their publish, whatever the shard', async () => {
    const broker = await start();
    for (let at = 0; at < 2 * SHARDS; at++) {
      const raw = await RawClient.connect(broker.tcp, 5);
      raw.send(
        wire.connect(5, { clientId: `at-once-${at}` }),
        wire.publish(5, { topic: `once/${at}`, payload: 'kept', qos: 1, packetId: 1, retain: true }),
        wire.subscribe(5, { packetId: 2, filters: [[`once/${at}`, 0]] }),
      );
      const packets = [await raw.nextPacket(), await raw.nextPacket(), await raw.nextPacket(), await raw.nextPacket()];
      const found = packets.find(({ firstByte }) => firstByte >> 4 === 3);
      expect(found && readPublish(found, 5).payload, `shard of connection ${at}`).toBe('kept');
      raw.drop();
    }
  });

  test('are set and cleared by one shard for all', async () => {
    const broker = await start();
    const [one, two, three] = await clients(broker.tcp, SHARDS);
    await one!.publish('kept/1', 'by the first', { qos: 1, retain: true });
    await two!.publish('kept/2', 'by the second', { qos: 2, retain: true });
    await three!.publish('kept/3', 'by the third', { qos: 0, retain: true });
    await three!.publish('barrier', '', { qos: 1 });
    const readers = await clients(broker.tcp, SHARDS);
    for (const reader of readers) {
      await reader.subscribe('kept/#', 1);
      await reader.received(3);
      expect([...reader.payloads].sort()).toEqual(['by the first', 'by the second', 'by the third']);
      expect(reader.messages.every(({ retain }) => retain)).toBe(true);
    }
    await two!.publish('kept/1', '', { qos: 1, retain: true });
    await three!.publish('kept/2', '', { qos: 1, retain: true });
    for (const reader of await clients(broker.tcp, SHARDS)) {
      await reader.subscribe('kept/#', 1);
      await reader.received(1);
      await reader.subscribe('none', 1);
      expect(reader.payloads).toEqual(['by the third']);
    }
  });

  test('are never followed by an older value, however they change while clients subscribe', async () => {
    const broker = await start();
    const [writer] = await clients(broker.tcp, 1);
    const readers = await clients(broker.tcp, 2 * SHARDS);
    let value = 0;
    let isDone = false;
    const writing = (async () => {
      while (!isDone)
        await Promise.all(Array.from({ length: 8 }, () => writer!.publish('tick', String(value++), { qos: 1, retain: true })));
    })();
    await Promise.all(
      readers.map(async (reader) => {
        for (let times = 1; times <= 60; times++) {
          const before = reader.messages.length;
          await reader.subscribe('tick', 1);
          await reader.received(before + 1);
          await reader.client.unsubscribeAsync('tick');
        }
      }),
    );
    isDone = true;
    await writing;
    for (const reader of readers) {
      const values = reader.payloads.map(Number);
      const older = values.filter((own, at) => at > 0 && own < values[at - 1]!);
      expect(older).toEqual([]);
      await reader.subscribe('tick', 1);
      await reader.until('the last value is there', () => reader.payloads.at(-1) === String(value - 1));
    }
  });
});

describe('limits hold for all shards together', () => {
  test('connections', async () => {
    const broker = await start('limits.connections_max=4');
    await clients(broker.tcp, 4);
    await until('all are counted', () => broker.each(Gauge.CONNECTIONS).reduce((sum, count) => sum + count, 0) === 4);
    // Each shard learns within 50 ms what the others have. Where connections go in turn, so many refusals are one by each.
    for (let tries = 0, refused = 0; refused < SHARDS; tries++) {
      expect(tries).toBeLessThan(100);
      const client = new MqttJs({ port: broker.tcp, level: 5 });
      await client.until('there is an answer', () => client.error !== null || client.connack !== null);
      if (client.connack === null) {
        expect((client.error as { code?: number } | null)?.code).toBe(SERVER_BUSY);
        refused++;
      } else {
        refused = 0;
        await client.end();
      }
    }
  });

  test('retained messages', async () => {
    const broker = await start('limits.retained_messages_max=3');
    const all = await clients(broker.tcp, SHARDS);
    for (const [at, client] of all.entries()) expect(await answerOf(client, `kept/${at}`, { qos: 1, retain: true })).toBe(0);
    for (const [at, client] of all.entries()) {
      expect(await answerOf(client, `more/${at}`, { qos: 1, retain: true })).toBe(QUOTA_EXCEEDED);
      expect(await answerOf(client, `more/${at}`, { qos: 2, retain: true })).toBe(QUOTA_EXCEEDED);
      expect(await answerOf(client, `kept/${at}`, { qos: 2, retain: true })).toBe(0);
    }
  });

  test('queued messages', async () => {
    const broker = await start('limits.queued_messages_max=9', 'limits.queued_messages_per_client_max=9');
    for (let at = 0; at < SHARDS; at++) {
      const sleeper = await mqttJs({
        port: broker.tcp,
        level: 5,
        clientId: `sleeper-${at}`,
        clean: false,
        properties: { sessionExpiryInterval: 600 },
      });
      await sleeper.subscribe(`queue/${at}`, 1);
      await sleeper.end();
    }
    const all = await clients(broker.tcp, SHARDS);
    for (let at = 0; at < 9; at++) {
      expect(await answerOf(all[at % SHARDS]!, `queue/${(at + 1) % SHARDS}`)).toBe(0);
      await until('it is counted', () => broker.each(Gauge.QUEUED_MESSAGES).reduce((sum, count) => sum + count, 0) === at + 1);
    }
    // Each shard learns within 50 ms what the others have.
    let beyond = 0;
    for (let at = 0; at < SHARDS; at++) {
      for (const client of all) {
        for (let answer = 0; answer === 0; ) {
          answer = await answerOf(client, `queue/${at}`);
          if (answer === 0) beyond++;
          else expect(answer).toBe(QUOTA_EXCEEDED);
          expect(beyond).toBeLessThan(100);
        }
      }
    }
    expect(await answerOf(all[0]!, 'queue/0', { qos: 2 })).toBe(QUOTA_EXCEEDED);
  });

  test('a full queue on another shard refuses QoS 1 and 2', async () => {
    const broker = await start('limits.queued_messages_per_client_max=5');
    const sleeper = await mqttJs({
      port: broker.tcp,
      level: 5,
      clientId: 'sleeper',
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    });
    await sleeper.subscribe('full', 2);
    await sleeper.end();
    const [one, two] = await clients(broker.tcp, 2);
    for (let i = 0; i < 5; i++) expect(await answerOf(i % 2 === 0 ? one! : two!, 'full', { qos: i % 2 === 0 ? 1 : 2 })).toBe(0);
    for (const client of [one!, two!])
      for (const qos of [1, 2, 1, 2] as const) expect(await answerOf(client, 'full', { qos })).toBe(QUOTA_EXCEEDED);
    await until('the refusals are counted', () => broker.counted('refusedQuota').reduce((sum, count) => sum + count, 0) === 8);
  });
});

test('$SYS and the inventory tell of all shards', async () => {
  const broker = await startBroker(['server.threads=3', 'server.sys_interval_s=1']);
  stops.push(() => broker.stop());
  const all = await clients(broker.tcp, 2 * SHARDS);
  const sleeper = await mqttJs({
    port: broker.tcp,
    level: 5,
    clientId: 'sleeper',
    clean: false,
    properties: { sessionExpiryInterval: 600 },
  });
  await sleeper.subscribe('counted', 1);
  await sleeper.end();
  for (const client of all) for (let i = 0; i < 5; i++) await client.publish('counted', 'five!', { qos: 1 });
  const watch = await mqttJs({ port: broker.tcp, level: 5 });
  await watch.subscribe('$SYS/broker/#');
  const figure = (name: string) =>
    Number(
      watch.messages
        .filter(({ topic }) => topic === `$SYS/broker/${name}`)
        .at(-1)
        ?.payload.toString() ?? Number.NaN,
    );
  await watch.until('the totals are told', () => figure('publish/messages/received') === 30 && figure('clients/connected') === 7);
  expect(figure('clients/total')).toBe(8);
  expect(figure('clients/disconnected')).toBe(1);
  expect(figure('lethe/queued/messages')).toBe(30);
  expect(figure('publish/bytes/received')).toBe(150);
  expect(broker.counts()).toMatchObject({ connections: 7, sessions: 8, queuedMessages: 30 });
  const { queued, messages, sessions } = await broker.inventory();
  expect(queued.deliveries).toBe(30);
  expect(messages.count).toBe(30);
  expect(sessions.count).toBe(1);
});

test('messages of 1 MiB go from shard to shard', async () => {
  const broker = await start('limits.packet_bytes_max=2MiB');
  const all = await clients(broker.tcp, 2 * SHARDS);
  for (const client of all) await client.subscribe('large', 1);
  const payloads = Array.from({ length: 6 }, (_, at) => Buffer.alloc(1_048_576, `${at} `));
  await Promise.all(payloads.map((payload, at) => all[at % SHARDS]!.publish('large', payload, { qos: at % 2 === 0 ? 1 : 2 })));
  for (const client of all) {
    await client.received(payloads.length);
    const found = client.messages.map(({ payload }) => Number(payload.toString('latin1', 0, 1)));
    expect([...found].sort()).toEqual([0, 1, 2, 3, 4, 5]);
    for (const { payload } of client.messages)
      expect((payload as Buffer).equals(payloads[Number(payload.toString('latin1', 0, 1))]!)).toBe(true);
  }
});
