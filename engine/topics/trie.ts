// HOT: no allocation, closures, strings, try or async per message.
// The subscriptions of all sessions, by topic filter, for up to 64 participants (threads) that subscribe, unsubscribe and match at the
// same time; nobody waits for another. One SharedArrayBuffer holds it all, in this order:
//
//   header 32 × Int32: 0 generation  16 entries and groups removed but not unlinked | epochs | nodes (levels.ts) | entries (entries.ts)
//
// A filter's node is reached level by level; `+` and `#` are children like others, and their parent also names them in a column.
//
//   filter node  7 PLUS_CHILD   8 HASH_CHILD   9 FIRST_ENTRY   10 FIRST_GROUP (groups.ts, where a group's node is described too)
//   either       11 SWEEP_AFTER, removals until the node's lists are swept
//
// A node's references are its children, its entries, and threads that are about to add one. Who gives the last one back removes the
// node, and its parent after it. An inserter goes down without references and acquires the last node that was there: while that
// one lives, all above it do. A column names its child before the subscription through it is confirmed, and until the child is removed.
//
// Entries and groups that were removed stay in their chains, marked, until so many have been removed as half of those that the last
// sweep found: one of 100,000 leaves in amortised constant time, and a reader passes no more dead ones than live ones.
// Filters come validated, names without wildcards; a filter deeper than LEVELS_MAX is refused.
import { fault, Reason } from '../../protocol/packet.ts';
import { IntList } from '../memory/int-list.ts';
import { INDEX, MARK, markLink, sweepChain } from './chain.ts';
import { ENTRY_SHIFT, Entries, entriesBytes, IDENTIFIER, LIST, NEXT_ENTRY, OPTIONS, SUBSCRIBER } from './entries.ts';
import { Epochs, epochsBytes } from './epochs.ts';
import { FIRST_ENTRY, FIRST_GROUP, Groups, NEXT_GROUP } from './groups.ts';
import { defaultLevelBytes, Levels, levelsBytes, NodeKind, OWNER, PARENT, ROOT, ROW_SHIFT } from './levels.ts';
import { HASH_CHILD, PLUS_CHILD, TopicMatcher } from './match.ts';
import { hashLevel, LevelScan, NUMBER_SIGN, PLUS_SIGN } from './scan.ts';

const GENERATION = 0;
/** Word of the header: entries and groups that stand in their chains though they were removed. For checks. */
export const LINGERING = 16;
const HEADER_WORDS = 32;
const HEADER_BYTES = HEADER_WORDS * 4;

export const SWEEP_AFTER = OWNER + 4;

/** Threads that can share a trie. */
export const PARTICIPANTS_MAX = 64;

export interface TrieOptions {
  /** Nodes reserved: levels of filters, and groups. */
  readonly nodesMax: number;
  /** Subscriptions reserved, group members included. */
  readonly subscriptionsMax: number;
  /** Bytes reserved for levels and group names longer than 16 bytes. */
  readonly levelBytesMax?: number;
  /** Moves the hash of levels; drawn at start, so that colliding filters cannot be prepared. */
  readonly seed?: number;
  /** Threads that will use the trie, 1 to PARTICIPANTS_MAX; 1 when left out. */
  readonly participantsMax?: number;
}

/** A trie's memory, to be sent to another thread. */
export interface TrieMemory extends Required<TrieOptions> {
  readonly buffer: SharedArrayBuffer;
}

/** What a topic name matched: rows of plain subscriptions, one for each filter, and handles of shared groups. Reused. */
export class MatchList {
  count = 0;
  subscriber = new Int32Array(64);
  options = new Int32Array(64);
  subscriptionId = new Int32Array(64);
  readonly groups = new IntList();

  get groupCount(): number {
    return this.groups.count;
  }

  /** Valid in [0, groupCount). */
  get group(): Int32Array {
    return this.groups.values;
  }

  clear(): void {
    this.count = 0;
    this.groups.clear();
  }

  /** Appends the entries of a list from `first` on, but of those that were removed. */
  appendList(rows: Int32Array, first: number): void {
    let { count, subscriber, options, subscriptionId } = this;
    for (let entry = first; entry !== 0; ) {
      const at = entry << ENTRY_SHIFT;
      entry = rows[at + NEXT_ENTRY]!;
      if ((entry & MARK) !== 0) {
        entry &= INDEX;
        continue;
      }
      if (count === subscriber.length) {
        this.#grow();
        ({ subscriber, options, subscriptionId } = this);
      }
      subscriber[count] = rows[at + SUBSCRIBER]!;
      options[count] = rows[at + OPTIONS]!;
      subscriptionId[count++] = rows[at + IDENTIFIER]!;
    }
    this.count = count;
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
  /** For `attach` in other threads. */
  readonly memory: TrieMemory;
  /** For checks, as are `entries` and `epochs`. */
  readonly levels: Levels;
  readonly entries: Entries;
  readonly epochs: Epochs;
  readonly #header: Int32Array;
  readonly #groups: Groups;
  readonly #scan = new LevelScan();
  readonly #matcher = new TopicMatcher();
  readonly #matched = new IntList();
  readonly #gone = new IntList();

  /** Allocates the memory, and is its participant 0; `attach` makes the others. */
  constructor(options: TrieOptions | TrieMemory, participant = 0) {
    this.memory = 'buffer' in options ? options : allocate(options);
    const { buffer, nodesMax, subscriptionsMax, levelBytesMax, seed, participantsMax } = this.memory;
    if (!(participant >= 0 && participant < participantsMax)) throw new Error('trie: no such participant');
    const capacity = { nodesMax, levelBytesMax, participantsMax };
    const levelsAt = HEADER_BYTES + epochsBytes(participantsMax);
    this.#header = new Int32Array(buffer, 0, HEADER_WORDS);
    this.epochs = new Epochs(buffer, HEADER_BYTES, participantsMax, participant);
    this.levels = new Levels(buffer, levelsAt, capacity, seed, participant);
    this.entries = new Entries(buffer, levelsAt + levelsBytes(capacity), subscriptionsMax, participantsMax, participant);
    this.#groups = new Groups(this.levels, this.entries, participantsMax);
  }

  /** The trie in another thread. Each participant, 0 to participantsMax - 1, is used by one thread at a time. */
  static attach(memory: TrieMemory, participant: number): SubscriptionTrie {
    return new SubscriptionTrie(memory, participant);
  }

  /** Differs after every change of subscriptions or rights: what was worked out from a match is valid for the generation before it. */
  get generation(): number {
    return Atomics.load(this.#header, GENERATION);
  }

  /** Nodes in use by all participants: levels of filters, and groups. */
  get nodes(): number {
    return this.levels.nodes;
  }

  /** Subscriptions of all participants, group members included. */
  get subscriptions(): number {
    return this.entries.count;
  }

  /** Bytes of all levels and group names in use. */
  get levelBytes(): number {
    return this.levels.levelBytes;
  }

  /** A new generation, for a change outside the trie that matches depend on. */
  bump(): void {
    Atomics.add(this.#header, GENERATION, 1);
  }

  /**
   * This participant holds nothing that it has read from the trie: no match, no entry of a group. To be called at the end of each turn
   * and before the thread sleeps: until then nothing is used again that others remove. Until the next operation the participant holds nobody up.
   */
  quiesce(): void {
    if (this.epochs.isAlone) return;
    this.epochs.leave();
    this.epochs.reclaim(this.levels.limbo, this.entries.limbo);
  }

  /**
   * Subscribes to the filter [from, to), which the subscriber has no entry for: the new entry, above 0. Faults: QUOTA_EXCEEDED when the
   * reserve is used up, TOPIC_FILTER_INVALID below LEVELS_MAX; then nothing has changed. Any match that begins afterwards finds it.
   * The reserve counts what is removed until all participants have been quiescent since, and a few rows that each keeps for itself.
   */
  subscribe(filter: Uint8Array, from: number, to: number, subscriber: number, options: number, subscriptionId: number): number {
    this.epochs.enter();
    const entry = this.#takeEntry();
    if (entry === 0) return fault(Reason.QUOTA_EXCEEDED);
    const node = this.#reach(filter, from, to);
    if (node < 0) return this.#refuse(entry, node);
    return this.#join(entry, node, subscriber, options, subscriptionId);
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
    this.epochs.enter();
    const entry = this.#takeEntry();
    if (entry === 0) return fault(Reason.QUOTA_EXCEEDED);
    const node = this.#reach(filter, from, to);
    if (node < 0) return this.#refuse(entry, node);
    const member = this.#reachGroup(node, group, groupFrom, groupTo);
    if (member < 0) return this.#refuse(entry, member);
    this.#groups.countMember(member, 1);
    return this.#join(entry, member, subscriber, options, subscriptionId);
  }

  /**
   * Replaces options and Subscription Identifier of an entry that is subscribed. Until the generation has moved on, another thread may
   * see the new one of the two with the old one of the other.
   */
  change(entry: number, options: number, subscriptionId: number): void {
    const row = entry << ENTRY_SHIFT;
    this.entries.rows[row + OPTIONS] = options;
    this.entries.rows[row + IDENTIFIER] = subscriptionId;
    this.bump();
  }

  /**
   * Ends the subscription of an entry that is subscribed. The entry is its session's, and one thread's with it: of the one that made it, or
   * of one that the session was handed to. No match that begins afterwards finds it.
   */
  unsubscribe(entry: number): void {
    this.epochs.enter();
    const list = this.entries.rows[(entry << ENTRY_SHIFT) + LIST]!;
    this.entries.remove(entry);
    if (this.levels.kind(list) === NodeKind.GROUP) this.#groups.countMember(list, -1);
    this.entries.countLive(-1);
    this.#countDown(list);
    this.#release(list);
    this.bump();
  }

  /** Replaces `out` with what matches the topic name [from, to); returns the number of rows and groups. */
  match(topic: Uint8Array, from: number, to: number, out: MatchList): number {
    this.epochs.enter();
    const matched = this.#matched;
    const levelRows = this.levels.rows;
    const entryRows = this.entries.rows;
    out.clear();
    matched.clear();
    this.#matcher.match(this.levels, topic, from, to, matched);
    for (let i = 0; i < matched.count; i++) {
      const row = matched.values[i]! << ROW_SHIFT;
      out.appendList(entryRows, levelRows[row + FIRST_ENTRY]!);
      if (levelRows[row + FIRST_GROUP] !== 0) this.#groups.append(matched.values[i]!, out.groups);
    }
    return out.count + out.groupCount;
  }

  /** Members of a shared group; 0 for a group that is gone. */
  groupMembers(group: number): number {
    this.epochs.enter();
    return this.#groups.members(group);
  }

  /** The entry of the member whose turn it is, after which it is the next one's; -1 for a group that is gone. Valid until `quiesce`. */
  groupNext(group: number): number {
    this.epochs.enter();
    return this.#groups.next(group);
  }

  /**
   * The entry after `entry` in the round, which has no end: `groupMembers` steps see every member once. From -1, or an
   * entry that is no member any more, the one whose turn is next. -1 for a group that is gone. Valid until `quiesce`.
   */
  groupMemberAfter(group: number, entry: number): number {
    this.epochs.enter();
    return this.#groups.memberAfter(group, entry);
  }

  entrySubscriber(entry: number): number {
    return this.entries.rows[(entry << ENTRY_SHIFT) + SUBSCRIBER]!;
  }

  entryOptions(entry: number): number {
    return this.entries.rows[(entry << ENTRY_SHIFT) + OPTIONS]!;
  }

  entrySubscriptionId(entry: number): number {
    return this.entries.rows[(entry << ENTRY_SHIFT) + IDENTIFIER]!;
  }

  /** The filter's node, made where it is missing, with a reference that is the caller's; or a fault. */
  #reach(filter: Uint8Array, from: number, to: number): number {
    const scan = this.#scan;
    const { levels } = this;
    if (!scan.read(filter, from, to, levels.seed)) return fault(Reason.TOPIC_FILTER_INVALID);
    let depth = 0;
    let node = ROOT;
    do {
      depth = 0;
      node = ROOT;
      while (depth < scan.count) {
        const child = levels.find(node, NodeKind.LEVEL, scan.hash[depth]!, filter, scan.from[depth]!, scan.to[depth]!);
        if (child === 0) break;
        node = child;
        depth++;
      }
    } while (!levels.acquire(node)); // it was removed meanwhile
    if (!this.epochs.isAlone) this.#nameAbove(node);
    for (; depth < scan.count; depth++) {
      const child = this.#addChild(node, depth, filter);
      if (child === 0) {
        this.#release(node);
        return fault(Reason.QUOTA_EXCEEDED);
      }
      this.#nameInParent(node, child);
      node = child;
    }
    return node;
  }

  #addChild(node: number, depth: number, filter: Uint8Array): number {
    const { levels } = this;
    const scan = this.#scan;
    const hash = scan.hash[depth]!;
    const from = scan.from[depth]!;
    const to = scan.to[depth]!;
    const child = levels.add(node, NodeKind.LEVEL, hash, filter, from, to);
    if (child !== 0 || !this.#makeRoom()) return child;
    return levels.add(node, NodeKind.LEVEL, hash, filter, from, to);
  }

  /** The node of a filter's group, made where it is missing. The reference to the filter's node is given for one to it; or a fault. */
  #reachGroup(node: number, group: Uint8Array, from: number, to: number): number {
    const { levels } = this;
    const hash = hashLevel(group, from, to, levels.seed);
    for (;;) {
      const known = levels.find(node, NodeKind.GROUP, hash, group, from, to);
      if (known === 0) break;
      if (!levels.acquire(known)) continue;
      this.#release(node);
      return known;
    }
    let made = levels.make(node, NodeKind.GROUP, hash, group, from, to);
    if (made === 0 && this.#makeRoom()) made = levels.make(node, NodeKind.GROUP, hash, group, from, to);
    if (made === 0) {
      this.#release(node);
      return fault(Reason.QUOTA_EXCEEDED);
    }
    // In the chain of groups before anybody can find and join it, so that who joins is seen. One without members shows nothing.
    this.#groups.link(made);
    const member = levels.publish(made, hash, group, from, to);
    if (member !== made) this.#release(made);
    return member;
  }

  #takeEntry(): number {
    const entry = this.entries.pool.take();
    if (entry !== 0 || !this.#makeRoom()) return entry;
    return this.entries.pool.take();
  }

  #refuse(entry: number, reason: number): number {
    this.entries.free(entry);
    return reason;
  }

  /** Enters the entry in a list; the caller's reference to the node is the entry's from now on. */
  #join(entry: number, list: number, subscriber: number, options: number, identifier: number): number {
    const { entries } = this;
    entries.add(entry, list, this.levels.rows, (list << ROW_SHIFT) + FIRST_ENTRY, subscriber, options, identifier);
    entries.countLive(1);
    this.bump();
    return entry;
  }

  /** Sees to the columns from a node that is held up to the root: who added a wildcard child may not have got to it yet. */
  #nameAbove(from: number): void {
    const { rows } = this.levels;
    for (let node = from; node !== ROOT; ) {
      const above = rows[(node << ROW_SHIFT) + PARENT]!;
      this.#nameInParent(above, node);
      node = above;
    }
  }

  /** Names a child that is held in its parent's column where it is a wildcard. What stands there else is dead. */
  #nameInParent(parent: number, child: number): void {
    const { rows } = this.levels;
    const byte = this.levels.onlyByte(child);
    if (byte !== PLUS_SIGN && byte !== NUMBER_SIGN) return;
    const at = (parent << ROW_SHIFT) + (byte === PLUS_SIGN ? PLUS_CHILD : HASH_CHILD);
    for (;;) {
      const named = Atomics.load(rows, at);
      if (named === child || Atomics.compareExchange(rows, at, named, child) === named) return;
    }
  }

  /** Gives a reference to a node back; removes it, and those above it, where it was the last one. */
  #release(from: number): void {
    let node = from;
    while (this.levels.release(node)) node = this.#remove(node);
  }

  /** Removes a dead node; returns its parent, whose reference is to be released. */
  #remove(node: number): number {
    const { levels } = this;
    const { rows } = levels;
    const row = node << ROW_SHIFT;
    const above = rows[row + PARENT]!;
    this.#sweep(node);
    if (levels.kind(node) === NodeKind.GROUP) {
      levels.remove(node);
      markLink(rows, row + NEXT_GROUP);
      this.#countDown(above);
      return above;
    }
    const plus = (above << ROW_SHIFT) + PLUS_CHILD;
    const hash = (above << ROW_SHIFT) + HASH_CHILD;
    // Only who held the node could have named it: nobody does so any more.
    if (rows[plus] === node) Atomics.compareExchange(rows, plus, node, 0);
    else if (rows[hash] === node) Atomics.compareExchange(rows, hash, node, 0);
    levels.remove(node);
    levels.retire(node);
    return above;
  }

  /** An entry or a group of a node that is held has been removed. */
  #countDown(node: number): void {
    const { rows } = this.levels;
    const at = (node << ROW_SHIFT) + SWEEP_AFTER;
    this.#linger(1);
    if (!this.epochs.isAlone) {
      if (Atomics.sub(rows, at, 1) <= 0) this.#sweep(node);
    } else if (rows[at] === 0) this.#sweep(node);
    else rows[at] = rows[at]! - 1;
  }

  /** Unlinks what was removed from the lists of a node that is held, or dead by the caller's doing. */
  #sweep(node: number): void {
    const { levels, entries } = this;
    const { rows } = levels;
    const gone = this.#gone;
    const row = node << ROW_SHIFT;
    const isGroup = levels.kind(node) === NodeKind.GROUP;
    if (rows[row + FIRST_ENTRY] === 0 && (isGroup || rows[row + FIRST_GROUP] === 0)) return;
    let left = 0;
    // Plainly: what this sweep has to unlink was linked before the caller knew of it.
    if (rows[row + FIRST_ENTRY] !== 0) {
      gone.clear();
      left = entries.sweep(rows, row + FIRST_ENTRY, gone);
      for (let i = 0; i < gone.count; i++) {
        if (isGroup) this.#groups.passOver(node, gone.values[i]!);
        entries.retire(gone.values[i]!);
      }
      this.#linger(-gone.count);
    }
    if (!isGroup && rows[row + FIRST_GROUP] !== 0) {
      gone.clear();
      left += sweepChain(rows, row + FIRST_GROUP, rows, ROW_SHIFT, NEXT_GROUP, gone);
      for (let i = 0; i < gone.count; i++) levels.retire(gone.values[i]!);
      this.#linger(-gone.count);
    }
    rows[row + SWEEP_AFTER] = left >> 1; // removals that are counted at this moment may be forgotten: the next sweep comes a little later
  }

  /** So many more items that were removed stand in a chain. */
  #linger(by: number): void {
    if (this.epochs.isAlone) this.#header[LINGERING] = this.#header[LINGERING]! + by;
    else if (by !== 0) Atomics.add(this.#header, LINGERING, by);
  }

  /** Looks for memory where none was free: what waited long enough, and what still stands in a chain. True: it may be worth trying again. */
  #makeRoom(): boolean {
    if (Atomics.load(this.#header, LINGERING) > 0) this.#sweepAll();
    if (!this.epochs.isAlone) this.epochs.reclaim(this.levels.limbo, this.entries.limbo);
    return true;
  }

  /** Sweeps all lists until nothing that was removed stands in one: work in proportion to the table, done only when it is full. */
  #sweepAll(): void {
    const { levels } = this;
    const { rows } = levels;
    for (let node = levels.pool.used; node > ROOT && Atomics.load(this.#header, LINGERING) > 0; node--) {
      const row = node << ROW_SHIFT;
      const mayHaveGroups = levels.kind(node) === NodeKind.LEVEL && rows[row + FIRST_GROUP] !== 0;
      if ((rows[row + FIRST_ENTRY] === 0 && !mayHaveGroups) || !levels.acquire(node)) continue;
      this.#sweep(node);
      this.#release(node);
    }
  }
}

function allocate(options: TrieOptions): TrieMemory {
  const { nodesMax, subscriptionsMax, seed = 0, participantsMax = 1 } = options;
  if (!(participantsMax >= 1 && participantsMax <= PARTICIPANTS_MAX)) throw new Error('trie: too many participants');
  const levelBytesMax = options.levelBytesMax ?? defaultLevelBytes(nodesMax);
  const bytes =
    HEADER_BYTES +
    epochsBytes(participantsMax) +
    levelsBytes({ nodesMax, levelBytesMax, participantsMax }) +
    entriesBytes(subscriptionsMax, participantsMax);
  return { buffer: new SharedArrayBuffer(bytes), nodesMax, subscriptionsMax, levelBytesMax, seed, participantsMax };
}
