// 4. Filters whose matching takes exponential time. Deeper: ../topics.test.ts, ../retained-replay.test.ts.
// Red when: a node of the tree is visited once for each path that leads to it, or a lookup in the retained messages once for each way to read its filter.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { publish } from '../../conformance/bytes.ts';
import { delivered, published, subscribed, useRig } from '../../conformance/rig.ts';
import { Witness } from '../witness.ts';

const LEVELS = 80;
const rig = useRig();
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

const line = (levels: number, name: (level: number) => string) => Array.from({ length: levels }, (_, at) => name(at)).join('/');

test('both `a` and `+` open at each of 80 levels, and never an end that fits: 2^80 ways for a naive walk', async () => {
  const client = await rig.connect(5);
  const filters: string[] = [];
  for (let turn = 0; turn < LEVELS; turn++) {
    filters.push(`${line(LEVELS, (at) => (at < turn ? 'a' : '+'))}/end`);
    filters.push(`${line(LEVELS, (at) => (at < turn ? '+' : 'a'))}/end`);
    filters.push(`${line(LEVELS, (at) => (at === turn ? '+' : 'a'))}/end`);
    filters.push(`${line(LEVELS, (at) => (at % 2 === turn % 2 ? '+' : 'a'))}/end${turn}/#`);
  }
  expect(new Set(await subscribed(client, { filters: filters.map((filter) => [filter, 0]) }))).toEqual(new Set([0]));
  const publisher = await rig.connect(5);
  await published(publisher, { topic: `${line(LEVELS, () => 'a')}/none`, payload: 'no' });
  await published(publisher, { topic: `${line(LEVELS, () => 'a')}/end`, payload: 'yes' });
  expect((await delivered(client)).payload).toBe('yes');
  await client.expectSilence();
  await witness.isServed();
});

test('many filters of one client that all match are one delivery', async () => {
  const client = await rig.connect(5);
  const filters = Array.from({ length: 1_024 }, (_, mask) => line(10, (at) => ((mask >> at) & 1 ? '+' : 'b')));
  await subscribed(client, { filters: filters.map((filter) => [filter, 0]) });
  await published(await rig.connect(5), { topic: line(10, () => 'b'), payload: 'once' });
  expect((await delivered(client)).payload).toBe('once');
  await client.expectSilence();
});

test('a lookup of `+` at every level among retained messages ends, and others are served meanwhile', async () => {
  const publisher = await rig.connect(5);
  for (let at = 0; at < 500; at++) {
    publisher.send(
      publish(5, { topic: `${line(20, (level) => ((at >> (level % 9)) & 1 ? 'c' : 'd'))}/${at}`, payload: 'r', retain: true }),
    );
  }
  await publisher.expectSilence();
  const client = await rig.connect(5);
  const fruitless = Array.from({ length: 200 }, (_, at): [string, number] => [`${line(20, () => '+')}/none${at}`, 0]);
  expect(new Set(await subscribed(client, { filters: [...fruitless, [`${line(20, () => '+')}/77`, 0]] }))).toEqual(new Set([0]));
  await witness.isServed();
  expect((await delivered(client, 20_000)).topic.endsWith('/77')).toBe(true);
  await client.expectSilence();
});
