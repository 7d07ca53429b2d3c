// $SYS: every name that Mosquitto publishes, found by asking a Mosquitto that is started beside the broker; values that follow what
// happens; and that they are the broker's own.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { directory, temporaryFile } from '../security/temporary.ts';
import { Child } from './child.ts';
import { type MqttJs, mqttJs } from './mqttjs.ts';
import { serve, useServed } from './served.ts';

const served = useServed(() => '[server]\nsys_interval_s = 1\n[session]\nv3_expiry_s = 600');

function connect(level: 3 | 4 | 5 = 5, options: Partial<Parameters<typeof mqttJs>[0]> = {}): Promise<MqttJs> {
  return mqttJs({ port: served.port('tcp'), level, ...options });
}

/** The last value of each topic that a client has received. */
function latest(client: MqttJs): Map<string, string> {
  return new Map(client.messages.map(({ topic, payload }) => [topic, payload.toString()]));
}

/** Waits until a figure is as it should be. */
function figure(client: MqttJs, name: string, holds: (value: number) => boolean): Promise<void> {
  return client.until(`${name} is as expected (it is ${latest(client).get(`$SYS/broker/${name}`)})`, () =>
    holds(Number(latest(client).get(`$SYS/broker/${name}`) ?? Number.NaN)),
  );
}

/** What a Mosquitto of the same machine publishes: name and value. It listens on a socket file, so that no port is needed. */
async function mosquittoFigures(): Promise<Map<string, string>> {
  const folder = join(directory, 'mosquitto');
  mkdirSync(folder);
  const socket = join(folder, 'socket');
  const config = temporaryFile(`listener 0 ${socket}\nallow_anonymous true\nsys_interval 1\nuser root\n`);
  const mosquitto = new Child('mosquitto', ['-c', config]);
  await mosquitto.until('Mosquitto runs', () => /mosquitto version .* running/.test(mosquitto.stderr));
  // The round that tells of this client has told everything else too.
  const first = new Child('mosquitto_sub', ['--unix', socket, '-t', '$SYS/broker/clients/maximum', '-C', '1']);
  expect(await first.ended(), first.stderr).toEqual({ code: 0, signal: null });
  const all = new Child('mosquitto_sub', ['--unix', socket, '-t', '$SYS/#', '-t', 'end', '-F', '%t=%p', '-W', '5']);
  // Retained messages come before what is published afterwards, once the subscription is there.
  await all.until('the figures are there', () => all.stdout.includes('\n'));
  const end = new Child('mosquitto_pub', ['--unix', socket, '-t', 'end', '-m', '']);
  await end.ended();
  await all.until('the last figure is there', () => all.stdout.includes('end=\n'));
  mosquitto.kill('SIGTERM');
  await mosquitto.ended();
  const lines = all.stdout.split('\n').filter((line) => line.startsWith('$SYS/'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

/** What kind of value a dashboard has to parse. */
function shapeOf(value: string | undefined): string {
  if (value === undefined) return 'missing';
  if (/^\d+$/.test(value)) return 'whole number';
  if (/^\d+\.\d\d$/.test(value)) return 'two decimals';
  return value.replace(/\d+(\.\d+)*/g, 'n').replace(/^(mosquitto|lethe) /, '');
}

test('has every name of Mosquitto with a value of the same shape, and its own below $SYS/broker/lethe/', async () => {
  const client = await connect();
  await client.subscribe('$SYS/#');
  await client.until('the first round is complete', () => latest(client).has('$SYS/broker/load/sockets/15min'));
  const ours = latest(client);
  const theirs = await mosquittoFigures();
  expect(theirs.size).toBeGreaterThan(50);
  // There is no exception: whatever Mosquitto 2.0 publishes without bridges makes sense here too.
  expect(Object.fromEntries([...theirs.keys()].map((name) => [name, shapeOf(ours.get(name))]))).toEqual(
    Object.fromEntries([...theirs].map(([name, value]) => [name, shapeOf(value)])),
  );
  const others = [...ours.keys()].filter((name) => !theirs.has(name));
  expect(others.filter((name) => !name.startsWith('$SYS/broker/lethe/'))).toEqual([]);
  expect(others.length).toBeGreaterThan(0);
});

describe('the values', () => {
  test('follow clients, subscriptions and messages', async () => {
    const watch = await connect();
    await watch.subscribe('$SYS/#');
    await figure(watch, 'clients/connected', (value) => value === 1);
    await figure(watch, 'subscriptions/count', (value) => value === 1);

    const member = await connect(5, { clientId: 'member', clean: false, properties: { sessionExpiryInterval: 600 } });
    await member.subscribe('$share/group/counted', 1);
    await member.subscribe('counted', 1);
    await member.end();
    await figure(watch, 'clients/total', (value) => value === 2);
    await figure(watch, 'clients/disconnected', (value) => value === 1);
    await figure(watch, 'subscriptions/count', (value) => value === 2);
    await figure(watch, 'shared_subscriptions/count', (value) => value === 1);

    const before = Number(latest(watch).get('$SYS/broker/publish/messages/received'));
    const pub = await connect();
    for (let i = 0; i < 10; i++) await pub.publish('counted', 'five!', { qos: 1 });
    await pub.publish('kept', 'retained', { qos: 1, retain: true });
    await figure(watch, 'publish/messages/received', (value) => value === before + 11);
    await figure(watch, 'lethe/queued/messages', (value) => value === 20);
    await figure(watch, 'load/publish/received/1min', (value) => value > 0);
    await figure(watch, 'load/sockets/1min', (value) => value > 0);

    const back = await connect(5, { clientId: 'member', clean: true });
    await figure(watch, 'shared_subscriptions/count', (value) => value === 0);
    await figure(watch, 'subscriptions/count', (value) => value === 1);
    await figure(watch, 'lethe/queued/messages', (value) => value === 0);
    await figure(watch, 'clients/maximum', (value) => value >= 3);
    await back.end();
  });

  test('count what is sent whatever kind of packet it is', async () => {
    const watch = await connect();
    await watch.subscribe('$SYS/#');
    await figure(watch, 'messages/sent', (value) => value > 0);
    const [packets, bytes] = ['messages/sent', 'bytes/sent'].map((name) => Number(latest(watch).get(`$SYS/broker/${name}`)));
    const other = await connect();
    for (let i = 0; i < 100; i++) {
      await other.subscribe('asked/often');
      await other.client.unsubscribeAsync('asked/often');
    }
    // 100 of SUBACK and 100 of UNSUBACK, 6 bytes each.
    await figure(watch, 'messages/sent', (value) => value >= packets! + 200);
    await figure(watch, 'bytes/sent', (value) => value >= bytes! + 1_200);
  });

  test('do not come through #', async () => {
    const all = await connect();
    await all.subscribe('#');
    await all.subscribe('+/broker/uptime');
    const watch = await connect();
    await watch.subscribe('$SYS/broker/uptime');
    await watch.received(3);
    await watch.publish('an/ordinary/topic', 'x', { qos: 1 });
    await all.received(1);
    expect(all.messages.filter(({ topic }) => topic.startsWith('$'))).toEqual([]);
  });

  test('are not published when the interval is 0', async () => {
    const silent = await serve('[server]\nsys_interval_s = 0');
    const client = await mqttJs({ port: silent.port('tcp'), level: 5 });
    await client.subscribe('$SYS/#');
    await client.subscribe('end');
    await client.publish('end', '');
    await client.received(1);
    expect(client.messages.map(({ topic }) => topic)).toEqual(['end']);
    await silent.stop();
  });
});

describe('clients cannot publish to $SYS', () => {
  const TOPICS = ['$SYS', '$SYS/broker/version', '$SYS/broker/of/my/own'];

  /** Nobody has received anything else than the broker's own figures. */
  async function expectUntouched(watch: MqttJs): Promise<void> {
    await watch.publish('marker', 'x', { qos: 1 });
    await watch.until('the marker is there', () => watch.messages.at(-1)?.topic === 'marker');
    expect(watch.payloads).not.toContain('forged');
    const fresh = await connect();
    await fresh.subscribe('$SYS');
    await fresh.subscribe('$SYS/broker/of/#');
    await fresh.subscribe('$SYS/broker/version');
    await fresh.received(1);
    expect(fresh.payloads).toEqual([expect.stringMatching(/^lethe version \d+\.\d+\.\d+$/)]);
  }

  async function watching(): Promise<MqttJs> {
    const watch = await connect();
    await watch.subscribe('$SYS');
    await watch.subscribe('$SYS/broker/version');
    await watch.subscribe('$SYS/broker/of/#');
    await watch.subscribe('marker');
    return watch;
  }

  test.each([3, 4, 5] as const)('at any QoS, retained or not, level %i', async (level) => {
    const watch = await watching();
    const forger = await connect(level);
    const refusals: unknown[] = [];
    for (const topic of TOPICS) {
      for (const qos of [0, 1, 2] as const) {
        for (const retain of [false, true]) {
          await forger.publish(topic, 'forged', { qos, retain }).catch((error: { code: number }) => refusals.push(error.code));
        }
      }
    }
    // MQTT 5 is told at QoS 1 and 2; before it there are no words for it.
    expect(refusals).toEqual(level === 5 ? TOPICS.flatMap(() => [0x87, 0x87, 0x87, 0x87]) : []);
    await expectUntouched(watch);
  });

  test.each([4, 5] as const)('nor by a will, level %i', async (level) => {
    const watch = await watching();
    for (const [index, topic] of TOPICS.entries()) {
      const clientId = `doomed-${level}-${index}`;
      const doomed = await connect(level, { clientId, will: { topic, payload: Buffer.from('forged'), qos: 1, retain: true } });
      doomed.cut();
      // Once its next connection is accepted, the end of this one is settled.
      await connect(level, { clientId });
    }
    await expectUntouched(watch);
  });
});
