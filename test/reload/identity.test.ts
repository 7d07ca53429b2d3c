// Keys of tokens, roles and the callout read anew while clients are there, in one shard and in three.
import { rmSync } from 'node:fs';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, createBroker, loadConfig } from '../../engine/lethe.ts';
import { Reason } from '../../protocol/packet.ts';
import { type MqttJs, mqttJs, refusalOf } from '../end-to-end/mqttjs.ts';
import { temporaryFile } from '../security/temporary.ts';
import { LiveFiles } from './rig.ts';

const SECRETS = {
  old: 'the old secret, of more than thirty-two bytes',
  new: 'the new secret, of more than thirty-two bytes',
} as const;
type Which = keyof typeof SECRETS;

describe.each([1, 3])('with %i shards', (threads) => {
  const files = new LiveFiles();
  const writeSecret = (text: string) => files.write('secret', text);
  let broker: Broker;
  const config = (readers: string, rest = '') =>
    loadConfig({
      file: temporaryFile(`
[server]
threads = ${threads}
sys_interval_s = 0
[auth]
jwt_secret_file = '${files.path('secret')}'
${rest}
[[role]]
name = 'reader'
subscribe = [${readers}]
[[role]]
name = 'writer'
publish = ['#']
[[listener]]
name = 'tcp'
transport = 'tcp'
`),
    });
  const BOTH = "'one', 'two'";

  beforeAll(async () => {
    writeSecret(SECRETS.old);
    broker = await createBroker({ config: config(BOTH) });
  });
  afterAll(() => broker.stop());

  async function options(which: Which, role: 'reader' | 'writer', clientId: string) {
    const exp = Math.floor(Date.now() / 1_000) + 600;
    const claims = { sub: role, exp, roles: [role] };
    const password = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRETS[which]));
    const session = { clean: false, properties: { sessionExpiryInterval: 600 } };
    return { port: broker.tcp, level: 5 as const, username: role, password, clientId, ...session };
  }
  const come = async (which: Which, role: 'reader' | 'writer', clientId: string): Promise<MqttJs> =>
    mqttJs(await options(which, role, clientId));

  /** As often as reaches every shard. */
  async function refusals(which: Which): Promise<Set<number | undefined>> {
    const codes = new Set<number | undefined>();
    for (let i = 0; i < threads * 3; i++) codes.add(await refusalOf(await options(which, 'writer', `refused-${i}`)));
    return codes;
  }

  test('a role that becomes narrower holds for who is here, for who is away, and for what is queued', async () => {
    const here = await come('old', 'reader', 'here');
    const away = await come('old', 'reader', 'away');
    const writer = await come('old', 'writer', 'writer');
    for (const reader of [here, away]) expect(await reader.subscribe(['one', 'two'], 1)).toEqual([1, 1]);
    await away.end();
    for (const topic of ['one', 'two', 'two']) await writer.publish(topic, 'before', { qos: 1 });
    await here.received(3);
    expect(await broker.reload(config("'one'"))).toMatchObject({ ended: 0, dropped: 2 });
    for (const topic of ['two', 'one']) await writer.publish(topic, 'after', { qos: 1 });
    await here.received(4);
    expect(here.messages[3]!.topic).toBe('one');
    const back = await come('old', 'reader', 'away');
    await back.received(2);
    expect(back.messages.map(({ topic, payload }) => `${topic} ${payload.toString()}`)).toEqual(['one before', 'one after']);
    // And wider again: of what was dropped nothing comes back.
    await broker.reload(config(BOTH));
    await writer.publish('two', 'wider', { qos: 1 });
    await Promise.all([here.received(5), back.received(3)]);
    expect([here.payloads[4], back.payloads[2]]).toEqual(['wider', 'wider']);
    expect([here.closed, writer.closed]).toEqual([false, false]);
  });

  test('a new secret holds for who comes, and disconnects nobody', async () => {
    const stays = await come('old', 'writer', 'stays');
    writeSecret(SECRETS.new);
    await broker.reload();
    expect(await refusals('old')).toEqual(new Set([Reason.BAD_USER_NAME_OR_PASSWORD]));
    for (let i = 0; i < threads; i++) await come('new', 'writer', `new-${i}`);
    await stays.publish('one', 'still', { qos: 1 });
    expect(stays.closed).toBe(false);
  });

  test.each<readonly [string, () => Promise<unknown>, RegExp]>([
    [
      'a secret that is too short',
      () => {
        writeSecret('short');
        return broker.reload();
      },
      /at least 32 are needed/,
    ],
    [
      'a secret that is gone',
      () => {
        rmSync(files.path('secret'));
        return broker.reload();
      },
      /no such file/,
    ],
    [
      'a callout whose header is broken',
      () => broker.reload(config(BOTH, `http_url = 'https://a.example'\nhttp_header_file = '${files.write('header', 'x')}'`)),
      /Name: value/,
    ],
  ])('%s keeps what was there, and says why', async (_what, reload, message) => {
    writeSecret(SECRETS.new);
    await broker.reload(config(BOTH));
    await expect(reload()).rejects.toThrow(message);
    for (let i = 0; i < threads * 2; i++) await come('new', 'writer', `kept-${i}`);
    expect(await refusals('old')).toEqual(new Set([Reason.BAD_USER_NAME_OR_PASSWORD]));
  });
});
