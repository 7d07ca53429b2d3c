// Who takes part in a run, written out from the plan: every client with its name and topics, every stream (one topic of one publisher)
// with who receives it, and a place in shared memory for how far each receiver is. Made anew, and equally, in every thread.
import { fillPattern } from './pattern.ts';
import { isOpenLoop, type Plan, type PublisherGroup, type SubscriberGroup } from './plan.ts';

/** Somebody whose progress holds a publisher back: a subscriber, or a shared subscription. */
export interface Audience {
  /** Its places in the progress table, which add up. */
  readonly slots: readonly number[];
  /** How many of the first n of a publisher's topics it receives, n from 0 to all of them. */
  readonly reach: Uint32Array;
}

export interface PublisherSeat {
  readonly index: number;
  readonly group: PublisherGroup;
  /** Position in its group. */
  readonly position: number;
  readonly clientId: string;
  readonly userName: string | null;
  /** Its streams are numbered in a row. */
  readonly firstStream: number;
  readonly topics: readonly string[];
  /** Those that it must not run ahead of. */
  readonly audiences: Audience[];
}

export interface SubscriberSeat {
  readonly index: number;
  readonly group: SubscriberGroup;
  readonly clientId: string;
  readonly userName: string | null;
  /** As it is shown: with $share where it is shared, and with %t where there are several. */
  readonly filter: string;
  /** As it subscribes. */
  readonly filters: readonly string[];
  /** Streams that it receives, in rising order. */
  readonly streams: Int32Array;
  /** For each of them its place in the progress table, -1 where nobody waits for it. */
  readonly slots: Int32Array;
  /** Number of its shared subscription; -1: none. */
  readonly share: number;
}

export interface IdleSeat {
  readonly index: number;
  readonly clientId: string;
  readonly userName: string | null;
}

/** A shared subscription. */
export interface Share {
  readonly filter: string;
  readonly streams: Int32Array;
}

export interface Roster {
  readonly publishers: readonly PublisherSeat[];
  readonly subscribers: readonly SubscriberSeat[];
  readonly idle: readonly IdleSeat[];
  readonly shares: readonly Share[];
  /** Of each stream: its topic, its publisher, and how many times each of its messages is to be delivered. */
  readonly topics: readonly string[];
  readonly publisherOf: Int32Array;
  readonly audienceOf: Int32Array;
  /** Places in the progress table. */
  readonly slots: number;
}

export function makeRoster(plan: Plan): Roster {
  const publishers = publisherSeats(plan);
  const topics = publishers.flatMap((seat) => seat.topics);
  const publisherOf = Int32Array.from(publishers.flatMap((seat) => seat.topics.map(() => seat.index)));
  const finder = new TopicFinder(topics);
  const audienceOf = new Int32Array(topics.length);
  const shares: Share[] = [];
  const shareNumbers = new Map<string, number>();
  const shareSlots = new Map<string, number[]>();
  const reaches = new Map<string, Uint32Array>();
  let slots = 0;

  const subscribers: SubscriberSeat[] = [];
  for (const group of plan.subscribers) {
    for (let position = 0; position < group.count; position++) {
      const index = subscribers.length;
      const names = namesOf(plan, 'sub', index, position);
      const plain = filtersOf(plan, group, names);
      const streams = plain.length === 1 ? finder.find(plain[0]!) : finder.findAll(plain);
      const share = group.shared === null ? '' : `$share/${group.shared}/`;
      const filter = share + (plain.length === 1 ? plain[0]! : fillPattern(group.filter, { ...names, topic: '%t' }));
      const isFirst = group.shared === null || !shareNumbers.has(filter);
      if (isFirst) for (const stream of streams) audienceOf[stream]!++;
      if (group.shared !== null && isFirst) {
        shareNumbers.set(filter, shares.length);
        shares.push({ filter, streams });
      }
      const own = new Int32Array(streams.length).fill(-1);
      for (let from = 0, to = 0; from < streams.length; from = to) {
        const publisher = publishers[publisherOf[streams[from]!]!]!;
        while (to < streams.length && publisherOf[streams[to]!] === publisher.index) to++;
        if (group.away || isOpenLoop(publisher.group)) continue;
        const reach = reachOf(publisher, streams.subarray(from, to), filter);
        own.fill(slotOf(publisher, index, reach, filter, group.shared !== null), from, to);
      }
      subscribers.push({
        index,
        group,
        clientId: names.clientId,
        userName: names.userName,
        filter,
        filters: plain.map((one) => share + one),
        streams,
        slots: own,
        share: group.shared === null ? -1 : shareNumbers.get(filter)!,
      });
    }
  }

  /** A shared subscription has a place for each thread: each place has one writer. */
  function slotOf(publisher: PublisherSeat, subscriber: number, reach: Uint32Array, filter: string, isShared: boolean): number {
    if (!isShared) {
      publisher.audiences.push({ slots: [slots], reach });
      return slots++;
    }
    const key = `${publisher.index} ${filter}`;
    let own = shareSlots.get(key);
    if (own === undefined) {
      own = Array.from({ length: plan.threads }, () => slots++);
      shareSlots.set(key, own);
      publisher.audiences.push({ slots: own, reach });
    }
    return own[threadOf(subscriber, plan.threads)]!;
  }

  function reachOf(publisher: PublisherSeat, streams: Int32Array, filter: string): Uint32Array {
    const key = `${publisher.index} ${filter}`;
    const known = reaches.get(key);
    if (known !== undefined) return known;
    const reach = new Uint32Array(publisher.topics.length + 1);
    for (const stream of streams) reach[stream - publisher.firstStream + 1] = 1;
    for (let n = 1; n < reach.length; n++) reach[n]! += reach[n - 1]!;
    reaches.set(key, reach);
    return reach;
  }

  const idle = Array.from({ length: plan.idle }, (_, index) => {
    const { clientId, userName } = namesOf(plan, 'idle', index, index);
    return { index, clientId, userName };
  });
  return { publishers, subscribers, idle, shares, topics, publisherOf, audienceOf, slots };
}

/** The thread that a client belongs to: publisher and subscriber of the same number share one. */
export function threadOf(index: number, threads: number): number {
  return index % threads;
}

function publisherSeats(plan: Plan): PublisherSeat[] {
  const seats: PublisherSeat[] = [];
  let firstStream = 0;
  for (const group of plan.publishers) {
    for (let position = 0; position < group.count; position++) {
      const index = seats.length;
      const names = namesOf(plan, 'pub', index, position);
      const topics = Array.from({ length: group.topics }, (_, i) => {
        const topic = plan.clients.firstNumber + i;
        return fillPattern(group.topic, { ...names, topic });
      });
      const { clientId, userName } = names;
      seats.push({ index, group, position, clientId, userName, firstStream, topics, audiences: [] });
      firstStream += topics.length;
    }
  }
  return seats;
}

function filtersOf(plan: Plan, { filter, filters }: SubscriberGroup, names: ReturnType<typeof namesOf>): string[] {
  return Array.from({ length: filters }, (_, i) => fillPattern(filter, { ...names, topic: plan.clients.firstNumber + i }));
}

function namesOf(plan: Plan, role: string, index: number, position: number) {
  const { prefix, firstNumber } = plan.clients;
  // The client id is unique in the run, the number in the group: publisher and subscriber of a pair have the same.
  const clientId = `${prefix}-${role}-${firstNumber + index}`;
  const number = firstNumber + position;
  const pattern = plan.broker.userName;
  const userName = pattern === null ? null : fillPattern(pattern, { number, clientId, userName: null, topic: 0 });
  return { number, clientId, userName, topic: 0 };
}

/** Finds the topics that a filter matches (MQTT 5.0 §4.7). */
class TopicFinder {
  readonly #topics: readonly string[];
  #tree: Branch | null = null;
  readonly #byName = new Map<string, number[]>();
  /** Most subscribers of a group have the same filter. */
  readonly #found = new Map<string, Int32Array>();

  constructor(topics: readonly string[]) {
    this.#topics = topics;
    topics.forEach((topic, stream) => {
      const same = this.#byName.get(topic);
      if (same === undefined) this.#byName.set(topic, [stream]);
      else same.push(stream);
    });
  }

  find(filter: string): Int32Array {
    const known = this.#found.get(filter);
    if (known !== undefined) return known;
    const streams = Int32Array.from(/[+#]/.test(filter) ? this.#search(filter) : (this.#byName.get(filter) ?? []));
    this.#found.set(filter, streams);
    return streams;
  }

  /** Streams of any of them, in rising order. */
  findAll(filters: readonly string[]): Int32Array {
    const streams = filters.flatMap((filter) => (/[+#]/.test(filter) ? this.#search(filter) : (this.#byName.get(filter) ?? [])));
    return Int32Array.from(new Set(streams)).sort();
  }

  #search(filter: string): number[] {
    this.#tree ??= treeOf(this.#topics);
    const streams: number[] = [];
    collect(this.#tree, filter.split('/'), 0, streams);
    return streams.sort((a, b) => a - b);
  }
}

/** Topics by their levels, so that a filter looks only where it may find something. */
interface Branch {
  readonly streams: number[];
  readonly below: Map<string, Branch>;
}

function treeOf(topics: readonly string[]): Branch {
  const root: Branch = { streams: [], below: new Map() };
  topics.forEach((topic, stream) => {
    let branch = root;
    for (const level of topic.split('/')) {
      let next = branch.below.get(level);
      if (next === undefined) {
        next = { streams: [], below: new Map() };
        branch.below.set(level, next);
      }
      branch = next;
    }
    branch.streams.push(stream);
  });
  return root;
}

/** Puts the streams behind `branch` that the filter's levels from `at` on match to `found`. */
function collect(branch: Branch, levels: readonly string[], at: number, found: number[]): void {
  if (at === levels.length) {
    found.push(...branch.streams);
    return;
  }
  const level = levels[at]!;
  // What begins with $ is found by its name only [MQTT-4.7.2-1].
  const below = [...branch.below].filter(([name]) => at > 0 || !name.startsWith('$')).map(([, next]) => next);
  if (level === '#') {
    // The level above it too, but there is none above the first.
    if (at > 0) found.push(...branch.streams);
    for (const next of below) collect(next, ['', '#'], 1, found);
  } else if (level === '+') for (const next of below) collect(next, levels, at + 1, found);
  else {
    const next = branch.below.get(level);
    if (next !== undefined) collect(next, levels, at + 1, found);
  }
}
