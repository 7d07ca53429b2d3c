// What a restart finds stored is held to the configuration that it starts with, like what a reload finds: rights, and what happens when a queue is full.
import { describe, expect, test } from 'vitest';
import { createBroker, loadConfig } from '../../engine/lethe.ts';
import { Reason } from '../../protocol/packet.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { Place } from '../forgetting/place.ts';
import { temporaryFile } from '../security/temporary.ts';

describe.each([1, 3])('with %i shards', (threads) => {
  test('narrower rights and another overflow', async () => {
    const place = new Place();
    const config = (acl: string, overflow: string) =>
      loadConfig({
        file: temporaryFile(`
[server]
threads = ${threads}
data_dir = '${place.folder}'
sys_interval_s = 0
[auth]
acl_file = '${temporaryFile(acl)}'
[limits]
queued_messages_per_client_max = 4
[[listener]]
name = 'tcp'
transport = 'tcp'
port = 0
queue_overflow = '${overflow}'
`),
      });
    let broker = await createBroker({ config: config('topic readwrite #\n', 'refuse') });
    const away = await mqttJs({
      ...{ port: broker.tcp, clientId: 'away', clean: false, level: 5 },
      properties: { sessionExpiryInterval: 600 },
    });
    expect(await away.subscribe('#', 1)).toEqual([1]);
    await away.end();
    let writer = await mqttJs({ port: broker.tcp, level: 5 });
    const publish = (topic: string) =>
      writer.publish(topic, place.text(topic.replace('/', '-')), { qos: 1 }).then(
        () => 0,
        ({ code }: { code: number }) => code,
      );
    for (const topic of ['secret/1', 'open/1', 'secret/2', 'open/2']) expect(await publish(topic)).toBe(0);
    expect(await publish('open/3')).toBe(Reason.QUOTA_EXCEEDED);
    await broker.stop();

    broker = await createBroker({ config: config('topic readwrite open/#\ntopic write secret/#\n', 'drop_newest') });
    await expect.poll(() => broker.counts().queuedMessages, { timeout: 10_000 }).toBe(2);
    await place.holdsOnly('open', new Set(['open-1', 'open-2']));
    await place.isGone('secret');
    writer = await mqttJs({ port: broker.tcp, level: 5 });
    for (const topic of ['open/4', 'open/5', 'open/6']) expect(await publish(topic)).toBe(0);
    await expect.poll(() => broker.counts().queuedMessages, { timeout: 10_000 }).toBe(4);
    await broker.stop();
  });
});
