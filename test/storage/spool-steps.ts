// Random steps in the life of a spool: everything that the engine and the thread may do, at random times, with random operands.
import type { Disk } from '../../storage/disk.ts';
import { ERASE_WITHIN_MS, RETENTION_MS, type SpoolHistory } from './spool-history.ts';

const SESSIONS_MAX = 5;
const NO_BYTES = new Uint8Array(0);

type Step = (history: SpoolHistory<Disk>) => void;

/** Kinds of steps by how often they come. */
export type Steps = readonly (readonly [weight: number, step: Step])[];

export const INTENTS: Steps = [
  [6, (history) => history.nextSession <= SESSIONS_MAX + history.random.below(4) && putSession(history)],
  [1, (history) => history.dropSession(someSession(history))],
  [2, (history) => history.putSubscription(someSession(history), 1 + history.random.below(3), someText(history))],
  [1, (history) => history.dropSubscription(someSession(history), 1 + history.random.below(3))],
  [30, (history) => putMessage(history)],
  [10, (history) => history.markReceived(...somePosition(history))],
  [24, (history) => dropSome(history)],
  [2, (history) => history.trim(...somePosition(history))],
  [2, (history) => history.addInbound(someSession(history), 1 + history.random.below(20))],
  [2, (history) => history.dropInbound(someSession(history), 1 + history.random.below(20))],
  [3, (history) => putRetained(history)],
  [1, (history) => history.dropRetained(1 + history.random.below(4))],
];

export const READS: Steps = [[14, (history) => readSome(history)]];

export const TIME: Steps = [
  [4, (history) => history.pass(history.random.below(ERASE_WITHIN_MS))],
  [1, (history) => history.pass(history.random.below(RETENTION_MS))],
];

/** One step, drawn by weight. */
export function takeStep(history: SpoolHistory<Disk>, steps: Steps): void {
  const total = steps.reduce((sum, [weight]) => sum + weight, 0);
  let left = history.random.below(total);
  for (const [weight, step] of steps) {
    if (left < weight) {
      step(history);
      return;
    }
    left -= weight;
  }
}

function someText({ random }: SpoolHistory<Disk>): string {
  return Buffer.from(random.bytes(1 + random.below(20))).toString('hex');
}

/** A session that exists, most of the time. */
function someSession({ random, oracle }: SpoolHistory<Disk>): number {
  const numbers = [...oracle.sessions.keys()];
  return numbers.length === 0 || random.below(12) === 0 ? 1 + random.below(9) : numbers[random.below(numbers.length)]!;
}

/** A position of a session: near the head of its queue most of the time, anywhere sometimes. */
function somePosition(history: SpoolHistory<Disk>): [session: number, position: number] {
  const { random, oracle } = history;
  const session = someSession(history);
  const positions = [...(oracle.sessions.get(session)?.deliveries.keys() ?? [])];
  if (positions.length === 0 || random.below(15) === 0) return [session, random.below(40)];
  const span = random.below(3) === 0 ? positions.length : Math.min(positions.length, 4);
  return [session, positions[random.below(span)]!];
}

function putSession(history: SpoolHistory<Disk>): void {
  const { random, oracle, nextSession } = history;
  const isNew = oracle.sessions.size === 0 || random.below(3) > 0;
  history.putSession(isNew ? nextSession : someKnown(history), someText(history));
}

function someKnown({ random, oracle }: SpoolHistory<Disk>): number {
  const numbers = [...oracle.sessions.keys()];
  return numbers[random.below(numbers.length)]!;
}

/** Small most of the time; at times so large that a few of them fill a value, or one alone. */
function payloadBytes({ random }: SpoolHistory<Disk>): number {
  const kind = random.below(20);
  if (kind < 14) return random.below(60);
  return kind < 19 ? 200 + random.below(3_000) : random.below(25_000);
}

function expiry({ random, wallMs }: SpoolHistory<Disk>): number {
  const kind = random.below(10);
  if (kind < 6) return Infinity;
  return wallMs + 1 + random.below(kind < 9 ? 3_000 : 2 * RETENTION_MS);
}

function putMessage(history: SpoolHistory<Disk>): void {
  const { random } = history;
  history.putMessage(1 + random.below(20), random.below(10), payloadBytes(history), expiry(history));
  const sessions = [...history.oracle.sessions.keys()].filter(() => random.below(2) === 0);
  if (sessions.length === 0) sessions.push(someSession(history));
  if (random.below(10) === 0) sessions.push(someSession(history)); // a session may be owed a message twice
  for (const [i, session] of sessions.entries()) {
    if (i > 0 && random.below(12) === 0) history.interrupt();
    const ids = random.below(3) === 0 ? Uint8Array.of(11, 1 + random.below(100)) : NO_BYTES;
    history.addDelivery(session, 1 + random.below(2) + 4 * random.below(2), ids);
  }
  if (random.below(2) === 0) history.settle();
}

/** Drops one delivery, or a run of them as a subscriber does that keeps up. */
function dropSome(history: SpoolHistory<Disk>): void {
  const { random, oracle } = history;
  const [session, position] = somePosition(history);
  history.dropDelivery(session, position);
  if (random.below(3) > 0) return;
  const positions = [...(oracle.sessions.get(session)?.deliveries.keys() ?? [])];
  for (const next of positions.slice(0, random.below(8))) history.dropDelivery(session, next);
}

function putRetained(history: SpoolHistory<Disk>): void {
  const { random, wallMs } = history;
  const untilMs = random.below(2) === 0 ? Infinity : wallMs + 1 + random.below(5_000);
  history.putRetained(1 + random.below(4), 'topic', someText(history), untilMs);
}

function readSome(history: SpoolHistory<Disk>): void {
  const { random, oracle } = history;
  const session = someSession(history);
  const next = oracle.sessions.get(session)?.next ?? 0;
  const from = random.below(2) === 0 ? 0 : random.below(next + 3);
  const limit = random.below(3) === 0 ? random.below(6) : 1_000;
  history.checkRead(session, from, limit, random.below(4) === 0 ? random.below(5) : Infinity);
}

/** Consumes everything and lets every session go. */
export function consumeEverything(history: SpoolHistory<Disk>): void {
  for (const [session, { deliveries, inbound, subscriptions }] of history.oracle.sessions) {
    for (const [position, { message }] of deliveries) {
      if (message !== null && history.random.below(2) === 0) history.markReceived(session, position);
      history.dropDelivery(session, position);
    }
    for (const packetId of inbound) history.dropInbound(session, packetId);
    for (const number of subscriptions.keys()) history.dropSubscription(session, number);
  }
  for (const number of history.oracle.retained.keys()) history.dropRetained(number);
}

/** Prints every step from here on: for the run that looks into a seed. */
export function printSteps(history: SpoolHistory<Disk>): void {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(history)) as (keyof SpoolHistory<Disk>)[];
  history.troubles.push = (...said) => {
    process.stdout.write(`   ${said.join()}\n`);
    return Array.prototype.push.apply(history.troubles, said);
  };
  history.damaged.push = (...gone) => {
    process.stdout.write(`   gone ${JSON.stringify(gone)}\n`);
    return Array.prototype.push.apply(history.damaged, gone);
  };
  for (const name of methods) {
    const own = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(history), name)?.value as unknown;
    if (typeof own !== 'function' || name.startsWith('check') || QUIET.includes(name)) continue;
    const printed = (...args: unknown[]) => {
      process.stdout.write(`${history.nowMs} ${name} ${args.map(String).join(' ')}\n`);
      return (own as (...args: unknown[]) => unknown).apply(history, args);
    };
    Object.defineProperty(history, name, { value: printed });
  }
}

const QUIET: readonly string[] = ['constructor', 'read', 'rows', 'noteDurable', 'settle'];

/** Times the usual number of lives: for a long run. */
const LIVES = Number(process.env['LETHE_LIVES'] ?? 1);

/** Runs `one` with seeds from the environment or in order; a failure says which. */
export function withSeeds(count: number, one: (seed: number) => void): void {
  const given = process.env['LETHE_SEED'];
  const seeds = given === undefined ? Array.from({ length: count * LIVES }, (_, i) => i + 1) : [Number(given)];
  for (const seed of seeds) {
    try {
      one(seed);
    } catch (cause) {
      throw new Error(`history with LETHE_SEED=${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
}
