// HOT: no allocation, closures, strings, try or async per message.
// Shared groups (MQTT 5.0 §4.8.2): the list of groups of a filter, handles that outlive them safely, and whose turn it is.
// A group is a child of the filter's node, of kind GROUP, with the group's name as its level. Its references are its members.
//
//   filter node  10 FIRST_GROUP head of its chain of groups (chain.ts)
//   group node   7 NEXT_GROUP link in that chain   8 MEMBERS   9 FIRST_ENTRY   10 CURSOR, the entry to be served next; 0: the first
//
// A handle is the node, and above it as many bits of the node's tag as fit below 2^31: nine with the default limits. The tag changes
// before the node is retired, and an entry's LIST likewise: who enters an epoch and then finds them as it knows them may go on.
import type { IntList } from '../memory/int-list.ts';
import { INDEX, pushItem } from './chain.ts';
import type { Entries } from './entries.ts';
import { type Levels, NodeKind, OWNER, PARENT, REFERENCES, ROW_SHIFT, TAG } from './levels.ts';

export const NEXT_GROUP = OWNER;
export const MEMBERS = OWNER + 1;
/** Head of the chain of entries, of a filter's node or of a group's node. */
export const FIRST_ENTRY = OWNER + 2;
export const FIRST_GROUP = OWNER + 3;
export const CURSOR = OWNER + 3;

const HANDLE_BITS = 31;
/** A turn that other threads have taken so often is served twice. */
const TURNS_LOST_MAX = 8;

export class Groups {
  readonly #levels: Levels;
  readonly #entries: Entries;
  readonly #nodeBits: number;
  readonly #nodeMask: number;
  readonly #tagMask: number;
  readonly #isAlone: boolean;

  constructor(levels: Levels, entries: Entries, participantsMax: number) {
    this.#isAlone = participantsMax === 1;
    this.#levels = levels;
    this.#entries = entries;
    this.#nodeBits = 32 - Math.clz32(levels.nodesMax);
    this.#nodeMask = 2 ** this.#nodeBits - 1;
    this.#tagMask = 2 ** (HANDLE_BITS - this.#nodeBits) - 1;
  }

  /** Appends the handles of a filter's groups, but of those that are dead or have no members. */
  append(filterNode: number, out: IntList): void {
    const { rows } = this.#levels;
    const nodeBits = this.#nodeBits;
    const tagMask = this.#tagMask;
    const isAlone = this.#isAlone;
    for (let node = rows[(filterNode << ROW_SHIFT) + FIRST_GROUP]!; node !== 0; ) {
      const row = node << ROW_SHIFT;
      const tag = isAlone ? rows[row + TAG]! : Atomics.load(rows, row + TAG);
      // A dead node's tag is that of its next life: alive after the tag was read, it is its own. Alone, what is dead has no members.
      const isLive = isAlone || Atomics.load(rows, row + REFERENCES) >= 0;
      if (isLive && rows[row + MEMBERS] !== 0) out.push(node | ((tag & tagMask) << nodeBits));
      node = rows[row + NEXT_GROUP]! & INDEX;
    }
  }

  /** Members of a group; 0 for a stale handle. */
  members(group: number): number {
    const node = this.#nodeOf(group);
    return node === 0 ? 0 : this.#levels.rows[(node << ROW_SHIFT) + MEMBERS]!;
  }

  /** Gives the member whose turn it is its turn: its entry, or -1 for a stale handle. */
  next(group: number): number {
    const node = this.#nodeOf(group);
    if (node === 0) return -1;
    const { rows } = this.#levels;
    const cursorAt = (node << ROW_SHIFT) + CURSOR;
    for (let lost = 0; ; lost++) {
      const cursor = rows[cursorAt]!;
      const entry = this.#memberFrom(node, cursor);
      if (entry < 0) return -1;
      const after = this.#entries.after(entry);
      if (this.#isAlone) {
        rows[cursorAt] = after;
        return entry;
      }
      if (Atomics.compareExchange(rows, cursorAt, cursor, after) === cursor || lost === TURNS_LOST_MAX) return entry;
    }
  }

  /** The entry after `entry` in the round; from one that is no member, the entry whose turn it is. -1 for a stale handle. */
  memberAfter(group: number, entry: number): number {
    const node = this.#nodeOf(group);
    if (node === 0) return -1;
    const isMember = entry > 0 && this.#entries.list(entry) === node;
    const from = isMember ? this.#entries.after(entry) : this.#levels.rows[(node << ROW_SHIFT) + CURSOR]!;
    return this.#memberFrom(node, from);
  }

  /** Enters a new group's node in the chain of its filter. */
  link(node: number): void {
    const { rows } = this.#levels;
    const row = node << ROW_SHIFT;
    pushItem(rows, row + NEXT_GROUP, node, rows, (rows[row + PARENT]! << ROW_SHIFT) + FIRST_GROUP);
  }

  /** An entry of a group has joined (1), or left (-1). */
  countMember(node: number, by: number): void {
    Atomics.add(this.#levels.rows, (node << ROW_SHIFT) + MEMBERS, by);
  }

  /** Moves the turn on from an entry that was unlinked. */
  passOver(node: number, entry: number): void {
    const cursorAt = (node << ROW_SHIFT) + CURSOR;
    const { rows } = this.#levels;
    if (Atomics.load(rows, cursorAt) === entry) Atomics.compareExchange(rows, cursorAt, entry, this.#entries.after(entry));
  }

  /** The first member from `start` on, round the end of the list; -1 when there is none. */
  #memberFrom(node: number, start: number): number {
    const entries = this.#entries;
    const headAt = (node << ROW_SHIFT) + FIRST_ENTRY;
    // The turn may stand at an entry that was retired since, and is used elsewhere or not at all.
    const known = start !== 0 && entries.list(start) === node ? this.#firstMember(start) : 0;
    if (known !== 0) return known;
    const first = this.#firstMember(this.#levels.rows[headAt]!);
    return first === 0 ? -1 : first;
  }

  /** The first of an entry and those behind it that is not removed; 0 at the end. */
  #firstMember(start: number): number {
    const entries = this.#entries;
    let entry = start;
    while (entry !== 0 && entries.isRemoved(entry)) entry = entries.after(entry);
    return entry;
  }

  /** Node of a live group; 0 for a stale handle. */
  #nodeOf(group: number): number {
    if (group < 0) return 0;
    const node = group & this.#nodeMask;
    const tag = this.#tag(node << ROW_SHIFT);
    return tag === group >>> this.#nodeBits && this.#levels.kind(node) === NodeKind.GROUP ? node : 0;
  }

  /** What of the node's tag goes into a handle. In order before what is read of the node afterwards. */
  #tag(row: number): number {
    const { rows } = this.#levels;
    return (this.#isAlone ? rows[row + TAG]! : Atomics.load(rows, row + TAG)) & this.#tagMask;
  }
}
