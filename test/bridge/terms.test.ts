// What a bridge makes of what the other side can and wants: retained messages, properties, expiry, limits, refusals, and how it says that it stands.
import { afterAll, expect, test } from 'vitest';
import type { Broker } from '../../engine/lethe.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { Client } from '../forgetting/client.ts';
import { temporaryCertificates } from '../network/temporary.ts';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { Line } from './line.ts';
import { type BridgedOptions, bridgedBroker, bridgeSays } from './rig.ts';

const { files, remove } = temporaryCertificates();
afterAll(remove);

const MIB = 1_048_576;
const QUOTA_EXCEEDED = 0x97;

function bridgeTo(port: number, topics: readonly string[], ...rest: readonly string[]): string[] {
  return [`addresses = ["127.0.0.1:${port}"]`, `topics = [${topics.map((topic) => `"${topic}"`).join()}]`, ...rest];
}

/** A remote broker, and one with a bridge to it that stands. */
async function pair(
  topics: readonly string[],
  remoteOptions: BridgedOptions = {},
  ...rest: readonly string[]
): Promise<{ edge: Broker; remote: Broker }> {
  const remote = await bridgedBroker(remoteOptions);
  const edge = await bridgedBroker({ bridge: bridgeTo(remote.tcp, topics, ...rest) });
  await bridgeSays(edge, '1');
  return { edge, remote };
}

const client = ({ tcp }: Broker, clientId = '') => mqttJs({ port: tcp, level: 5, clientId });

/** A retained message as a client that subscribes gets it. */
async function retainedAt(broker: Broker, topic: string): Promise<{ payload: string; retain: boolean } | null> {
  const late = await client(broker);
  await late.subscribe(topic, 1);
  // What is retained comes before the answer to what is asked after it.
  await late.publish('asked/afterwards', '', { qos: 1 });
  const [message] = late.messages;
  await late.end();
  return message === undefined ? null : { payload: String(message.payload), retain: message.retain };
}

/** With several shards what is retained is a moment on its way. */
async function isRetained(broker: Broker, topic: string, expected: Awaited<ReturnType<typeof retainedAt>>): Promise<void> {
  await expect.poll(() => retainedAt(broker, topic), { interval: 10, timeout: 10_000 }).toEqual(expected);
}

test.each(['mqttv50', 'mqttv311'])('%s: retained messages go across as retained, and are cleared there too', async (version) => {
  const { edge, remote } = await pair(['# both 1'], {}, `protocol_version = "${version}"`);
  const near = await client(edge);
  const far = await client(remote);
  await near.subscribe('down/state', 1);
  await far.subscribe('up/state', 1);
  await near.publish('up/state', 'on', { qos: 1, retain: true });
  await far.publish('down/state', 'off', { qos: 1, retain: true });
  await Promise.all([near.received(1), far.received(1)]);
  await isRetained(remote, 'up/state', { payload: 'on', retain: true });
  await isRetained(edge, 'down/state', { payload: 'off', retain: true });
  await near.publish('up/state', '', { qos: 1, retain: true });
  await far.received(2);
  await isRetained(remote, 'up/state', null);
});

test('what the remote broker had retained before the bridge came is told here', async () => {
  const remote = await bridgedBroker();
  const far = await client(remote);
  await far.publish('down/state', 'old', { qos: 1, retain: true });
  const edge = await bridgedBroker({ bridge: bridgeTo(remote.tcp, ['down/# in 1']) });
  await bridgeSays(edge, '1');
  await isRetained(edge, 'down/state', { payload: 'old', retain: true });
});

test('outgoing_retain = false: nothing is retained at the remote broker', async () => {
  const { edge, remote } = await pair(['up/# out 1'], {}, 'outgoing_retain = false');
  const far = await client(remote);
  await far.subscribe('up/#', 1);
  const near = await client(edge);
  await near.publish('up/state', 'on', { qos: 1, retain: true });
  await far.received(1);
  expect(await retainedAt(remote, 'up/state')).toBeNull();
  await isRetained(edge, 'up/state', { payload: 'on', retain: true });
});

test('properties go across, and what is left of the expiry; what has expired on the way does not', async () => {
  const remote = await bridgedBroker();
  const line = await Line.to(remote.tcp);
  const edge = await bridgedBroker({ bridge: bridgeTo(line.port, ['up/# out 1']) });
  await bridgeSays(edge, '1');
  const far = await client(remote);
  await far.subscribe('up/#', 1);
  line.down();
  await bridgeSays(edge, '0');
  const near = await client(edge);
  await near.publish('up/short', 'gone', { qos: 1, properties: { messageExpiryInterval: 1 } });
  const properties = {
    messageExpiryInterval: 600,
    contentType: 'text/plain',
    responseTopic: 'answer/here',
    correlationData: Buffer.from('7'),
    payloadFormatIndicator: true,
    userProperties: { one: 'a', two: ['b', 'c'] },
  };
  await near.publish('up/long', 'kept', { qos: 1, properties });
  await expect.poll(() => edge.counts().queuedMessages, { interval: 10, timeout: 10_000 }).toBe(1);
  line.up();
  await far.received(1);
  const [message] = far.messages;
  expect(message).toMatchObject({
    topic: 'up/long',
    properties: {
      ...properties,
      messageExpiryInterval: expect.any(Number),
      userProperties: expect.objectContaining({ one: 'a', two: ['b', 'c'] }),
    },
  });
  expect(message!.properties!.messageExpiryInterval).toBeLessThanOrEqual(600);
});

test('a message of 1 MiB goes across both ways', async () => {
  const { edge, remote } = await pair(['big/# both 2']);
  const near = await client(edge);
  const far = await client(remote);
  for (const [from, target, topic] of [
    [near, far, 'big/up'],
    [far, near, 'big/down'],
  ] as const) {
    await target.subscribe(topic, 2);
    const payload = Buffer.alloc(MIB, topic);
    await from.publish(topic, payload, { qos: 2 });
    await target.received(1);
    expect(Buffer.compare(target.messages[0]!.payload as Buffer, payload)).toBe(0);
  }
});

test('a remote broker of small packets, one message at a time, and QoS 1', async () => {
  const remoteOptions = {
    set: ['limits.packet_bytes_max=4096', 'limits.connect_bytes_max=4096', 'limits.receive_maximum=1', 'session.maximum_qos=1'],
  };
  const { edge, remote } = await pair(['up/# out 2'], remoteOptions);
  const far = await client(remote);
  await far.subscribe('up/#', 1);
  const near = await client(edge);
  await near.publish('up/large', Buffer.alloc(8_192), { qos: 2 });
  for (let number = 0; number < 50; number++) await near.publish('up/small', String(number), { qos: number % 2 === 0 ? 2 : 1 });
  await far.received(50);
  expect(far.messages.map(({ topic, payload, qos }) => [topic, String(payload), qos])).toEqual(
    Array.from({ length: 50 }, (_, number) => ['up/small', String(number), 1]),
  );
  await expect.poll(() => edge.counts().queuedMessages, { interval: 5, timeout: 10_000 }).toBe(0);
});

test('a queue that is full is told to who publishes, and what is in it arrives', async () => {
  const remote = await bridgedBroker();
  const line = await Line.to(remote.tcp);
  line.down();
  const edge = await bridgedBroker({
    bridge: bridgeTo(line.port, ['up/# out 1']),
    set: ['limits.queued_messages_per_client_max=5'],
  });
  const near = await Client.connect(edge.tcp, { clientId: 'near' });
  const codes: number[] = [];
  for (let number = 0; number < 8; number++) codes.push(await near.publish({ topic: 'up/a', payload: String(number) }));
  expect(codes).toEqual([0, 0, 0, 0, 0, QUOTA_EXCEEDED, QUOTA_EXCEEDED, QUOTA_EXCEEDED]);
  const far = await client(remote);
  await far.subscribe('up/#', 1);
  line.up();
  await far.received(5);
  expect(far.payloads).toEqual(['0', '1', '2', '3', '4']);
  await expect.poll(() => edge.counts().queuedMessages, { interval: 5, timeout: 10_000 }).toBe(0);
  await near.publish({ topic: 'up/a', payload: 'more' });
  await far.received(6);
});

test.each([
  ['drop_oldest', ['3', '4', '5', '6', '7']],
  ['drop_newest', ['0', '1', '2', '3', '4']],
] as const)('with queue_overflow = %s a full queue costs the bridge alone, not who publishes', async (overflow, payloads) => {
  const remote = await bridgedBroker();
  const line = await Line.to(remote.tcp);
  line.down();
  const edge = await bridgedBroker({
    bridge: [...bridgeTo(line.port, ['up/# out 1']), `queue_overflow = "${overflow}"`],
    set: ['limits.queued_messages_per_client_max=5'],
  });
  const near = await Client.connect(edge.tcp, { clientId: 'near' });
  for (let number = 0; number < 8; number++) expect(await near.publish({ topic: 'up/a', payload: String(number) })).toBe(0);
  const far = await client(remote);
  await far.subscribe('up/#', 1);
  line.up();
  await far.received(5);
  expect(far.payloads).toEqual(payloads);
  await expect.poll(() => edge.counts().queuedMessages, { interval: 5, timeout: 10_000 }).toBe(0);
});

test('notification_topic tells the remote broker whether the link stands, also when it is lost', async () => {
  const remote = await bridgedBroker();
  const line = await Line.to(remote.tcp);
  const edge = await bridgedBroker({ bridge: bridgeTo(line.port, ['up/# out 1'], 'notification_topic = "bridges/site-7"') });
  await bridgeSays(edge, '1');
  const far = await client(remote);
  await far.subscribe('bridges/#', 1);
  await far.until('it is told that the link stands', () => far.payloads.at(-1) === '1');
  line.down();
  await far.until('it is told that the link is lost', () => far.payloads.at(-1) === '0');
  await isRetained(remote, 'bridges/site-7', { payload: '0', retain: true });
  line.up();
  await far.until('it is told that the link stands again', () => far.payloads.at(-1) === '1');
});

const passwords = temporaryFile('');
mosquittoPasswd('-b', passwords, 'edge', 'right');
const refusals = [
  ['a wrong password', ['remote_username = "edge"', `remote_password_file = "${temporaryFile('wrong\n')}"`]],
  ['a missing name', []],
] as const;

test.each(refusals)('a remote broker that refuses %s: one clear line, and clients here notice nothing', async (_what, bridge) => {
  const remote = await bridgedBroker({ set: ['listener.tcp.anonymous=false', `auth.password_file=${passwords}`] });
  await isTold(bridgedOptions(remote.tcp, bridge), 'the remote broker refuses a bridge');
});

test('a remote broker whose certificate nobody vouches for: the same', async () => {
  const tables = [
    '[[listener]]',
    'name = "tls"',
    'transport = "tls"',
    'port = 0',
    `cert_file = '${files.serverCert}'`,
    `key_file = '${files.serverKey}'`,
  ];
  const remote = await bridgedBroker({ tables });
  const own = bridgedOptions(remote.ports.get('tls')!, [`ca_file = "${files.strangerCert}"`]);
  await isTold({ ...own, transport: 'tls' }, 'TLS with the remote broker of a bridge fails');
});

function bridgedOptions(port: number, rest: readonly string[]): BridgedOptions {
  return { bridge: bridgeTo(port, ['up/# out 1'], ...rest) };
}

async function isTold(options: BridgedOptions, said: string): Promise<void> {
  const lines: string[] = [];
  const edge = await bridgedBroker({ ...options, onLine: (line) => lines.push(line) });
  const near = await client(edge);
  await near.subscribe('up/#', 1);
  await expect.poll(() => lines.filter((line) => line.includes(said)).length, { interval: 10, timeout: 10_000 }).toBe(1);
  await near.publish('up/a', 'here', { qos: 1 });
  await near.received(1);
  expect(edge.counts().queuedMessages).toBe(1);
}
