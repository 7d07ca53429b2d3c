// How long things are kept is a setting with a ceiling: by listener, by user and for all; sessions, messages, retained messages; also for what a data directory holds from before.
import { expect, test } from 'vitest';
import { ConfigError, loadConfig } from '../../engine/lethe.ts';
import { disconnect, property, publish } from '../conformance/bytes.ts';
import { propertyOf } from '../conformance/decode.ts';
import { delivered, published, subscribed } from '../conformance/rig.ts';
import { Place, temporaryFolder } from '../forgetting/place.ts';
import { temporaryFile } from '../security/temporary.ts';
import { brokerOf, greeted, joined, stopped } from './rig.ts';

const SESSION_EXPIRY = 0x11;
const MESSAGE_EXPIRY = 0x02;
const RETAIN_AVAILABLE = 0x25;
const FOREVER = 0xffff_ffff;
const RETAINED = 'retain/topic';

/** Two TCP listeners: `tcp` with the lines given, and `open` without any. */
const twoListeners = (lines: string) => `
[[listener]]
name = 'tcp'
transport = 'tcp'
${lines}
[[listener]]
name = 'open'
transport = 'tcp'
`;

test('the session expiry is cut by the listener, and the client is told (MQTT 5.0 §3.2.2.3.2)', async () => {
  const { ports } = await brokerOf(twoListeners('session_expiry_max_s = 20'));
  const told = async (listener: string, asked: number) => {
    const fields = { clientId: `c${asked}`, properties: [property.sessionExpiryS(asked)] };
    const { client, connack } = await greeted(ports.get(listener)!, fields);
    client.drop();
    return propertyOf(connack.properties, SESSION_EXPIRY);
  };
  expect(await told('tcp', 21)).toBe(20);
  expect(await told('tcp', 20)).toBeUndefined();
  expect(await told('open', 21)).toBeUndefined();
});

test('the smaller ceiling of listener and user holds, and DISCONNECT cannot lift it', async () => {
  const broker = await brokerOf(
    `[[retention]]\nusers = ['anna', 'bert']\nsession_expiry_max_s = 0\n${twoListeners('session_expiry_max_s = 1')}`,
  );
  const port = broker.ports.get('open')!;
  const fields = { clean: false, properties: [property.sessionExpiryS(1_000)] };
  const { client, connack } = await greeted(port, { clientId: 'a', userName: 'anna', ...fields });
  expect(propertyOf(connack.properties, SESSION_EXPIRY)).toBe(0);
  client.drop();
  await expect.poll(() => broker.counts().sessions, { interval: 5, timeout: 10_000 }).toBe(0);

  const other = await joined(broker.ports.get('tcp')!, { clientId: 'b', userName: 'carl', ...fields });
  other.send(disconnect(0, [property.sessionExpiryS(FOREVER)]));
  await other.expectClosed();
  await expect.poll(() => broker.counts().sessions, { interval: 20, timeout: 10_000 }).toBe(0);
});

test('what is published under a ceiling has an expiry, whatever its publisher asked for', async () => {
  const broker = await brokerOf(`[session]
message_expiry_max_s = 1000
[[retention]]
users = ['anna']
message_expiry_max_s = 100
${twoListeners('message_expiry_max_s = 200')}`);
  const receiver = await joined(broker.ports.get('open')!, { clientId: 'r' });
  await subscribed(receiver, { filters: [['t', 1]] });
  // A session belongs to its user: another one comes under another name.
  let publishers = 0;
  const atOnce = async (userName: string, asked: number | null) => {
    const publisher = await joined(broker.ports.get('tcp')!, { clientId: `p${++publishers}`, userName });
    const properties = asked === null ? [] : [property.messageExpiryS(asked)];
    publisher.send(publish(5, { topic: 't', payload: 'x', properties }));
    const { properties: got } = await delivered(receiver);
    publisher.drop();
    return propertyOf(got, MESSAGE_EXPIRY);
  };
  const left = async (listener: string, userName: string, asked: number | null) => {
    const publisher = await joined(broker.ports.get(listener)!, { clientId: `p${++publishers}`, userName });
    const properties = asked === null ? [] : [property.messageExpiryS(asked)];
    await published(publisher, { topic: 't', payload: 'x', qos: 1, properties });
    const { properties: got, packetId } = await delivered(receiver);
    receiver.send(Buffer.of(0x40, 2, packetId >> 8, packetId & 0xff));
    publisher.drop();
    return propertyOf(got, MESSAGE_EXPIRY);
  };
  expect(await left('tcp', 'anna', null)).toBe(100);
  expect(await left('tcp', 'carl', 5_000)).toBe(200);
  expect(await left('open', 'carl', null)).toBe(1_000);
  expect(await left('open', 'carl', 7)).toBe(7);
  // What nobody keeps has no need of one.
  expect(await atOnce('anna', null)).toBeUndefined();
  expect(await atOnce('anna', 5_000)).toBe(5_000);
});

test('a will goes out with the expiry that its client may have', async () => {
  const broker = await brokerOf(twoListeners('message_expiry_max_s = 200'));
  const receiver = await joined(broker.ports.get('open')!, { clientId: 'r' });
  await subscribed(receiver, { filters: [['will', 0]] });
  const leaver = await joined(broker.ports.get('tcp')!, { clientId: 'l', will: { topic: 'will', payload: 'x' } });
  leaver.drop();
  expect(propertyOf((await delivered(receiver)).properties, MESSAGE_EXPIRY)).toBe(200);
});

test('a retained message has an age at which it goes, and those who get it live are not concerned', async () => {
  const broker = await brokerOf('[retained]\nmax_age_s = 1\n');
  const receiver = await joined(broker.tcp, { clientId: 'r' });
  await subscribed(receiver, { filters: [[RETAINED, 0]] });
  const publisher = await joined(broker.tcp, { clientId: 'p' });
  await published(publisher, { topic: RETAINED, payload: 'x', qos: 1, retain: true });
  expect(propertyOf((await delivered(receiver)).properties, MESSAGE_EXPIRY)).toBeUndefined();
  await expect.poll(() => broker.counts().retained, { interval: 20, timeout: 10_000 }).toBe(0);
});

test('policy off: Retain Available is 0, and a retained message is refused (0x9A)', async () => {
  const broker = await brokerOf("[retained]\npolicy = 'off'\n");
  const { client, connack } = await greeted(broker.tcp, { clientId: 'p' });
  expect(propertyOf(connack.properties, RETAIN_AVAILABLE)).toBe(0);
  client.send(publish(5, { topic: RETAINED, payload: 'x', retain: true }));
  await client.expectFault(0x9a);
});

/** A data directory that holds one session of a user, who may stay for 1,000 s, and one retained message. */
async function folderWithPast(place: Place): Promise<void> {
  const broker = await brokerOf(`[server]\ndata_dir = '${place.folder}'\n`);
  const properties = [property.sessionExpiryS(1_000)];
  const client = await joined(broker.tcp, { clientId: place.text('client'), userName: 'anna', clean: false, properties });
  await published(client, { topic: RETAINED, payload: place.text('payload'), qos: 1, retain: true });
  await place.isThere('payload', 'client');
  await stopped(broker);
}

test('a start with lower ceilings cuts what the data directory holds, on the disk too', async () => {
  const place = new Place();
  await folderWithPast(place);
  const toml = `[server]
data_dir = '${place.folder}'
[retained]
max_age_s = 1
[[retention]]
users = ['anna']
session_expiry_max_s = 1
`;
  const broker = await brokerOf(toml);
  await place.isGone('');
  expect(broker.counts()).toMatchObject({ sessions: 0, retained: 0 });
});

test.each(['memory', 'off'])('policy %s: a start lets go of retained messages that lie on the disk', async (policy) => {
  const place = new Place();
  await folderWithPast(place);
  const broker = await brokerOf(`[server]\ndata_dir = '${place.folder}'\n[retained]\npolicy = '${policy}'\n`);
  await place.isGone('payload');
  expect(broker.counts()).toMatchObject({ sessions: 1, retained: 0 });
});

test('policy memory: retained messages are served, counted and expire, and never touch the disk', async () => {
  const place = new Place();
  const toml = `[server]\ndata_dir = '${place.folder}'\n[retained]\npolicy = 'memory'\n`;
  const broker = await brokerOf(toml);
  const publisher = await joined(broker.tcp, { clientId: 'p' });
  await published(publisher, { topic: RETAINED, payload: place.text('kept'), qos: 1, retain: true });
  await published(publisher, { topic: 'short', payload: 'x', qos: 1, retain: true, properties: [property.messageExpiryS(1)] });
  const receiver = await joined(broker.tcp, { clientId: 'r' });
  await subscribed(receiver, { filters: [[RETAINED, 0]] });
  expect((await delivered(receiver)).payload).toBe(place.text('kept'));
  await expect.poll(() => broker.counts().retained, { interval: 20, timeout: 10_000 }).toBe(1);
  expect((await broker.inventory()).retained).toMatchObject({ count: 1 });
  await place.isGone('');
  await stopped(broker);
  expect((await brokerOf(toml)).counts().retained).toBe(0);
});

test.each([
  ["[[retention]]\nusers = ['anna']\n", 'retention has no ceiling'],
  [
    "[[retention]]\nusers = ['anna', 'anna']\nsession_expiry_max_s = 1\n",
    'retention.users names a user that another table, or this one, has already',
  ],
  ['[[retention]]\nusers = []\nsession_expiry_max_s = 1\n', 'must name at least one user'],
  ["[[retention]]\nusers = ['anna']\nmessage_expiry_max_s = 0\n", 'must be a whole number from 1 to 4294967295'],
  ["[retained]\npolicy = 'none'\n", 'must be one of: disk, memory, off'],
  ["[limits]\nbanned_networks = ['10.0.0.0/33']\n", 'limits.banned_networks has an entry that is no address or network'],
])('a configuration is refused: %s', (toml, words) => {
  const load = () => loadConfig({ file: temporaryFile(toml) });
  expect(load).toThrow(ConfigError);
  expect(load).toThrow(words);
  expect(load).not.toThrow('anna');
});

test('without any of it nothing has a ceiling', async () => {
  const broker = await brokerOf(
    `[server]\ndata_dir = '${temporaryFolder()}'\n[limits]\nsession_expiry_max_s = ${FOREVER}\n[spool]\nmax_retention_s = ${FOREVER}\n`,
  );
  const { client, connack } = await greeted(broker.tcp, { clientId: 'c', properties: [property.sessionExpiryS(FOREVER)] });
  expect(propertyOf(connack.properties, SESSION_EXPIRY)).toBeUndefined();
  client.drop();
});
