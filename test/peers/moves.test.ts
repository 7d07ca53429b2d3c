// What happens between shards, one step at a time: a session that moves, a refusal behind a jam, a shared group whose member is on its way.
import { expect, test } from 'vitest';
import type { Principal } from '../../engine/principal.ts';
import { poll } from '../../engine/routing/arrive.ts';
import { endSession } from '../../engine/routing/lifecycle.ts';
import { recoverRetained, tellAllRetained } from '../../engine/routing/retain.ts';
import { Level } from '../../protocol/packet.ts';
import { MessageView } from '../../protocol/publish.ts';
import { bytesOfPacket } from '../sessions/packets.ts';
import { Caller } from './caller.ts';
import { Company } from './company.ts';

const RETAINED_NOTHING = { rh: 2 };
const QUOTA_EXCEEDED = 0x97;

function settled(company: Company, ...acts: (() => void)[]): void {
  for (const act of acts) {
    act();
    company.settle();
  }
}

/** Ends whatever is left, and looks into the books. */
function expectNothingLeft(company: Company): void {
  for (const { shard } of company.members)
    for (const session of [...shard.sessions]) {
      if (session.connection === null) endSession(shard, session);
    }
  company.settle();
  expect(Object.entries(company.books()).filter(([, count]) => count !== 0)).toEqual([]);
}

test('a message reaches a subscriber of another shard', () => {
  const company = new Company();
  const sub = new Caller(company, 'sub');
  const pub = new Caller(company, 'pub');
  settled(
    company,
    () => sub.connect(1),
    () => pub.connect(2),
    () => sub.subscribe('a', 2, RETAINED_NOTHING),
  );
  const sent = ([0, 1, 2] as const).map((qos) => pub.publish('a', `qos ${qos}`, qos));
  company.settle();
  expect(sent.map(({ answer }) => answer)).toEqual([0, 0, 0]);
  expect(sub.payloads).toEqual(['qos 0', 'qos 1', 'qos 2']);
  settled(
    company,
    () => sub.disconnect(),
    () => pub.disconnect(),
  );
  expectNothingLeft(company);
});

test('a refusal that lies behind much traffic is heard before the count that covers its message', () => {
  const company = new Company({ limits: { queuedMessagesPerClientMax: 3, receiveMaximum: 100, inflightMax: 100 } });
  const [away, pub, flood, sink] = ['away', 'pub', 'flood', 'sink'].map((id) => new Caller(company, id)) as [
    Caller,
    Caller,
    Caller,
    Caller,
  ];
  settled(
    company,
    () => away.connect(1),
    () => away.subscribe('a', 1, RETAINED_NOTHING),
    () => away.disconnect(),
    () => pub.connect(0),
    () => sink.connect(0),
    () => sink.subscribe('flood', 0, RETAINED_NOTHING),
    () => flood.connect(1),
  );
  // The first shard reads from the other one what comes before the refusal, in more than one look.
  for (let i = 0; i < 12; i++) flood.publish('flood', 'x'.repeat(60_000), 0);
  company.settleAlone(1);
  const sent = Array.from({ length: 5 }, (_, i) => pub.publish('a', String(i), 1));
  while (company.members[0]!.listener.step());
  company.members[0]!.clock.endTurn();
  company.settleAlone(1);
  company.settle();
  expect(sent.map(({ answer }) => answer)).toEqual([0, 0, 0, QUOTA_EXCEEDED, QUOTA_EXCEEDED]);
  settled(
    company,
    () => pub.disconnect(),
    () => flood.disconnect(),
    () => sink.disconnect(),
  );
  expect(company.members[1]!.shard.queuedMessages).toBe(3);
  expectNothingLeft(company);
});

test('a shared group keeps what it is sent for its only member while the member moves', () => {
  const company = new Company();
  const [member, pub, local] = ['member', 'pub', 'local'].map((id) => new Caller(company, id)) as [Caller, Caller, Caller];
  settled(
    company,
    () => member.connect(1),
    () => member.subscribe('$share/g/a', 1),
    () => pub.connect(0),
    () => local.connect(1),
    () => member.connect(2),
    () => member.connect(1),
  );
  member.connect(2);
  company.settleAlone(2);
  company.settleAlone(0);
  // The last host gives it away, and waits for the others.
  company.settleAlone(1);
  const sent = [pub.publish('a', 'by another', 1), local.publish('a', 'by its last host', 1)];
  company.settleAlone(0);
  company.settleAlone(1);
  company.settle();
  expect(sent.map(({ answer }) => answer)).toEqual([0, 0]);
  expect(member.isOpen).toBe(true);
  expect([...member.payloads].sort()).toEqual(['by another', 'by its last host']);
});

test('a member that was chosen elsewhere and has left hands over, and nothing of the message is left', () => {
  const company = new Company();
  const [one, two, pub] = ['one', 'two', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller, Caller];
  settled(
    company,
    () => one.connect(1, { expiryS: 0 }),
    () => two.connect(1, { expiryS: 0 }),
    () => one.subscribe('$share/g/a', 1),
    () => two.subscribe('$share/g/a', 1),
    () => pub.connect(0),
  );
  two.eager = false;
  const sent = Array.from({ length: 4 }, (_, i) => pub.publish('a', String(i), 1));
  company.settleAlone(0);
  one.disconnect();
  company.members[1]!.listener.step();
  company.settle();
  expect(sent.map(({ answer }) => answer)).toEqual([0, 0, 0, 0]);
  expect(two.payloads.sort()).toEqual(['0', '1', '2', '3']);
  settled(
    company,
    () => two.answerAll(),
    () => two.disconnect(),
    () => pub.disconnect(),
  );
  expectNothingLeft(company);
});

test('a message that the store of its publisher does not take leaves no ticket open', () => {
  const company = new Company();
  const [away, other] = ['away', 'other'].map((id) => new Caller(company, id)) as [Caller, Caller];
  const pub = new Caller(company, 'pub', Level.V311);
  settled(
    company,
    () => away.connect(0),
    () => away.subscribe('a', 1, RETAINED_NOTHING),
    () => away.disconnect(),
    () => other.connect(1),
    () => other.subscribe('a', 1, RETAINED_NOTHING),
    () => pub.connect(0),
  );
  const { store, shard } = company.members[0]!;
  store.putMessage = () => -1;
  const sent = pub.publish('a', 'refused here', 1);
  company.settle();
  expect([sent.answer, pub.peer?.closed]).toEqual([-1, true]);
  expect(shard.peers!.tickets.open).toBe(0);
  // Sessions wait for open tickets before they move.
  settled(company, () => away.connect(1));
  expect(away.isOpen).toBe(true);
});

test('a message that is published again while it is under way is not answered before other shards have it', () => {
  const company = new Company({ limits: { queuedMessagesPerClientMax: 1 } });
  const [away, pub] = ['away', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  settled(
    company,
    () => away.connect(1),
    () => away.subscribe('a', 2, RETAINED_NOTHING),
    () => away.disconnect(),
    () => pub.connect(0),
    () => pub.publish('a', 'first', 2),
  );
  const sent = pub.publish('a', 'second', 2);
  company.settleAlone(0);
  pub.cut();
  company.settleAlone(0);
  pub.connect(0);
  company.settleAlone(0);
  expect([pub.isOpen, sent.answer]).toEqual([true, -1]);
  company.settle();
  expect(sent.answer).toBe(QUOTA_EXCEEDED);
});

test('a session does not move before other shards have settled what its client published', () => {
  const company = new Company({ limits: { queuedMessagesPerClientMax: 1 } });
  const [away, pub] = ['away', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  settled(
    company,
    () => away.connect(1),
    () => away.subscribe('a', 2, RETAINED_NOTHING),
    () => away.disconnect(),
    () => pub.connect(0),
    () => pub.publish('a', 'first', 2),
  );
  const sent = pub.publish('a', 'second', 2);
  company.settleAlone(0);
  pub.cut();
  company.settleAlone(0);
  // What waits for the fence is not held up by the ticket: the second shard answers, and its store is behind.
  const { store } = company.members[1]!;
  const durable = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(store), 'durable')!;
  Object.defineProperty(store, 'durable', { get: () => -1, configurable: true });
  pub.connect(2);
  company.settle();
  expect([pub.isOpen, sent.answer]).toEqual([false, -1]);
  Object.defineProperty(store, 'durable', durable);
  company.members[1]!.shard.turn.ask();
  company.settle();
  expect([pub.isOpen, sent.answer]).toEqual([true, QUOTA_EXCEEDED]);
});

test('a session that moves is not given what it may not read, whatever other shards have learned meanwhile', () => {
  const mayReceive = ({ username }: Principal, _client: string, topic: Uint8Array, from: number, to: number) =>
    username !== 'guest' || Buffer.from(topic.subarray(from, to)).toString() !== 'a/secret';
  const company = new Company({ rights: { mayPublish: () => true, maySubscribe: () => true, mayReceive } });
  const [guest, pub, near] = ['guest', 'pub', 'near'].map((id) => new Caller(company, id)) as [Caller, Caller, Caller];
  settled(
    company,
    () => guest.connect(1, { username: 'guest' }),
    () => guest.subscribe('a/#', 1, RETAINED_NOTHING),
    () => pub.connect(0),
    () => near.connect(2),
  );
  guest.connect(2, { username: 'guest' });
  company.settleAlone(2);
  company.settleAlone(0);
  company.settleAlone(1);
  const during = [1, 2, 3].map((i) => [pub.publish('a/secret', `during ${i}`, 1), near.publish('a/secret', `near ${i}`, 1)]);
  company.settleAlone(0);
  company.settleAlone(2);
  // Written by the place that was named during the move, and read after it.
  company.settleAlone(1);
  pub.publish('a/secret', 'between', 1);
  while (company.members[0]!.listener.step());
  company.members[0]!.clock.endTurn();
  company.settle();
  settled(
    company,
    () => pub.publish('a/secret', 'after', 1),
    () => near.publish('a/secret', 'near after', 1),
    () => pub.publish('a/open', 'open', 1),
  );
  expect(guest.isOpen).toBe(true);
  expect(during.flat().map(({ answer }) => answer)).toEqual([0, 0, 0, 0, 0, 0]);
  expect(guest.payloads).toEqual(['open']);
});

test('what another shard sends to a session that may read it is not judged again when it is sent', () => {
  let asked = 0;
  const mayReceive = () => {
    asked++;
    return true;
  };
  const company = new Company({ rights: { mayPublish: () => true, maySubscribe: () => true, mayReceive } });
  const [sub, pub] = ['sub', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  sub.eager = false;
  settled(
    company,
    () => sub.connect(1, { receiveMaximum: 1 }),
    () => sub.subscribe('t', 1, RETAINED_NOTHING),
    () => pub.connect(0),
  );
  for (let i = 0; i < 3; i++) settled(company, () => pub.publish('t', String(i), 1));
  expect(sub.payloads).toEqual(['0']);
  const onArrival = asked;
  expect(onArrival).toBeGreaterThan(0);
  for (let i = 0; i < 3; i++) settled(company, () => sub.answerAll());
  expect(sub.payloads).toEqual(['0', '1', '2']);
  expect(asked).toBe(onArrival);
});

/** Twenty retained messages, and a client that reads nothing, so that a replay of them waits. */
function beforeReplay(): { company: Company; sub: Caller; pub: Caller; topics: readonly string[] } {
  // Kernel and mark together hold less than the window, beyond which the replay would be over and its messages in the queue.
  const company = new Company({ kernelBytes: 256, limits: { outboxHighBytes: 128, retainedMessagesMax: 64 } });
  const [sub, pub] = ['sub', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  settled(
    company,
    () => sub.connect(1),
    () => pub.connect(2),
  );
  const topics = Array.from({ length: 20 }, (_, i) => `r/${String(i).padStart(2, '0')}`);
  settled(company, ...topics.map((topic) => () => pub.publish(topic, `1 ${'x'.repeat(100)}`, 1, { retain: true })));
  sub.peer!.pause();
  return { company, sub, pub, topics };
}

test('a retained value that came live is not followed by the older one that a replay under way has found', () => {
  const { company, sub, pub, topics } = beforeReplay();
  sub.subscribe('r/#', 1);
  company.settle();
  // The first shard, which keeps what is retained, is slower than the way from the publisher to the subscriber.
  for (const topic of topics) pub.publish(topic, '2', 0, { retain: true });
  company.settleAlone(2);
  company.settleAlone(1);
  sub.peer!.resume();
  company.settleAlone(1);
  company.settle();
  for (const topic of topics) {
    const values = sub.taken.filter((message) => message.topic === topic).map(({ payload }) => payload[0]!);
    expect([...values].sort(), topic).toEqual(values);
    expect(values.at(-1), topic).toBe('2');
  }
});

test('a client that subscribes again while its first replay waits is sent what is retained anew, also what has just come live', () => {
  const { company, sub, pub, topics } = beforeReplay();
  settled(
    company,
    () => sub.subscribe('r/#', 1, { id: 1 }),
    () => pub.publish('r/19', '2', 0, { retain: true }),
    () => sub.subscribe('r/#', 1, { id: 2 }),
  );
  sub.peer!.resume();
  company.settle();
  const anew = sub.taken.filter(({ subscriptionId, retain }) => subscriptionId === 2 && retain);
  expect(anew.map(({ topic }) => topic).sort()).toEqual(topics);
  expect(anew.find(({ topic }) => topic === 'r/19')!.payload).toBe('2');
});

test('messages that expire while they move with their session leave the books', () => {
  const company = new Company({ ringBytes: 4_096 });
  const [away, pub] = ['away', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  settled(
    company,
    () => away.connect(1),
    () => away.subscribe('a', 1, RETAINED_NOTHING),
    () => away.disconnect(),
    () => pub.connect(1),
  );
  settled(company, ...Array.from({ length: 60 }, (_, i) => () => pub.publish('a', `${i} ${'x'.repeat(300)}`, 1, { expiryS: 5 })));
  away.connect(2);
  const [, from, to] = company.members;
  company.settleAlone(2);
  company.settleAlone(0);
  for (let i = 0; i < 10 && to!.shard.moving.size === 0; i++) {
    company.settleAlone(0, 1);
    while (to!.listener.step());
    to!.clock.endTurn();
    if (from!.shard.departures.length === 0 && from!.shard.sessions.find('away') === null) poll(to!.shard);
    else company.settleAlone(2);
  }
  expect(to!.shard.moving.size).toBe(1);
  company.advance(10_000);
  company.settle();
  company.advance(10_000);
  company.settle();
  expect(away.isOpen).toBe(true);
  expect(company.books()['queuedMessages']).toBe(0);
  expect(company.books()['queuedBytes']).toBe(0);
});

test('retained messages of every topic that a store remembers reach all shards', async () => {
  const company = new Company();
  const [first] = company.members;
  for (const [at, topic] of ['a', '$other/a', '$SYS/a'].entries()) {
    const view = new MessageView();
    view.topic = Buffer.from(topic);
    view.topicTo = view.topic.length;
    view.payload = Buffer.from('kept');
    view.payloadTo = view.payload.length;
    recoverRetained(first!.shard, at + 1, view);
  }
  await tellAllRetained(first!.shard);
  company.settle();
  expect(company.members.map(({ shard }) => shard.retained.count)).toEqual([3, 3, 3]);
});

test('what is queued for a session comes with it as it was: QoS, retain, subscription identifier, of any length', () => {
  const company = new Company({ ringBytes: 4_096 });
  const [away, pub] = ['away', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  settled(
    company,
    () => away.connect(1),
    () => away.subscribe('a/#', 2, { ...RETAINED_NOTHING, id: 300 }),
    () => away.subscribe('b', 1, RETAINED_NOTHING),
    () => away.disconnect(),
    () => pub.connect(0),
  );
  const sizes = [0, 1, 450, 460, 470, 5_000, 20_000];
  for (const [at, size] of sizes.entries()) {
    settled(
      company,
      () => pub.publish('a/1', `${at} ${'x'.repeat(size)}`, 2, { retain: at % 2 === 1, expiryS: 600 }),
      () => pub.publish('b', `${at} ${'y'.repeat(size)}`, 1),
    );
  }
  settled(
    company,
    () => away.connect(2),
    () => away.disconnect(),
    () => away.connect(0),
  );
  expect(away.taken).toEqual(
    sizes.flatMap((size, at) => [
      { topic: 'a/1', payload: `${at} ${'x'.repeat(size)}`, qos: 2, retain: at % 2 === 1, subscriptionId: 300, connection: 2 },
      { topic: 'b', payload: `${at} ${'y'.repeat(size)}`, qos: 1, retain: false, subscriptionId: undefined, connection: 2 },
    ]),
  );
  expect(company.books()).toMatchObject({ queuedMessages: 0, queuedBytes: 0, storedMessages: 0 });
});

test('QoS 2 that was received and not released is not sent again by the next host', () => {
  const company = new Company();
  const [sub, pub] = ['sub', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  settled(
    company,
    () => sub.connect(1),
    () => sub.subscribe('a', 2, RETAINED_NOTHING),
    () => pub.connect(0),
  );
  sub.eager = false;
  settled(
    company,
    () => pub.publish('a', 'one', 2),
    () => sub.answerAll(), // PUBREC; the PUBREL waits for its answer
    () => pub.publish('a', 'two', 2),
    () => sub.cut(),
    () => sub.connect(2),
  );
  sub.eager = true;
  settled(
    company,
    () => sub.answerAll(),
    () => sub.connect(0),
  );
  expect(sub.payloads).toEqual(['one', 'two']);
  expect(company.books()).toMatchObject({ queuedMessages: 0, storedMessages: 0 });
});

test('a new subscription is not told a retained value before the older ones that are on their way to it live', () => {
  const company = new Company({ ringBytes: 4_096 });
  const [sub, pub] = ['sub', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller];
  settled(
    company,
    () => sub.connect(1),
    () => sub.subscribe('filler', 0, RETAINED_NOTHING),
    () => pub.connect(2),
  );
  sub.subscribe('r', 1);
  while (company.members[1]!.listener.step());
  // The way from the publisher to the subscriber is jammed, and the way to the first shard is not.
  const packet = (topic: string, payload: string, retain: boolean) =>
    bytesOfPacket({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain }, Level.V5);
  const filler = Array.from({ length: 20 }, () => packet('filler', 'x'.repeat(400), false));
  // In one piece: a publisher is held once it has filled a way.
  pub.peer!.send(Buffer.concat([...filler, ...['1', '2', '3'].map((value) => packet('r', value, true))]));
  const [first, near, far] = company.members;
  for (let i = 0; i < 30; i++) {
    far!.listener.step();
    far!.clock.endTurn();
  }
  near!.clock.endTurn();
  poll(first!.shard);
  poll(far!.shard);
  poll(first!.shard);
  poll(near!.shard);
  company.settle();
  const values = sub.taken.filter(({ topic }) => topic === 'r').map(({ payload }) => payload);
  expect([...values].sort()).toEqual(values);
  expect(values.at(-1)).toBe('3');
});
