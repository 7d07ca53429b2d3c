// HOT: no allocation, closures, strings, try or async per message.
// The index of retained messages: exact topic name to message handle, and the walk that finds all topics of a filter. Owns a node
// table of its own; the messages belong to the caller. Columns of a node, with zero for none:
//
//   7 MESSAGE  handle + 1      8 FIRST_CHILD   9 NEXT_SIBLING   10 PREVIOUS_SIBLING
//
// A node's references are its children and its message: with none left it is removed, and its parent after it.
import { fault, Reason } from '../../protocol/packet.ts';
import type { IntList } from '../memory/int-list.ts';
import { defaultLevelBytes, Levels, levelsBytes, NodeKind, OWNER, PARENT, ROOT, ROW_SHIFT } from './levels.ts';
import { DOLLAR_SIGN, LEVELS_MAX, LevelScan, NUMBER_SIGN, PLUS_SIGN } from './scan.ts';

const MESSAGE = OWNER;
const FIRST_CHILD = OWNER + 1;
const NEXT_SIBLING = OWNER + 2;
const PREVIOUS_SIBLING = OWNER + 3;

const NODES_MAX = (1 << 25) - 1;
/** Nodes reserved for each message: most topics share their upper levels. */
const NODES_PER_MESSAGE = 4;

/** No message stands at the topic. Faults are at or below -0x80, so the two cannot be mistaken. */
export const NO_RETAINED = -1;

export class RetainedIndex {
  /** Topics with a message. */
  count = 0;
  /** Nodes that the last `match` looked at: what it cost. */
  visited = 0;
  readonly #messagesMax: number;
  readonly #levels: Levels;
  readonly #scan = new LevelScan();
  /** Node that the walk stands on at each level of the filter. */
  readonly #path = new Int32Array(LEVELS_MAX);

  /** Room for `messagesMax` topics; `nodesMax` is reserved, and touched only as it is used. */
  constructor(messagesMax: number, nodesMax = Math.min(NODES_MAX, messagesMax * NODES_PER_MESSAGE + LEVELS_MAX), seed = 0) {
    const capacity = { nodesMax, levelBytesMax: defaultLevelBytes(nodesMax), participantsMax: 1 };
    this.#messagesMax = messagesMax;
    this.#levels = new Levels(new SharedArrayBuffer(levelsBytes(capacity)), 0, capacity, seed);
  }

  /** Nodes in use. */
  get nodes(): number {
    return this.#levels.nodes;
  }

  /** Bytes of all levels in use. */
  get levelBytes(): number {
    return this.#levels.levelBytes;
  }

  /**
   * Puts a message (0 to 2^31 - 2) at the topic name [from, to): the handle that stood there, or NO_RETAINED. Faults, after which
   * nothing has changed: QUOTA_EXCEEDED when the reserve is used up, TOPIC_NAME_INVALID below LEVELS_MAX.
   */
  set(topic: Uint8Array, from: number, to: number, message: number): number {
    const levels = this.#levels;
    const { rows } = levels;
    const known = this.#lookUp(topic, from, to);
    if (this.#scan.deeper) return fault(Reason.TOPIC_NAME_INVALID);
    const before = known === 0 ? NO_RETAINED : rows[(known << ROW_SHIFT) + MESSAGE]! - 1;
    if (before >= 0) {
      rows[(known << ROW_SHIFT) + MESSAGE] = message + 1;
      return before;
    }
    if (this.count >= this.#messagesMax) return fault(Reason.QUOTA_EXCEEDED);
    const node = known === 0 ? this.#reach(topic) : known;
    if (node === 0) return fault(Reason.QUOTA_EXCEEDED);
    if (node === known) levels.acquire(node);
    rows[(node << ROW_SHIFT) + MESSAGE] = message + 1;
    this.count++;
    return NO_RETAINED;
  }

  /** Takes the message from the topic name: its handle, or NO_RETAINED. */
  remove(topic: Uint8Array, from: number, to: number): number {
    const node = this.#lookUp(topic, from, to);
    if (node === 0) return NO_RETAINED;
    const at = (node << ROW_SHIFT) + MESSAGE;
    const before = this.#levels.rows[at]! - 1;
    if (before < 0) return NO_RETAINED;
    this.#levels.rows[at] = 0;
    this.#release(node);
    this.count--;
    return before;
  }

  /** The handle at the topic name, or NO_RETAINED. */
  get(topic: Uint8Array, from: number, to: number): number {
    const node = this.#lookUp(topic, from, to);
    return node === 0 ? NO_RETAINED : this.#levels.rows[(node << ROW_SHIFT) + MESSAGE]! - 1;
  }

  /** Appends the handles of all topics that the filter [from, to) matches (MQTT 5.0 §4.7); returns how many. */
  match(filter: Uint8Array, from: number, to: number, out: IntList): number {
    const scan = this.#scan;
    const path = this.#path;
    const before = out.count;
    this.visited = 0;
    if (!scan.read(filter, from, to, this.#levels.seed)) return 0;
    const last = scan.count - 1;
    const endsInHash = this.#isSign(filter, last, NUMBER_SIGN);
    if (endsInHash && last === 0) {
      this.#collectAll(out);
      return out.count - before;
    }
    const deepest = endsInHash ? last - 1 : last;
    let depth = 0;
    let visited = 0;
    path[0] = this.#firstAt(filter, ROOT, 0);
    while (depth >= 0) {
      visited++;
      const node = path[depth]!;
      if (node === 0) {
        depth--;
        if (depth >= 0) path[depth] = this.#nextAt(filter, path[depth]!, depth);
      } else if (depth < deepest) {
        depth++;
        path[depth] = this.#firstAt(filter, node, depth);
      } else {
        if (endsInHash) this.#collectBelow(node, out);
        else this.#collect(node, out);
        path[depth] = this.#nextAt(filter, node, depth);
      }
    }
    this.visited += visited;
    return out.count - before;
  }

  /** The first child of `parent` that fits the filter's level at `depth`. */
  #firstAt(filter: Uint8Array, parent: number, depth: number): number {
    const scan = this.#scan;
    if (!this.#isSign(filter, depth, PLUS_SIGN)) {
      return this.#levels.find(parent, NodeKind.LEVEL, scan.hash[depth]!, filter, scan.from[depth]!, scan.to[depth]!);
    }
    const child = this.#levels.rows[(parent << ROW_SHIFT) + FIRST_CHILD]!;
    return depth === 0 ? this.#skipDollar(child) : child;
  }

  /** The next one after `node`; a level that is no `+` has one only. */
  #nextAt(filter: Uint8Array, node: number, depth: number): number {
    if (!this.#isSign(filter, depth, PLUS_SIGN)) return 0;
    const next = this.#levels.rows[(node << ROW_SHIFT) + NEXT_SIBLING]!;
    return depth === 0 ? this.#skipDollar(next) : next;
  }

  /** [MQTT-4.7.2-1] The first of `node` and its next siblings that does not begin with `$`. */
  #skipDollar(first: number): number {
    let node = first;
    while (node !== 0 && this.#levels.firstByte(node) === DOLLAR_SIGN) {
      node = this.#levels.rows[(node << ROW_SHIFT) + NEXT_SIBLING]!;
    }
    return node;
  }

  #isSign(filter: Uint8Array, depth: number, sign: number): boolean {
    const at = this.#scan.from[depth]!;
    return this.#scan.to[depth]! - at === 1 && filter[at] === sign;
  }

  #collect(node: number, out: IntList): void {
    const message = this.#levels.rows[(node << ROW_SHIFT) + MESSAGE]!;
    if (message !== 0) out.push(message - 1);
  }

  #collectAll(out: IntList): void {
    let node = this.#skipDollar(this.#levels.rows[FIRST_CHILD]!);
    while (node !== 0) {
      this.#collectBelow(node, out);
      node = this.#skipDollar(this.#levels.rows[(node << ROW_SHIFT) + NEXT_SIBLING]!);
    }
  }

  /** Collects a node and all below it, following their links: no stack. */
  #collectBelow(top: number, out: IntList): void {
    const { rows } = this.#levels;
    let node = top;
    let visited = 0;
    for (;;) {
      visited++;
      this.#collect(node, out);
      let next = rows[(node << ROW_SHIFT) + FIRST_CHILD]!;
      while (next === 0 && node !== top) {
        next = rows[(node << ROW_SHIFT) + NEXT_SIBLING]!;
        if (next === 0) node = rows[(node << ROW_SHIFT) + PARENT]!;
      }
      if (next === 0) break;
      node = next;
    }
    this.visited += visited;
  }

  /** The topic's node; 0 when there is none. Leaves the levels in the scan. */
  #lookUp(topic: Uint8Array, from: number, to: number): number {
    return this.#scan.read(topic, from, to, this.#levels.seed) ? this.#levels.lookUp(this.#scan, topic) : 0;
  }

  /** Makes the node of the topic that was scanned last, with the reference of its message; 0 when there is no room, and then nothing is left of it. */
  #reach(topic: Uint8Array): number {
    const scan = this.#scan;
    const levels = this.#levels;
    let node = ROOT;
    let depth = 0;
    for (; depth < scan.count; depth++) {
      const child = levels.find(node, NodeKind.LEVEL, scan.hash[depth]!, topic, scan.from[depth]!, scan.to[depth]!);
      if (child === 0) break;
      node = child;
    }
    levels.acquire(node);
    for (; depth < scan.count; depth++) {
      const child = levels.add(node, NodeKind.LEVEL, scan.hash[depth]!, topic, scan.from[depth]!, scan.to[depth]!);
      if (child === 0) {
        this.#release(node);
        return 0;
      }
      this.#linkChild(node, child);
      node = child;
    }
    return node;
  }

  /** Gives a reference back, and removes the node and those above it that nothing refers to any more. */
  #release(from: number): void {
    const levels = this.#levels;
    let node = from;
    while (levels.release(node)) {
      this.#unlinkChild(node);
      const parent = levels.remove(node);
      levels.retire(node);
      node = parent;
    }
  }

  #linkChild(parent: number, child: number): void {
    const { rows } = this.#levels;
    const head = (parent << ROW_SHIFT) + FIRST_CHILD;
    const next = rows[head]!;
    rows[(child << ROW_SHIFT) + NEXT_SIBLING] = next;
    if (next !== 0) rows[(next << ROW_SHIFT) + PREVIOUS_SIBLING] = child;
    rows[head] = child;
  }

  #unlinkChild(child: number): void {
    const { rows } = this.#levels;
    const row = child << ROW_SHIFT;
    const next = rows[row + NEXT_SIBLING]!;
    const previous = rows[row + PREVIOUS_SIBLING]!;
    if (previous === 0) rows[(rows[row + PARENT]! << ROW_SHIFT) + FIRST_CHILD] = next;
    else rows[(previous << ROW_SHIFT) + NEXT_SIBLING] = next;
    if (next !== 0) rows[(next << ROW_SHIFT) + PREVIOUS_SIBLING] = previous;
  }
}
