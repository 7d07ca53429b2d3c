// 3. Topics and filters of very many levels. Deeper: ../topics.test.ts, test/topics/trie.test.ts.
// Red when: levels are walked by recursion, or a place that takes a topic (PUBLISH, will, filter, alias, ACL, retained lookup) has no bound for them.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, property, publish, unsubscribe } from '../../conformance/bytes.ts';
import { delivered, expectRefused, subscribed, useRig } from '../../conformance/rig.ts';
import { temporaryFile } from '../../security/temporary.ts';
import { Witness } from '../witness.ts';

const rig = useRig([
  'limits.topic_bytes_max=65535',
  'limits.topic_levels_max=1024',
  `auth.acl_file=${temporaryFile('topic readwrite #\npattern deny +/+/%c/+/+/#\n')}`,
]);
const SLASHES = '/'.repeat(65_400);
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

describe('65,400 slashes', () => {
  test('as filters are refused one by one, in SUBSCRIBE and UNSUBSCRIBE', async () => {
    const client = await rig.connect(5);
    const filters = [SLASHES, `${SLASHES}#`, `+${SLASHES}`, `$share/g/${SLASHES}`, 'a'];
    expect(await subscribed(client, { filters: filters.map((filter) => [filter, 0]) })).toEqual([0x8f, 0x8f, 0x8f, 0x8f, 0]);
    client.send(unsubscribe(5, 2, filters));
    await client.expect('b0 08 00 02 00 8f 8f 8f 8f 00');
    await witness.isServed();
  });

  test.each<[string, Buffer]>([
    ['PUBLISH', publish(5, { topic: SLASHES })],
    ['retained PUBLISH', publish(5, { topic: SLASHES, payload: 'x', retain: true })],
    ['PUBLISH with an alias', publish(5, { topic: SLASHES, properties: [property.topicAlias(1)] })],
    ['PUBLISH at QoS 2', publish(5, { topic: SLASHES, qos: 2 })],
  ])('as the topic of a %s end its connection', async (_what, bytes) => {
    const client = await rig.connect(5);
    client.send(bytes);
    await client.expectFault(0x90);
    await witness.isServed();
  });

  test('as a will refuse the CONNECT', async () => {
    const client = await rig.open(5);
    client.send(connect(5, { will: { topic: SLASHES, payload: '' } }));
    await expectRefused(client, 0x90);
  });
});

test('the deepest topic that is allowed is judged, retained, looked up and delivered without a stack', async () => {
  const deep = Array.from({ length: 1_024 }, () => 'x').join('/');
  const wild = Array.from({ length: 1_024 }, () => '+').join('/');
  const client = await rig.connect(5);
  const publisher = await rig.connect(5);
  publisher.send(publish(5, { topic: deep, payload: 'deep', retain: true }));
  await publisher.expectSilence();
  expect(await subscribed(client, { filters: [[wild, 0]] })).toEqual([0]);
  expect((await delivered(client)).retain, 'the lookup finds it').toBe(true);
  publisher.send(publish(5, { topic: deep, payload: 'again' }));
  expect((await delivered(client)).payload).toBe('again');
});
