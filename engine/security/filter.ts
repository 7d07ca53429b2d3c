// How two topic filters relate (MQTT 5.0 §4.7), on bytes. Both must be valid; a topic name is a filter without wildcards.
// The empty topic name counts as one, as if a client could use it.
// Iterative: one cursor in each filter, a level at a time. A cursor past the end means that its filter has no level left.
import { equalBytes } from '../../protocol/bytes.ts';

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/** Whether `rule` matches every topic that the filter or topic name in [from, to) stands for. */
export function covers(rule: Uint8Array, filter: Uint8Array, from: number, to: number): boolean {
  let ruleAt = 0;
  let at = from;
  while (ruleAt <= rule.length) {
    const ruleEnd = levelEnd(rule, ruleAt, rule.length);
    const isHash = isWildcard(rule, ruleAt, ruleEnd, HASH);
    const isPlus = isWildcard(rule, ruleAt, ruleEnd, PLUS);
    if ((isHash || isPlus) && at === from && filter[from] === DOLLAR) return false; // [MQTT-4.7.2-1]
    if (isHash) return true; // also when the filter has ended: `a/#` matches `a`
    if (at > to) return false;
    const end = levelEnd(filter, at, to);
    if (isPlus) {
      // `#` stands for the level above it too, which `+` does not reach; at the first level there is none: `+/#` covers `#`.
      if (isWildcard(filter, at, end, HASH)) return at === from && isWildcard(rule, ruleEnd + 1, rule.length, HASH);
    } else if (!equalBytes(rule, ruleAt, ruleEnd, filter, at, end)) {
      return false;
    }
    ruleAt = ruleEnd + 1;
    at = end + 1;
  }
  return at > to;
}

/** Whether any topic is matched both by `rule` and by the filter in [from, to). */
export function overlaps(rule: Uint8Array, filter: Uint8Array, from: number, to: number): boolean {
  let ruleAt = 0;
  let at = from;
  while (ruleAt <= rule.length && at <= to) {
    const ruleEnd = levelEnd(rule, ruleAt, rule.length);
    const end = levelEnd(filter, at, to);
    const ruleHash = isWildcard(rule, ruleAt, ruleEnd, HASH);
    const filterHash = isWildcard(filter, at, end, HASH);
    const ruleWild = ruleHash || isWildcard(rule, ruleAt, ruleEnd, PLUS);
    const filterWild = filterHash || isWildcard(filter, at, end, PLUS);
    if (at === from && ((ruleWild && filter[from] === DOLLAR) || (filterWild && rule[0] === DOLLAR))) return false; // [MQTT-4.7.2-1]
    if (ruleHash || filterHash) return true;
    if (!ruleWild && !filterWild && !equalBytes(rule, ruleAt, ruleEnd, filter, at, end)) return false;
    ruleAt = ruleEnd + 1;
    at = end + 1;
  }
  // One has ended: the other may go on only with the `#` that also matches the level above it.
  const ruleRests = ruleAt > rule.length || isWildcard(rule, ruleAt, rule.length, HASH);
  const filterRests = at > to || isWildcard(filter, at, to, HASH);
  return ruleRests && filterRests;
}

function levelEnd(filter: Uint8Array, at: number, to: number): number {
  let end = at;
  while (end < to && filter[end] !== SLASH) end++;
  return end;
}

function isWildcard(filter: Uint8Array, at: number, end: number, wildcard: number): boolean {
  return end === at + 1 && filter[at] === wildcard;
}
