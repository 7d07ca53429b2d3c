// HOT: no allocation, closures, strings, try or async per message.
// Splits a topic name or filter at its slashes, in one pass, into the start, end and hash of each level (MQTT 5.0 §4.7.1.1).
// Empty levels count. Owns one set of scratch columns, which the next `read` overwrites.
import { limitRanges } from '../../protocol/limits.ts';

/** Deepest filter or retained topic that is kept; a topic name may be deeper and then matches `#` filters alone. */
export const LEVELS_MAX = limitRanges.topicLevelsMax[1];

export const SLASH = 0x2f;
export const PLUS_SIGN = 0x2b;
export const NUMBER_SIGN = 0x23;
export const DOLLAR_SIGN = 0x24;

const HASH_BASIS = 0x811c9dc5;
const HASH_PRIME = 0x01000193;

/** FNV-1a of a level, from a basis that `seed` moves so that colliding levels cannot be prepared beforehand. */
export function hashLevel(bytes: Uint8Array, from: number, to: number, seed: number): number {
  let hash = HASH_BASIS ^ seed;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, HASH_PRIME);
  return hash;
}

export class LevelScan {
  /** Levels found, at most LEVELS_MAX. */
  count = 0;
  /** There were more than LEVELS_MAX levels; the columns hold the first ones. */
  deeper = false;
  readonly from = new Int32Array(LEVELS_MAX);
  readonly to = new Int32Array(LEVELS_MAX);
  readonly hash = new Int32Array(LEVELS_MAX);

  /** Reads the levels of [from, to). False when there are more than LEVELS_MAX. */
  read(bytes: Uint8Array, from: number, to: number, seed: number): boolean {
    const basis = HASH_BASIS ^ seed;
    let hash = basis;
    let start = from;
    let level = 0;
    this.deeper = false;
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!;
      if (byte !== SLASH) {
        hash = Math.imul(hash ^ byte, HASH_PRIME);
        continue;
      }
      this.from[level] = start;
      this.to[level] = at;
      this.hash[level] = hash;
      hash = basis;
      start = at + 1;
      if (++level === LEVELS_MAX) {
        this.count = level;
        this.deeper = true;
        return false;
      }
    }
    this.from[level] = start;
    this.to[level] = to;
    this.hash[level] = hash;
    this.count = level + 1;
    return true;
  }
}
