// What is mapped for the data file fits into the addresses that a process has.
import { expect, test } from 'vitest';
import { mapBytes, mapBytesOf } from '../../storage/address-space.ts';

const GIBIBYTE = 2 ** 30;
const lines = (...ranges: readonly string[]): string => ranges.map((range) => `${range} r-xp 00000000 00:00 0\n`).join('');

test('with 47 or 48 bits of addresses it is a tebibyte', () => {
  const x64 = lines('00400000-01a00000', '7ffd3a5e1000-7ffd3a602000', 'ffffffffff600000-ffffffffff601000');
  expect(mapBytesOf(x64)).toBe(1_024 * GIBIBYTE);
  expect(mapBytesOf(lines('aaaad0a00000-aaaad5000000', 'ffffd8a1f000-ffffd8a40000'))).toBe(1_024 * GIBIBYTE);
});

test('with 39 bits it is an eighth of them', () => {
  expect(mapBytesOf(lines('5580000000-5586000000', '7fd8a1f000-7fd8a40000'))).toBe(64 * GIBIBYTE);
});

test('where nothing is listed it is a tebibyte', () => {
  expect(mapBytesOf('')).toBe(1_024 * GIBIBYTE);
});

test('this machine has enough', () => {
  expect(mapBytes()).toBeGreaterThanOrEqual(64 * GIBIBYTE);
});
