// The pool of byte blocks: a block has one owner at a time, is at least as large as asked for, and is used again.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  BlockPool,
  HUGE_BLOCK_BYTES_MAX,
  LARGE_BLOCK_BYTES,
  MEDIUM_BLOCK_BYTES,
  SMALL_BLOCK_BYTES,
} from '../../engine/memory/blocks.ts';
import { agree, check } from '../check.ts';

test('lends no block twice, and counts those that are lent', () => {
  const bytes = fc.oneof(
    fc.nat(100_000),
    fc.nat(HUGE_BLOCK_BYTES_MAX + 100_000),
    fc.constantFrom(0, 1, SMALL_BLOCK_BYTES, SMALL_BLOCK_BYTES + 1, LARGE_BLOCK_BYTES, LARGE_BLOCK_BYTES + 1),
  );
  const step = fc.oneof(fc.record({ bytes }), fc.record({ at: fc.nat(1_000) }));
  return check(
    fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (steps) => {
      const pool = new BlockPool();
      const lent: Uint8Array[] = [];
      for (const one of steps) {
        if ('bytes' in one) {
          const block = pool.acquire(one.bytes);
          agree([block.length >= one.bytes, lent.includes(block)], [true, false]);
          lent.push(block);
        } else if (lent.length > 0) {
          pool.release(lent.splice(one.at % lent.length, 1)[0]!);
        }
        agree(pool.lent, lent.length);
      }
      for (const block of lent) pool.release(block);
      agree(pool.lent, 0);
    }),
    150,
  );
});

test.each([
  ['small', SMALL_BLOCK_BYTES],
  ['medium', MEDIUM_BLOCK_BYTES],
  ['large', LARGE_BLOCK_BYTES],
  ['huge', 131_072],
  ['huger', 262_144],
  ['still huger', 524_288],
  ['hugest', HUGE_BLOCK_BYTES_MAX],
])('lends a %s block again, with memory of its own', (_which, bytes) => {
  const pool = new BlockPool();
  const block = pool.acquire(bytes);
  expect([block.length, block.byteOffset, block.buffer.byteLength]).toEqual([bytes, 0, bytes]);
  pool.release(block);
  expect(pool.acquire(1 + Math.floor(bytes * 0.6)) === block).toBe(true);
  expect(pool.acquire(bytes) === block).toBe(false); // it is lent
});

test('what is larger is made to measure and not kept', () => {
  const pool = new BlockPool();
  const block = pool.acquire(HUGE_BLOCK_BYTES_MAX + 1);
  expect(block).toHaveLength(HUGE_BLOCK_BYTES_MAX + 1);
  pool.release(block);
  expect(pool.acquire(HUGE_BLOCK_BYTES_MAX + 1)).not.toBe(block);
});

test.each([
  ['medium', MEDIUM_BLOCK_BYTES, 1_100, 1_024],
  ['large', LARGE_BLOCK_BYTES, 300, 256],
  ['huge', HUGE_BLOCK_BYTES_MAX, 12, 8],
])('keeps a bounded number of free %s blocks', (_which, bytes, lent, kept) => {
  const pool = new BlockPool();
  const blocks = Array.from({ length: lent }, () => pool.acquire(bytes));
  for (const block of blocks) pool.release(block);
  const known = new Set(blocks);
  const again = Array.from({ length: lent }, () => pool.acquire(bytes));
  expect(again.filter((block) => known.has(block))).toHaveLength(kept);
});

test('room that one size of huge blocks took is there for another once they are lent', () => {
  const pool = new BlockPool();
  const blocks = Array.from({ length: 8 }, () => pool.acquire(HUGE_BLOCK_BYTES_MAX));
  const small = pool.acquire(131_072);
  for (const block of blocks) pool.release(block);
  pool.release(small);
  expect(pool.acquire(131_072)).not.toBe(small);
  const taken = pool.acquire(HUGE_BLOCK_BYTES_MAX);
  const other = pool.acquire(131_072);
  pool.release(other);
  expect(pool.acquire(131_072)).toBe(other);
  expect(blocks).toContain(taken);
});
