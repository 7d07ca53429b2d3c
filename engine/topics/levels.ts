// HOT: no allocation, closures, strings, try or async per message.
// The table of topic nodes: a node is one level below its parent node, found by hash. It lives in a region of a SharedArrayBuffer
// that is reserved large and committed by the operating system as it is touched, so nothing here may fill a column. Zero
// stands for none in every link: node 0 is the root, which has no bytes and is never a child.
//
//   header   64 × Int32   live nodes, first free node, nodes ever used, live bytes, cells ever used, first free cell by class
//   buckets  2^n × Int32  first node of the chain; n so that there are at least half as many as nodes
//   rows     16 columns of Int32, row by row, so that a node is one cache line (with a million subscriptions a cold match takes
//            3.6 µs this way, 5.3 µs with each column by itself: bench/micro/topics.bench.ts)
//              0 PARENT      node above
//              1 HASH        of parent and level together
//              2 NEXT        in the bucket; in the free list once freed
//              3 OFFSET      of the level's bytes, in units of 16 bytes from the start of the region
//              4 LENGTH      of the level in bytes (16 bits) | kind << 16
//              5 REFERENCES  children, plus what the owner of the table holds
//              6 TAG         grows each time the node is freed, so that a handle can tell reuse
//              7-11          the owner's columns, zero in a new node
//              12-15 INLINE  the level's bytes when they are at most 16
//   cells    bytes of longer levels, in power-of-two sizes from 32 to 65,536, free ones linked through their first word
//
// A reader never waits: a node is filled first and published by one atomic store to its bucket; a removed node is unlinked first
// and freed after. One writer today. With several, the store becomes a compare-and-exchange, and `remove` hands the node
// to an epoch list instead of the free list, because a reader may still stand on it.
// A cell is split but never joined again, so a reserve that was once full of short levels keeps little room for long ones.
import { copyBytes } from '../../protocol/bytes.ts';
import type { LevelScan } from './scan.ts';

export const ROOT = 0;
/** A row starts at `node << ROW_SHIFT`. */
export const ROW_SHIFT = 4;
export const PARENT = 0;
const HASH = 1;
const NEXT = 2;
const OFFSET = 3;
const LENGTH = 4;
export const REFERENCES = 5;
export const TAG = 6;
/** First of the five columns that belong to the owner of the table. */
export const OWNER = 7;
const INLINE = 12;

const INLINE_BYTES = 16;
const LENGTH_MASK = 0xffff;
const KIND_SHIFT = 16;

/** Two nodes of different kinds are different nodes, whatever their bytes. */
export const NodeKind = { LEVEL: 0, GROUP: 1 } as const;
export type NodeKind = (typeof NodeKind)[keyof typeof NodeKind];

const NODES = 0;
const FREE_NODE = 1;
const USED_NODES = 2;
const LIVE_BYTES = 3;
const USED_UNITS = 4;
const FREE_CELL = 8;
const HEADER_WORDS = 64;

const UNIT_SHIFT = 4;
const CLASS_MIN_SHIFT = 5;
const CLASS_MAX_SHIFT = 16;

/** What a table reserves: nodes without the root, and bytes of levels longer than 16. */
export interface LevelsCapacity {
  readonly nodesMax: number;
  readonly levelBytesMax: number;
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

function rowsAt(capacity: LevelsCapacity): number {
  return (HEADER_WORDS + bucketCount(capacity)) * 4;
}

function cellsAt(capacity: LevelsCapacity): number {
  return rowsAt(capacity) + ((capacity.nodesMax + 1) << ROW_SHIFT) * 4;
}

export class Levels {
  /** Rows of all nodes; the owner reads and writes its own columns and REFERENCES. */
  readonly rows: Int32Array;
  readonly seed: number;
  readonly nodesMax: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #buckets: Int32Array;
  readonly #bucketMask: number;
  readonly #rowsUnit: number;
  readonly #firstUnit: number;
  readonly #unitsMax: number;

  /** A table over `levelsBytes(capacity)` bytes of `buffer` from `at`, a multiple of 64. Zeroes are an empty table. */
  constructor(buffer: SharedArrayBuffer, at: number, capacity: LevelsCapacity, seed: number) {
    const bytes = levelsBytes(capacity);
    const rows = rowsAt(capacity);
    const cells = cellsAt(capacity);
    this.seed = seed;
    this.#words = new Int32Array(buffer, at, bytes / 4);
    this.#bytes = new Uint8Array(buffer, at, bytes);
    this.#buckets = new Int32Array(buffer, at + HEADER_WORDS * 4, bucketCount(capacity));
    this.#bucketMask = this.#buckets.length - 1;
    this.rows = new Int32Array(buffer, at + rows, (capacity.nodesMax + 1) << ROW_SHIFT);
    this.nodesMax = capacity.nodesMax;
    this.#rowsUnit = rows / (1 << UNIT_SHIFT);
    this.#firstUnit = cells / (1 << UNIT_SHIFT);
    this.#unitsMax = (bytes - cells) / (1 << UNIT_SHIFT);
  }

  /** Nodes in use, without the root. */
  get nodes(): number {
    return this.#words[NODES]!;
  }

  /** Bytes of the levels of all nodes in use. */
  get levelBytes(): number {
    return this.#words[LIVE_BYTES]!;
  }

  /** The child of `parent` with the level [from, to), whose hash is `levelHash`; 0 when there is none. */
  find(parent: number, kind: NodeKind, levelHash: number, source: Uint8Array, from: number, to: number): number {
    const { rows } = this;
    const hash = childHash(parent, levelHash);
    const lengthAndKind = (to - from) | (kind << KIND_SHIFT);
    let node = Atomics.load(this.#buckets, hash & this.#bucketMask);
    while (node !== 0) {
      const row = node << ROW_SHIFT;
      if (
        rows[row + HASH] === hash &&
        rows[row + PARENT] === parent &&
        rows[row + LENGTH] === lengthAndKind &&
        isLevel(this.#bytes, rows[row + OFFSET]! * (1 << UNIT_SHIFT), source, from, to)
      ) {
        return node;
      }
      node = rows[row + NEXT]!;
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

  /** Adds a child that `find` did not find, and one reference to `parent`; 0 when nodes or bytes are used up. */
  add(parent: number, kind: NodeKind, levelHash: number, source: Uint8Array, from: number, to: number): number {
    const { rows } = this;
    const words = this.#words;
    const length = to - from;
    const free = words[FREE_NODE]!;
    if (free === 0 && words[USED_NODES] === this.nodesMax) return 0;
    const node = free === 0 ? words[USED_NODES]! + 1 : free;
    const row = node << ROW_SHIFT;
    const unit = length <= INLINE_BYTES ? this.#rowsUnit + node * 4 + 3 : this.#takeCell(classShift(length));
    if (unit === 0) return 0;
    if (free === 0) words[USED_NODES] = node;
    else words[FREE_NODE] = rows[row + NEXT]!;
    copyBytes(source, from, to, this.#bytes, unit * (1 << UNIT_SHIFT));
    const hash = childHash(parent, levelHash);
    const bucket = hash & this.#bucketMask;
    rows[row + PARENT] = parent;
    rows[row + HASH] = hash;
    rows[row + OFFSET] = unit;
    rows[row + LENGTH] = length | (kind << KIND_SHIFT);
    rows[row + REFERENCES] = 0;
    for (let column = OWNER; column < INLINE; column++) rows[row + column] = 0;
    rows[row + NEXT] = this.#buckets[bucket]!;
    Atomics.store(this.#buckets, bucket, node); // publishes: everything above is seen by whoever sees the node
    this.refer(parent, 1);
    words[NODES] = words[NODES]! + 1;
    words[LIVE_BYTES] = words[LIVE_BYTES]! + length;
    return node;
  }

  /** Removes a node that nothing refers to any more, and its reference to the parent, which is returned. */
  remove(node: number): number {
    const { rows } = this;
    const words = this.#words;
    const row = node << ROW_SHIFT;
    const parent = rows[row + PARENT]!;
    this.#unlink(node);
    this.refer(parent, -1);
    rows[row + TAG] = (rows[row + TAG]! + 1) | 0;
    const length = rows[row + LENGTH]! & LENGTH_MASK;
    if (length > INLINE_BYTES) this.#giveCell(rows[row + OFFSET]!, classShift(length));
    rows[row + NEXT] = words[FREE_NODE]!;
    words[FREE_NODE] = node;
    words[NODES] = words[NODES]! - 1;
    words[LIVE_BYTES] = words[LIVE_BYTES]! - length;
    return parent;
  }

  /** Adds `by` to the references of a node; returns what they are then. */
  refer(node: number, by: number): number {
    const at = (node << ROW_SHIFT) + REFERENCES;
    const references = this.rows[at]! + by;
    this.rows[at] = references;
    return references;
  }

  kind(node: number): NodeKind {
    return (this.rows[(node << ROW_SHIFT) + LENGTH]! >>> KIND_SHIFT) as NodeKind;
  }

  /** First byte of the node's level; -1 for an empty level. */
  firstByte(node: number): number {
    const row = node << ROW_SHIFT;
    return (this.rows[row + LENGTH]! & LENGTH_MASK) === 0 ? -1 : this.#bytes[this.rows[row + OFFSET]! * (1 << UNIT_SHIFT)]!;
  }

  #unlink(node: number): void {
    const { rows } = this;
    const next = rows[(node << ROW_SHIFT) + NEXT]!;
    const bucket = rows[(node << ROW_SHIFT) + HASH]! & this.#bucketMask;
    let before = this.#buckets[bucket]!;
    if (before === node) {
      Atomics.store(this.#buckets, bucket, next);
      return;
    }
    while (rows[(before << ROW_SHIFT) + NEXT] !== node) before = rows[(before << ROW_SHIFT) + NEXT]!;
    rows[(before << ROW_SHIFT) + NEXT] = next;
  }

  /** A cell of 2^shift bytes: a free one, a new one, or a part of a larger free one. Its unit, or 0. */
  #takeCell(shift: number): number {
    const words = this.#words;
    const units = 1 << (shift - UNIT_SHIFT);
    if (words[FREE_CELL + shift] === 0) {
      const used = words[USED_UNITS]!;
      if (used + units <= this.#unitsMax) {
        words[USED_UNITS] = used + units;
        return this.#firstUnit + used;
      }
      let larger = shift + 1;
      while (larger <= CLASS_MAX_SHIFT && words[FREE_CELL + larger] === 0) larger++;
      if (larger > CLASS_MAX_SHIFT) return 0;
      const cell = this.#popCell(larger);
      while (larger-- > shift) this.#giveCell(cell + (1 << (larger - UNIT_SHIFT)), larger);
      return cell;
    }
    return this.#popCell(shift);
  }

  #popCell(shift: number): number {
    const words = this.#words;
    const unit = words[FREE_CELL + shift]!;
    words[FREE_CELL + shift] = words[unit * 4]!;
    return unit;
  }

  #giveCell(unit: number, shift: number): void {
    const words = this.#words;
    words[unit * 4] = words[FREE_CELL + shift]!;
    words[FREE_CELL + shift] = unit;
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

/** Exponent of the cell that holds `length` bytes, 17 to 65,535. */
function classShift(length: number): number {
  return Math.max(CLASS_MIN_SHIFT, 32 - Math.clz32(length - 1));
}
