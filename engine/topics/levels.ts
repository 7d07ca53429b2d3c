// HOT: no allocation, closures, strings, try or async per message.
// The table of topic nodes: a node is one level below its parent node, found by hash. It lives in a region of a SharedArrayBuffer
// that is reserved large and committed by the operating system as it is touched, so nothing here may fill a column. Zero
// stands for none in every link: node 0 is the root, which has no bytes and is never a child.
//
//   header   64 × Int32   0 nodes handed out  2 stack of free nodes (pool.ts)  16 cells (cells.ts)
//   own      64 × Int32 for each participant: 0 nodes, 1 bytes, that it made less those that it removed  4 pool  8 limbo  16 cells
//   buckets  2^n × Int32  head of the chain (chain.ts); n so that there are at least half as many as nodes
//   rows     16 columns of Int32, row by row, so that a node is one cache line (with a million subscriptions a cold match takes
//            3.6 µs this way, 5.3 µs with each column by itself: bench/micro/topics.bench.ts)
//              0 PARENT      node above
//              1 HASH        of parent and level together; of a free node the next batch
//              2 NEXT        link in the bucket's chain; of a free node the next free one
//              3 OFFSET      of the level's bytes, in units of 16 bytes from the start of the region
//              4 LENGTH      of the level in bytes (16 bits) | kind << 16
//              5 REFERENCES  children, plus what the owner of the table holds; DEAD once the node is to be removed
//              6 TAG         grows each time the node is removed, so that a handle can tell reuse
//              7-11          the owner's columns, zero in a new node; 11 links retired nodes
//              12-15 INLINE  the level's bytes when they are at most 16
//   cells    bytes of longer levels
//
// A reader never waits: a node is filled first and published by compare-and-exchange of its bucket's head. Who brings REFERENCES to
// DEAD, and nobody else, removes the node; a removed one is freed when nobody can look at it any more (epochs.ts). A parent is
// referred to by each child, so that above a live node all nodes are live.
//
// What readers follow they read plainly: an Atomics.load is a call in V8 (6 ns on our machine, a plain load 1), both are a load to the
// processor, and what is read through a link depends on its address. Each word is read once where its value matters.
import { copyBytes } from '../../protocol/bytes.ts';
import { IntList } from '../memory/int-list.ts';
import { CELLS_OWN_WORDS, CELLS_SHARED_WORDS, Cells, cellShift, UNIT_SHIFT } from './cells.ts';
import { INDEX, markLink, sweepChain } from './chain.ts';
import { LIMBO_WORDS, Limbo, type RowOwner } from './epochs.ts';
import { batchRows, POOL_WORDS, Pool } from './pool.ts';
import type { LevelScan } from './scan.ts';

export const ROOT = 0;
/** A row starts at `node << ROW_SHIFT`. */
export const ROW_SHIFT = 4;
export const PARENT = 0;
export const HASH = 1;
export const NEXT = 2;
const OFFSET = 3;
export const LENGTH = 4;
export const REFERENCES = 5;
export const TAG = 6;
/** First of the five columns that belong to the owner of the table. */
export const OWNER = 7;
const RETIRED = OWNER + 4;
const INLINE = 12;

/** REFERENCES of a node that is removed or free. */
export const DEAD = -(1 << 30);

const INLINE_BYTES = 16;
const LENGTH_MASK = 0xffff;
const KIND_SHIFT = 16;

/** Two nodes of different kinds are different nodes, whatever their bytes. */
export const NodeKind = { LEVEL: 0, GROUP: 1 } as const;
export type NodeKind = (typeof NodeKind)[keyof typeof NodeKind];

const USED_NODES = 0;
const NODE_STACK = 2;
const SHARED_CELLS = 16;
const HEADER_WORDS = 64;

const NODES = 0;
const BYTES = 1;
const OWN_POOL = 4;
const OWN_LIMBO = OWN_POOL + POOL_WORDS;
const OWN_CELLS = 16;
const OWN_WORDS = 64;
if (OWN_LIMBO + LIMBO_WORDS > OWN_CELLS || OWN_CELLS + CELLS_OWN_WORDS > OWN_WORDS) throw new Error('levels: own words overlap');
if (SHARED_CELLS + CELLS_SHARED_WORDS > HEADER_WORDS) throw new Error('levels: shared words overlap');

/** What a table reserves: nodes without the root, bytes of levels longer than 16, and participants that may change it. */
export interface LevelsCapacity {
  readonly nodesMax: number;
  readonly levelBytesMax: number;
  readonly participantsMax: number;
}

/** Enough for every second node to have a level of 17 to 32 bytes, and for some of the longest. */
export function defaultLevelBytes(nodesMax: number): number {
  return nodesMax * 16 + (1 << 20);
}

/** Smallest power of two that is at least `count`. */
export function powerOfTwo(count: number): number {
  return count <= 1 ? 1 : 2 ** (32 - Math.clz32(count - 1));
}

/** Bytes of buffer that a table needs: a multiple of 64. */
export function levelsBytes(capacity: LevelsCapacity): number {
  return cellsAt(capacity) + Math.ceil(capacity.levelBytesMax / 64) * 64;
}

function bucketCount(capacity: LevelsCapacity): number {
  return powerOfTwo(Math.max(16, capacity.nodesMax / 2));
}

function bucketsAt(capacity: LevelsCapacity): number {
  return (HEADER_WORDS + capacity.participantsMax * OWN_WORDS) * 4;
}

function rowsAt(capacity: LevelsCapacity): number {
  return bucketsAt(capacity) + bucketCount(capacity) * 4;
}

function cellsAt(capacity: LevelsCapacity): number {
  return rowsAt(capacity) + ((capacity.nodesMax + 1) << ROW_SHIFT) * 4;
}

export class Levels implements RowOwner {
  /** Rows of all nodes; the owner reads and writes its own columns. */
  readonly rows: Int32Array;
  readonly seed: number;
  readonly nodesMax: number;
  /** For checks, as are `cells`, `limbo` and `buckets`. */
  readonly pool: Pool;
  readonly cells: Cells;
  readonly limbo: Limbo;
  readonly buckets: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #bucketMask: number;
  readonly #rowsUnit: number;
  readonly #participantsMax: number;
  /** A sole participant needs no atomic operations, which cost it 10 ns each. */
  readonly #isAlone: boolean;
  /** Own words of all participants, and where this one's begin. */
  readonly #own: Int32Array;
  readonly #ownAt: number;
  readonly #gone = new IntList();

  /** A table over `levelsBytes(capacity)` bytes of `buffer` from `at`, a multiple of 64. Zeroes are an empty table. */
  constructor(buffer: SharedArrayBuffer, at: number, capacity: LevelsCapacity, seed: number, participant = 0) {
    const { nodesMax, participantsMax } = capacity;
    const bytes = levelsBytes(capacity);
    const rows = rowsAt(capacity);
    const cells = cellsAt(capacity);
    const header = new Int32Array(buffer, at, HEADER_WORDS);
    const own = new Int32Array(buffer, at + HEADER_WORDS * 4, participantsMax * OWN_WORDS);
    const ownAt = participant * OWN_WORDS;
    this.seed = seed;
    this.nodesMax = nodesMax;
    this.#participantsMax = participantsMax;
    this.#isAlone = participantsMax === 1;
    this.#own = own;
    this.#ownAt = ownAt;
    this.#bytes = new Uint8Array(buffer, at, bytes);
    this.buckets = new Int32Array(buffer, at + bucketsAt(capacity), bucketCount(capacity));
    this.#bucketMask = this.buckets.length - 1;
    this.rows = new Int32Array(buffer, at + rows, (nodesMax + 1) << ROW_SHIFT);
    this.#rowsUnit = rows / (1 << UNIT_SHIFT);
    this.pool = new Pool({
      words: this.rows,
      rowShift: ROW_SHIFT,
      link: NEXT,
      batch: HASH,
      own,
      ownAt: ownAt + OWN_POOL,
      shared: header,
      usedAt: USED_NODES,
      stackAt: NODE_STACK,
      rowsMax: nodesMax,
      batchSize: batchRows(nodesMax, participantsMax),
      participantsMax,
    });
    this.limbo = new Limbo(this, this.rows, ROW_SHIFT, RETIRED, own, ownAt + OWN_LIMBO, participantsMax);
    const words = new Int32Array(buffer, at, bytes / 4);
    const firstUnit = cells / (1 << UNIT_SHIFT);
    const units = (bytes - cells) / (1 << UNIT_SHIFT);
    this.cells = new Cells(words, firstUnit, units, header, SHARED_CELLS, own, ownAt + OWN_CELLS, participantsMax);
  }

  /** Nodes in use, without the root. */
  get nodes(): number {
    return this.#total(NODES);
  }

  /** Bytes of the levels of all nodes in use. */
  get levelBytes(): number {
    return this.#total(BYTES);
  }

  /** The live child of `parent` with the level [from, to), whose hash is `levelHash`; 0 when there is none. */
  find(parent: number, kind: NodeKind, levelHash: number, source: Uint8Array, from: number, to: number): number {
    const { rows } = this;
    const hash = childHash(parent, levelHash);
    const lengthAndKind = (to - from) | (kind << KIND_SHIFT);
    let node = this.buckets[hash & this.#bucketMask]!;
    while (node !== 0) {
      const row = node << ROW_SHIFT;
      if (
        rows[row + HASH] === hash &&
        rows[row + PARENT] === parent &&
        rows[row + LENGTH] === lengthAndKind &&
        rows[row + REFERENCES]! >= 0 &&
        isLevel(this.#bytes, rows[row + OFFSET]! * (1 << UNIT_SHIFT), source, from, to)
      ) {
        return node;
      }
      node = rows[row + NEXT]! & INDEX;
    }
    return 0;
  }

  /** The node of the topic or filter whose levels `scan` has read from `source`; 0 when there is none. */
  lookUp(scan: LevelScan, source: Uint8Array): number {
    let node = ROOT;
    for (let depth = 0; depth < scan.count; depth++) {
      node = this.find(node, NodeKind.LEVEL, scan.hash[depth]!, source, scan.from[depth]!, scan.to[depth]!);
      if (node === 0) return 0;
    }
    return node;
  }

  /** Adds a reference to a node, the caller's; false when it is dead. */
  acquire(node: number): boolean {
    const at = (node << ROW_SHIFT) + REFERENCES;
    if (this.#isAlone) {
      if (this.rows[at]! < 0) return false;
      this.rows[at] = this.rows[at]! + 1;
      return true;
    }
    for (;;) {
      const references = Atomics.load(this.rows, at);
      if (references < 0) return false;
      if (Atomics.compareExchange(this.rows, at, references, references + 1) === references) return true;
    }
  }

  /** Gives a reference back. True when it was the last one: the node is dead now, and the caller has to remove it. */
  release(node: number): boolean {
    const at = (node << ROW_SHIFT) + REFERENCES;
    if (this.#isAlone) {
      const left = this.rows[at]! - 1;
      const isLast = left === 0 && node !== ROOT;
      this.rows[at] = isLast ? DEAD : left;
      return isLast;
    }
    if (Atomics.sub(this.rows, at, 1) !== 1 || node === ROOT) return false;
    // Another thread may have found the node and acquired it since: then it lives on.
    return Atomics.compareExchange(this.rows, at, 0, DEAD) === 0;
  }

  /**
   * The child of `parent` with this level, found or added. The caller's reference to the parent is given for one to the child. 0 when
   * nodes or bytes are used up: then nothing has changed.
   */
  add(parent: number, kind: NodeKind, levelHash: number, source: Uint8Array, from: number, to: number): number {
    const made = this.make(parent, kind, levelHash, source, from, to);
    if (made === 0) return 0;
    const child = this.publish(made, levelHash, source, from, to);
    // Another one was first. A sweep of all lists may hold what was made: then it removes it.
    if (child !== made && this.release(made)) {
      this.#forget(made);
      this.retire(made);
      this.release(parent);
    }
    return child;
  }

  /** A new node with one reference, the caller's, whose one to `parent` it takes over. Nobody finds it yet. 0 when there is no room. */
  make(parent: number, kind: NodeKind, levelHash: number, source: Uint8Array, from: number, to: number): number {
    const { rows } = this;
    const length = to - from;
    const node = this.pool.take();
    if (node === 0) return 0;
    const row = node << ROW_SHIFT;
    const unit = length <= INLINE_BYTES ? this.#rowsUnit + node * 4 + 3 : this.cells.take(cellShift(length));
    if (unit === 0) {
      this.pool.give(node);
      return 0;
    }
    copyBytes(source, from, to, this.#bytes, unit * (1 << UNIT_SHIFT));
    rows[row + PARENT] = parent;
    rows[row + HASH] = childHash(parent, levelHash);
    rows[row + NEXT] = 0;
    rows[row + OFFSET] = unit;
    rows[row + LENGTH] = length | (kind << KIND_SHIFT);
    for (let column = OWNER; column < INLINE; column++) rows[row + column] = 0;
    if (this.#isAlone) rows[row + REFERENCES] = 1;
    else Atomics.store(rows, row + REFERENCES, 1); // last: until then nobody can acquire the row
    this.#count(1, length);
    return node;
  }

  /** Lets others find a node that was made because none was found, and returns it; or one that another thread published first, acquired. */
  publish(node: number, levelHash: number, source: Uint8Array, from: number, to: number): number {
    const { rows, buckets } = this;
    const row = node << ROW_SHIFT;
    const parent = rows[row + PARENT]!;
    const kind = this.kind(node);
    const bucket = rows[row + HASH]! & this.#bucketMask;
    if (this.#isAlone) {
      rows[row + NEXT] = buckets[bucket]!;
      buckets[bucket] = node;
      return node;
    }
    for (;;) {
      const head = Atomics.load(buckets, bucket);
      const known = this.find(parent, kind, levelHash, source, from, to);
      if (known !== 0) {
        if (this.acquire(known)) return known;
        continue;
      }
      rows[row + NEXT] = head;
      // With the head that stood there before the search, no live node was added since: they enter at the head only.
      if (Atomics.compareExchange(buckets, bucket, head, node) === head) return node;
    }
  }

  /** Takes a dead node out of its bucket; nobody finds it any more. The caller retires it, and releases the parent, which is returned. */
  remove(node: number): number {
    const { rows } = this;
    const row = node << ROW_SHIFT;
    const bucket = rows[row + HASH]! & this.#bucketMask;
    rows[row + TAG] = (rows[row + TAG]! + 1) | 0;
    if (this.#isAlone) this.#unlink(node, bucket);
    else {
      markLink(rows, row + NEXT);
      this.#gone.clear();
      sweepChain(this.buckets, bucket, rows, ROW_SHIFT, NEXT, this.#gone);
    }
    this.#forget(node);
    return rows[row + PARENT]!;
  }

  /** Frees a node once nobody can look at it any more. It is unlinked from everywhere. */
  retire(node: number): void {
    this.limbo.retire(node);
  }

  free(node: number): void {
    const row = node << ROW_SHIFT;
    const length = this.rows[row + LENGTH]! & LENGTH_MASK;
    if (length > INLINE_BYTES) this.cells.give(this.rows[row + OFFSET]!, cellShift(length));
    this.rows[row + REFERENCES] = DEAD;
    this.pool.give(node);
  }

  kind(node: number): NodeKind {
    return (this.rows[(node << ROW_SHIFT) + LENGTH]! >>> KIND_SHIFT) as NodeKind;
  }

  /** The node's level where it is one byte long; -1 where it is not. */
  onlyByte(node: number): number {
    const row = node << ROW_SHIFT;
    return (this.rows[row + LENGTH]! & LENGTH_MASK) === 1 ? this.#bytes[this.rows[row + OFFSET]! * (1 << UNIT_SHIFT)]! : -1;
  }

  /** First byte of the node's level; -1 for an empty level. */
  firstByte(node: number): number {
    const row = node << ROW_SHIFT;
    return (this.rows[row + LENGTH]! & LENGTH_MASK) === 0 ? -1 : this.#bytes[this.rows[row + OFFSET]! * (1 << UNIT_SHIFT)]!;
  }

  /** For checks: the node's level. */
  level(node: number): Uint8Array {
    const row = node << ROW_SHIFT;
    const at = this.rows[row + OFFSET]! * (1 << UNIT_SHIFT);
    return this.#bytes.subarray(at, at + (this.rows[row + LENGTH]! & LENGTH_MASK));
  }

  /** Bytes of the cell that holds the node's level; 0 where the row holds it. */
  cellBytes(node: number): number {
    const length = this.rows[(node << ROW_SHIFT) + LENGTH]! & LENGTH_MASK;
    return length > INLINE_BYTES ? 2 ** cellShift(length) : 0;
  }

  /** As marking and sweeping, where there are no other threads. */
  #unlink(node: number, bucket: number): void {
    const { rows, buckets } = this;
    const next = rows[(node << ROW_SHIFT) + NEXT]!;
    let before = buckets[bucket]!;
    if (before === node) {
      buckets[bucket] = next;
      return;
    }
    while (rows[(before << ROW_SHIFT) + NEXT] !== node) before = rows[(before << ROW_SHIFT) + NEXT]!;
    rows[(before << ROW_SHIFT) + NEXT] = next;
  }

  #count(nodes: number, bytes: number): void {
    const at = this.#ownAt;
    this.#own[at + NODES] = this.#own[at + NODES]! + nodes;
    this.#own[at + BYTES] = (this.#own[at + BYTES]! + bytes) | 0;
  }

  #forget(node: number): void {
    this.#count(-1, -(this.rows[(node << ROW_SHIFT) + LENGTH]! & LENGTH_MASK));
  }

  #total(word: number): number {
    let total = 0;
    for (let participant = 0; participant < this.#participantsMax; participant++) {
      total += Atomics.load(this.#own, participant * OWN_WORDS + word);
    }
    return total;
  }
}

function childHash(parent: number, levelHash: number): number {
  let hash = levelHash ^ Math.imul(parent, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

function isLevel(bytes: Uint8Array, at: number, source: Uint8Array, from: number, to: number): boolean {
  let stored = at;
  for (let read = from; read < to; read++) if (bytes[stored++] !== source[read]) return false;
  return true;
}
