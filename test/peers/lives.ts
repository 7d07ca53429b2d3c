// Random lives over several shards, and what must hold of them: clients come to one shard and another, subscribe, publish, retain, share, answer late, lose their connections and
// come back. Nothing acknowledged is lost, QoS 2 comes once, order holds, nobody gets what it did not ask for, and nothing is left in the end.
import { SeededRandom } from '../seeded-random.ts';
import { Caller, type Qos, type Sent } from './caller.ts';
import { Company, type CompanyOptions } from './company.ts';

const CLIENTS = 6;
const STEPS_BETWEEN = 6;
/** Below the Receive Maximum of the broker. */
const UNDER_WAY_MAX = 3;
const FILTERS = ['t/0', 't/1', 't/+', 't/#'] as const;
const SHARED = '$share/s/g/#';
const RETAINED = 'r/#';
const QUIET_ROUNDS_MAX = 100;

interface Message extends Sent {
  readonly number: number;
  readonly publisher: number;
  readonly topic: string;
  /** Lives that must get it. */
  readonly owed: readonly Life[];
}

/** A session from its beginning to its end. */
interface Life {
  readonly requested: Set<string>;
  readonly confirmed: Set<string>;
  readonly from: number;
}

export interface LivesOptions extends CompanyOptions {
  readonly seed: number;
  readonly acts: number;
}

export class Lives {
  readonly company: Company;
  readonly #random: SeededRandom;
  readonly #callers: readonly Caller[];
  readonly #lives: Life[] = [];
  readonly #messages: Message[] = [];
  readonly #pending = new Map<Caller, { readonly id: number; readonly filter: string; readonly life: Life }[]>();
  readonly #retained = new Map<string, number>();
  readonly #acts: number;
  /** A queue may be full: a message that some receivers have taken is refused, and new when it comes again. */
  readonly #isTight: boolean;
  /** Clients that wait for a clean start, which must be judged before anything else of theirs. */
  readonly #cleaning = new Set<number>();

  constructor({ seed, acts, ...options }: LivesOptions) {
    this.company = new Company({ ...options, seed });
    this.#random = new SeededRandom(seed);
    this.#acts = acts;
    this.#isTight = options.limits?.queuedMessagesPerClientMax !== undefined;
    this.#callers = Array.from({ length: CLIENTS }, (_, at) => new Caller(this.company, `client-${at}`));
    this.#callers.forEach((caller, at) => {
      this.#lives[at] = { requested: new Set(), confirmed: new Set(), from: 0 };
      this.#pending.set(caller, []);
    });
  }

  run(): void {
    for (let act = 0; act < this.#acts; act++) {
      this.#act();
      for (let i = this.#random.below(STEPS_BETWEEN); i >= 0; i--) this.company.step(this.#random);
      this.#confirm();
    }
    this.#quieten();
    this.#judge();
    this.#end();
  }

  #act(): void {
    const at = this.#random.below(CLIENTS);
    const caller = this.#callers[at]!;
    const what = this.#random.below(20);
    if (!caller.isOpen) {
      // One that waits for its CONNACK may wait on, or lose its patience.
      if (caller.peer === null || (what < 3 && !this.#cleaning.has(at))) this.#connect(at);
      return;
    }
    this.#cleaning.delete(at);
    if (what < 11) this.#publish(at);
    else if (what < 13) this.#subscribe(at);
    else if (what < 15) this.#connect(at);
    else if (what === 15) caller.cut();
    else if (what === 16) caller.disconnect();
    else if (what === 17) caller.eager = !caller.eager;
    else if (what === 18) caller.answerAll();
    else this.company.advance(1 + this.#random.below(2_000));
  }

  #connect(at: number): void {
    const caller = this.#callers[at]!;
    const clean = caller.outgoing === 0 && this.#random.below(12) === 0 && !this.#lives[at]!.requested.has(SHARED);
    if (clean) {
      this.#lives[at] = { requested: new Set(), confirmed: new Set(), from: caller.taken.length };
      this.#cleaning.add(at);
    }
    this.#pending.set(caller, []);
    caller.connect(this.#random.below(this.company.members.length), { clean, receiveMaximum: 1 + this.#random.below(5) });
  }

  #subscribe(at: number): void {
    const caller = this.#callers[at]!;
    const life = this.#lives[at]!;
    const choice = this.#random.below(6);
    const filter = FILTERS[choice] ?? (choice === 4 ? RETAINED : SHARED);
    life.requested.add(filter);
    this.#pending.get(caller)!.push({ id: caller.subscribe(filter, 2), filter, life });
  }

  #publish(at: number): void {
    const caller = this.#callers[at]!;
    if (caller.outgoing >= UNDER_WAY_MAX) return;
    const choice = this.#random.below(6);
    const number = this.#messages.length;
    const retain = choice === 5;
    // A retained topic has one writer, and QoS 2: no older value may come again.
    const topic = retain ? `r/${at}` : choice === 4 ? 'g/0' : `t/${choice % 3}`;
    const qos: Qos = retain ? 2 : (this.#random.below(3) as Qos);
    const payload = `${number} ${'x'.repeat(this.#random.below(10) === 0 ? this.#random.below(4_000) : this.#random.below(60))}`;
    const owed = this.#lives.filter((life) => [...life.confirmed].some((filter) => matches(filter, topic)));
    const sent = caller.publish(topic, payload, qos, { retain });
    if (retain) this.#retained.set(topic, number);
    this.#messages.push(Object.assign(sent, { number, publisher: at, topic, owed }));
  }

  /** Notes which subscriptions have been confirmed. */
  #confirm(): void {
    for (const [caller, pending] of this.#pending) {
      for (const { id, filter, life } of pending) {
        const granted = caller.granted.get(id);
        if (granted === undefined) continue;
        if (granted[0] !== 2) throw new Error(`${caller.id} was granted ${granted[0]} for ${filter}`);
        life.confirmed.add(filter);
        caller.granted.delete(id);
      }
    }
  }

  /** Everybody comes back and answers until nothing moves. */
  #quieten(): void {
    this.company.settle();
    for (const [at, caller] of this.#callers.entries()) {
      caller.eager = true;
      if (!caller.isOpen || caller.reason !== 0) caller.connect(at % this.company.members.length);
      else caller.answerAll();
      this.company.settle();
    }
    for (let rounds = 0; this.#callers.some((caller) => caller.outgoing > 0); rounds++) {
      if (rounds > QUIET_ROUNDS_MAX) throw new Error('messages are not acknowledged');
      this.company.settle();
    }
    this.company.settle();
    const { queuedMessages, queuedBytes, tickets, held, claimants, departures } = this.company.books();
    const left = { queuedMessages, queuedBytes, tickets, held, claimants, departures };
    if (Object.values(left).some((count) => count !== 0)) throw new Error(`not quiet: ${JSON.stringify(left)}`);
  }

  #judge(): void {
    const got = this.#callers.map((caller, at) => this.#judgeTaken(caller, at));
    for (const message of this.#messages) {
      const { number, qos, topic, owed, answer } = message;
      if (answer < 0) throw new Error(`message ${number} was not answered`);
      if (qos === 0 || answer >= 0x80) continue;
      if (topic.startsWith('g/')) {
        const members = this.#lives.filter((life) => life.confirmed.has(SHARED));
        const count = got.reduce((sum, counts) => sum + (counts.get(number) ?? 0), 0);
        if (owed.some((life) => members.includes(life)) && count === 0) throw new Error(`message ${number} of the group is lost`);
        if (qos === 2 && count > 1 && !(this.#isTight && message.wasRepeated))
          throw new Error(`QoS 2 message ${number} came to the group ${count} times`);
        continue;
      }
      for (const life of owed) {
        const at = this.#lives.indexOf(life);
        if (at >= 0 && !got[at]!.has(number)) throw new Error(`${describe(message)} did not reach client ${at}`);
      }
    }
    this.#judgeRetained();
  }

  /** How often each message came in the client's present life. */
  #judgeTaken(caller: Caller, at: number): Map<number, number> {
    const counts = new Map<number, number>();
    const last = new Map<string, number>();
    const life = this.#lives[at]!;
    for (const { topic, payload, qos, retain } of caller.taken.slice(life.from)) {
      const number = Number.parseInt(payload, 10);
      const message = this.#messages[number]!;
      const what = `message ${number} to ${caller.id}`;
      if (message.topic !== topic || message.payload !== payload || message.qos !== qos) throw new Error(`${what} has changed`);
      if (![...life.requested].some((filter) => matches(filter, topic))) throw new Error(`${what} was not asked for`);
      const before = counts.get(number) ?? 0;
      counts.set(number, before + 1);
      if (topic.startsWith('r/')) {
        if (this.#isTight && message.wasRepeated) continue;
        if (number < (last.get(topic) ?? -1)) throw new Error(`${what}: an older retained value after ${last.get(topic)}`);
        last.set(topic, number);
        continue;
      }
      if (retain) throw new Error(`${what} is not retained`);
      if (before > 0 && qos !== 1 && !(this.#isTight && message.wasRepeated))
        throw new Error(`${what} came twice with QoS ${qos}`);
      // What is sent again may come to one who had not subscribed to it before, or to whom the group did not give it.
      if (before > 0 || (message.wasRepeated && (this.#isTight || !message.owed.includes(life) || topic.startsWith('g/'))))
        continue;
      const order = `${message.publisher} ${topic} ${qos}`;
      if (number < (last.get(order) ?? -1))
        throw new Error(`${describe(message)} to ${caller.id} came after ${describe(this.#messages[last.get(order)!]!)}`);
      last.set(order, number);
    }
    return counts;
  }

  /** A new client of any shard is told the last value of each topic. */
  #judgeRetained(): void {
    for (let shard = 0; shard < this.company.members.length; shard++) {
      const reader = new Caller(this.company, `reader-${shard}`);
      reader.connect(shard, { clean: true, expiryS: 0 });
      this.company.settle();
      reader.subscribe(RETAINED, 2);
      this.company.settle();
      const found = new Map(reader.taken.map(({ topic, payload }) => [topic, Number.parseInt(payload, 10)]));
      for (const [topic, number] of this.#retained) {
        // One that was refused, and is new when it comes again, comes behind those that were taken meanwhile.
        if (this.#isTight && this.#messages.some((message) => message.topic === topic && message.wasRepeated)) continue;
        if (found.get(topic) !== number)
          throw new Error(`shard ${shard} retains ${found.get(topic)}, not ${describe(this.#messages[number]!)}`);
      }
      reader.disconnect();
      this.company.settle();
    }
  }

  #end(): void {
    for (const caller of this.#callers) {
      caller.connect(this.#random.below(this.company.members.length), { clean: true, expiryS: 0 });
      this.company.settle();
      caller.disconnect();
      this.company.settle();
    }
    const left = Object.entries(this.company.books()).filter(([, count]) => count !== 0);
    if (left.length > 0) throw new Error(`left in the end: ${JSON.stringify(left)}`);
  }
}

function describe({ number, topic, qos, wasRepeated, answer }: Message): string {
  return `message ${number} to ${topic} (QoS ${qos}, answer ${answer}${wasRepeated ? ', repeated' : ''})`;
}

function matches(filter: string, topic: string): boolean {
  if (filter === SHARED) return topic.startsWith('g/');
  return filter === topic || ((filter.endsWith('#') || filter.endsWith('+')) && topic.startsWith(filter.slice(0, -1)));
}
