// Takes stock of a trie while no thread is in an operation: walks the whole structure from its memory and compares it with what
// its counters, references and columns say. Every row must be accounted for exactly once.
import { IntList } from '../../engine/memory/int-list.ts';
import { FreeCells } from '../../engine/topics/cells.ts';
import { INDEX, MARK } from '../../engine/topics/chain.ts';
import { ENTRY_SHIFT, LIST, NEXT_ENTRY } from '../../engine/topics/entries.ts';
import { FIRST_ENTRY, FIRST_GROUP, MEMBERS, NEXT_GROUP } from '../../engine/topics/groups.ts';
import { NEXT, NodeKind, PARENT, REFERENCES, ROOT, ROW_SHIFT } from '../../engine/topics/levels.ts';
import { HASH_CHILD, PLUS_CHILD } from '../../engine/topics/match.ts';
import { LINGERING, SubscriptionTrie, type TrieMemory } from '../../engine/topics/trie.ts';

/** More removed items than that may not stand in a node's chains beyond as many as there are others: a few for sweeps that meet. */
const LINGERING_SLACK = 8;

export interface Stock {
  readonly nodes: number;
  readonly subscriptions: number;
  /** Rows and groups that were removed and are not free yet. */
  readonly waiting: number;
}

/** Throws where something is wrong. `tries` are all participants, attached by the caller for nothing else. */
export function takeStock(memory: TrieMemory, tries: readonly SubscriptionTrie[] = attachAll(memory)): Stock {
  return new Census(memory, tries).take();
}

export function attachAll(memory: TrieMemory): SubscriptionTrie[] {
  return Array.from({ length: memory.participantsMax }, (_, participant) => SubscriptionTrie.attach(memory, participant));
}

class Census {
  readonly #memory: TrieMemory;
  readonly #tries: readonly SubscriptionTrie[];
  readonly #trie: SubscriptionTrie;
  /** What each row was found to be; a row that is found twice is an error. */
  readonly #nodes = new Map<number, string>();
  readonly #entries = new Map<number, string>();
  readonly #children = new Map<number, number[]>();
  #lingering = 0;

  constructor(memory: TrieMemory, tries: readonly SubscriptionTrie[]) {
    this.#memory = memory;
    this.#tries = tries;
    this.#trie = this.#tries[0]!;
  }

  take(): Stock {
    this.#buckets();
    const live = [ROOT, ...this.#nodes.keys()];
    let subscriptions = 0;
    for (const node of live) subscriptions += this.#lists(node);
    for (const node of live) this.#columns(node);
    this.#freeRows();
    this.#totals(live, subscriptions);
    const waiting = [...this.#nodes.values(), ...this.#entries.values()].filter((is) => is === 'retired' || is === 'lingering');
    return { nodes: live.length - 1, subscriptions, waiting: waiting.length };
  }

  #column(node: number, column: number): number {
    return this.#trie.levels.rows[(node << ROW_SHIFT) + column]!;
  }

  #buckets(): void {
    const { levels } = this.#trie;
    for (const head of levels.buckets) {
      for (let node = head; node !== 0; ) {
        const link = this.#column(node, NEXT);
        ensure((link & MARK) === 0, 'a removed node stands in its bucket', node);
        ensure(this.#column(node, REFERENCES) > 0, 'a node without references stands in its bucket', node);
        this.#found(this.#nodes, node, 'live');
        const parent = this.#column(node, PARENT);
        const siblings = this.#children.get(parent) ?? [];
        siblings.push(node);
        this.#children.set(parent, siblings);
        node = link;
      }
    }
    for (const parent of this.#children.keys()) {
      ensure(parent === ROOT || this.#nodes.has(parent), 'the parent of a node is not there', parent);
    }
  }

  /** Checks entries, groups, members and references of a node; returns its live entries. */
  #lists(node: number): number {
    const { levels, entries } = this.#trie;
    const isGroup = node !== ROOT && levels.kind(node) === NodeKind.GROUP;
    let live = 0;
    let dead = 0;
    for (let entry = this.#column(node, FIRST_ENTRY); entry !== 0; ) {
      const link = entries.rows[(entry << ENTRY_SHIFT) + NEXT_ENTRY]!;
      const isLive = (link & MARK) === 0;
      ensure(entries.rows[(entry << ENTRY_SHIFT) + LIST] === node, 'an entry stands in a list that is not its own', entry);
      this.#found(this.#entries, entry, isLive ? 'live' : 'lingering');
      if (isLive) live++;
      else dead++;
      entry = link & INDEX;
    }
    const children = this.#children.get(node) ?? [];
    ensure(this.#column(node, REFERENCES) === children.length + live, 'references are not exact', node);
    if (isGroup) ensure(this.#column(node, MEMBERS) === live, 'members are not exact', node);
    const groups = isGroup ? { live: 0, dead: 0 } : this.#groups(node, children);
    ensure(dead + groups.dead <= live + groups.live + LINGERING_SLACK, 'too much lingers', node);
    this.#lingering += dead + groups.dead;
    return live;
  }

  #groups(node: number, children: readonly number[]): { live: number; dead: number } {
    const { levels } = this.#trie;
    const expected = new Set(children.filter((child) => levels.kind(child) === NodeKind.GROUP));
    const live = expected.size;
    let dead = 0;
    for (let group = this.#column(node, FIRST_GROUP); group !== 0; ) {
      const link = this.#column(group, NEXT_GROUP);
      if ((link & MARK) === 0) ensure(expected.delete(group), 'a group stands in a chain that is not its own', group);
      else {
        this.#found(this.#nodes, group, 'lingering');
        dead++;
      }
      group = link & INDEX;
    }
    ensure(expected.size === 0, 'a group does not stand in the chain of its filter', node);
    return { live, dead };
  }

  #columns(node: number): void {
    const { levels } = this.#trie;
    if (node !== ROOT && levels.kind(node) === NodeKind.GROUP) return;
    const named = new Map<string, number>();
    for (const child of this.#children.get(node) ?? []) {
      const key = `${levels.kind(child)} ${Buffer.from(levels.level(child))}`;
      ensure(!named.has(key), 'a level is there twice', child);
      named.set(key, child);
    }
    ensure(this.#column(node, PLUS_CHILD) === (named.get('0 +') ?? 0), 'the column of + is wrong', node);
    ensure(this.#column(node, HASH_CHILD) === (named.get('0 #') ?? 0), 'the column of # is wrong', node);
  }

  #freeRows(): void {
    const list = new IntList();
    const note = (found: Map<number, string>, is: string) => {
      for (let at = 0; at < list.count; at++) this.#found(found, list.values[at]!, is);
      list.clear();
    };
    for (const { levels, entries } of this.#tries) {
      levels.pool.appendOwn(list);
      note(this.#nodes, 'free');
      levels.limbo.append(list);
      note(this.#nodes, 'retired');
      entries.pool.appendOwn(list);
      note(this.#entries, 'free');
      entries.limbo.append(list);
      note(this.#entries, 'retired');
    }
    this.#trie.levels.pool.appendShared(list);
    note(this.#nodes, 'free');
    this.#trie.entries.pool.appendShared(list);
    note(this.#entries, 'free');
  }

  #totals(live: readonly number[], subscriptions: number): void {
    const { levels, entries } = this.#trie;
    ensure(this.#nodes.size === levels.pool.used, 'not all nodes are accounted for', levels.pool.used - this.#nodes.size);
    ensure(this.#entries.size === entries.pool.used, 'not all entries are accounted for', entries.pool.used - this.#entries.size);
    ensure(this.#trie.nodes === live.length - 1, 'the count of nodes is wrong', this.#trie.nodes);
    ensure(this.#trie.subscriptions === subscriptions, 'the count of subscriptions is wrong', this.#trie.subscriptions);
    const bytes = live.slice(1).reduce((sum, node) => sum + levels.level(node).length, 0);
    ensure(this.#trie.levelBytes === bytes, 'the count of bytes is wrong', this.#trie.levelBytes);
    const header = new Int32Array(this.#memory.buffer, 0, LINGERING + 1);
    ensure(header[LINGERING] === this.#lingering, 'the count of what lingers is wrong', header[LINGERING]!);
    const scratch = new IntList();
    let cells = levels.cells.freeBytes(FreeCells.SHARED, scratch);
    for (const trie of this.#tries) cells += trie.levels.cells.freeBytes(FreeCells.OWN, scratch);
    for (const [node, is] of this.#nodes) if (is !== 'free') cells += levels.cellBytes(node);
    ensure(cells === levels.cells.usedBytes, 'not all cells are accounted for', levels.cells.usedBytes - cells);
  }

  #found(rows: Map<number, string>, row: number, is: string): void {
    const before = rows.get(row);
    const kind = rows === this.#nodes ? 'node' : 'entry';
    ensure(before === undefined, `a ${kind} is ${before} and ${is}`, row);
    rows.set(row, is);
  }
}

function ensure(condition: boolean, what: string, row: number): void {
  if (!condition) throw new Error(`${what}: ${row}`);
}
