// Canaries in every field that a client can fill, on every way that a message, a will or a session can end. Each test first sees them on
// the disk, with the keys that are there; then the last one who waited is done, and after the erasure bound nothing of them can be found.
// One broker serves all of it, so that every way also leaves its traces in the pages and slots of the others.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtFile } from '../../bench/contestants/built-file.ts';
import { createBroker } from '../../engine/lethe.ts';
import { Figure } from '../../storage/figures.ts';
import { configOf, type RunningBroker } from '../broker.ts';
import { temporaryFile } from '../security/temporary.ts';
import { Client, type ClientOptions, type Message } from './client.ts';
import { Place } from './place.ts';
import { Effort } from './scanner.ts';

const QUEUE_MAX = 12;
const QUOTA_EXCEEDED = 0x97;
/** Larger than what goes through the rings between the threads. */
const LARGE_BYTES = 1_500_000;

const place = new Place();
let broker: RunningBroker;

beforeAll(async () => {
  const listener = (name: string, overflow: string) => [
    '[[listener]]',
    `name = "${name}"`,
    'transport = "tcp"',
    `queue_overflow = "${overflow}"`,
  ];
  const file = temporaryFile(
    [
      ...['[server]', `data_dir = "${place.folder}"`, 'sys_interval_s = 0'],
      ...['[session]', 'takeover = "any_user"'],
      ...['[limits]', `queued_messages_per_client_max = ${QUEUE_MAX}`],
      ...listener('refuse', 'refuse'),
      ...listener('oldest', 'drop_oldest'),
      ...listener('newest', 'drop_newest'),
    ].join('\n'),
  );
  broker = await createBroker({ config: configOf(file), gate: builtFile('test/forgetting/trusting-gate.js') });
});

afterAll(() => broker.stop());

/** A message with a canary in each of its fields, by the name of the test and of the message. */
function message(name: string, rest: Partial<Message> = {}): Message {
  const text = (field: string) => place.text(`${name}.${field}`);
  const { properties, ...others } = rest;
  return {
    topic: `${text('topic')}/x`,
    payload: text('payload'),
    qos: 1,
    ...others,
    properties: {
      contentType: text('content-type'),
      responseTopic: text('response-topic'),
      correlationData: place.canaries.bytes(`${name}.correlation`),
      userProperties: { [text('user-key')]: text('user-value') },
      ...properties,
    },
  };
}

const FIELDS = ['topic', 'payload', 'content-type', 'response-topic', 'correlation', 'user-key', 'user-value'];
const fieldsOf = (name: string): string[] => FIELDS.map((field) => `${name}.${field}`);
const filterOf = (name: string): string => `${place.text(`${name}.topic`)}/#`;

function connect(name: string, options: Partial<ClientOptions> = {}, listener = 'refuse'): Promise<Client> {
  return Client.connect(broker.ports.get(listener)!, {
    clientId: place.text(`${name}.client`),
    username: place.text(`${name}.username`),
    password: place.text(`${name}.password`),
    ...options,
  });
}

/** A session that has subscribed and gone away. */
async function sleeper(name: string, filter: string, qos: 0 | 1 | 2 = 2, options: Partial<ClientOptions> = {}): Promise<void> {
  const client = await connect(name, options);
  await client.subscribe(filter, qos);
  client.cut();
}

/** The sessions of a test say goodbye for good. */
async function end(...names: string[]): Promise<void> {
  for (const name of names) {
    const client = await connect(name, { clean: true, expiryS: 0 });
    await client.leave();
  }
}

const publisher = () => Client.connect(broker.ports.get('refuse')!, { clientId: '', clean: true, expiryS: 0 });

/** What a live session is remembered by. */
const sessionOf = (name: string): string[] => [`${name}.client`, `${name}.username`];

describe('consumed', () => {
  test.each([1, 2] as const)('QoS %i by a client that is online, and slow to acknowledge', async (qos) => {
    const name = `online-${qos}`;
    const client = await connect(name, { holds: true });
    await client.subscribe(filterOf(name));
    const from = await publisher();
    await from.publish(message(name, { qos }));
    await client.got(1);
    await place.isThere(...fieldsOf(name), ...sessionOf(name));
    client.acknowledge();
    await place.isGone(`${name}.payload`);
    await client.leave(0);
    await place.isGone(name);
  });

  test('QoS 0 is never there', async () => {
    const client = await connect('qos-0');
    await client.subscribe(filterOf('qos-0'));
    const from = await publisher();
    await from.publish(message('qos-0', { qos: 0 }));
    await client.got(1);
    await place.isThere(...sessionOf('qos-0'), 'qos-0.topic');
    expect(place.scan().names).not.toContain('qos-0.payload');
    await client.leave(0);
    await place.isGone('qos-0');
  });

  test.each([1, 2] as const)('QoS %i by a client that was offline', async (qos) => {
    const name = `offline-${qos}`;
    await sleeper(name, filterOf(name));
    const from = await publisher();
    await from.publish(message(name, { qos }));
    await place.isThere(...fieldsOf(name), ...sessionOf(name));
    const client = await connect(name);
    await client.got(1);
    await place.isGone(`${name}.payload`);
    await client.leave(0);
    await place.isGone(name);
  });

  test('QoS 2 from its PUBREC on, whether PUBREL is answered or not', async () => {
    await sleeper('received', filterOf('received'));
    const from = await publisher();
    await from.publish(message('received', { qos: 2 }));
    await place.isThere(...fieldsOf('received'));
    const client = await connect('received', { holds: true });
    client.holdsReleases = true;
    await client.got(1);
    await place.isThere('received.payload');
    client.acknowledge();
    await place.isGone('received.payload');
    client.cut();
    await end('received');
    await place.isGone('received');
  });

  test('a message of many pages, through the port beside the rings', async () => {
    await sleeper('large', filterOf('large'));
    const from = await publisher();
    const payload = Buffer.concat([Buffer.alloc(LARGE_BYTES, 'x'), place.canaries.bytes('large.end')]);
    await from.publish(message('large', { payload }));
    await place.isThere('large.end', 'large.topic');
    const client = await connect('large');
    await client.got(1);
    await place.isGone('large.end');
    await client.leave(0);
    await place.isGone('large');
  });

  test('one after the other, while their neighbours in the same value wait', async () => {
    await sleeper('row', filterOf('row'));
    const from = await publisher();
    const count = 10;
    // Together, so that they come into one batch and into one value.
    await Promise.all(
      Array.from({ length: count }, (_, i) => from.publish({ ...message('row'), payload: place.text(`row.payload-${i}`) })),
    );
    const client = await connect('row', { holds: true });
    await client.got(count);
    for (let done = 0; done < count; done += 3) {
      await place.isThere(`row.payload-${done}`, `row.payload-${count - 1}`);
      client.acknowledge(3);
      for (let i = done; i < Math.min(done + 3, count); i++) await place.isGone(`row.payload-${i}`);
    }
    await client.leave(0);
    await place.isGone('row');
  });

  test('by the last of several sessions: until then it is there, after it not', async () => {
    for (const name of ['fan-a', 'fan-b', 'fan-never-comes', 'fan-lags']) await sleeper(name, filterOf('fan'));
    const from = await publisher();
    await Promise.all(['fan.first', 'fan.second'].map((name) => from.publish(message('fan', { payload: place.text(name) }))));
    await place.isThere('fan.first', 'fan.second');
    const lags = await connect('fan-lags', { holds: true });
    await lags.got(2);
    for (const name of ['fan-a', 'fan-b']) {
      const client = await connect(name);
      await client.got(2);
      await client.leave(0);
      await place.isGone(name);
    }
    await end('fan-never-comes');
    await place.isGone('fan-never-comes');
    await place.isThere('fan.first', 'fan.second');
    lags.acknowledge(1);
    await place.isGone('fan.first');
    await place.isThere('fan.second');
    lags.acknowledge();
    await place.isGone('fan.second');
    await lags.leave(0);
    await place.isGone('fan');
  });

  test('by a member of a shared subscription, and by the one who takes over from a member that leaves', async () => {
    const filter = `$share/${place.text('share.group')}/${place.text('share.topic')}/#`;
    const first = await connect('share-a', { holds: true });
    await first.subscribe(filter);
    const second = await connect('share-b', { holds: true });
    await second.subscribe(filter);
    const from = await publisher();
    for (let i = 0; i < 4; i++) await from.publish(message('share', { payload: place.text(`share.payload-${i}`) }));
    await first.got(2);
    await second.got(2);
    await place.isThere('share.group', ...[0, 1, 2, 3].map((i) => `share.payload-${i}`));
    await first.leave(0); // what it had not acknowledged goes to the other one
    await second.got(4);
    await place.isGone('share-a');
    second.acknowledge();
    await place.isGone('share.payload');
    await second.leave(0);
    await place.isGone('share');
  });
});

test('expired: a message that nobody came for, a shared one, a session with what is owed to it, a retained message', async () => {
  const expiryS = 4;
  const properties = { messageExpiryInterval: expiryS };
  await sleeper('expiry', filterOf('expiry'));
  for (const name of ['both-a', 'both-b']) await sleeper(name, filterOf('both'));
  const from = await publisher();
  await from.publish(message('expiry', { properties }));
  await from.publish(message('both', { properties }));
  await from.publish(message('keeps', { retain: true, properties }));
  await sleeper('session', filterOf('session'), 2, { expiryS });
  for (const qos of [1, 2] as const) await from.publish(message('session', { qos }));
  await place.isThere(...['expiry', 'both', 'keeps', 'session'].flatMap(fieldsOf), ...sessionOf('session'));
  await place.isGone('expiry.payload');
  await place.isGone('both.payload');
  await place.isGone('keeps');
  await place.isGone('session');
  await end('expiry', 'both-a', 'both-b');
  await place.isGone('expiry');
  await place.isGone('both');
});

describe('given up', () => {
  test.each([
    ['oldest', 'over-oldest'],
    ['newest', 'over-newest'],
    ['refuse', 'over-refuse'],
  ] as const)('queue overflow, %s: what is let go is gone while the rest is there', async (listener, name) => {
    const asleep = await connect(name, {}, listener);
    await asleep.subscribe(filterOf(name));
    asleep.cut();
    const from = await publisher();
    const codes: number[] = [];
    const send = async (i: number) => codes.push(await from.publish({ ...message(name), payload: place.text(`${name}.${i}-`) }));
    for (let i = 10; i < 10 + QUEUE_MAX; i++) await send(i);
    await place.isThere(`${name}.10-`, `${name}.${9 + QUEUE_MAX}-`);
    for (let i = 10 + QUEUE_MAX; i < 13 + QUEUE_MAX; i++) await send(i);
    const before = Array.from({ length: QUEUE_MAX }, () => 0);
    if (listener === 'oldest') {
      for (const i of [10, 11, 12]) await place.isGone(`${name}.${i}-`);
      await place.isThere(...Array.from({ length: QUEUE_MAX }, (_, i) => `${name}.${i + 13}-`));
    } else {
      for (const i of [0, 1, 2]) await place.isGone(`${name}.${10 + QUEUE_MAX + i}-`);
      await place.isThere(...Array.from({ length: QUEUE_MAX }, (_, i) => `${name}.${i + 10}-`));
    }
    expect(codes).toEqual(listener === 'refuse' ? [...before, ...[1, 2, 3].map(() => QUOTA_EXCEEDED)] : [...before, 0, 0, 0]);
    const client = await connect(name, {}, listener);
    await client.got(QUEUE_MAX);
    await client.leave(0);
    await place.isGone(name);
  });

  test('a session that another connection takes over, with messages in flight', async () => {
    const first = await connect('take-over', { holds: true });
    await first.subscribe(filterOf('take-over'));
    const from = await publisher();
    for (const qos of [1, 2] as const) await from.publish(message('take-over', { qos }));
    await first.got(2);
    await place.isThere(...fieldsOf('take-over'));
    const second = await connect('take-over', { username: place.text('take-over.other-name') });
    await first.until('the first connection is closed', () => first.closed);
    await second.got(2);
    await place.isGone('take-over.payload');
    await place.isThere('take-over.other-name');
    await place.isGone('take-over.username');
    await second.leave(0);
    await place.isGone('take-over');
  });

  test('a session that its client starts anew', async () => {
    await sleeper('clean', filterOf('clean'));
    const from = await publisher();
    for (const qos of [1, 2] as const) await from.publish(message('clean', { qos }));
    await place.isThere(...fieldsOf('clean'), ...sessionOf('clean'));
    const client = await connect('clean', { clean: true, username: 'nobody' });
    await place.isGone('clean.payload');
    await place.isGone('clean.topic');
    await place.isGone('clean.username');
    await place.isThere('clean.client');
    await client.leave(0);
    await place.isGone('clean');
  });

  test('a subscription that is replaced, or taken back', async () => {
    const client = await connect('filter');
    for (const which of ['one', 'two']) await client.subscribe(`${place.text(`filter.${which}`)}/+/#`, 1, 77);
    await place.isThere('filter.one', 'filter.two');
    await client.unsubscribe(`${place.text('filter.one')}/+/#`);
    await place.isGone('filter.one');
    await place.isThere('filter.two');
    await client.leave(0);
    await place.isGone('filter');
  });
});

describe('wills', () => {
  const will = (name: string, delayS = 0) => {
    const { topic, payload, properties } = message(name);
    return { topic, payload: payload!, qos: 1 as const, properties: { ...properties, willDelayInterval: delayS } };
  };

  test('a will that is published and consumed', async () => {
    await sleeper('mourner', filterOf('will'));
    const client = await connect('dies', { will: will('will') });
    await place.isThere(...fieldsOf('will'), ...sessionOf('dies'));
    client.cut();
    const mourner = await connect('mourner');
    await mourner.got(1);
    await place.isGone('will.payload');
    await mourner.leave(0);
    await end('dies');
    await place.isGone('will');
    await place.isGone('dies');
    await place.isGone('mourner');
  });

  test('a delayed will, published when its time has come', async () => {
    const mourner = await connect('waits');
    await mourner.subscribe(filterOf('delayed'));
    const client = await connect('fades', { will: will('delayed', 1) });
    client.cut();
    await place.isThere(...fieldsOf('delayed'));
    await mourner.got(1);
    await place.isGone('delayed.payload');
    await mourner.leave(0);
    await end('fades');
    await place.isGone('delayed');
    await place.isGone('fades');
  });

  test('a will that is never published: its client came back, or left in good order', async () => {
    const first = await connect('recovers', { will: will('spared', 3_600) });
    await place.isThere(...fieldsOf('spared'));
    first.cut();
    const second = await connect('recovers', { will: will('spared-too') });
    await place.isGone('spared.');
    await place.isThere(...fieldsOf('spared-too'));
    await second.leave();
    await place.isGone('spared');
    await end('recovers');
    await place.isGone('recovers');
  });
});

describe('retained', () => {
  test('replaced, and cleared', async () => {
    const from = await publisher();
    await from.publish(message('retained', { retain: true, payload: place.text('retained.first') }));
    await place.isThere('retained.first', 'retained.topic', 'retained.user-value');
    await from.publish(message('retained', { retain: true, payload: place.text('retained.second') }));
    await place.isGone('retained.first');
    await place.isThere('retained.second');
    await from.publish({ topic: message('retained').topic, retain: true, payload: '' });
    await place.isGone('retained');
  });

  test('given to a subscriber that is slow to acknowledge, and cleared meanwhile', async () => {
    const from = await publisher();
    await from.publish(message('given', { retain: true }));
    const client = await connect('taker', { holds: true });
    await client.subscribe(filterOf('given'));
    await client.got(1);
    await from.publish({ topic: message('given').topic, retain: true, payload: '' });
    await place.isThere(...fieldsOf('given'));
    client.acknowledge();
    await place.isGone('given.payload');
    await client.leave(0);
    await place.isGone('given');
    await place.isGone('taker');
  });
});

test('in the end nothing at all is left, by whatever key on whatever value', async () => {
  await place.isGone('');
  const report = place.scan({ effort: Effort.EVERY_KEY });
  expect(report.found).toEqual([]);
  expect(report.places).toBeGreaterThan(10);
  expect(report.pairs.tried).toBe(report.pairs.all);
  expect(report.pairs.tried).toBeGreaterThan(10_000);
  expect(place.scan({ effort: Effort.NO_KEYS }).found).toEqual([]);
  expect(broker.spool!.figures.get(Figure.SESSIONS)).toBe(0);
  expect(broker.spool!.figures.get(Figure.MESSAGES)).toBe(0);
  expect(broker.spool!.figures.get(Figure.RETAINED)).toBe(0);
});
