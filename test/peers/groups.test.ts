// A shared group whose members come to any shard, answer late and go, while messages are on their way between the shards: whatever was acknowledged is answered by a member, as
// long as one is left, and nothing is left behind.
import fc from 'fast-check';
import { test } from 'vitest';
import { check } from '../check.ts';
import { SeededRandom } from '../seeded-random.ts';
import { Caller, type Sent } from './caller.ts';
import { Company } from './company.ts';

const SHARDS = 3;
const UNDER_WAY_MAX = 3;

interface Scene {
  readonly company: Company;
  readonly random: SeededRandom;
  readonly publisher: Caller;
  readonly members: Caller[];
  /** Payloads that a member has answered. */
  readonly answered: Set<string>;
  readonly sent: Sent[];
  names: number;
}

function join(scene: Scene, shard: number): Caller {
  const member = new Caller(scene.company, `member-${scene.names++}`);
  member.connect(shard, { expiryS: 0, clean: true });
  scene.company.settle();
  member.subscribe('$share/g/t', 1);
  scene.company.settle();
  return member;
}

function answer(scene: Scene, member: Caller): void {
  for (const payload of member.payloads) scene.answered.add(payload);
  member.answerAll();
}

const act = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constant((scene: Scene) => {
      if (scene.publisher.outgoing < UNDER_WAY_MAX) scene.sent.push(scene.publisher.publish('t', String(scene.sent.length), 1));
    }),
  },
  {
    weight: 1,
    arbitrary: fc.nat(SHARDS - 1).map((shard) => (scene: Scene) => {
      const member = join(scene, shard);
      member.eager = false;
      scene.members.push(member);
    }),
  },
  {
    weight: 2,
    arbitrary: fc.nat(9).map((at) => (scene: Scene) => {
      const member = scene.members[at % Math.max(1, scene.members.length)];
      if (member !== undefined) answer(scene, member);
    }),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(9), fc.boolean()).map(([at, isOrderly]) => (scene: Scene) => {
      const [member] = scene.members.splice(at % Math.max(1, scene.members.length), 1);
      if (isOrderly) member?.disconnect();
      else member?.cut();
    }),
  },
  {
    weight: 4,
    arbitrary: fc.nat(12).map((count) => (scene: Scene) => {
      for (let i = 0; i < count; i++) scene.company.step(scene.random);
    }),
  },
);

test.each(['memory', 'lagging'] as const)('every message is answered by some member, with stores of the kind %s', (store) =>
  check(
    fc.property(fc.array(act, { maxLength: 80, size: 'max' }), fc.nat(), fc.nat(SHARDS - 1), (acts, seed, shard) => {
      const company = new Company({ count: SHARDS, ringBytes: 4_096, store });
      const publisher = new Caller(company, 'publisher');
      const scene: Scene = {
        company,
        random: new SeededRandom(seed),
        publisher,
        members: [],
        answered: new Set(),
        sent: [],
        names: 0,
      };
      publisher.connect(0, { clean: true, expiryS: 0 });
      const last = join(scene, shard);
      for (const run of acts) run(scene);
      company.settle();
      for (const member of scene.members.splice(0)) {
        member.cut();
        company.settle();
      }
      for (const { payload, answer: reason } of scene.sent) {
        if (reason !== 0) throw new Error(`message ${payload} was answered by ${reason}`);
        if (!scene.answered.has(payload) && !last.payloads.includes(payload)) throw new Error(`message ${payload} is lost`);
      }
      last.disconnect();
      publisher.disconnect();
      company.settle();
      const left = Object.entries(company.books()).filter(([, count]) => count !== 0);
      if (left.length > 0) throw new Error(`left in the end: ${JSON.stringify(left)}`);
    }),
    150,
  ),
);
