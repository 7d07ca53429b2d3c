// Passwords, rights, ceilings, limits and the ban list read anew while clients talk, in one shard and in three: nobody is lost but those who are meant, and what may not be received any more is dropped and erased.
import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Broker, createBroker, loadConfig } from '../../engine/lethe.ts';
import { Reason } from '../../protocol/packet.ts';
import { property, puback } from '../conformance/bytes.ts';
import { delivered, settled, subscribed } from '../conformance/rig.ts';
import { type ClientOptions, type MqttJs, mqttJs, refusalOf } from '../end-to-end/mqttjs.ts';
import { Place } from '../forgetting/place.ts';
import { joined } from '../limits/rig.ts';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { LiveFiles, Traffic } from './rig.ts';

const ACL = `user writer
topic write #
user anna
topic read open/#
topic read secret/#
topic write will/#
user load
topic readwrite load/#
`;
/** Anna may not read what is secret any more, nor leave a will. */
const NARROWER = ACL.replace('topic read secret/#\ntopic write will/#\n', '');

/** Password files in which each user's password is the name with something behind it. */
const passwords = { '-1': passwordsWith('-1'), '-2': passwordsWith('-2') };

function passwordsWith(suffix: string): string {
  const file = temporaryFile('');
  for (const user of ['writer', 'anna', 'load']) mosquittoPasswd('-b', file, user, `${user}${suffix}`);
  return readFileSync(file, 'utf8');
}

describe.each([1, 3])('with %i shards', (threads) => {
  const files = new LiveFiles();
  const place = new Place();
  let broker: Broker;
  let more = '';

  /** The configuration as it is now. */
  const config = () =>
    loadConfig({
      file: temporaryFile(`
[server]
threads = ${threads}
data_dir = '${place.folder}'
sys_interval_s = 0
[auth]
password_file = '${files.path('passwords')}'
acl_file = '${files.path('acl')}'
${more}
[[listener]]
name = 'tcp'
transport = 'tcp'
[[listener]]
name = 'ws'
transport = 'ws'
`),
    });

  function writePasswords(suffix: '-1' | '-2'): void {
    files.write('passwords', passwords[suffix]);
  }

  beforeAll(async () => {
    writePasswords('-1');
    files.write('acl', ACL);
    broker = await createBroker({ config: config() });
  });
  beforeEach(async () => {
    more = '';
    writePasswords('-1');
    files.write('acl', ACL);
    await broker.reload(config());
  });
  afterAll(() => broker.stop());

  const as = (user: string, suffix = '-1', rest: Partial<ClientOptions> = {}): ClientOptions => ({
    port: broker.tcp,
    level: 5,
    username: user,
    password: `${user}${suffix}`,
    ...rest,
  });

  const anna: Partial<ClientOptions> = {
    clientId: 'anna',
    clean: false,
    properties: { sessionExpiryInterval: 1_000 },
  };

  test('rights and passwords under load', async () => {
    const traffic = [
      await Traffic.start(as('load'), 'load/tcp'),
      await Traffic.start({ ...as('load'), port: broker.ws, transport: 'ws' }, 'load/ws'),
    ];
    const will = {
      topic: 'will/anna',
      payload: Buffer.from(place.text('will')),
      properties: { willDelayInterval: 900 },
      qos: 1 as const,
    };
    const first = await mqttJs(as('anna', '-1', { ...anna, will }));
    expect(await first.subscribe(['open/#', 'secret/#'], 1)).toEqual([1, 1]);
    first.cut();
    await first.until('it is closed', () => first.closed);
    const writer = await mqttJs(as('writer'));
    const stays = await mqttJs(as('anna'));
    await stays.publish('will/x', 'may be', { qos: 1 });
    for (let i = 0; i < 300; i++) {
      const open = writer.publish('open/a', place.text(`open.${i}`), { qos: 1 });
      const secret = writer.publish('secret/a', place.text(`secret.${i}`), { qos: 1 });
      // Below the Receive Maximum.
      if (i % 50 === 0) await Promise.all([open, secret]);
    }
    await writer.publish('open/a', 'last', { qos: 1 });
    await place.isThere('open.0', 'secret.299', 'will');

    files.write('acl', NARROWER);
    writePasswords('-2');
    const report = await broker.reload();
    expect(report).toEqual({ changed: [], restart: [], ended: 0, dropped: 300 });
    await place.isGone('secret');
    await place.isGone('will');
    await expect.poll(() => broker.counts().queuedMessages, { timeout: 10_000 }).toBeGreaterThanOrEqual(301);
    for (const each of traffic) await each.flows();
    await expect(stays.publish('will/x', 'may not be', { qos: 1 })).rejects.toThrow('Not authorized');
    await stays.end();

    expect(await refusalOf(as('anna', '-1', { clientId: 'old password' }))).toBe(Reason.BAD_USER_NAME_OR_PASSWORD);
    const again = await mqttJs(as('anna', '-2', anna));
    await again.received(301);
    expect(again.payloads).toEqual([...Array.from({ length: 300 }, (_, i) => place.text(`open.${i}`)), 'last']);
    expect(again.connack?.sessionPresent).toBe(true);

    // Those who are connected are judged by the new rights from now on; subscriptions wait for better times.
    await writer.publish('secret/a', 'not to be had', { qos: 1 });
    files.write('acl', ACL);
    expect(await broker.reload()).toMatchObject({ dropped: 0 });
    await writer.publish('secret/a', 'to be had again', { qos: 1 });
    await again.received(302);
    expect(again.payloads.at(-1)).toBe('to be had again');
    for (const each of traffic) await each.proveWhole();
    await writer.end();
    await again.end();
    // Nothing is queued for it any more.
    await (await mqttJs(as('anna', '-2', { clientId: 'anna' }))).end();
  });

  test.each([
    ['a session that the store has', [property.sessionExpiryS(1_000)]],
    ['a session that ends with its connection', []],
  ])('what waits for the window of a connected client is dropped too: %s', async (what, properties) => {
    const topic = `secret/${properties.length}`;
    const fields = { clientId: what, userName: 'anna', password: 'anna-1', clean: false };
    const slow = await joined(broker.tcp, { ...fields, properties: [...properties, property.receiveMaximum(1)] });
    await subscribed(slow, { filters: [[topic, 1]] });
    const writer = await mqttJs(as('writer'));
    for (let i = 0; i < 10; i++) await writer.publish(topic, String(i), { qos: 1 });
    const { packetId } = await delivered(slow);
    const before = await settled(() => broker.counts().queuedMessages);
    files.write('acl', NARROWER);
    expect(await broker.reload()).toMatchObject({ dropped: 9 });
    await expect.poll(() => broker.counts().queuedMessages, { timeout: 10_000 }).toBe(before - 9);
    slow.send(puback(packetId));
    await slow.expectSilence();
    files.write('acl', ACL);
    await broker.reload();
    await writer.publish(topic, 'again', { qos: 1 });
    const again = await delivered(slow);
    expect(again.payload).toBe('again');
    slow.send(puback(again.packetId));
    await slow.expectSilence();
    await writer.end();
  });

  test.each([
    ['an ACL file that is missing', () => rmSync(files.path('acl')), '/acl: '],
    ['an ACL file with a broken line', () => files.write('acl', `${NARROWER}topic maybe open\n`), '/acl:7: '],
    ['an ACL file without a rule', () => files.write('acl', '# nothing\n'), 'the file has no rule'],
    ['a password file that is missing', () => rmSync(files.path('passwords')), '/passwords: '],
    ['a password file with a broken line', () => files.write('passwords', 'anna:secret words\n'), '/passwords:1: '],
  ])('%s: refused, and everything is as it was', async (_what, breakIt, words) => {
    files.write('acl', NARROWER);
    writePasswords('-2');
    breakIt();
    await expect(broker.reload()).rejects.toThrow(words);
    const client = await mqttJs(as('anna'));
    expect(await client.subscribe('secret/#', 0)).toEqual([0]);
    await client.end();
  });

  test('options: what can change does, and what cannot is named', async () => {
    const before = await mqttJs(as('anna', '-1', anna));
    more = `
[session]
maximum_qos = 1
[limits]
connections_per_user = 1
packet_bytes_max = 4096
connect_bytes_max = 4096
[[retention]]
users = ['anna']
session_expiry_max_s = 500
`;
    const report = await broker.reload(config());
    expect([...report.changed].sort()).toEqual(['limits.connect_bytes_max', 'limits.connections_per_user', 'retention']);
    expect([...report.restart].sort()).toEqual(['limits.packet_bytes_max', 'session.maximum_qos']);
    // One connection was there before.
    expect(await refusalOf(as('anna', '-1', { clientId: 'second' }))).toBe(Reason.QUOTA_EXCEEDED);
    before.cut();
    const third = await acceptedAgain(as('anna', '-1', { ...anna, clientId: 'third' }));
    expect(third.connack?.properties?.sessionExpiryInterval).toBe(500);
    expect(third.connack?.properties?.maximumQoS).toBeUndefined();
    await third.end();
  });

  test('a ceiling holds for sessions whose clients are away, too', async () => {
    const sessions = async () => (await broker.inventory()).sessions.count;
    const before = await sessions();
    const client = await mqttJs(as('writer', '-1', { ...anna, clientId: 'away' }));
    client.cut();
    await client.until('it is closed', () => client.closed);
    await expect.poll(sessions, { timeout: 10_000 }).toBe(before + 1);
    more = "[[retention]]\nusers = ['writer']\nsession_expiry_max_s = 0\n";
    await broker.reload(config());
    await expect.poll(sessions, { timeout: 10_000 }).toBe(before);
  });

  test('who is banned is disconnected (0x98), and comes back when the ban is lifted', async () => {
    const client = await mqttJs(as('anna'));
    more = "[limits]\nbanned_networks = ['127.0.0.1']\n";
    expect(await broker.reload(config())).toMatchObject({ changed: ['limits.banned_networks'], ended: 1 });
    await client.until('it is closed', () => client.closed);
    expect(client.disconnectReason).toBe(Reason.ADMINISTRATIVE_ACTION);
    more = '';
    await broker.reload(config());
    await (await mqttJs(as('anna'))).end();
  });

  /** A client that is let in once the one before is known to have gone. */
  async function acceptedAgain(options: ClientOptions): Promise<MqttJs> {
    for (let tries = 0; tries < 200; tries++) {
      try {
        return await mqttJs(options);
      } catch {
        // not yet
      }
    }
    throw new Error('it is never let in');
  }
});

test('two reloads at once are done one behind the other, and one that fails does not harm the next', async () => {
  const acl = temporaryFile(ACL);
  const at = (file: string) => loadConfig({ set: ['listener.tcp.port=0', 'listener.ws.port=0', `auth.acl_file=${file}`] });
  const broker = await createBroker({ config: at(acl) });
  try {
    const other = temporaryFile(NARROWER);
    const results = await Promise.allSettled([
      broker.reload(at(other)),
      broker.reload(at('/nowhere/acl')),
      broker.reload(at(acl)),
      broker.reload(at(acl)),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    const changed = results.map((result) => (result.status === 'fulfilled' ? result.value.changed : null));
    expect(changed).toEqual([['auth.acl_file'], null, ['auth.acl_file'], []]);
  } finally {
    await broker.stop();
  }
});
