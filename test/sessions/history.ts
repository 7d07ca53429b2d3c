// Random histories: what three clients, their network, the clock and the store may do, as data that shrinks well, and what each step
// does to a world.
import fc from 'fast-check';
import { SESSION_NEVER_EXPIRES } from '../../engine/sessions/session.ts';
import type { ConnectOptions } from './client.ts';
import type { Message } from './model.ts';
import type { World } from './world.ts';

const CLIENTS = 3;
const STEPS_MAX = 90;
const topics = ['t/0', 't/1', 'u/0'] as const;
const filters = ['t/0', 't/1', 't/+', 'u/0'] as const;
/** Has no subscribers. */
const RETAINED_TOPIC = 'kept/0';

// Time passes in even numbers of seconds and sessions and messages live for odd ones, so none ends in the very moment of a look.
const client = fc.nat(CLIENTS - 1);
const qos = fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 1, 2, 2);
const kinds = {
  connect: {
    client,
    clean: fc.nat(3).map((dice) => dice === 0),
    expiryS: fc.constantFrom(0, 5, 25, SESSION_NEVER_EXPIRES, SESSION_NEVER_EXPIRES),
    receiveMaximum: fc.constantFrom(0, 1, 2, 3),
    topicAliasMaximum: fc.constantFrom(0, 2),
  },
  subscribe: { client, filter: fc.constantFrom(...filters), qos },
  unsubscribe: { client, filter: fc.constantFrom(...filters) },
  publish: {
    client,
    topic: fc.constantFrom(...topics),
    qos,
    count: fc.integer({ min: 1, max: 3 }),
    padding: fc.constantFrom(0, 0, 150),
    expiryS: fc.constantFrom(0, 0, 0, 3, 11),
    usesAlias: fc.boolean(),
  },
  retain: { client, qos, isEmpty: fc.nat(2).map((dice) => dice === 0) },
  eager: { client, isOn: fc.boolean() },
  answer: { client, at: fc.nat(5), times: fc.constantFrom(1, 1, 2) },
  lose: { client, at: fc.nat(5) },
  refuse: { client },
  cut: { client },
  disconnect: { client, ends: fc.nat(3).map((dice) => dice === 0) },
  read: { client, isOn: fc.boolean() },
  advance: { seconds: fc.constantFrom(2, 2, 4, 10, 30) },
  commit: { cuts: fc.constantFrom(1, 2, 5, 1_000) },
  answerReads: {},
  erase: { filter: fc.constantFrom(...filters) },
  crash: {},
} satisfies Record<string, Record<string, fc.Arbitrary<unknown>>>;

type Kinds = typeof kinds;
type Values<Shape> = { [Name in keyof Shape]: Shape[Name] extends fc.Arbitrary<infer Value> ? Value : never };
export type Step = { [Kind in keyof Kinds]: { do: Kind; rounds: number } & Values<Kinds[Kind]> }[keyof Kinds];

/** How often each kind of step comes; a kind that is left out does not. */
export type Weights = { readonly [Kind in keyof Kinds]?: number };

const ordinary: Weights = {
  connect: 8,
  subscribe: 6,
  unsubscribe: 1,
  publish: 20,
  retain: 1,
  eager: 4,
  answer: 10,
  lose: 2,
  refuse: 1,
  cut: 4,
  disconnect: 2,
  read: 2,
  advance: 2,
  erase: 2,
};
export const overMemory: Weights = ordinary;
export const overLagging: Weights = { ...ordinary, commit: 8, answerReads: 4 };
export const overCrashing: Weights = { ...overLagging, crash: 3 };

/** A history that begins with all clients connected and subscribed, since what happens before that is soon told. */
export function histories(weights: Weights): fc.Arbitrary<Step[]> {
  const rounds = fc.constantFrom(0, 1, 1, 2, 4);
  const steps = Object.entries(weights).map(([kind, weight]) => ({
    weight,
    arbitrary: fc.record({ do: fc.constant(kind), rounds, ...kinds[kind as keyof Kinds] }) as unknown as fc.Arbitrary<Step>,
  }));
  const arrival = fc.record({ connect: fc.record(kinds.connect), filter: fc.constantFrom(...filters), qos });
  const arrivals = fc.tuple(arrival, arrival, arrival).map((all) =>
    all.flatMap(({ connect, filter, qos: granted }, at): Step[] => [
      { do: 'connect', rounds: 3, ...connect, client: at },
      { do: 'subscribe', rounds: 2, client: at, filter, qos: granted },
    ]),
  );
  return fc
    .tuple(arrivals, fc.array(fc.oneof(...steps), { minLength: 1, maxLength: STEPS_MAX, size: 'max' }))
    .map(([first, rest]) => [...first, ...rest]);
}

export async function play(world: World, history: readonly Step[]): Promise<void> {
  for (const step of history) {
    await playStep(world, step);
    world.rounds(step.rounds);
  }
}

async function playStep(world: World, step: Step): Promise<void> {
  switch (step.do) {
    case 'connect':
      world.clients[step.client]!.connect(step satisfies ConnectOptions);
      return;
    case 'subscribe':
      world.clients[step.client]!.subscribe(step.filter, step.qos);
      return;
    case 'unsubscribe':
      world.clients[step.client]!.unsubscribe(step.filter);
      return;
    case 'publish':
      for (let i = 0; i < step.count; i++) publish(world, step.client, step);
      return;
    case 'retain':
      publish(world, step.client, {
        topic: RETAINED_TOPIC,
        qos: step.qos,
        padding: step.isEmpty ? 0 : 5,
        expiryS: 0,
        usesAlias: false,
      });
      return;
    case 'eager':
      world.clients[step.client]!.eager = step.isOn;
      return;
    case 'answer':
      world.clients[step.client]!.answer(step.at, step.times);
      return;
    case 'lose':
      world.clients[step.client]!.loseAnswer(step.at);
      return;
    case 'refuse':
      world.clients[step.client]!.refusesNext = true;
      return;
    case 'cut':
      world.clients[step.client]!.cut();
      return;
    case 'disconnect':
      world.clients[step.client]!.disconnect(step.ends);
      return;
    case 'read':
      if (step.isOn) world.clients[step.client]!.line?.peer.resume();
      else world.clients[step.client]!.line?.peer.pause();
      return;
    case 'advance':
      world.advance(step.seconds * 1_000);
      return;
    case 'commit':
      world.commit(step.cuts);
      return;
    case 'answerReads':
      world.answerReads();
      return;
    case 'erase':
      await world.erase(step.filter);
      return;
    case 'crash':
      await world.crash();
  }
}

interface Publication {
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly padding: number;
  readonly expiryS: number;
  readonly usesAlias: boolean;
}

function publish(world: World, at: number, { topic, qos: own, padding, expiryS, usesAlias }: Publication): void {
  const publisher = world.clients[at]!;
  if (own === 0 ? !publisher.isOpen : !publisher.hasRoom) return;
  const id = world.model.messages.length;
  const message: Message = {
    id,
    publisher: publisher.id,
    topic,
    qos: own,
    payload: `${id}:${'x'.repeat(padding)}`,
    expiryS: publisher.level === 5 ? expiryS : 0,
    retain: topic === RETAINED_TOPIC,
    answered: false,
    wasRefused: false,
    wasErased: false,
    firstRoute: null,
    lastRoute: [],
  };
  world.model.messages.push(message);
  publisher.publish(message, usesAlias && publisher.level === 5);
}
