// HOT: no allocation, closures, strings, try or async per message.
// Shared groups (MQTT 5.0 §4.8.2): the list of groups of a filter, handles that outlive them safely, and whose turn it is.
// A group is a child of the filter's node, of kind GROUP, with the group's name as its level. Its references are its members.
//
//   filter node  10 FIRST_GROUP
//   group node   7 NEXT_GROUP   8 PREVIOUS_GROUP   9 FIRST_ENTRY   10 CURSOR, the entry served last; 0: the first is next
//
// A handle is the node, and above it as many bits of the node's tag as fit below 2^31: nine with the default limits.
import { ENTRY_SHIFT, type Entries, LIST, NEXT_ENTRY, PREVIOUS_ENTRY } from './entries.ts';
import { type Levels, NodeKind, OWNER, PARENT, REFERENCES, ROW_SHIFT, TAG } from './levels.ts';

const NEXT_GROUP = OWNER;
const PREVIOUS_GROUP = OWNER + 1;
/** First entry of a filter's node or of a group's node. */
export const FIRST_ENTRY = OWNER + 2;
const FIRST_GROUP = OWNER + 3;
const CURSOR = OWNER + 3;

const HANDLE_BITS = 31;

export class Groups {
  readonly #levels: Levels;
  readonly #entries: Entries;
  readonly #nodeBits: number;
  readonly #nodeMask: number;
  readonly #tagMask: number;

  constructor(levels: Levels, entries: Entries) {
    this.#levels = levels;
    this.#entries = entries;
    this.#nodeBits = 32 - Math.clz32(levels.nodesMax);
    this.#nodeMask = 2 ** this.#nodeBits - 1;
    this.#tagMask = 2 ** (HANDLE_BITS - this.#nodeBits) - 1;
  }

  /** Node of the first group of a filter's node, and of the group after one; 0 at the end. */
  first(filterNode: number): number {
    return this.#levels.rows[(filterNode << ROW_SHIFT) + FIRST_GROUP]!;
  }

  after(node: number): number {
    return this.#levels.rows[(node << ROW_SHIFT) + NEXT_GROUP]!;
  }

  handle(node: number): number {
    return node | ((this.#levels.rows[(node << ROW_SHIFT) + TAG]! & this.#tagMask) << this.#nodeBits);
  }

  /** Members of a group; 0 for a stale handle. */
  members(group: number): number {
    const node = this.#nodeOf(group);
    return node === 0 ? 0 : this.#levels.rows[(node << ROW_SHIFT) + REFERENCES]!;
  }

  /** Gives the member whose turn it is its turn: its entry, or -1 for a stale handle. */
  next(group: number): number {
    const entry = this.memberAfter(group, -1);
    // Another thread's turn may be lost between the two: the round is then uneven, never wrong.
    if (entry >= 0) this.#levels.rows[(this.#nodeOf(group) << ROW_SHIFT) + CURSOR] = entry;
    return entry;
  }

  /** The entry after `entry` in the round; from one that is no member, the entry whose turn it is. -1 for a stale handle. */
  memberAfter(group: number, entry: number): number {
    const node = this.#nodeOf(group);
    if (node === 0) return -1;
    const row = node << ROW_SHIFT;
    const entryRows = this.#entries.rows;
    const isMember = entry > 0 && entryRows[(entry << ENTRY_SHIFT) + LIST] === node;
    const before = isMember ? entry : this.#levels.rows[row + CURSOR]!;
    const next = before === 0 ? 0 : entryRows[(before << ENTRY_SHIFT) + NEXT_ENTRY]!;
    return next === 0 ? this.#levels.rows[row + FIRST_ENTRY]! : next;
  }

  /** Steps the round back from an entry that is about to leave. */
  leave(node: number, entry: number): void {
    const cursor = (node << ROW_SHIFT) + CURSOR;
    if (this.#levels.rows[cursor] === entry) {
      this.#levels.rows[cursor] = this.#entries.rows[(entry << ENTRY_SHIFT) + PREVIOUS_ENTRY]!;
    }
  }

  /** Enters a new group's node in the list of its filter. */
  link(node: number): void {
    const { rows } = this.#levels;
    const head = (rows[(node << ROW_SHIFT) + PARENT]! << ROW_SHIFT) + FIRST_GROUP;
    const next = rows[head]!;
    rows[(node << ROW_SHIFT) + NEXT_GROUP] = next;
    if (next !== 0) rows[(next << ROW_SHIFT) + PREVIOUS_GROUP] = node;
    Atomics.store(rows, head, node);
  }

  /** Takes a group's node out of the list of its filter. */
  unlink(node: number): void {
    const { rows } = this.#levels;
    const row = node << ROW_SHIFT;
    const next = rows[row + NEXT_GROUP]!;
    const previous = rows[row + PREVIOUS_GROUP]!;
    if (previous === 0) Atomics.store(rows, (rows[row + PARENT]! << ROW_SHIFT) + FIRST_GROUP, next);
    else rows[(previous << ROW_SHIFT) + NEXT_GROUP] = next;
    if (next !== 0) rows[(next << ROW_SHIFT) + PREVIOUS_GROUP] = previous;
  }

  /** Node of a live group; 0 for a stale handle. */
  #nodeOf(group: number): number {
    if (group < 0) return 0;
    const node = group & this.#nodeMask;
    const tag = this.#levels.rows[(node << ROW_SHIFT) + TAG]! & this.#tagMask;
    return tag === group >>> this.#nodeBits && this.#levels.kind(node) === NodeKind.GROUP ? node : 0;
  }
}
