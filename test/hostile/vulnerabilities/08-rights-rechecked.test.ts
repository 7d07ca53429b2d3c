// 8. Rights not looked at again for what is retained, queued or sent again. Deeper: test/end-to-end/security.test.ts, test/peers/moves.test.ts.
// Red when: the right to read is looked at when a message is queued or subscribed to, and not again when it is delivered.
// Rights change here with a restart on the same data directory; test/administration has the reload of a running broker.
import { afterEach, expect, test } from 'vitest';
import { systemRandom } from '../../../engine/random.ts';
import { hashPassword } from '../../../engine/security/password-hash.ts';
import { type RunningBroker, startBroker } from '../../broker.ts';
import { type ConnectFields, connect, property, puback, publish, subscribe } from '../../conformance/bytes.ts';
import { readCodes, readConnack, readPublish } from '../../conformance/decode.ts';
import { RawClient } from '../../conformance/raw-client.ts';
import { delivered, published, subscribed } from '../../conformance/rig.ts';
import { temporaryFolder } from '../../forgetting/place.ts';
import { temporaryFile } from '../../security/temporary.ts';

const WIDE = 'user ada\ntopic readwrite #\nuser bob\ntopic readwrite #\n';
/** `ada` has lost what is below `secret`, and nothing else. */
const NARROW = 'user ada\ntopic readwrite #\ntopic deny secret/#\nuser bob\ntopic readwrite #\n';
const hash = await hashPassword('pw', systemRandom, { format: 'mosquitto', iterations: 10 });
const passwords = temporaryFile(`ada:${hash}\nbob:${hash}\n`);

const running = new Set<RunningBroker>();
const clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.drop();
  for (const broker of running) await broker.stop();
  running.clear();
});

async function brokerOn(folder: string, acl: string): Promise<RunningBroker> {
  const broker = await startBroker([
    `server.data_dir=${folder}`,
    `auth.password_file=${passwords}`,
    `auth.acl_file=${temporaryFile(acl)}`,
  ]);
  running.add(broker);
  return broker;
}

async function stop(broker: RunningBroker): Promise<void> {
  await broker.stop();
  running.delete(broker);
}

async function login(
  broker: RunningBroker,
  userName: string,
  fields: ConnectFields = {},
): Promise<{ client: RawClient; isPresent: boolean }> {
  const client = await RawClient.connect(broker.tcp, 5);
  clients.push(client);
  client.send(
    connect(5, { clientId: userName, userName, password: 'pw', properties: [property.sessionExpiryS(3_600)], ...fields }),
  );
  const { flags, reason } = readConnack(await client.nextPacket(), 5);
  expect(reason).toBe(0);
  return { client, isPresent: flags === 1 };
}

test.each(['queued', 'in flight'] as const)(
  '%s: what its receiver may no longer read is neither sent nor kept',
  async (where) => {
    const folder = temporaryFolder();
    const before = await brokerOn(folder, WIDE);
    const { client: ada } = await login(before, 'ada');
    await subscribed(ada, { filters: [['#', 1]] });
    if (where === 'queued') ada.drop();
    const { client: bob } = await login(before, 'bob');
    await published(bob, { topic: 'secret/plan', payload: 'secret', qos: 1 });
    await published(bob, { topic: 'open/news', payload: 'open', qos: 1, packetId: 2 });
    if (where === 'in flight') for (const payload of ['secret', 'open']) expect((await delivered(ada)).payload).toBe(payload);
    await stop(before);

    const after = await brokerOn(folder, NARROW);
    const { client: again, isPresent } = await login(after, 'ada', { clean: false });
    expect(isPresent).toBe(true);
    const message = await delivered(again);
    expect({ topic: message.topic, dup: message.dup }).toEqual({ topic: 'open/news', dup: where === 'in flight' });
    again.send(puback(message.packetId));
    await again.expectSilence();
    await expect.poll(async () => (await after.inventory()).queued.deliveries, { timeout: 10_000 }).toBe(0);
  },
);

test('retained: not for one who may no longer read it, whatever the filter', async () => {
  const folder = temporaryFolder();
  const before = await brokerOn(folder, WIDE);
  const { client: bob } = await login(before, 'bob');
  await published(bob, { topic: 'secret/kept', payload: 'secret', qos: 1, retain: true });
  await published(bob, { topic: 'open/kept', payload: 'open', qos: 1, packetId: 2, retain: true });
  await stop(before);

  const after = await brokerOn(folder, NARROW);
  const { client: ada } = await login(after, 'ada', { clean: true });
  const filters: [string, number][] = ['#', '+/kept', 'secret/kept', 'secret/#', '$share/g/secret/kept'].map((filter) => [
    filter,
    0,
  ]);
  ada.send(subscribe(5, { filters }));
  // What is retained may come before SUBACK.
  const topics: string[] = [];
  let codes: number[] = [];
  while (topics.length < 2 || codes.length === 0) {
    const packet = await ada.nextPacket();
    if (packet.firstByte === 0x90) ({ codes } = readCodes(packet, 5));
    else topics.push(readPublish(packet, 5).topic);
  }
  expect(codes).toEqual([0, 0, 0x87, 0x87, 0x87]);
  expect(topics).toEqual(['open/kept', 'open/kept']);
  await ada.expectSilence();
});

test('subscriptions that outlived the right to them deliver nothing any more, and the topic cache does not remember it', async () => {
  const folder = temporaryFolder();
  const before = await brokerOn(folder, WIDE);
  const { client: ada } = await login(before, 'ada');
  await subscribed(ada, {
    filters: [
      ['secret/#', 1],
      ['#', 0],
    ],
  });
  await stop(before);

  const after = await brokerOn(folder, NARROW);
  const { client: bob } = await login(after, 'bob', { clean: true });
  const send = (payload: string) =>
    bob.send(publish(5, { topic: 'secret/plan', payload: 'secret' }), publish(5, { topic: 'open/news', payload }));
  send('early');
  await bob.expectSilence();
  const { client: again } = await login(after, 'ada', { clean: false });
  for (let times = 0; times < 3; times++) {
    send('open');
    // What was sent before she came may still be on its way between two shards.
    let message = await delivered(again);
    while (message.payload === 'early') message = await delivered(again);
    expect(message.topic).toBe('open/news');
  }
  await again.expectSilence();
  again.send(publish(5, { topic: 'secret/forged', payload: 'x', qos: 1 }));
  await again.expect('40 03 00 01 87');
});
