// 10. Sessions taken over by another user: a client identifier is a name that anybody can type. Deeper: test/shards/takeover.test.ts, test/peers/directory.test.ts.
// Red when: a client with a password of its own gets, ends or deletes the session of another user, in any shard, online, away or after a restart.
import { afterEach, describe, expect, test } from 'vitest';
import { systemRandom } from '../../../engine/random.ts';
import { hashPassword } from '../../../engine/security/password-hash.ts';
import { type RunningBroker, startBroker } from '../../broker.ts';
import { type ConnectFields, connect, type Level, property } from '../../conformance/bytes.ts';
import { readConnack } from '../../conformance/decode.ts';
import { RawClient } from '../../conformance/raw-client.ts';
import { delivered, published, subscribed } from '../../conformance/rig.ts';
import { temporaryFolder } from '../../forgetting/place.ts';
import { temporaryFile } from '../../security/temporary.ts';

const hash = await hashPassword('pw', systemRandom, { format: 'mosquitto', iterations: 10 });
const passwords = temporaryFile(`ada:${hash}\nmallory:${hash}\n`);
/** Connections are spread over shards: with so many tries each shard is asked. */
const TRIES = 12;

const running = new Set<RunningBroker>();
const clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.drop();
  for (const broker of running) await broker.stop();
  running.clear();
});

async function start(...set: string[]): Promise<RunningBroker> {
  const broker = await startBroker([`auth.password_file=${passwords}`, 'listener.tcp.anonymous=true', ...set]);
  running.add(broker);
  return broker;
}

/** CONNECT as `prize`; the CONNACK's session present flag and reason. */
async function login(broker: RunningBroker, userName: string | null, fields: ConnectFields = {}, level: Level = 5) {
  const client = await RawClient.connect(broker.tcp, level);
  clients.push(client);
  const credentials = userName === null ? {} : { userName, password: 'pw' };
  const lasting = level === 5 ? { properties: [property.sessionExpiryS(3_600)] } : {};
  client.send(connect(level, { clientId: 'prize', ...credentials, ...lasting, ...fields }));
  const { flags, reason } = readConnack(await client.nextPacket(), level);
  return { client, isPresent: flags === 1, reason };
}

async function refusedEverywhere(broker: RunningBroker): Promise<void> {
  for (let at = 0; at < TRIES; at++) {
    const userName = at % 3 === 0 ? null : 'mallory';
    const { client, isPresent, reason } = await login(broker, userName, { clean: at % 2 === 0 }, at % 4 === 3 ? 4 : 5);
    expect({ isPresent, reason }).toEqual({ isPresent: false, reason: at % 4 === 3 ? 5 : 0x87 });
    await client.expectClosed();
  }
}

describe.each([1, 3])('%i shards', (threads) => {
  test('a session whose client is there stays, and its client notices nothing', async () => {
    const broker = await start(`server.threads=${threads}`);
    const { client: ada } = await login(broker, 'ada');
    await subscribed(ada, { filters: [['t', 1]] });
    await refusedEverywhere(broker);
    await published((await login(broker, 'mallory', { clientId: 'other' })).client, { topic: 't', payload: 'hers', qos: 1 });
    expect((await delivered(ada)).payload).toBe('hers');
  });

  test('a session whose client is away keeps what is queued for it, also over a restart', async () => {
    const folder = temporaryFolder();
    const first = await start(`server.threads=${threads}`, `server.data_dir=${folder}`);
    const { client: ada } = await login(first, 'ada');
    await subscribed(ada, { filters: [['t', 1]] });
    ada.drop();
    await published((await login(first, 'mallory', { clientId: 'other' })).client, { topic: 't', payload: 'hers', qos: 1 });
    await refusedEverywhere(first);
    await first.stop();
    running.delete(first);
    const second = await start(`server.threads=${threads}`, `server.data_dir=${folder}`);
    await refusedEverywhere(second);
    const { client: back, isPresent, reason } = await login(second, 'ada', { clean: false });
    expect({ isPresent, reason }).toEqual({ isPresent: true, reason: 0 });
    expect((await delivered(back)).payload).toBe('hers');
  });

  test('once it has ended, the identifier is anybody’s, and nothing of it is left', async () => {
    const broker = await start(`server.threads=${threads}`);
    const { client: ada } = await login(broker, 'ada', { properties: [property.sessionExpiryS(0)] });
    await subscribed(ada, { filters: [['t', 1]] });
    ada.drop();
    await expect.poll(() => broker.counts().sessions, { timeout: 10_000 }).toBe(0);
    const { client: mallory, isPresent, reason } = await login(broker, 'mallory', { clean: false });
    expect({ isPresent, reason }).toEqual({ isPresent: false, reason: 0 });
    await published((await login(broker, 'ada', { clientId: 'other' })).client, { topic: 't', payload: 'hers', qos: 1 });
    await mallory.expectSilence();
  });

  test('with any_user who comes last has it, as the option says', async () => {
    const broker = await start(`server.threads=${threads}`, 'session.takeover=any_user');
    const { client: ada } = await login(broker, 'ada');
    const { isPresent, reason } = await login(broker, 'mallory', { clean: false });
    expect({ isPresent, reason }).toEqual({ isPresent: true, reason: 0 });
    await ada.expectFault(0x8e);
  });

  test('the session of an anonymous client is anybody’s, and a user’s own from then on', async () => {
    const broker = await start(`server.threads=${threads}`);
    await login(broker, null);
    expect(await login(broker, 'ada', { clean: false })).toMatchObject({ isPresent: true, reason: 0 });
    await refusedEverywhere(broker);
  });
});
