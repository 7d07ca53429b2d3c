// A participant of the stress test of the trie, run from the build: changes and reads the trie at random, and knows what of it is its own.
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { MatchList, SubscriptionTrie, type TrieMemory } from '../../engine/topics/trie.ts';
import { fault, Reason } from '../../protocol/packet.ts';
import { SeededRandom } from '../seeded-random.ts';
import { enter } from './clients.ts';
import { naiveMatch } from './naive.ts';

export interface StressJob {
  readonly memory: TrieMemory;
  readonly participant: number;
  readonly seed: number;
  readonly operations: number;
  readonly rounds: number;
  /** Filters, `$share/group/filter` included, and topic names that all participants use. */
  readonly filters: readonly string[];
  readonly topics: readonly string[];
  /** Own subscriptions at most. */
  readonly ownMax: number;
  /** Longest turn: operations until the next `quiesce`. */
  readonly turnMax: number;
}

/** A subscription: index of the filter, subscriber, options. */
export type Own = readonly [filter: number, subscriber: number, options: number];

/** What a participant tells at a pause, and then what it finds while all rest. */
export interface Report {
  readonly own: readonly Own[];
  readonly refused: number;
  /** For each topic: rows as `filter subscriber options`, and groups as the members of one round. */
  readonly found: readonly Found[];
}

export interface Found {
  readonly rows: readonly string[];
  readonly groups: readonly string[];
}

/** A subscriber is the participant times so many, and a small number. */
export const SUBSCRIBERS = 4;
const OPTIONS = 1 << 16;

class Participant {
  readonly #job: StressJob;
  readonly #trie: SubscriptionTrie;
  readonly #random: SeededRandom;
  readonly #list = new MatchList();
  /** Own subscriptions as they are listed, and where each stands there. */
  readonly #own: { key: string; entry: number; filter: number; subscriber: number; options: number }[] = [];
  readonly #known = new Map<string, number>();
  readonly #matching: readonly (readonly boolean[])[];
  readonly #bytes: readonly Uint8Array[];
  #turn = 0;
  refused = 0;

  constructor(job: StressJob) {
    this.#job = job;
    this.#trie = SubscriptionTrie.attach(job.memory, job.participant);
    this.#random = new SeededRandom(job.seed + job.participant * 7_919);
    this.#bytes = job.topics.map((topic) => Buffer.from(topic));
    const plain = job.filters.map(plainFilter);
    this.#matching = job.topics.map((topic) => plain.map((filter) => naiveMatch(filter, topic)));
  }

  get own(): Own[] {
    return this.#own.map(({ filter, subscriber, options }) => [filter, subscriber, options]);
  }

  work(): void {
    for (let left = this.#job.operations; left > 0; left--) {
      const step = this.#random.below(10);
      if (step < 4) this.#subscribe();
      else if (step < 7) this.#unsubscribe();
      else if (step === 7) this.#change();
      else this.#match();
      if (--this.#turn <= 0) {
        this.#trie.quiesce();
        this.#turn = 1 + this.#random.below(this.#job.turnMax);
      }
    }
  }

  quiesce(): void {
    this.#trie.quiesce();
    this.#turn = 0;
  }

  unsubscribeAll(): void {
    while (this.#own.length > 0) this.#drop(this.#own.length - 1);
  }

  found(): Found[] {
    return this.#job.topics.map((_, at) => this.#find(at));
  }

  #subscribe(): void {
    const { filters, participant, ownMax } = this.#job;
    if (this.#own.length >= ownMax) {
      this.#unsubscribe();
      return;
    }
    const filter = this.#random.below(filters.length);
    const subscriber = participant * SUBSCRIBERS + this.#random.below(SUBSCRIBERS);
    const key = `${filter} ${subscriber}`;
    const known = this.#known.get(key);
    if (known !== undefined) {
      this.#drop(known);
      return;
    }
    const options = this.#random.below(OPTIONS);
    const entry = enter(this.#trie, filters[filter]!, subscriber, options, filter + 1);
    if (entry < 0) {
      if (entry !== fault(Reason.QUOTA_EXCEEDED)) throw new Error(`subscribe gave ${entry}`);
      this.refused++;
      return;
    }
    this.#known.set(key, this.#own.length);
    this.#own.push({ key, entry, filter, subscriber, options });
  }

  #unsubscribe(): void {
    if (this.#own.length > 0) this.#drop(this.#random.below(this.#own.length));
  }

  #drop(at: number): void {
    const own = this.#own[at]!;
    const last = this.#own.pop()!;
    this.#known.delete(own.key);
    if (last !== own) {
      this.#own[at] = last;
      this.#known.set(last.key, at);
    }
    this.#trie.unsubscribe(own.entry);
  }

  #change(): void {
    if (this.#own.length === 0) return;
    const own = this.#own[this.#random.below(this.#own.length)]!;
    own.options = this.#random.below(OPTIONS);
    this.#trie.change(own.entry, own.options, own.filter + 1);
  }

  /** A match shows one's own subscriptions exactly, and of others only such as match the topic. */
  #match(): void {
    const { participant, topics, filters } = this.#job;
    const topic = this.#random.below(topics.length);
    const matching = this.#matching[topic]!;
    const list = this.#list;
    this.#trie.match(this.#bytes[topic]!, 0, this.#bytes[topic]!.length, list);
    let seen = 0;
    for (let row = 0; row < list.count; row++) {
      const filter = list.subscriptionId[row]! - 1;
      const subscriber = list.subscriber[row]!;
      if (matching[filter] !== true) throw new Error(`'${topics[topic]}' found '${filters[filter]}' (${filter})`);
      if (Math.floor(subscriber / SUBSCRIBERS) !== participant) continue;
      const at = this.#known.get(`${filter} ${subscriber}`);
      if (at === undefined || this.#own[at]!.options !== list.options[row]) {
        throw new Error(`'${topics[topic]}' found '${filters[filter]}' of ${subscriber}, which was ended or changed`);
      }
      seen++;
    }
    const groups = new Set<number>();
    let expected = 0;
    for (const { filter } of this.#own) {
      if (!matching[filter]) continue;
      if (isShared(filters[filter]!)) groups.add(filter);
      else expected++;
    }
    if (seen !== expected) throw new Error(`'${topics[topic]}' found ${seen} of ${expected} own subscriptions`);
    this.#turns(topic, groups);
  }

  /** Serves a turn of each group that was found; own groups are among them, and the member served is one of the group. */
  #turns(topic: number, own: Set<number>): void {
    const { filters } = this.#job;
    const list = this.#list;
    for (let at = 0; at < list.groupCount; at++) {
      const group = list.group[at]!;
      const members = this.#trie.groupMembers(group);
      if (members < 0) throw new Error(`a group of ${members} members`);
      const entry = this.#random.below(2) === 0 ? this.#trie.groupNext(group) : this.#trie.groupMemberAfter(group, -1);
      if (entry < 0) continue;
      const filter = this.#trie.entrySubscriptionId(entry) - 1;
      if (this.#matching[topic]![filter] !== true || !isShared(filters[filter]!))
        throw new Error(`a turn of '${filters[filter]}'`);
      if (own.delete(filter) && members < 1) throw new Error(`no members in '${filters[filter]}'`);
    }
    for (const filter of own) throw new Error(`the group of '${filters[filter]}' was not found`);
  }

  #find(topic: number): Found {
    const { filters } = this.#job;
    const list = this.#list;
    this.#trie.match(this.#bytes[topic]!, 0, this.#bytes[topic]!.length, list);
    const rows: string[] = [];
    for (let row = 0; row < list.count; row++) {
      rows.push(`${list.subscriptionId[row]! - 1} ${list.subscriber[row]} ${list.options[row]}`);
    }
    const groups: string[] = [];
    for (let at = 0; at < list.groupCount; at++) {
      const group = list.group[at]!;
      const round: string[] = [];
      let entry = -1;
      // A round that leaves the turn where it is: the others make theirs at the same time.
      for (let members = this.#trie.groupMembers(group); members > 0; members--) {
        entry = this.#trie.groupMemberAfter(group, entry);
        const filter = this.#trie.entrySubscriptionId(entry) - 1;
        if (!isShared(filters[filter]!)) throw new Error(`a turn of '${filters[filter]}'`);
        round.push(`${filter} ${this.#trie.entrySubscriber(entry)} ${this.#trie.entryOptions(entry)}`);
      }
      groups.push(round.sort().join());
    }
    return { rows: rows.sort(), groups: groups.sort() };
  }
}

export function isShared(filter: string): boolean {
  return filter.startsWith('$share/');
}

/** The filter without `$share/group/`. */
export function plainFilter(filter: string): string {
  return isShared(filter) ? filter.slice(filter.indexOf('/', '$share/'.length) + 1) : filter;
}

async function run(job: StressJob): Promise<void> {
  const port = parentPort!;
  const participant = new Participant(job);
  const rest = async (found: readonly Found[]): Promise<void> => {
    const report: Report = { own: participant.own, refused: participant.refused, found };
    const goOn = once(port, 'message');
    port.postMessage(report);
    await goOn;
  };
  for (let round = 0; round < job.rounds; round++) {
    participant.work();
    await rest([]);
    await rest(participant.found());
    if (round % 2 === 0) participant.quiesce();
  }
  participant.unsubscribeAll();
  participant.quiesce();
  await rest([]);
  participant.quiesce();
  await rest([]);
}

const job = workerData as StressJob | undefined;
if (parentPort !== null && job?.memory !== undefined) {
  await run(job);
  parentPort.close();
}
