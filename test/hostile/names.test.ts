// Names that are made to mean more than themselves: client identifiers and user names of wildcards and slashes in ACL patterns, share
// names, NUL. Rights must never grow by what a client calls itself.
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../engine/random.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import { connect, type Level, prefixed, publish, unsubscribe } from '../conformance/bytes.ts';
import type { RawClient } from '../conformance/raw-client.ts';
import { bothLevels, delivered, expectRefused, subscribed, useRig } from '../conformance/rig.ts';
import { temporaryFile } from '../security/temporary.ts';

const byClientId = useRig([
  `auth.acl_file=${temporaryFile('pattern readwrite dev/%c/#\npattern read all/%c\npattern readwrite %c/own\n')}`,
]);
const byUser = useRig([`auth.acl_file=${temporaryFile('pattern readwrite home/%u/#\n')}`, `auth.password_file=${await users()}`]);
const free = useRig();

const NASTY = ['+', '#', '+/+', 'a/b', 'a/#', '/', '//', '$SYS', '$share/g/x', '%c', '%u', 'a+', '#a', '..', 'ａ'] as const;
/** Those that would change what a filter means, and so open nothing at all. */
const OPENS_NOTHING = new Set<string>(['+', '#', '+/+', 'a/b', 'a/#', '/', '//', '$share/g/x', 'a+', '#a']);

/** A password file in which every nasty name that a line can hold is a user; `plain` too. */
async function users(): Promise<string> {
  const names = ['plain', '+', '#x', '+/+', 'a/b', 'a/#', '/', '%u', '$SYS'].filter((name) => !name.startsWith('#'));
  const lines = await Promise.all(
    names.map(async (name) => `${name}:${await hashPassword('secret', systemRandom, { format: 'mosquitto', iterations: 10 })}`),
  );
  return temporaryFile(`${lines.join('\n')}\n`);
}

async function publishes(client: RawClient, topic: string): Promise<boolean> {
  client.send(publish(5, { topic, payload: 'x', qos: 1 }));
  const { body } = await client.nextPacket();
  const reason = body[2] ?? 0;
  expect([0, 0x10, 0x87]).toContain(reason);
  return reason !== 0x87;
}

describe('client identifiers in `pattern readwrite dev/%c/#`', () => {
  test.each(NASTY)('"%s" reaches its own topics or none, never those of another', async (clientId) => {
    const victim = await byClientId.connect(5, { clientId: 'victim' });
    expect(await subscribed(victim, { filters: [['dev/victim/#', 1]] })).toEqual([1]);
    const client = await byClientId.connect(5, { clientId });
    const topics = ['dev/victim/x', 'dev/a/b/x', 'dev/a/x', 'dev/x', 'dev//x', 'dev/$SYS/x/y', 'dev', 'a/own', 'victim/own'];
    for (const topic of topics) {
      const own = !OPENS_NOTHING.has(clientId) && (topic === `dev/${clientId}/x` || topic.startsWith(`dev/${clientId}/`));
      expect(await publishes(client, topic), topic).toBe(own);
    }
    const filters = ['#', 'dev/#', 'dev/+/x', 'dev/victim/#', '+/own', 'all/+', '$share/g/dev/victim/#', '$share/g/#'];
    const codes = await subscribed(client, { filters: filters.map((filter) => [filter, 1]) });
    if (OPENS_NOTHING.has(clientId)) expect(codes).toEqual(filters.map(() => 0x87));
    else expect([codes[3], codes[6]], 'the subtree of another').toEqual([0x87, 0x87]);
    victim.send(publish(5, { topic: 'dev/victim/secret', payload: 'secret' }));
    expect((await delivered(victim)).payload).toBe('secret');
    await client.expectSilence();
  });

  test('an ordinary one has its subtree and no other, whatever it subscribes to', async () => {
    const client = await byClientId.connect(5, { clientId: 'plain' });
    expect(
      await subscribed(client, {
        filters: [
          ['#', 0],
          ['dev/+/+', 1],
        ],
      }),
    ).toEqual([0, 1]);
    const other = await byClientId.connect(5, { clientId: 'other' });
    expect(await publishes(other, 'dev/other/x')).toBe(true);
    expect(await publishes(other, 'dev/plain/x')).toBe(false);
    await client.expectSilence();
    client.send(publish(5, { topic: 'dev/plain/x', payload: 'mine' }));
    expect((await delivered(client)).payload).toBe('mine');
  });

  test('one that the broker assigns opens only what is its own', async () => {
    const { client, connack } = await byClientId.greet(5, { clientId: '' });
    const assigned = String(connack.properties.find(({ id }) => id === 0x12)?.value);
    expect(await publishes(client, `dev/${assigned}/x`)).toBe(true);
    expect(await publishes(client, 'dev//x')).toBe(false);
  });
});

describe('user names in `pattern readwrite home/%u/#`', () => {
  test.each(['+', '+/+', 'a/b', 'a/#', '/'])('"%s" with the right password opens nothing', async (userName) => {
    const client = await byUser.connect(5, { userName, password: 'secret' });
    for (const topic of ['home/plain/x', 'home/a/b/x', 'home/a/x', 'home/x']) expect(await publishes(client, topic)).toBe(false);
    const filters = ['#', 'home/#', 'home/+/x', 'home/plain/#'];
    expect(await subscribed(client, { filters: filters.map((filter) => [filter, 0]) })).toEqual(filters.map(() => 0x87));
  });

  test('"%u" is a name like others, filled in once', async () => {
    const client = await byUser.connect(5, { userName: '%u', password: 'secret' });
    expect(await publishes(client, 'home/%u/x')).toBe(true);
    expect(await publishes(client, 'home/plain/x')).toBe(false);
  });

  test('the name alone, or with a wrong password, lets nobody in', async () => {
    for (const credentials of [
      { userName: 'plain' },
      { userName: 'plain', password: '' },
      { userName: 'plain', password: 'no' },
    ]) {
      const client = await byUser.open(5);
      client.send(connect(5, credentials));
      await expectRefused(client, 0x86);
    }
  });
});

describe('NUL', () => {
  const nul = Buffer.from('a\0b');
  test.each<[string, Parameters<typeof connect>[1]]>([
    ['a client identifier', { clientId: nul }],
    ['a user name', { clientId: 'x', userName: nul, password: 'secret' }],
    ['a will topic', { clientId: 'x', will: { topic: nul, payload: '' } }],
  ])('in %s is malformed', async (_name, fields) => {
    for (const rig of [byClientId, byUser]) {
      const client = await rig.open(5);
      client.send(connect(5, fields));
      await expectRefused(client, 0x81);
      const old = await rig.open(4);
      old.send(connect(4, fields));
      await expectRefused(old, 0x81);
    }
  });

  test('in a topic or filter is malformed', async () => {
    for (const level of [4, 5] as const satisfies readonly Level[]) {
      const publisher = await free.connect(level);
      publisher.send(publish(level, { topic: nul }));
      await publisher.expectFault(0x81);
      const subscriber = await free.connect(level);
      subscriber.send(unsubscribe(level, 1, [nul]));
      await subscriber.expectFault(0x81);
    }
  });
});

describe.each(bothLevels)('share names, MQTT %s', (_version, level) => {
  const BAD = ['$share/+/x', '$share//x', '$share/#/x', '$share/g', '$share/g/', '$share/', '$share/a+b/x', '$share/g/a#'];
  test('that are empty or hold a wildcard, or have no filter, are refused one by one', async () => {
    const client = await free.connect(level);
    const codes = await subscribed(client, {
      filters: [...BAD.map((filter): [string, number] => [filter, 0]), ['$share/g/x', 0]],
    });
    expect(codes).toEqual([...BAD.map(() => (level === 5 ? 0x8f : 0x80)), 0]);
    client.send(unsubscribe(level, 2, [...BAD, '$share/g/x']));
    const answer = await client.nextPacket();
    if (level === 5) expect([...answer.body.subarray(3)]).toEqual([...BAD.map(() => 0x8f), 0]);
    expect(answer.firstByte).toBe(0xb0);
  });

  test('a share name does not hide a filter from the rights', async () => {
    const client = await byClientId.connect(level, { clientId: 'sharer' });
    const refused = level === 5 ? 0x87 : 0x80;
    const filters = ['$share/g/dev/other/#', '$share/dev/other/#', '$share/g/$share/g/dev/other/x', '$share/g/dev/sharer/#'];
    expect(await subscribed(client, { filters: filters.map((filter) => [filter, 0]) })).toEqual([refused, refused, refused, 0]);
  });
});

test('a client identifier of 65,535 bytes is refused; one of all characters that UTF-8 has is served', async () => {
  const long = await free.open(5);
  long.send(connect(5, { clientId: 'x'.repeat(65_535) }));
  await expectRefused(long, 0x85);
  const strange = await free.connect(5, { clientId: prefixed('\u{1f980}\u{202e}\ufeff\u{10ffff}').subarray(2) });
  await strange.expectSilence();
});
