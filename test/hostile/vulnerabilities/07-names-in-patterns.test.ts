// 7. Client identifiers and user names with wildcards in ACL patterns, and topics that begin with $. Deeper: ../names.test.ts, test/security/acl.test.ts.
// Red when: a name is put into a pattern without a look at what it makes of it, a wildcard at the first level reaches $ topics, or a $ topic ends the broker.
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../../engine/random.ts';
import { hashPassword } from '../../../engine/security/password-hash.ts';
import { publish } from '../../conformance/bytes.ts';
import { readAcknowledgement } from '../../conformance/decode.ts';
import type { RawClient } from '../../conformance/raw-client.ts';
import { delivered, published, type Rig, subscribed, useRig } from '../../conformance/rig.ts';
import { temporaryFile } from '../../security/temporary.ts';

const NAMES = ['+', '#', '+/+', '/', 'victim/', 'victim/#', '/victim', 'a/../victim', '$SYS', '%c', '%u'];
const acl = 'pattern readwrite dev/%c/#\npattern readwrite user/%u/#\npattern deny %c/denied\n';
const hash = await hashPassword('secret', systemRandom, { format: 'mosquitto', iterations: 10 });
const users = ['victim', ...NAMES.filter((name) => !name.startsWith('#'))].map((name) => `${name}:${hash}\n`).join('');
const rig = useRig([
  `auth.acl_file=${temporaryFile(acl)}`,
  `auth.password_file=${temporaryFile(users)}`,
  'listener.tcp.anonymous=true',
]);
const free = useRig();

async function mayPublish(client: RawClient, topic: string): Promise<boolean> {
  client.send(publish(5, { topic, payload: 'x', qos: 1 }));
  return readAcknowledgement(await client.nextPacket()).reason !== 0x87;
}

async function opensNothing(of: Rig, client: RawClient, root: 'dev' | 'user'): Promise<void> {
  const victim = await of.connect(5, { clientId: 'victim', userName: 'victim', password: 'secret' });
  await subscribed(victim, { filters: [[`${root}/victim/#`, 0]] });
  for (const topic of [`${root}/victim/x`, `${root}/victim`, `${root}/a/x`, 'other'])
    expect(await mayPublish(client, topic), topic).toBe(false);
  const filters = [`${root}/victim/#`, `${root}/+/x`, `${root}/#`, '#', '+/+/#', `$share/g/${root}/victim/#`];
  const codes = await subscribed(client, { filters: filters.map((filter) => [filter, 0]) });
  victim.send(publish(5, { topic: `${root}/victim/x`, payload: 'secret' }));
  expect((await delivered(victim)).payload).toBe('secret');
  // A filter may be granted that can match topics of its own; the message of another never comes.
  expect([codes[0], codes[5]]).toEqual([0x87, 0x87]);
  await client.expectSilence();
}

test.each(NAMES)('the client identifier "%s" opens nothing of another', async (clientId) => {
  await opensNothing(rig, await rig.connect(5, { clientId }), 'dev');
});

test.each(NAMES.filter((name) => !name.startsWith('#')))('the user name "%s" opens nothing of another', async (userName) => {
  await opensNothing(rig, await rig.connect(5, { userName, password: 'secret' }), 'user');
});

describe('topics that begin with $', () => {
  test('are not reached by a wildcard at the first level, live or retained', async () => {
    const listener = await free.connect(5);
    await subscribed(listener, { filters: ['#', '+/x', '+/#', '/#', '$share/g/#'].map((filter) => [filter, 0]) });
    const publisher = await free.connect(5);
    for (const topic of ['$x/x', '$/x', '$']) await published(publisher, { topic, payload: 'hidden', qos: 1, retain: true });
    await listener.expectSilence();
    const late = await free.connect(5);
    await subscribed(late, {
      filters: [
        ['#', 0],
        ['+/x', 0],
      ],
    });
    await late.expectSilence();
    await subscribed(late, { filters: [['$x/+', 0]] });
    expect((await delivered(late)).payload, 'by name they are').toBe('hidden');
  });

  test('of any shape leave the broker as it is', async () => {
    const client = await free.connect(5);
    for (const topic of [
      '$',
      '$$',
      '$/',
      '$S',
      '$SY',
      '$SYS',
      '$SYS/',
      '$SYSx',
      '$share',
      '$share/',
      '$share/g',
      '$share/g/x',
      '$queue/x',
    ]) {
      client.send(publish(5, { topic, payload: 'x' }));
    }
    await client.expectSilence();
  });
});
