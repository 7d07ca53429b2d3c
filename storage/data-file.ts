// Whether a data file may be given to lmdb, which trusts what it reads: meta pages that are none end the process, a page number beyond the end of the file ends it with SIGBUS, and a page
// of noise can end it or keep it in a loop. So before a file is opened its meta pages and the pages of its trees are looked through, by reads that fail in order. What the values hold is
// not looked at: each has a seal of its own (sealed.ts).
//
//   meta page   0 header (24)   24 magic, version   40 size of map   48 MDB_db of free pages   96 MDB_db of everything   144 last page   152 transaction
//   MDB_db      0 size of a page (in the first one)   6 depth   40 root, all ones for none
//   tree page   0 own number   18 flags   20 lower, upper   24 offsets of nodes, behind the header, two bytes each
//   node        0 low and high part of a size or child   4 flags, or the top of a child's number   6 bytes of the key   8 key, data
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DiskError, DiskFault, diskError } from './disk.ts';

const META_MAGIC = 0xbeef_c0de;
const META_VERSION = 2;
const META_BYTES = 160;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
const META_PAGES = 2;
const At = { MAGIC: 24, VERSION: 28, PAGE_BYTES: 48, FREE: 48, MAIN: 96, LAST_PAGE: 144, TRANSACTION: 152 } as const;
const DEPTH_AT = 6;
const ROOT_AT = 40;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
/** No tree of lmdb is deeper. */
const DEPTH_MAX = 32;

const PAGE_HEADER_BYTES = 24;
const NODE_BYTES = 8;
const FLAGS_AT = 18;
const LOWER_AT = 20;
const PageFlag = { BRANCH: 1, LEAF: 2 } as const;
/** Of a node in a leaf: its data is a page number, a transaction and a number of pages, where the value stands. */
const NODE_IS_ELSEWHERE = 1;
const ELSEWHERE_BYTES = 24;

interface Meta {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: bigint;
  readonly trees: readonly { readonly root: bigint; readonly depth: number }[];
}

/** A file that is not there, or is empty, will be made and is right. @throws DiskError when it must not be opened */
export function checkDataFile(path: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw diskError('the data file', error);
  }
  try {
    const fileBytes = fstatSync(descriptor).size;
    if (fileBytes === 0) return;
    const first = readMeta(descriptor, 0);
    const second = first === null ? null : readMeta(descriptor, first.pageBytes);
    if (first === null || second === null || fileBytes < META_PAGES * first.pageBytes)
      throw new DiskError(DiskFault.BROKEN, 'it is no data file of Lethe, or its header is damaged');
    // The one that lmdb goes by.
    const meta = first.transaction < second.transaction ? second : first;
    const pages = Math.min(Math.floor(fileBytes / meta.pageBytes), meta.lastPage + 1);
    const seen = new Uint8Array(Math.ceil(pages / 8));
    for (const tree of meta.trees) checkTree(descriptor, meta.pageBytes, pages, tree, seen);
  } catch (error) {
    throw diskError('the data file', error);
  } finally {
    closeSync(descriptor);
  }
}

function readMeta(descriptor: number, at: number): Meta | null {
  const meta = Buffer.alloc(META_BYTES);
  if (readSync(descriptor, meta, 0, META_BYTES, at) < META_BYTES) return null;
  const pageBytes = meta.readUInt32LE(At.PAGE_BYTES);
  const isMeta = meta.readUInt32LE(At.MAGIC) === META_MAGIC && meta.readUInt32LE(At.VERSION) === META_VERSION;
  if (!isMeta || pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) return null;
  const tree = (from: number) => ({ depth: meta.readUInt16LE(from + DEPTH_AT), root: meta.readBigUInt64LE(from + ROOT_AT) });
  return {
    pageBytes,
    lastPage: Number(meta.readBigUInt64LE(At.LAST_PAGE)),
    transaction: meta.readBigUInt64LE(At.TRANSACTION),
    trees: [tree(At.FREE), tree(At.MAIN)],
  };
}

/** Looks through the branches and leaves of a tree, level by level. `seen` has a bit for each page of the file. */
function checkTree(
  descriptor: number,
  pageBytes: number,
  pages: number,
  { root, depth }: Meta['trees'][number],
  seen: Uint8Array,
): void {
  if (root === NO_PAGE) return;
  if (depth === 0 || depth > DEPTH_MAX) throw damaged();
  const page = Buffer.alloc(pageBytes);
  let level: number[] = [Number(root)];
  for (let above = depth - 1; above >= 0; above--) {
    const below: number[] = [];
    for (const number of level) {
      enter(number, pages, seen);
      if (readSync(descriptor, page, 0, pageBytes, number * pageBytes) < pageBytes) throw damaged();
      const kind = page.readUInt16LE(FLAGS_AT) & (PageFlag.BRANCH | PageFlag.LEAF);
      if (Number(page.readBigUInt64LE(0)) !== number || kind !== (above > 0 ? PageFlag.BRANCH : PageFlag.LEAF)) throw damaged();
      if (above > 0) addChildren(page, below);
      else checkLeaf(page, pages);
    }
    level = below;
  }
}

/** Marks a page of a tree, which must be in the file and belong to one place only. */
function enter(number: number, pages: number, seen: Uint8Array): void {
  if (number < META_PAGES || number >= pages) throw damaged();
  const bit = 1 << (number & 7);
  if ((seen[number >> 3]! & bit) !== 0) throw damaged();
  seen[number >> 3]! |= bit;
}

/** Where the nodes of a page begin; each has room for its header. */
function nodesOf(page: Buffer): number[] {
  const count = page.readUInt16LE(LOWER_AT) >> 1;
  if (count === 0 || PAGE_HEADER_BYTES + 2 * count > page.length) throw damaged();
  const nodes: number[] = [];
  for (let index = 0; index < count; index++) {
    const node = PAGE_HEADER_BYTES + page.readUInt16LE(PAGE_HEADER_BYTES + 2 * index);
    if (node < PAGE_HEADER_BYTES + 2 * count || node + NODE_BYTES > page.length) throw damaged();
    nodes.push(node);
  }
  return nodes;
}

function addChildren(page: Buffer, children: number[]): void {
  for (const node of nodesOf(page)) {
    if (node + NODE_BYTES + page.readUInt16LE(node + 6) > page.length) throw damaged();
    children.push(page.readUIntLE(node, 6));
  }
}

function checkLeaf(page: Buffer, pages: number): void {
  for (const node of nodesOf(page)) {
    const data = node + NODE_BYTES + page.readUInt16LE(node + 6);
    const isElsewhere = (page.readUInt16LE(node + 4) & NODE_IS_ELSEWHERE) !== 0;
    if (data + (isElsewhere ? ELSEWHERE_BYTES : page.readUInt32LE(node)) > page.length) throw damaged();
    if (!isElsewhere) continue;
    const first = page.readBigUInt64LE(data);
    const count = page.readBigUInt64LE(data + 16);
    if (first < META_PAGES || count === 0n || first + count > pages) throw damaged();
  }
}

function damaged(): DiskError {
  return new DiskError(
    DiskFault.BROKEN,
    'it is cut short or damaged; restore it together with the key file, or remove both to start with an empty spool',
  );
}
