// HOT: no allocation, closures, strings, try or async per message.
// The subscriptions of all sessions, by topic filter. One SharedArrayBuffer holds it all, in this order:
//
//   header 16 × Int32: 0 generation | nodes (levels.ts) | subscriptions (entries.ts)
//
// A filter's node is reached level by level; `+` and `#` are children like others, and their parent also names them in a column.
//
//   filter node  7 PLUS_CHILD   8 HASH_CHILD   9 FIRST_ENTRY   10 FIRST_GROUP (groups.ts, where a group's node is described too)
//
// A node's references are its children and its entries: with none left it is removed, and its parent after it.
// Filters come validated, names without wildcards; a filter deeper than LEVELS_MAX is refused.
import { fault, Reason } from '../../protocol/packet.ts';
import { IntList } from '../memory/int-list.ts';
import { ENTRY_SHIFT, Entries, entriesBytes, IDENTIFIER, NEXT_ENTRY, OPTIONS, SUBSCRIBER } from './entries.ts';
import { FIRST_ENTRY, Groups } from './groups.ts';
import { defaultLevelBytes, Levels, levelsBytes, NodeKind, PARENT, REFERENCES, ROOT, ROW_SHIFT } from './levels.ts';
import { HASH_CHILD, PLUS_CHILD, TopicMatcher } from './match.ts';
import { hashLevel, LevelScan, NUMBER_SIGN, PLUS_SIGN } from './scan.ts';

const GENERATION = 0;
const HEADER_BYTES = 64;

export interface TrieOptions {
  /** Nodes reserved: levels of filters, and groups. */
  readonly nodesMax: number;
  /** Subscriptions reserved, group members included. */
  readonly subscriptionsMax: number;
  /** Bytes reserved for levels and group names longer than 16 bytes. */
  readonly levelBytesMax?: number;
  /** Moves the hash of levels; drawn at start, so that colliding filters cannot be prepared. */
  readonly seed?: number;
}

/** What a topic name matched: rows of plain subscriptions, one for each filter, and handles of shared groups. Reused. */
export class MatchList {
  count = 0;
  subscriber = new Int32Array(64);
  options = new Int32Array(64);
  subscriptionId = new Int32Array(64);
  readonly #groups = new IntList();

  get groupCount(): number {
    return this.#groups.count;
  }

  /** Valid in [0, groupCount). */
  get group(): Int32Array {
    return this.#groups.values;
  }

  clear(): void {
    this.count = 0;
    this.#groups.clear();
  }

  push(subscriber: number, options: number, subscriptionId: number): void {
    const at = this.count++;
    if (at === this.subscriber.length) this.#grow();
    this.subscriber[at] = subscriber;
    this.options[at] = options;
    this.subscriptionId[at] = subscriptionId;
  }

  pushGroup(group: number): void {
    this.#groups.push(group);
  }

  #grow(): void {
    this.subscriber = widen(this.subscriber);
    this.options = widen(this.options);
    this.subscriptionId = widen(this.subscriptionId);
  }
}

function widen(column: Int32Array): Int32Array<ArrayBuffer> {
  const wide = new Int32Array(column.length * 2);
  wide.set(column);
  return wide;
}

export class SubscriptionTrie {
  readonly #header: Int32Array;
  readonly #levels: Levels;
  readonly #entries: Entries;
  readonly #groups: Groups;
  readonly #scan = new LevelScan();
  readonly #matcher = new TopicMatcher();
  readonly #matched = new IntList();

  constructor(options: TrieOptions) {
    const { nodesMax, subscriptionsMax } = options;
    const capacity = { nodesMax, levelBytesMax: options.levelBytesMax ?? defaultLevelBytes(nodesMax) };
    const entriesAt = HEADER_BYTES + levelsBytes(capacity);
    const buffer = new SharedArrayBuffer(entriesAt + entriesBytes(subscriptionsMax));
    this.#header = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#levels = new Levels(buffer, HEADER_BYTES, capacity, options.seed ?? 0);
    this.#entries = new Entries(buffer, entriesAt, subscriptionsMax);
    this.#groups = new Groups(this.#levels, this.#entries);
  }

  /** Differs after every change of subscriptions or rights: what was worked out from a match is valid for one generation. */
  get generation(): number {
    return Atomics.load(this.#header, GENERATION);
  }

  /** Nodes in use: levels of filters, and groups. */
  get nodes(): number {
    return this.#levels.nodes;
  }

  /** Subscriptions in use, group members included. */
  get subscriptions(): number {
    return this.#entries.count;
  }

  /** Bytes of all levels and group names in use. */
  get levelBytes(): number {
    return this.#levels.levelBytes;
  }

  /** A new generation, for a change outside the trie that matches depend on. */
  bump(): void {
    Atomics.add(this.#header, GENERATION, 1);
  }

  /**
   * Subscribes to the filter [from, to): 1 for a new subscription, 0 when it replaced the options and identifier of one. Faults:
   * QUOTA_EXCEEDED when the reserve is used up, TOPIC_FILTER_INVALID below LEVELS_MAX; then nothing has changed.
   */
  subscribe(filter: Uint8Array, from: number, to: number, subscriber: number, options: number, subscriptionId: number): number {
    const node = this.#reach(filter, from, to);
    return node < 0 ? node : this.#enter(node, subscriber, options, subscriptionId);
  }

  /** 1 when the subscription was there and is gone, 0 when there was none. */
  unsubscribe(filter: Uint8Array, from: number, to: number, subscriber: number): number {
    const node = this.#lookUp(filter, from, to);
    return node === 0 ? 0 : this.#leave(node, subscriber);
  }

  /** As `subscribe`, as a member of the shared group named [groupFrom, groupTo) of `group` (MQTT 5.0 §4.8.2). */
  subscribeShared(
    group: Uint8Array,
    groupFrom: number,
    groupTo: number,
    filter: Uint8Array,
    from: number,
    to: number,
    subscriber: number,
    options: number,
    subscriptionId: number,
  ): number {
    const node = this.#reach(filter, from, to);
    if (node < 0) return node;
    const hash = hashLevel(group, groupFrom, groupTo, this.#levels.seed);
    let member = this.#levels.find(node, NodeKind.GROUP, hash, group, groupFrom, groupTo);
    if (member === 0) {
      member = this.#levels.add(node, NodeKind.GROUP, hash, group, groupFrom, groupTo);
      if (member === 0) return this.#giveUp(node);
      this.#groups.link(member);
    }
    return this.#enter(member, subscriber, options, subscriptionId);
  }

  /** As `unsubscribe`, from a shared group. */
  unsubscribeShared(
    group: Uint8Array,
    groupFrom: number,
    groupTo: number,
    filter: Uint8Array,
    from: number,
    to: number,
    subscriber: number,
  ): number {
    const node = this.#lookUp(filter, from, to);
    if (node === 0) return 0;
    const hash = hashLevel(group, groupFrom, groupTo, this.#levels.seed);
    const member = this.#levels.find(node, NodeKind.GROUP, hash, group, groupFrom, groupTo);
    return member === 0 ? 0 : this.#leave(member, subscriber);
  }

  /** Replaces `out` with what matches the topic name [from, to); returns the number of rows and groups. */
  match(topic: Uint8Array, from: number, to: number, out: MatchList): number {
    const matched = this.#matched;
    const levelRows = this.#levels.rows;
    const entryRows = this.#entries.rows;
    out.clear();
    matched.clear();
    this.#matcher.match(this.#levels, topic, from, to, matched);
    for (let i = 0; i < matched.count; i++) {
      const row = matched.values[i]! << ROW_SHIFT;
      for (let entry = levelRows[row + FIRST_ENTRY]!; entry !== 0; ) {
        const at = entry << ENTRY_SHIFT;
        out.push(entryRows[at + SUBSCRIBER]!, entryRows[at + OPTIONS]!, entryRows[at + IDENTIFIER]!);
        entry = entryRows[at + NEXT_ENTRY]!;
      }
      for (let group = this.#groups.first(matched.values[i]!); group !== 0; group = this.#groups.after(group)) {
        out.pushGroup(this.#groups.handle(group));
      }
    }
    return out.count + out.groupCount;
  }

  /** Members of a shared group; 0 for a group that is gone. */
  groupMembers(group: number): number {
    return this.#groups.members(group);
  }

  /** The entry of the member whose turn it is, after which it is the next one's; -1 for a group that is gone. */
  groupNext(group: number): number {
    return this.#groups.next(group);
  }

  /**
   * The entry after `entry` in the round, which has no end: `groupMembers` steps see every member once. From -1, or an
   * entry that is no member any more, the one whose turn is next. -1 for a group that is gone.
   */
  groupMemberAfter(group: number, entry: number): number {
    return this.#groups.memberAfter(group, entry);
  }

  entrySubscriber(entry: number): number {
    return this.#entries.rows[(entry << ENTRY_SHIFT) + SUBSCRIBER]!;
  }

  entryOptions(entry: number): number {
    return this.#entries.rows[(entry << ENTRY_SHIFT) + OPTIONS]!;
  }

  entrySubscriptionId(entry: number): number {
    return this.#entries.rows[(entry << ENTRY_SHIFT) + IDENTIFIER]!;
  }

  /** The filter's node; 0 when there is none. */
  #lookUp(filter: Uint8Array, from: number, to: number): number {
    return this.#scan.read(filter, from, to, this.#levels.seed) ? this.#levels.lookUp(this.#scan, filter) : 0;
  }

  /** The filter's node, made where it is missing. The caller enters a subscription or gives up. */
  #reach(filter: Uint8Array, from: number, to: number): number {
    const scan = this.#scan;
    const levels = this.#levels;
    if (!scan.read(filter, from, to, levels.seed)) return fault(Reason.TOPIC_FILTER_INVALID);
    let node = ROOT;
    for (let depth = 0; depth < scan.count; depth++) {
      const levelFrom = scan.from[depth]!;
      const levelTo = scan.to[depth]!;
      let child = levels.find(node, NodeKind.LEVEL, scan.hash[depth]!, filter, levelFrom, levelTo);
      if (child === 0) {
        child = levels.add(node, NodeKind.LEVEL, scan.hash[depth]!, filter, levelFrom, levelTo);
        if (child === 0) return this.#giveUp(node);
        const byte = levelTo - levelFrom === 1 ? filter[levelFrom]! : -1;
        if (byte === PLUS_SIGN) levels.rows[(node << ROW_SHIFT) + PLUS_CHILD] = child;
        else if (byte === NUMBER_SIGN) levels.rows[(node << ROW_SHIFT) + HASH_CHILD] = child;
      }
      node = child;
    }
    return node;
  }

  /** Takes back the nodes that were made for a subscription that did not find room. */
  #giveUp(node: number): number {
    this.#prune(node);
    return fault(Reason.QUOTA_EXCEEDED);
  }

  #enter(list: number, subscriber: number, options: number, identifier: number): number {
    const entries = this.#entries;
    const known = entries.find(list, subscriber);
    if (known !== 0) {
      entries.rows[(known << ENTRY_SHIFT) + OPTIONS] = options;
      entries.rows[(known << ENTRY_SHIFT) + IDENTIFIER] = identifier;
      this.bump();
      return 0;
    }
    if (entries.isFull) return this.#giveUp(list);
    const head = (list << ROW_SHIFT) + FIRST_ENTRY;
    const entry = entries.add(list, this.#levels.rows[head]!, subscriber, options, identifier);
    Atomics.store(this.#levels.rows, head, entry);
    this.#levels.refer(list, 1);
    this.bump();
    return 1;
  }

  #leave(list: number, subscriber: number): number {
    const { rows } = this.#levels;
    const entry = this.#entries.find(list, subscriber);
    if (entry === 0) return 0;
    const row = list << ROW_SHIFT;
    const at = entry << ENTRY_SHIFT;
    if (rows[row + FIRST_ENTRY] === entry) Atomics.store(rows, row + FIRST_ENTRY, this.#entries.rows[at + NEXT_ENTRY]!);
    if (this.#levels.kind(list) === NodeKind.GROUP) this.#groups.leave(list, entry);
    this.#entries.remove(entry);
    this.#levels.refer(list, -1);
    this.#prune(list);
    this.bump();
    return 1;
  }

  /** Removes the node and those above it that nothing refers to any more. */
  #prune(from: number): void {
    const levels = this.#levels;
    const { rows } = levels;
    let node = from;
    while (node !== ROOT && rows[(node << ROW_SHIFT) + REFERENCES] === 0) {
      const above = rows[(node << ROW_SHIFT) + PARENT]! << ROW_SHIFT;
      if (levels.kind(node) === NodeKind.GROUP) this.#groups.unlink(node);
      else if (rows[above + PLUS_CHILD] === node) rows[above + PLUS_CHILD] = 0;
      else if (rows[above + HASH_CHILD] === node) rows[above + HASH_CHILD] = 0;
      node = levels.remove(node);
    }
  }
}
