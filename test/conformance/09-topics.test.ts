// Topic names, topic filters and how they match: MQTT 5.0 and 3.1.1 §4.7.

import { describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { bothLevels, delivered, subscribed, useRig } from './rig.ts';

const rig = useRig();

/** Filter, and names under a common root that it does and does not match. */
const matching: readonly (readonly [filter: string, matches: readonly string[], others: readonly string[]])[] = [
  ['a/#', ['a', 'a/', 'a/b', 'a/b/c'], ['ab', 'b/a', '/a']],
  ['a/+', ['a/', 'a/b'], ['a', 'a/b/c', 'b/a']],
  ['+/b', ['a/b', '/b'], ['b', 'a/b/', 'a/a/b']],
  ['+/+', ['a/b', '/', '/a'], ['a', 'a/b/c']],
  ['/+', ['/a', '/'], ['a', 'a/b', '/a/b']],
  ['a/+/c/#', ['a/b/c', 'a//c', 'a/b/c/d/e'], ['a/c', 'a/b/d']],
  ['a//b', ['a//b'], ['a/b', 'a/x/b']],
];

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  test.each(matching)(
    'filter %s below a root [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-3.3.2-3] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-3.3.2-3]',
    async (filter, matches, others) => {
      const root = rig.name('root');
      const client = await rig.connect(level);
      await subscribed(client, { filters: [[`${root}/${filter}`, 0]] });
      for (const name of [...others, ...matches]) client.send(wire.publish(level, { topic: `${root}/${name}` }));
      for (const name of matches) expect((await delivered(client)).topic).toBe(`${root}/${name}`);
      await client.expectSilence();
    },
  );

  test.each(['#', '+', '+/#', '+/status'])(
    'filter %s does not reach topics that begin with $ [MQTT-4.7.2-1] [MQTT3-4.7.2-1]',
    async (filter) => {
      const client = await rig.connect(level);
      const publisher = await rig.connect(level);
      await subscribed(client, { filters: [[filter, 0]] });
      for (const topic of ['$own', '$own/status']) publisher.send(wire.publish(level, { topic, payload: 'x' }));
      await publisher.expectSilence();
      await client.expectSilence();
    },
  );

  test('a filter that begins with $ reaches its topics [MQTT-4.7.2-1] [MQTT3-4.7.2-1]', async () => {
    const root = rig.name('$own');
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[`${root}/+`, 0]] });
    client.send(wire.publish(level, { topic: `${root}/a` }));
    expect((await delivered(client)).topic).toBe(`${root}/a`);
  });

  test.each([
    ['case', 'Name', 'name'],
    ['a trailing slash', 'name/', 'name'],
    ['a leading slash', '/name', 'name'],
    ['composed and decomposed letters', 'caf\u00e9', 'cafe\u0301'],
    ['spaces', 'na me', 'name'],
    ['an escape sequence', 'na%6de', 'name'],
  ])('%s makes another topic [MQTT-4.7.3-4] [MQTT3-4.7.3-4]', async (_what, one, other) => {
    const root = rig.name('root');
    const client = await rig.connect(level);
    await subscribed(client, { filters: [[`${root}/${one}`, 0]] });
    client.send(wire.publish(level, { topic: `${root}/${other}` }));
    client.send(wire.publish(level, { topic: `${root}/${one}` }));
    expect((await delivered(client)).topic).toBe(`${root}/${one}`);
    await client.expectSilence();
  });
});
