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
  /** As it subscribes: with $share where it is shared. */
  readonly filter: string;
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
      const plain = fillPattern(group.filter, names);
      const streams = finder.find(plain);
      const filter = group.shared === null ? plain : `$share/${group.shared}/${plain}`;
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
  readonly #levels: (readonly string[])[] = [];
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

  #search(filter: string): number[] {
    if (this.#levels.length === 0) for (const topic of this.#topics) this.#levels.push(topic.split('/'));
    const wanted = filter.split('/');
    const streams: number[] = [];
    this.#levels.forEach((levels, stream) => {
      if (matches(wanted, levels)) streams.push(stream);
    });
    return streams;
  }
}

function matches(filter: readonly string[], topic: readonly string[]): boolean {
  if (topic[0]!.startsWith('$') && /^[+#]$/.test(filter[0]!)) return false;
  for (let i = 0; i < filter.length; i++) {
    if (filter[i] === '#') return true;
    if (i >= topic.length || (filter[i] !== '+' && filter[i] !== topic[i])) return false;
  }
  return filter.length === topic.length;
}
