// A record that knows itself: its bytes follow from its number and length, so whoever reads it can tell the smallest damage.
import type { SeededRandom } from '../seeded-random.ts';

const FIXED_BYTES = 8;

/** Mostly short, some that take a good part of the ring. */
export function lengthOf(random: SeededRandom, capacityBytes: number): number {
  const bound = random.below(1_000) === 0 ? capacityBytes / 2 - 64 : 160;
  return FIXED_BYTES + random.below(bound);
}

/** Writes number, length and a content that depends on both. */
export function fillRecord(bytes: Uint8Array, at: number, length: number, number: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, length);
  view.setUint32(0, number, true);
  view.setUint32(4, length, true);
  let state = (number + 1) | 0;
  for (let i = FIXED_BYTES; i < length; i++) {
    state = Math.imul(state, 0x0019_660d) + 0x3c6e_f35f;
    bytes[at + i] = state >>> 24;
  }
}

/** Number of the record at `at`, -1 when it is not the one of `length` bytes that was written, or runs past `to`. */
export function recordNumber(bytes: Uint8Array, at: number, to: number, length: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, to - at);
  const number = view.getUint32(0, true);
  if (view.getUint32(4, true) !== length || at + length > to) return -1;
  let state = (number + 1) | 0;
  for (let i = FIXED_BYTES; i < length; i++) {
    state = Math.imul(state, 0x0019_660d) + 0x3c6e_f35f;
    if (bytes[at + i] !== state >>> 24) return -1;
  }
  return number;
}
