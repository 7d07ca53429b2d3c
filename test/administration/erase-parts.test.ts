// What happens between two steps of an erasure by topic, in shards that a test drives: a will that goes out, a member of a shared group that leaves.
import { afterEach, expect, test, vi } from 'vitest';
import {
  type ErasedByShard,
  ErasePart,
  type EraseTarget,
  eraseByParts,
  eraseInShard,
} from '../../engine/administration/erase-shard.ts';
import type { MessageHandle } from '../../engine/memory/messages.ts';
import { recoverRetained, retainMessage, tellAllRetained } from '../../engine/routing/retain.ts';
import { MessageView } from '../../protocol/publish.ts';
import { SetAside } from '../../storage/store.ts';
import type { Qos } from '../peers/caller.ts';
import { Caller } from '../peers/caller.ts';
import { Company } from '../peers/company.ts';

const TARGET: EraseTarget = { kind: 'topic', name: 'gone/#' };

let company = new Company();
afterEach(() => {
  company = new Company();
});

function settled(...acts: (() => void)[]): void {
  for (const act of acts) {
    act();
    company.settle();
  }
}

/** Waits for what the shards do by themselves. */
async function driven<T>(work: Promise<T>): Promise<T> {
  let isOver = false;
  void work.finally(() => {
    isOver = true;
  });
  await vi.waitFor(
    () => {
      company.settle();
      company.advance(5);
      expect(isOver).toBe(true);
    },
    { interval: 1, timeout: 10_000 },
  );
  return work;
}

/** Erases, one shard after the other, the last one first; `between` is called before each of them. */
async function erase(between: (part: ErasePart, shard: number) => void): Promise<ErasedByShard[]> {
  return eraseByParts(async (part) => {
    const answers: ErasedByShard[] = [];
    for (const [index, { shard }] of [...company.members.entries()].reverse()) {
      between(part, index);
      company.settle();
      answers.push(await driven(eraseInShard(shard, TARGET, part)));
    }
    return answers;
  }, TARGET);
}

function total(answers: readonly ErasedByShard[], count: 'wills' | 'retained' | 'deliveries'): number {
  return answers.reduce((sum, answer) => sum + answer[count], 0);
}

const steps = [ErasePart.WILLS, ErasePart.RETAINED, ErasePart.SESSIONS].flatMap((part) =>
  [2, 1, 0].map((shard) => [part, shard] as const),
);

test.each(steps)(
  'a connection with a retained will fails before the %s of shard %i: nothing of it is left',
  async (part, shard) => {
    const will = { topic: 'gone/will', payload: 'last', qos: 1 as Qos, retain: true };
    const [client, sleeper] = [new Caller(company, 'client'), new Caller(company, 'sleeper')];
    settled(
      () => sleeper.connect(0),
      () => sleeper.subscribe('gone/#', 1),
      () => sleeper.disconnect(),
      () => client.connect(1, { will, expiryS: 0, clean: true }),
    );
    const answers = await erase((nextPart, nextShard) => {
      if (nextPart === part && nextShard === shard) client.cut();
    });
    expect(company.members.map((member) => member.shard.retained.count)).toEqual([0, 0, 0]);
    const wentOut = total(answers, 'retained');
    expect(total(answers, 'wills') + wentOut).toBe(1);
    expect(total(answers, 'deliveries')).toBe(wentOut);
    settled(() => sleeper.connect(0));
    expect(sleeper.payloads).toEqual([]);
  },
);

test('a member of a shared group leaves when the next one has been gone through: it hands over nothing that is being erased', async () => {
  const [leaving, staying, pub] = ['leaving', 'staying', 'pub'].map((id) => new Caller(company, id)) as [Caller, Caller, Caller];
  leaving.eager = false;
  settled(
    () => leaving.connect(0, { expiryS: 0, clean: true }),
    () => leaving.subscribe('$share/g/+/x', 1),
    () => pub.connect(1),
    () => pub.publish('gone/x', 'gone', 1),
    () => pub.publish('kept/x', 'kept', 1),
    () => staying.connect(2, { expiryS: 0, clean: true }),
    () => staying.subscribe('$share/g/+/x', 1),
  );
  expect(leaving.payloads).toEqual(['gone', 'kept']);
  await erase((part, shard) => {
    if (part === ErasePart.SESSIONS && shard === 1) leaving.cut();
  });
  company.settle();
  expect(staying.payloads).toEqual(['kept']);
  // Once it is over, what is published anew is handed over as ever.
  staying.eager = false;
  const late = new Caller(company, 'late');
  settled(
    () => pub.publish('gone/x', 'new', 1),
    () => late.connect(1),
    () => late.subscribe('$share/g/+/x', 1),
    () => staying.cut(),
  );
  expect(late.payloads).toEqual(['new']);
});

test('retained messages: the other shards are told no faster than their rings take it, and what is retained meanwhile stays', async () => {
  company = new Company({ ringBytes: 65_536, limits: { retainedMessagesMax: 10_000 } });
  const { shard } = company.members[0]!;
  const COUNT = 5_000;
  for (let number = 1; number <= COUNT; number++) recoverRetained(shard, number, retained(`gone/${number}`));
  const toldAll = tellAllRetained(shard);
  await driven(toldAll);
  expect(company.members.map((member) => member.shard.retained.count)).toEqual([COUNT, COUNT, COUNT]);
  const erasing = eraseInShard(shard, TARGET, ErasePart.RETAINED);
  await vi.waitFor(
    () => {
      company.settle();
      expect(shard.retained.count).toBeLessThan(COUNT);
    },
    { interval: 1, timeout: 10_000 },
  );
  expect(shard.retained.count).toBeGreaterThan(0);
  // One that is replaced now is not what was found, though that one still waits for somebody.
  const topic = Array.from({ length: COUNT }, (_, at) => Buffer.from(`gone/${at + 1}`)).find(
    (one) => shard.retained.get(one, 0, one.length) >= 0,
  )!;
  const held = shard.retained.get(topic, 0, topic.length) as MessageHandle;
  shard.messages.retain(held);
  retainMessage(shard, null, retained(topic.toString()));
  const erased = await driven(erasing);
  company.settle();
  expect(erased.retained).toBe(COUNT - 1);
  expect(company.members.map((member) => member.shard.retained.count)).toEqual([1, 1, 1]);
  shard.messages.release(held);
});

test.each([
  ['client', SetAside.UNOWNED],
  ['user', SetAside.UNOWNED],
  ['topic', SetAside.ALL],
  ['retained', SetAside.UNOWNED],
] as const)('by %s: what was set aside goes too, is asked of the first shard alone, and is counted', async (kind, expected) => {
  const asked = company.members.map(({ store }) => vi.spyOn(store, 'erase').mockImplementation(async (setAside) => setAside));
  const target = { kind, name: 'x' };
  const answers = await eraseByParts(
    (part) => driven(Promise.all(company.members.map(({ shard }) => eraseInShard(shard, target, part)))),
    target,
  );
  expect(asked.map(({ mock }) => mock.calls)).toEqual([[[expected]], [[SetAside.STAYS]], [[SetAside.STAYS]]]);
  expect(answers.reduce((sum, { setAside }) => sum + setAside, 0)).toBe(expected);
  expect(answers.every(({ isErased }) => isErased)).toBe(true);
});

function retained(topic: string): MessageView {
  const view = new MessageView();
  view.topic = Buffer.from(topic);
  view.topicTo = view.topic.length;
  view.payload = Buffer.from('kept');
  view.payloadTo = view.payload.length;
  return view;
}
