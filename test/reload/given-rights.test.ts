// Roles and grants that a client came with hold it also when what gave them has gone from the configuration, and nothing else there restricts anybody: by a reload, and by a restart with its session stored.
import { SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { createBroker, loadConfig } from '../../engine/lethe.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { Place } from '../forgetting/place.ts';
import { temporaryFile } from '../security/temporary.ts';

const SECRET = 'a secret, of more than thirty-two bytes, for tests';

describe.each([1, 3])('with %i shards', (threads) => {
  const place = new Place();
  const config = (auth: string) =>
    loadConfig({
      file: temporaryFile(`
[server]
threads = ${threads}
data_dir = '${place.folder}'
sys_interval_s = 0
[session]
takeover = 'any_user'
[auth]
${auth}
[[listener]]
name = 'tcp'
transport = 'tcp'
port = 0
`),
    });

  test('the method that gave them goes', async () => {
    let broker = await createBroker({ config: config(`jwt_secret_file = '${temporaryFile(SECRET)}'`) });
    const session = { clientId: 'held', clean: false, level: 5 as const, properties: { sessionExpiryInterval: 600 } };
    const exp = Math.floor(Date.now() / 1_000) + 600;
    const claims = { sub: 'u', exp, acl: { publish: ['own/#'], subscribe: ['own/#'] } };
    const password = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET));
    const held = await mqttJs({ ...session, port: broker.tcp, username: 'u', password });
    expect(await held.subscribe('#', 1)).toEqual([1]);

    /** From every shard. */
    const publishAll = async (payload: string) => {
      for (let i = 0; i < threads; i++) {
        const writer = await mqttJs({ port: broker.tcp, level: 5 });
        for (const topic of ['other', 'own/x']) await writer.publish(topic, payload, { qos: 1 });
        await writer.end();
      }
    };
    const topicsOf = (count: number) => Array<string>(count).fill('own/x');
    await broker.reload(config(''));
    await publishAll('reloaded');
    await held.received(threads);
    expect(held.messages.map(({ topic }) => topic)).toEqual(topicsOf(threads));
    await expect(held.publish('other', 'x', { qos: 1 })).rejects.toThrow(/not authorized/i);
    await held.end();
    await broker.stop();

    broker = await createBroker({ config: config('') });
    await publishAll('restarted');
    // Whoever has the session now may receive everything: what was not queued is not there.
    const heir = await mqttJs({ ...session, port: broker.tcp });
    await heir.received(threads);
    await heir.publish('end', 'x', { qos: 1 });
    await heir.received(threads + 1);
    expect(heir.messages.map(({ topic }) => topic)).toEqual([...topicsOf(threads), 'end']);
    await heir.end();
    await broker.stop();
  });
});
