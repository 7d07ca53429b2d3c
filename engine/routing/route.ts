// Routes: who receives a topic, worked out once for each distinct topic and kept until the trie changes.
//
// A match lists one row for each matching subscription. A route has one target for each receiving session, as MQTT 5.0
// §3.3.4 has it: the highest QoS of its overlapping subscriptions and all their Subscription Identifiers. Receivers
// without the right to read the topic are left out here, so rights cost nothing per message; whatever changes rights, bumps the trie's generation.
import { varintBytes, writeVarint } from '../../protocol/bytes.ts';
import type { Limits } from '../../protocol/limits.ts';
import { NO_BYTES } from '../../protocol/publish.ts';
import { validateTopicName } from '../../protocol/topic.ts';
import type { Rights } from '../gate.ts';
import type { Peers } from '../peers/peers.ts';
import { RemoteTargets } from '../peers/route-places.ts';
import type { SessionTable } from '../sessions/table.ts';
import { SubscriptionOption, type Target, targetFor } from '../sessions/target.ts';
import { TopicCache } from '../topics/cache.ts';
import { MatchList, type SubscriptionTrie } from '../topics/trie.ts';

const PROPERTY_SUBSCRIPTION_IDENTIFIER = 0x0b;
/** Targets that all cached routes together may hold, stale ones included: beyond it the cache starts anew. About 70 MiB. */
const CACHED_TARGETS_MAX = 786_432;

/** Rows that are compared with each other rather than gathered by session. */
const DISTINCT_ROWS_MAX = 16;
/** What a target keeps of its subscription's options. */
const TARGET_OPTIONS = SubscriptionOption.QOS_MASK | SubscriptionOption.NO_LOCAL | SubscriptionOption.RETAIN_AS_PUBLISHED;

let routesMade = 0;

export class Route {
  /** Of no other route of the process: what is remembered by it keeps no route alive. */
  readonly number = ++routesMade;
  readonly targets: readonly Target[];
  /** Handles of the shared groups that match. */
  readonly groups: readonly number[];
  /** Receivers that other shards host, by shard. */
  readonly remotes: readonly RemoteTargets[];
  /** Targets of group members, by entry, made as they are chosen; null until the first. */
  members: Map<number, Target> | null = null;
  /** A topic that clients may not publish to: the broker's own. */
  readonly reserved: boolean;

  constructor(targets: readonly Target[], remotes: readonly RemoteTargets[], groups: readonly number[], reserved: boolean) {
    this.targets = targets;
    this.remotes = remotes;
    this.groups = groups;
    this.reserved = reserved;
  }

  get isEmpty(): boolean {
    return this.targets.length === 0 && this.groups.length === 0 && this.remotes.length === 0;
  }
}

/** Whether a QoS 0 message goes to the same receivers in the same form by either route. Shared groups choose anew for each message. */
export function sameWay(a: Route, b: Route): boolean {
  if (a === b) return true;
  const { targets } = a;
  if (targets.length !== b.targets.length || a.groups.length > 0 || b.groups.length > 0) return false;
  for (let i = 0; i < targets.length; i++) if (!sameForm(targets[i]!, b.targets[i]!)) return false;
  return a.remotes.length === b.remotes.length && (a.remotes.length === 0 || sameRemotes(a, b));
}

function sameRemotes(a: Route, b: Route): boolean {
  for (let at = 0; at < a.remotes.length; at++) {
    const one = a.remotes[at]!;
    const other = b.remotes[at]!;
    if (one.shard !== other.shard || one.targets.length !== other.targets.length) return false;
    for (let i = 0; i < one.targets.length; i++) if (!sameForm(one.targets[i]!, other.targets[i]!)) return false;
  }
  return true;
}

function sameForm(a: Target, b: Target): boolean {
  return (
    a.subscriber === b.subscriber &&
    ((a.options ^ b.options) & SubscriptionOption.NO_LOCAL) === 0 &&
    a.ofOwn === b.ofOwn &&
    a.subscriptionIds.length === 0 &&
    b.subscriptionIds.length === 0
  );
}

export class RouteTable {
  readonly trie: SubscriptionTrie;
  readonly cache: TopicCache<Route | null>;
  /** Result of the last successful `find`. */
  found: Route = NO_ROUTE;
  readonly #sessions: SessionTable;
  readonly #limits: Limits;
  /** Null: everything is allowed. Whoever changes them bumps the trie. */
  rights: Rights | null;
  readonly #matches = new MatchList();
  readonly #peers: Peers | null;
  #cachedTargets = 0;

  constructor(trie: SubscriptionTrie, sessions: SessionTable, limits: Limits, rights: Rights | null, peers: Peers | null) {
    this.trie = trie;
    this.cache = new TopicCache(limits.topicCacheEntries);
    this.#sessions = sessions;
    this.#limits = limits;
    this.rights = rights;
    this.#peers = peers;
  }

  /** Finds the route of a topic name and leaves it in `found`; 0, or a fault when the name is not valid. HOT on a hit. */
  find(topic: Uint8Array, from: number, to: number): number {
    const { generation } = this.trie; // read before the match, which another thread's change may overtake
    const slot = this.cache.find(topic, from, to, generation);
    if (slot >= 0) {
      this.found = this.cache.values[slot]!;
      return 0;
    }
    const levels = validateTopicName(topic, from, to, this.#limits.topicBytesMax, this.#limits.topicLevelsMax);
    if (levels < 0) return levels;
    this.found = this.#build(topic, from, to);
    this.#keep(topic, from, to, generation);
    return 0;
  }

  /** The target of a shared group's member that the trie chose. */
  memberTarget(route: Route, group: number, entry: number): Target {
    route.members ??= new Map();
    const known = route.members.get(entry);
    if (known !== undefined) return known;
    const { trie } = this;
    const ids = encodeIdentifiers([trie.entrySubscriptionId(entry)]);
    const made = targetFor(trie.entrySubscriber(entry), trie.entryOptions(entry), ids, group);
    route.members.set(entry, made);
    return made;
  }

  /** Whether a session may be sent this topic. */
  mayReceive(subscriber: number, topic: Uint8Array, from: number, to: number): boolean {
    if (this.rights === null) return true;
    const session = this.#sessions.at(subscriber);
    return session !== null && this.rights.mayReceive(session.principal, session.clientId, topic, from, to);
  }

  #keep(topic: Uint8Array, from: number, to: number, generation: number): void {
    let targets = this.found.targets.length;
    for (const remote of this.found.remotes) targets += remote.targets.length;
    if (targets > CACHED_TARGETS_MAX) return;
    // A slot that went stale keeps its route until it is used again, so what was put counts until the cache is cleared.
    if (this.#cachedTargets + targets > CACHED_TARGETS_MAX) {
      this.cache.clear();
      this.#cachedTargets = 0;
    }
    if (this.cache.put(topic, from, to, generation, this.found) >= 0) this.#cachedTargets += targets;
  }

  #build(topic: Uint8Array, from: number, to: number): Route {
    const matches = this.#matches;
    this.trie.match(topic, from, to, matches);
    const targets = areDistinct(matches) ? this.#targetsOfRows(topic, from, to) : this.#targetsOfSubscribers(topic, from, to);
    const groups = matches.groupCount === 0 ? NO_GROUPS : Array.from(matches.group.subarray(0, matches.groupCount));
    const reserved = isReserved(topic, from, to);
    if (this.#peers === null) return new Route(targets, NO_REMOTES, groups, reserved);
    const { here, remotes } = splitByShard(this.#peers, targets);
    return new Route(here, remotes, groups, reserved);
  }

  /** Rights that this shard knows; what the session of another shard may read, is asked there. */
  #mayBeTold(subscriber: number, topic: Uint8Array, from: number, to: number): boolean {
    if (this.rights === null) return true;
    return (this.#peers !== null && this.#sessions.at(subscriber) === null) || this.mayReceive(subscriber, topic, from, to);
  }

  #targetsOfRows(topic: Uint8Array, from: number, to: number): Target[] {
    const matches = this.#matches;
    const targets: Target[] = [];
    for (let row = 0; row < matches.count; row++)
      if (this.#mayBeTold(matches.subscriber[row]!, topic, from, to)) targets.push(targetOfRow(matches, row));
    return targets;
  }

  #targetsOfSubscribers(topic: Uint8Array, from: number, to: number): Target[] {
    const matches = this.#matches;
    const rows = new Map<number, number[]>();
    for (let row = 0; row < matches.count; row++) {
      const subscriber = matches.subscriber[row]!;
      const own = rows.get(subscriber);
      if (own !== undefined) own.push(row);
      else if (this.#mayBeTold(subscriber, topic, from, to)) rows.set(subscriber, [row]);
    }
    return Array.from(rows, ([subscriber, own]) => mergeRows(matches, subscriber, own));
  }
}

/** Whether a short match has no two rows of one session: the usual case, which needs no merging. */
function areDistinct({ count, subscriber }: MatchList): boolean {
  if (count > DISTINCT_ROWS_MAX) return false;
  for (let row = 1; row < count; row++)
    for (let other = 0; other < row; other++) if (subscriber[row] === subscriber[other]) return false;
  return true;
}

function targetOfRow(matches: MatchList, row: number): Target {
  const identifier = matches.subscriptionId[row]!;
  const ids = identifier === 0 ? NO_BYTES : encodeIdentifiers([identifier]);
  return targetFor(matches.subscriber[row]!, matches.options[row]! & TARGET_OPTIONS, ids);
}

/** One target for all matching subscriptions of a session (MQTT 5.0 §3.3.4). */
function mergeRows(matches: MatchList, subscriber: number, rows: readonly number[]): Target {
  let anyNoLocal = false;
  for (const row of rows) if ((matches.options[row]! & SubscriptionOption.NO_LOCAL) !== 0) anyNoLocal = true;
  const all = mergeOptions(matches, subscriber, rows, null);
  if (!anyNoLocal) return all;
  const ofOthers = rows.filter((row) => (matches.options[row]! & SubscriptionOption.NO_LOCAL) === 0);
  const ofOwn = ofOthers.length === 0 ? null : mergeOptions(matches, subscriber, ofOthers, null);
  return { ...all, options: all.options | SubscriptionOption.NO_LOCAL, ofOwn };
}

function mergeOptions(matches: MatchList, subscriber: number, rows: readonly number[], ofOwn: Target | null): Target {
  let qos = 0;
  let retainAsPublished = 0;
  const identifiers: number[] = [];
  for (const row of rows) {
    const options = matches.options[row]!;
    qos = Math.max(qos, options & SubscriptionOption.QOS_MASK); // [MQTT-3.3.4-2]
    retainAsPublished |= options & SubscriptionOption.RETAIN_AS_PUBLISHED;
    identifiers.push(matches.subscriptionId[row]!);
  }
  return targetFor(subscriber, qos | retainAsPublished, encodeIdentifiers(identifiers), -1, ofOwn);
}

/** Subscription Identifier properties as they stand in a PUBLISH; 0 stands for none. [MQTT-3.3.4-3] [MQTT-3.3.4-4] */
export function encodeIdentifiers(identifiers: readonly number[]): Uint8Array {
  const present = identifiers.filter((identifier) => identifier !== 0);
  if (present.length === 0) return NO_BYTES;
  const bytes = new Uint8Array(present.reduce((sum, identifier) => sum + 1 + varintBytes(identifier), 0));
  let at = 0;
  for (const identifier of present) {
    bytes[at] = PROPERTY_SUBSCRIPTION_IDENTIFIER;
    at = writeVarint(bytes, at + 1, identifier);
  }
  return bytes;
}

const SYS = Buffer.from('$SYS');

/** `$SYS` and what is below it belongs to the broker. */
function isReserved(topic: Uint8Array, from: number, to: number): boolean {
  if (to - from < SYS.length) return false;
  for (let i = 0; i < SYS.length; i++) if (topic[from + i] !== SYS[i]) return false;
  return to - from === SYS.length || topic[from + SYS.length] === 0x2f;
}

/** Targets by the shard that hosts them. The roster is asked once for each: a session that moves meanwhile must not be in two places. */
function splitByShard(
  peers: Peers,
  targets: readonly Target[],
): { readonly here: readonly Target[]; readonly remotes: readonly RemoteTargets[] } {
  const here: Target[] = [];
  const byShard = new Map<number, Target[]>();
  for (const target of targets) {
    const owner = peers.roster.owner(target.subscriber);
    const known = byShard.get(owner);
    if (owner === peers.index) here.push(target);
    else if (owner < 0)
      continue; // it has ended
    else if (known === undefined) byShard.set(owner, [target]);
    else known.push(target);
  }
  return { here, remotes: Array.from(byShard, ([owner, own]) => new RemoteTargets(owner, own)) };
}

const NO_GROUPS: readonly number[] = [];
const NO_REMOTES: readonly RemoteTargets[] = [];
const NO_ROUTE = new Route([], NO_REMOTES, NO_GROUPS, false);
