// The pool of outbox blocks: a block has one owner at a time, is at least as large as asked for, and is used again.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BlockPool, LARGE_BLOCK_BYTES, SMALL_BLOCK_BYTES } from '../../engine/memory/blocks.ts';
import { agree, check } from '../check.ts';

test('lends no block twice, and counts those that are lent', () => {
  const bytes = fc.oneof(
    fc.nat(100_000),
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
  ['large', LARGE_BLOCK_BYTES],
])('lends a %s block again, with memory of its own', (_which, bytes) => {
  const pool = new BlockPool();
  const block = pool.acquire(bytes);
  expect([block.length, block.byteOffset, block.buffer.byteLength]).toEqual([bytes, 0, bytes]);
  pool.release(block);
  expect(pool.acquire(1 + bytes / 2)).toBe(block);
  expect(pool.acquire(bytes)).not.toBe(block); // it is lent
});

test('what is larger is made to measure and not kept', () => {
  const pool = new BlockPool();
  const block = pool.acquire(LARGE_BLOCK_BYTES + 1);
  expect(block).toHaveLength(LARGE_BLOCK_BYTES + 1);
  pool.release(block);
  expect(pool.acquire(LARGE_BLOCK_BYTES + 1)).not.toBe(block);
});

test('keeps a bounded number of free blocks', () => {
  const pool = new BlockPool();
  const blocks = Array.from({ length: 300 }, () => pool.acquire(LARGE_BLOCK_BYTES));
  for (const block of blocks) pool.release(block);
  const known = new Set(blocks);
  const again = Array.from({ length: 300 }, () => pool.acquire(LARGE_BLOCK_BYTES));
  expect(again.filter((block) => known.has(block))).toHaveLength(256);
});
