// Letters: what one shard writes is what another reads, for every kind, over a ring as small as it may be. They are read here by the table of letter.ts and by nothing of the
// engine's; what the engine makes of them is for moves.test.ts and lives.test.ts.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { unpackControl } from '../../engine/peers/control.ts';
import { LETTER_FIXED_BYTES, Letter, Word } from '../../engine/peers/letter.ts';
import { RemoteTargets } from '../../engine/peers/route-places.ts';
import { sendControl } from '../../engine/routing/control.ts';
import { sendNotice } from '../../engine/routing/notice.ts';
import { sendMessage, sendRetain, sendRetained, sendRunTo, sendToMember } from '../../engine/routing/remote.ts';
import { PublishRun } from '../../engine/routing/run.ts';
import type { Connection } from '../../engine/sessions/connection.ts';
import type { Target } from '../../engine/sessions/target.ts';
import { Level } from '../../protocol/packet.ts';
import { MessageView } from '../../protocol/publish.ts';
import { RingConsumer } from '../../storage/ring.ts';
import { check } from '../check.ts';
import { Caller } from './caller.ts';
import { Company } from './company.ts';

const RING_BYTES = 4_096;

/** A letter, by the table of letter.ts. */
interface Read {
  readonly kind: number;
  readonly route: number;
  readonly publisher: number;
  readonly bits: number;
  readonly count: number;
  readonly number: number;
  readonly expires: number;
  readonly targets: readonly (readonly [number, number, number, string])[];
  readonly topic: string;
  readonly properties: string;
  readonly payload: string;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

function targetsAt(bytes: Uint8Array, words: Int32Array, from: number, to: number): Read['targets'] {
  const found: (readonly [number, number, number, string])[] = [];
  for (let at = from; at < to; ) {
    const [subscriber, options, group, ids] = words.subarray(at >> 2, (at >> 2) + 4) as unknown as [
      number,
      number,
      number,
      number,
    ];
    found.push([subscriber, options, group, hex(bytes.subarray(at + 16, at + 16 + ids))]);
    at += 16 + Math.ceil(ids / 4) * 4;
  }
  return found;
}

function letterAt(bytes: Uint8Array, words: Int32Array, floats: Float64Array, at: number): Read {
  const word = (which: number) => words[(at >> 2) + which]!;
  const listTo = at + LETTER_FIXED_BYTES + word(Word.TARGETS);
  const isRun = word(Word.KIND) === Letter.RUN;
  const isMessage = ([Letter.MESSAGE, Letter.RETAIN, Letter.RETAINED, Letter.DELIVERY] as readonly number[]).includes(
    word(Word.KIND),
  );
  const padding = isRun ? word(Word.PADDING) : isMessage ? word(Word.BITS) >>> 16 : 0;
  // Words that a kind does not use are what lay there before.
  const kind = word(Word.KIND);
  const topicTo = listTo + (isMessage || kind === Letter.ROUTE ? word(Word.TOPIC) : 0);
  const propertiesTo = topicTo + (isMessage ? word(Word.PROPERTIES) : 0);
  const payloadBytes = isMessage || isRun || kind === Letter.CONTROL ? word(Word.PAYLOAD) : 0;
  return {
    kind: word(Word.KIND),
    route: word(Word.ROUTE),
    publisher: word(Word.PUBLISHER),
    bits: word(Word.BITS) & 0xffff,
    count: word(Word.COUNT),
    number: word(Word.NUMBER),
    expires: floats[(at + Word.EXPIRES * 4) >> 3]!,
    targets: targetsAt(bytes, words, at + LETTER_FIXED_BYTES, listTo),
    topic: isRun
      ? hex(bytes.subarray(listTo + padding + word(Word.TOPIC), listTo + padding + word(Word.TOPIC) + word(Word.PROPERTIES)))
      : hex(bytes.subarray(listTo, topicTo)),
    properties: hex(bytes.subarray(topicTo, propertiesTo)),
    payload: hex(bytes.subarray(propertiesTo + padding, propertiesTo + padding + payloadBytes)),
  };
}

/** The second of two shards writes, and the test reads in the place of the first one. */
function open() {
  const company = new Company({ count: 2, ringBytes: RING_BYTES });
  const caller = new Caller(company, 'publisher');
  caller.connect(1);
  company.settle();
  const { shard, clock } = company.members[1]!;
  const publisher = [...shard.connections][0]!;
  const consumer = new RingConsumer(company.fabric.rings[2]!);
  const sender = shard.peers!.senders[0]!;
  return { shard, clock, publisher, consumer, sender };
}

type Rig = ReturnType<typeof open>;

/** Everything that is on its way. */
function readAll({ consumer, sender }: Rig): Read[] {
  const letters: Read[] = [];
  let long = new Uint8Array(0);
  do {
    sender.unspill();
    sender.publish();
    consumer.look();
    while (consumer.next()) {
      const { bytes, words, floats, from } = consumer;
      if (words[from >> 2] !== Letter.PART) {
        letters.push(letterAt(bytes, words, floats, from));
        continue;
      }
      const [length, before, whole] = [Word.PAYLOAD, Word.COUNT, Word.NUMBER].map((which) => words[(from >> 2) + which]!) as [
        number,
        number,
        number,
      ];
      if (before === 0) long = new Uint8Array(Math.ceil(whole / 8) * 8);
      long.set(bytes.subarray(from + LETTER_FIXED_BYTES, from + LETTER_FIXED_BYTES + length), before);
      if (before + length === whole) letters.push(letterAt(long, new Int32Array(long.buffer), new Float64Array(long.buffer), 0));
    }
    consumer.release();
  } while (sender.spilledBytes > 0);
  return letters;
}

function viewOf(parts: {
  topic: Uint8Array;
  properties: Uint8Array;
  payload: Uint8Array;
  qos: number;
  retain: number;
  expires: number;
}) {
  // The parts of a message lie anywhere in their buffers.
  const view = new MessageView();
  view.topic = Buffer.concat([Buffer.from('before'), parts.topic]);
  view.topicFrom = 6;
  view.topicTo = 6 + parts.topic.length;
  view.properties = Buffer.concat([parts.properties, Buffer.from('after')]);
  view.propertiesTo = parts.properties.length;
  view.payload = Buffer.concat([Buffer.from([0]), parts.payload]);
  view.payloadFrom = 1;
  view.payloadTo = 1 + parts.payload.length;
  view.qos = parts.qos;
  view.retain = parts.retain;
  view.expiresAtMs = parts.expires;
  return view;
}

const message = fc.record({
  topic: fc.uint8Array({ minLength: 1, maxLength: 60 }),
  properties: fc.uint8Array({ maxLength: 60 }),
  payload: fc.oneof(
    { weight: 4, arbitrary: fc.uint8Array({ maxLength: 200 }) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 400, maxLength: 6_000, size: 'max' }) },
  ),
  qos: fc.nat(2),
  retain: fc.nat(1),
  expires: fc.oneof(fc.constant(Infinity), fc.maxSafeNat()),
});
const target: fc.Arbitrary<Target> = fc.record({
  subscriber: fc.nat(2 ** 30 - 1),
  options: fc.nat(63),
  group: fc.oneof(fc.constant(-1), fc.nat(2 ** 30)),
  subscriptionIds: fc.uint8Array({ maxLength: 13 }),
  ofOwn: fc.constant(null),
  judgedBy: fc.constant(null),
  judgedFor: fc.constant(null),
});
const targets = fc.array(target, { minLength: 1, maxLength: 70 });

/** What is written, and what must be read of it. */
interface Written {
  write(rig: Rig): void;
  readonly expected: (rig: Rig) => Partial<Read>;
}

const asTargets = (list: readonly Target[]) =>
  list.map(({ subscriber, options, group, subscriptionIds }) => [subscriber, options, group, hex(subscriptionIds)] as const);
const asMessage = ({ topic, properties, payload, qos, retain, expires }: Parameters<typeof viewOf>[0]) => ({
  topic: hex(topic),
  properties: hex(properties),
  payload: hex(payload),
  bits: qos | (retain << 2),
  expires,
});
const numbered = ({ publisher }: { publisher: Connection }) => publisher.number;

const toMember = fc.tuple(message, target).map(
  ([parts, one]): Written => ({
    write: ({ shard, publisher }) => sendToMember(shard, publisher, viewOf(parts), 0, one),
    expected: (rig) => ({
      kind: Letter.MESSAGE,
      route: -1,
      publisher: numbered(rig),
      targets: asTargets([one]),
      ...asMessage(parts),
    }),
  }),
);
const once = fc.tuple(message, fc.array(target, { minLength: 1, maxLength: 60 })).map(
  ([parts, list]): Written => ({
    write: ({ shard }) => sendMessage(shard, null, viewOf(parts), new RemoteTargets(0, list)),
    expected: () => ({ kind: Letter.MESSAGE, route: -1, publisher: 0, targets: asTargets(list), ...asMessage(parts) }),
  }),
);
const retain = fc.tuple(message, fc.nat(1)).map(
  ([parts, retention]): Written => ({
    write: ({ shard }) => sendRetain(shard, null, viewOf(parts), retention),
    expected: () => ({ kind: Letter.RETAIN, route: retention, publisher: 0, targets: [], ...asMessage(parts) }),
  }),
);
const retained = message.map(
  (parts): Written => ({
    write: ({ shard }) => sendRetained(shard, 0, viewOf(parts)),
    expected: () => ({ kind: Letter.RETAINED, targets: [], ...asMessage(parts) }),
  }),
);
const run = fc
  .tuple(fc.uint8Array({ minLength: 20, maxLength: 3_000 }), fc.array(target, { minLength: 1, maxLength: 60 }), fc.nat(9))
  .map(
    ([bytes, list, count]): Written => ({
      write({ shard, publisher }) {
        const own = new PublishRun();
        own.borrow(bytes, 1, bytes.length, count, 77, Level.V5);
        own.topicFrom = 5;
        own.topicTo = 9;
        sendRunTo(shard, publisher, own, new RemoteTargets(0, list));
      },
      expected: (rig) => ({
        kind: Letter.RUN,
        route: -1,
        publisher: numbered(rig),
        bits: Level.V5,
        count,
        number: 77,
        targets: asTargets(list),
        topic: hex(bytes.subarray(5, 9)),
        payload: hex(bytes.subarray(1)),
      }),
    }),
  );
const notice = fc
  .tuple(
    fc.constantFrom(Letter.REFUSED, Letter.LATER, Letter.SETTLED, Letter.HOLD, Letter.LET_GO),
    fc.nat(2 ** 24),
    fc.nat(2),
    fc.integer(),
  )
  .map(
    ([kind, publisher, bits, number]): Written => ({
      write: ({ shard }) => sendNotice(shard, 0, kind, publisher, bits, number),
      expected: () => ({ kind, publisher, bits, number }),
    }),
  );
const control = fc.string({ maxLength: 3_000, size: 'max' }).map(
  (clientId): Written => ({
    write: ({ shard }) =>
      sendControl(shard, 0, { kind: 'claim', claim: { shard: 1, request: 2, clientId, username: null, clean: true } }),
    expected: () => ({ kind: Letter.CONTROL, payload: clientId }),
  }),
);

test('letters of every kind are read as they were written', () => {
  const rig = open();
  return check(
    fc.property(fc.array(fc.oneof(toMember, once, retain, retained, run, notice, control), { maxLength: 40 }), (written) => {
      for (const { write } of written) write(rig);
      const letters = readAll(rig);
      expect(letters.length).toBe(written.length);
      written.forEach(({ expected }, at) => {
        const read = letters[at]!;
        const own = expected(rig);
        if (own.kind === Letter.CONTROL) {
          const { claim } = unpackControl(Buffer.from(read.payload, 'hex')) as { claim?: { clientId: string } };
          expect(claim?.clientId).toBe(own.payload);
        } else {
          expect(read).toMatchObject(own);
        }
      });
    }),
    200,
  );
});

test('a route is told with its second message, or the first when it has many receivers, and named by its place from then on', () =>
  check(
    fc.property(message, targets, (parts, list) => {
      const rig = open();
      const remote = new RemoteTargets(0, list);
      for (let times = 0; times < 3; times++) sendMessage(rig.shard, null, viewOf(parts), remote);
      const letters = readAll(rig);
      const byName = { kind: Letter.MESSAGE, route: -1, targets: asTargets(list), ...asMessage(parts) };
      const told = { kind: Letter.ROUTE, route: 0, targets: asTargets(list), topic: hex(parts.topic) };
      const byPlace = { kind: Letter.MESSAGE, route: 0, targets: [], ...asMessage(parts) };
      expect(letters).toMatchObject(list.length < 64 ? [byName, told, byPlace, byPlace] : [told, byPlace, byPlace, byPlace]);
    }),
    60,
  ));
