// Topic names and filters that are made to hurt: as long and as deep as the encoding allows, and sets of filters whose matches a naive
// walk would have to look for without end.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type Level, packet, prefixed, property, publish, u8, u16, unsubscribe, varint } from '../conformance/bytes.ts';
import { bothLevels, delivered, expectRefused, published, subscribed, useRig } from '../conformance/rig.ts';
import { Witness } from './witness.ts';

const rig = useRig();
const wide = useRig(['limits.topic_bytes_max=65535', 'limits.topic_levels_max=1024']);

let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

const SLASHES = '/'.repeat(65_535);

describe.each([
  ['the default limits', rig],
  ['the widest limits', wide],
])('65,535 slashes under %s', (_limits, own) => {
  describe.each(bothLevels)('MQTT %s', (_version, level) => {
    test.each([0, 1, 2])('as the topic of a QoS %i PUBLISH end the connection with 0x90', async (qos) => {
      const client = await own.connect(level);
      client.send(publish(level, { topic: SLASHES, qos }));
      await client.expectFault(0x90);
    });

    test('as a filter are refused alone', async () => {
      const client = await own.connect(level);
      const refused = level === 5 ? 0x8f : 0x80;
      const filters = [SLASHES, 'a', `${SLASHES.slice(1)}#`, `+${SLASHES.slice(1)}`, `$share/g/${SLASHES.slice(9)}`] as const;
      const codes = await subscribed(client, { filters: filters.map((filter) => [filter, 0]) });
      expect(codes).toEqual([refused, 0, refused, refused, refused]);
      client.send(unsubscribe(level, 2, [SLASHES, 'a']));
      await client.expect(level === 5 ? 'b0 05 00 02 00 8f 00' : 'b0 02 00 02');
    });

    test('as the topic of a will refuse the CONNECT', async () => {
      const client = await own.open(level);
      client.send(connect(level, { clientId: own.name('will'), will: { topic: SLASHES, payload: '' } }));
      await expectRefused(client, 0x90, 3);
    });
  });
});

test('as the name behind a topic alias they are bounded too', async () => {
  const client = await rig.connect(5);
  client.send(publish(5, { topic: SLASHES, properties: [property.topicAlias(1)] }));
  await client.expectFault(0x90);
});

test('the deepest topic that is allowed reaches the filters that match it, and no other', async () => {
  const deep = Array.from({ length: 1_024 }, (_, index) => `${index % 10}`).join('/');
  const client = await wide.connect(5);
  const pluses = Array.from({ length: 1_024 }, () => '+').join('/');
  const filters = [deep, pluses, '#', `${deep.slice(0, -2)}/#`, `${pluses}/+`, `${deep}/x`, `+/${deep}`];
  const codes = await subscribed(client, { filters: filters.map((filter) => [filter, 0]) });
  expect(codes).toEqual([0, 0, 0, 0, 0x8f, 0x8f, 0x8f]);
  await published(await wide.connect(5), { topic: deep, payload: 'deep' });
  expect((await delivered(client)).payload).toBe('deep');
  await client.expectSilence();
});

describe('filters made for a blow-up', () => {
  /** Levels `a`, or `+` where the bit of `mask` is set. */
  function mixed(levels: number, mask: number): string {
    return Array.from({ length: levels }, (_, index) => ((mask >> index) & 1 ? '+' : 'a')).join('/');
  }

  test('8,192 combinations of `a` and `+`: every one matches, each once', async () => {
    const client = await rig.connect(5);
    const filters = Array.from({ length: 8_192 }, (_, mask) => [mixed(13, mask), 0] as const);
    expect(new Set(await subscribed(client, { filters }))).toEqual(new Set([0]));
    const publisher = await rig.connect(5);
    for (const payload of ['first', 'second']) {
      await published(publisher, { topic: mixed(13, 0), payload });
      expect((await delivered(client)).payload).toBe(payload);
    }
    await published(publisher, { topic: `${mixed(12, 0)}/b`, payload: 'last' });
    expect((await delivered(client)).payload).toBe('last');
    await published(publisher, { topic: mixed(12, 0), payload: 'none' });
    await client.expectSilence();
    await witness.isServed();
  });

  test('both branches open at each of 100 levels, with and without an end: a naive walk would need 2^100 steps', async () => {
    const client = await rig.connect(5);
    const levels = 100;
    const filters: [string, number][] = [];
    for (let at = 0; at < levels; at++) {
      const head = Array.from({ length: at }, () => 'a');
      const pluses = Array.from({ length: levels - at }, () => '+');
      filters.push([[...head, ...pluses, 'end'].join('/'), 0]);
      filters.push([[...pluses.slice(1), ...head, '+', 'end'].join('/'), 0]);
      filters.push([[...head, '+', '#'].join('/'), 0]);
    }
    const alternating = Array.from({ length: levels }, (_, index) => (index % 2 === 0 ? 'a' : '+'));
    filters.push([[...alternating, 'end'].join('/'), 0], [['+', ...alternating.slice(1), 'end'].join('/'), 0]);
    expect(new Set(await subscribed(client, { filters }))).toEqual(new Set([0]));
    const publisher = await rig.connect(5);
    const topic = Array.from({ length: levels }, () => 'a').join('/');
    for (const end of ['end', 'other', 'a']) {
      await published(publisher, { topic: `${topic}/${end}`, payload: end });
      expect((await delivered(client)).payload).toBe(end);
    }
    await client.expectSilence();
    await witness.isServed();
  });
});

describe('a hundred thousand filters of `+/+/+/…`', () => {
  const PER_CLIENT = 10_000;
  const pluses = Array.from({ length: 40 }, () => '+').join('/');

  test('in one SUBSCRIBE are more than a client may have: 0x97', async () => {
    const client = await rig.connect(5);
    const filters = Array.from({ length: 100_000 }, (_, index) => Buffer.concat([prefixed(`+/+/+/${index}`), u8(0)]));
    client.send(packet(0x82, u16(1), varint(0), Buffer.concat(filters)));
    await client.expectFault(0x97);
    await witness.isServed();
  });

  test.each<[string, Level, number]>([
    ['5.0', 5, 0x97],
    ['3.1.1', 4, 0x80],
  ])('MQTT %s: those beyond the limit are refused one by one, the others stay', async (_version, level, refused) => {
    const client = await rig.connect(level);
    for (let from = 0; from < PER_CLIENT; from += 2_000) {
      const filters = Array.from({ length: 2_000 }, (_, index) => [`${pluses}/${from + index}`, 0] as const);
      expect(new Set(await subscribed(client, { filters }))).toEqual(new Set([0]));
    }
    const codes = await subscribed(client, {
      filters: [
        ['one/more', 0],
        [`${pluses}/0`, 0],
        ['another', 0],
      ],
    });
    expect(codes).toEqual([refused, 0, refused]);
    await witness.isServed();
    const topic = pluses.replaceAll('+', 'x');
    await published(await rig.connect(5), { topic: `${topic}/9999`, payload: 'found' });
    expect((await delivered(client)).payload).toBe('found');
    await client.expectSilence();
  });

  test('of ten clients: the broker serves on, and a topic reaches those it must', async () => {
    const clients = await Promise.all(Array.from({ length: 10 }, () => rig.connect(5)));
    for (const [owner, client] of clients.entries()) {
      for (let from = 0; from < PER_CLIENT; from += 2_000) {
        const filters = Array.from({ length: 2_000 }, (_, index) => [`+/${pluses}/${owner}/+/${from + index}`, 0] as const);
        expect(new Set(await subscribed(client, { filters }))).toEqual(new Set([0]));
      }
      await witness.isServed();
    }
    expect(rig.broker.counts().subscriptions).toBeGreaterThan(100_000);
    const publisher = await rig.connect(5);
    const topic = `x/${pluses.replaceAll('+', 'x')}`;
    for (const owner of [0, 9]) await published(publisher, { topic: `${topic}/${owner}/y/5000`, payload: `for ${owner}` });
    await published(publisher, { topic: `${topic}/10/y/5000`, payload: 'for nobody' });
    expect((await delivered(clients[0]!)).payload).toBe('for 0');
    expect((await delivered(clients[9]!)).payload).toBe('for 9');
    for (const client of clients) await client.expectSilence();
  });
});
