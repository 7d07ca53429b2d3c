// Where sealed values and rows may lie in a data file, pages that LMDB has freed included: every byte at which one could begin is looked at.
// How long one is, LMDB's nodes say, those in freed pages too; where none says it, the longest that it can be is taken.
//
// LMDB page (lmdb's fork):  0 number u64 | 8 transaction u64 | 16 - | 18 flags u16 | 20 lower u16, upper u16 or pages u32 | 24 content
// Leaf node:                0 size u32 | 4 flags u16 | 6 key size u16 | 8 key | value, or the number of its first overflow page u64
import { SEALED_HEADER_BYTES } from '../../storage/sealed.ts';
import { SEALED_BYTES_TARGET } from '../../storage/step.ts';
import type { RawFile, Stretch } from './files.ts';

/** A place where a sealed value may begin. */
export interface SealedPlace {
  /** The slot that it names. */
  readonly slot: number;
  /** From the first byte as far as it can go. */
  readonly bytes: Buffer;
  readonly offset: number;
  /** Lengths that nodes give for it. */
  readonly lengths: readonly number[];
}

/** A place where a sealed row of numbers may begin. */
export interface RowPlace {
  readonly bytes: Buffer;
  readonly offset: number;
  readonly lengths: readonly number[];
}

const PAGE_BYTES = 4_096;
const PAGE_HEADER_BYTES = 24;
const PageFlag = { LEAF: 2, OVERFLOW: 4 } as const;
const NODE_BYTES = 8;
const NODE_BIG = 1;
export const ROW_HEADER_BYTES = 48;
const ROW_BYTES_MAX = 65_536;
const LARGEST_BYTES = 32 * 1_048_576;
const COUNT_MAX = 2 ** 24;
const NUMBER_MAX = 2 ** 48;
const NO_LENGTHS: readonly number[] = [];

export function sealedPlaces(file: RawFile): { values: SealedPlace[]; rows: RowPlace[] } {
  const values: SealedPlace[] = [];
  const rows: RowPlace[] = [];
  const lengths = nodeLengths(file);
  for (const stretch of file.stretches) {
    const { bytes, from } = stretch;
    for (let i = 0; i + ROW_HEADER_BYTES <= bytes.length; i++) {
      if (bytes[i] !== 1 || bytes[i + 1]! > 1 || bytes[i + 2] !== 0 || bytes[i + 3] !== 0) continue;
      const known = lengths.get(from + i) ?? NO_LENGTHS;
      if (isValue(bytes, i)) {
        const most = Math.max(longest(stretch, i), ...known);
        values.push({ slot: bytes.readUInt32LE(i + 4), bytes: bytes.subarray(i, i + most), offset: from + i, lengths: known });
      } else if (isRow(bytes, i)) {
        rows.push({ bytes: bytes.subarray(i, i + Math.max(ROW_BYTES_MAX, ...known)), offset: from + i, lengths: known });
      }
    }
  }
  return { values, rows };
}

/** Judged by its clear part alone, and mildly: a damaged one is a place too. */
function isValue(bytes: Buffer, at: number): boolean {
  if (at + SEALED_HEADER_BYTES > bytes.length) return false;
  // The wall clock of the years 2004 to 2039, as a double, begins so.
  if (bytes[at + 31] !== 0x42 || (bytes[at + 30]! & 0xf0) !== 0x70) return false;
  const count = bytes.readUInt32LE(at + 8);
  const last = bytes.readDoubleLE(at + 16);
  return count >= 1 && count <= COUNT_MAX && last >= 0 && last <= NUMBER_MAX;
}

function isRow(bytes: Buffer, at: number): boolean {
  if (bytes.readUInt32LE(at + 4) !== 0 || bytes[at + 1] !== 0) return false;
  const counter = bytes.readDoubleLE(at + 24);
  return Number.isInteger(counter) && counter >= 1 && counter < NUMBER_MAX;
}

/** How far a value can go that begins at `at`: to the end of its run of overflow pages, or the largest that is kept in one. */
function longest({ bytes, from }: Stretch, at: number): number {
  const page = at - PAGE_HEADER_BYTES;
  if (page < 0 || (from + page) % PAGE_BYTES !== 0 || (bytes.readUInt16LE(page + 18) & PageFlag.OVERFLOW) === 0) {
    return SEALED_BYTES_TARGET;
  }
  return Math.min(bytes.readUInt32LE(page + 20) * PAGE_BYTES - PAGE_HEADER_BYTES, LARGEST_BYTES);
}

/** Lengths of values by their offsets in the file, from every node of every page that looks like a leaf. */
function nodeLengths(file: RawFile): Map<number, number[]> {
  const lengths = new Map<number, number[]>();
  const note = (offset: number, length: number) => {
    const known = lengths.get(offset);
    if (known === undefined) lengths.set(offset, [length]);
    else if (!known.includes(length)) known.push(length);
  };
  for (const { bytes, from } of file.stretches) {
    for (let page = 0; page + PAGE_BYTES <= bytes.length; page += PAGE_BYTES) {
      if ((bytes.readUInt16LE(page + 18) & PageFlag.LEAF) === 0) continue;
      const lower = Math.min(bytes.readUInt16LE(page + 20), PAGE_BYTES - PAGE_HEADER_BYTES);
      for (let pointer = 0; pointer + 2 <= lower; pointer += 2) {
        const node = page + PAGE_HEADER_BYTES + bytes.readUInt16LE(page + PAGE_HEADER_BYTES + pointer);
        if (node + NODE_BYTES > page + PAGE_BYTES) continue;
        const length = bytes.readUInt32LE(node);
        const value = node + NODE_BYTES + bytes.readUInt16LE(node + 6);
        if (length > LARGEST_BYTES || value + 8 > page + PAGE_BYTES) continue;
        if ((bytes.readUInt16LE(node + 4) & NODE_BIG) === 0) note(from + value, length);
        else note(Number(bytes.readBigUInt64LE(value)) * PAGE_BYTES + PAGE_HEADER_BYTES, length);
      }
    }
  }
  return lengths;
}
