// Erasure on request: when the receipt is there, nothing of it can be found any more, by anybody who has the directory and its keys; and the others have lost nothing.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EraseReceipt } from '../../engine/administration/erasure.ts';
import { Subjects } from './subjects.ts';

const NONE = { sessions: 0, connections: 0, subscriptions: 0, deliveries: 0, wills: 0, retained: 0, setAside: 0 };

describe.each([1, 3])('with %i shards', (threads) => {
  let subjects: Subjects;
  const erase = (body: unknown) => subjects.ask<EraseReceipt>('POST', '/v1/erase', body);
  const message = (name: string, rest: object = {}) => ({
    topic: `${subjects.text(`${name}.topic`)}/x`,
    payload: subjects.text(`${name}.payload`),
    properties: { userProperties: { [subjects.text(`${name}.key`)]: subjects.text(`${name}.value`) } },
    ...rest,
  });

  beforeAll(async () => {
    subjects = await Subjects.start(threads);
  });
  afterAll(() => subjects.stop());

  test('a client that is away: session, subscriptions, queue and will', async () => {
    const will = {
      topic: subjects.text('away.will-topic'),
      payload: Buffer.from(subjects.text('away.will')),
      qos: 1,
      retain: true,
    } as const;
    await subjects.sleeper('away', `${subjects.text('away.topic')}/#`, {
      will: { ...will, properties: { willDelayInterval: 3_600 } },
    });
    await subjects.publish(message('away'), message('away', { qos: 2 }));
    await subjects.place.isThere('away.client', 'away.username', 'away.topic', 'away.payload', 'away.will', 'away.value');
    const receipt = await erase({ client: subjects.text('away.client') });
    expect(subjects.left('away')).toEqual([]);
    expect(receipt.erased).toEqual({ ...NONE, sessions: 1, subscriptions: 1, deliveries: 2, wills: 1 });
    expect(receipt).toMatchObject({ kind: 'client', subject: expect.stringMatching(/^[a-z2-7]{26}$/) });
    expect(JSON.stringify(receipt)).not.toContain(subjects.text('away.client'));
    expect((await erase({ client: subjects.text('away.client') })).erased).toEqual(NONE);
  });

  test('a client that is connected, with messages in flight: it is told, its will is not published', async () => {
    const will = { topic: 'wills/here', payload: Buffer.from(subjects.text('here.will')), qos: 1, retain: false } as const;
    const witness = await subjects.connect('witness');
    await witness.subscribe('wills/#');
    const client = await subjects.connect('here', { holds: true, will });
    await client.subscribe(`${subjects.text('here.topic')}/#`);
    await subjects.publish(message('here', { qos: 1 }), message('here', { qos: 2 }));
    await client.got(2);
    const receipt = await erase({ client: subjects.text('here.client') });
    await client.until('the connection is closed', () => client.closed);
    expect(receipt.erased).toEqual({ ...NONE, sessions: 1, connections: 1, subscriptions: 1, deliveries: 2, wills: 1 });
    expect(subjects.left('here')).toEqual([]);
    await subjects.publish({ topic: 'wills/end', payload: 'end' });
    await witness.got(1);
    expect(witness.payloads).toEqual(['end']);
  });

  test('all clients of a user, and nobody else', async () => {
    const username = subjects.text('shared-user');
    for (const name of ['user-1', 'user-2']) await subjects.sleeper(name, 'user/#', { username });
    await subjects.sleeper('user-3', 'user/#');
    await subjects.publish({ topic: 'user/x', payload: subjects.text('user.payload') });
    const receipt = await erase({ user: username });
    expect(receipt.erased).toEqual({ ...NONE, sessions: 2, subscriptions: 2, deliveries: 2 });
    expect(subjects.left('shared-user')).toEqual([]);
    expect(subjects.left('user-1')).toEqual([]);
    const third = await subjects.connect('user-3');
    await third.got(1);
    expect(third.payloads).toEqual([subjects.text('user.payload')]);
  });

  test('a topic, wherever it waits: in several sessions, in flight, ahead of the window and in the store alone; what stands between stays, in order', async () => {
    const COUNT = threads === 1 ? 4_800 : 900; // the first: more than are kept in memory ahead of the window
    const holder = await subjects.connect('holder', { holds: true, receiveMaximum: 10 });
    await holder.subscribe('mixed/#');
    await subjects.sleeper('dozer', 'mixed/#');
    const from = await subjects.connect('topic-from', { clean: true, expiryS: 0 });
    for (let first = 0; first < COUNT; first += 100) {
      const batch = Array.from({ length: 100 }, (_, index) => {
        const at = first + index;
        const isErased = at % 3 === 1;
        const topic = isErased ? `mixed/gone/${subjects.text('mixed.topic')}` : 'mixed/kept';
        const payload = isErased ? subjects.text('mixed.payload') : `kept ${at}`;
        return from.publish({ topic, payload, qos: at % 2 === 0 ? 1 : 2 });
      });
      await Promise.all(batch);
    }
    await holder.got(10);
    const sent = holder.received.filter(({ topic }) => topic.startsWith('mixed/gone')).length;
    const receipt = await erase({ topic: 'mixed/gone/#' });
    expect(subjects.left('mixed')).toEqual([]);
    expect(receipt.erased.deliveries).toBe((COUNT / 3) * 2);
    const kept = Array.from({ length: COUNT }, (_, at) => at)
      .filter((at) => at % 3 !== 1)
      .map((at) => `kept ${at}`);
    const isKept = ({ topic }: { topic: string }) => topic === 'mixed/kept';
    await acknowledgeAll(holder, kept.length + sent);
    expect(holder.received.filter(isKept).map(({ payload }) => payload.toString())).toEqual(kept);
    expect(holder.received).toHaveLength(kept.length + sent);
    const dozer = await subjects.connect('dozer');
    await dozer.got(kept.length);
    expect(dozer.payloads).toEqual(kept);
    await holder.leave(0);
    await dozer.leave(0);
  });

  test('what was in flight does not come again, and what comes after it does, over a reconnection too', async () => {
    const client = await subjects.connect('flight', { holds: true });
    await client.subscribe('flight/#');
    const gone = (payload: string, qos: 1 | 2) => ({
      topic: 'flight/gone',
      payload: `${subjects.text('flight.gone')} ${payload}`,
      qos,
    });
    const kept = (payload: string, qos: 1 | 2) => ({ topic: 'flight/kept', payload, qos });
    await subjects.publish(gone('a', 1), kept('b', 1), gone('c', 2), kept('d', 2), gone('e', 2), kept('f', 1));
    await client.got(6);
    const { erased } = await erase({ topic: 'flight/gone' });
    expect(erased.deliveries).toBe(3);
    expect(subjects.left('flight.gone')).toEqual([]);
    client.cut();
    await subjects.publish(kept('g', 2));
    const again = await subjects.connect('flight');
    await again.got(4);
    await subjects.publish(kept('h', 1));
    await again.got(5);
    expect(again.payloads).toEqual(['b', 'd', 'f', 'g', 'h']);
    await again.leave();
    const once = await subjects.connect('flight', { holds: true });
    await subjects.publish(kept('i', 1));
    await once.got(1);
    expect(once.payloads).toEqual(['i']); // nothing was left unfinished
    await once.leave(0);
  });

  test('retained messages under a filter; by --retained what waits in queues stays', async () => {
    const retained = (name: string) => message(name, { retain: true });
    await subjects.sleeper('keeper', `${subjects.text('keep.topic')}/#`);
    await subjects.publish(retained('keep'), message('other', { retain: true }));
    await subjects.place.isThere('keep.payload', 'other.payload');
    expect((await erase({ retained: `${subjects.text('keep.topic')}/#` })).erased).toEqual({ ...NONE, retained: 1 });
    expect(subjects.left('keep.payload')).toEqual(['keep.payload']); // it still waits for the sleeper
    expect((await erase({ topic: `${subjects.text('keep.topic')}/#` })).erased).toEqual({ ...NONE, deliveries: 1 });
    expect(subjects.left('keep.payload')).toEqual([]);
    const late = await subjects.connect('late');
    await late.subscribe('#');
    await late.got(1);
    expect(late.payloads).toEqual([subjects.text('other.payload')]);
    expect((await erase({ topic: '#' })).erased).toMatchObject({ retained: 1 });
    expect(subjects.left('other')).toEqual([]);
    await late.leave(0);
  });

  test('under load nobody else loses, doubles or reorders anything', async () => {
    const COUNT = 1_000;
    const reader = await subjects.connect('reader');
    await reader.subscribe('load/+');
    const from = await subjects.connect('load-from', { clean: true, expiryS: 0 });
    let sent = 0;
    const publishing = (async () => {
      while (sent < COUNT) {
        const batch: Promise<number>[] = [];
        for (let left = 50; left > 0; left--)
          batch.push(from.publish({ topic: 'load/x', payload: `${sent++}`, qos: sent % 2 === 0 ? 1 : 2 }));
        await Promise.all(batch);
      }
    })();
    for (let round = 0; round < 4; round++) {
      const name = `victim-${round}`;
      await subjects.sleeper(name, 'load/#');
      await reader.until('the load goes on', () => reader.received.length >= round * 200);
      await erase(round % 2 === 0 ? { client: subjects.text(`${name}.client`) } : { user: subjects.text(`${name}.username`) });
      expect(subjects.left(name)).toEqual([]);
    }
    await publishing;
    await reader.got(COUNT);
    expect(reader.payloads).toEqual(Array.from({ length: COUNT }, (_, at) => `${at}`));
  });

  test('what is not said clearly is refused', async () => {
    await expect(erase({ topic: 'a/#/b' })).rejects.toThrow('400: the topic filter is not valid');
    await expect(erase({ topic: '$share/g/a' })).rejects.toThrow('400: give the filter itself');
    await expect(erase({ client: '' })).rejects.toThrow('400: the body must name one of');
    await expect(erase({ client: 'a', user: 'b' })).rejects.toThrow('400: the body must name one of');
    await expect(erase(null)).rejects.toThrow('400: the body must name one of');
  });
});

async function acknowledgeAll(client: Awaited<ReturnType<Subjects['connect']>>, count: number): Promise<void> {
  while (client.received.length < count) {
    const before = client.received.length;
    client.acknowledge();
    await client.until('more comes', () => client.received.length > before);
  }
  client.acknowledge();
}

test('on a directory that no broker has', async () => {
  const subjects = await Subjects.start(1);
  await subjects.sleeper('stopped', `${subjects.text('stopped.topic')}/#`);
  await subjects.sleeper('remains', `${subjects.text('stopped.topic')}/#`);
  await subjects.publish({ topic: `${subjects.text('stopped.topic')}/a`, payload: subjects.text('stopped.payload') });
  await subjects.publish({ topic: 'kept', payload: subjects.text('kept.payload'), retain: true });
  await subjects.stop();
  const erase = (body: unknown) => subjects.ask<EraseReceipt>('POST', '/v1/erase', body);
  expect((await erase({ client: subjects.text('stopped.client') })).erased).toMatchObject({ sessions: 1, deliveries: 1 });
  expect(subjects.left('stopped')).toEqual(['stopped.payload', 'stopped.topic']); // for the other one
  expect((await erase({ topic: `${subjects.text('stopped.topic')}/+` })).erased).toEqual({ ...NONE, deliveries: 1 });
  expect(subjects.left('stopped.payload')).toEqual([]);
  const again = await Subjects.start(1, [], subjects.place);
  const client = await again.connect('remains');
  await client.subscribe('kept');
  await client.got(1);
  expect(client.payloads).toEqual([subjects.text('kept.payload')]);
  expect(client.connack).toMatchObject({ sessionPresent: true });
  await again.stop();
});
