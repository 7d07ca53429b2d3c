// Rules over topics: filters that allow or take away, in the form in which they are written (with %c and %u), and in the form in which they are judged (filled in for one client, as bytes). Deny wins,
// whatever it stands beside; what no rule allows is refused. Where rules come from is the business of acl.ts and rights.ts.
//
// A client id or user name with `+`, `#` or `/` in it, or a `$` that would start the filter, fills no pattern (the class of CVE-2017-7650; Mosquitto lets `/` and `$` pass). Where it would
// have to fill a deny, everything is denied.
import { STRING_BYTES_MAX } from '../../protocol/limits.ts';
import { validateTopicFilter } from '../../protocol/topic.ts';
import { covers, overlaps } from './filter.ts';

/** What a rule gives: bits, none of them for a rule that takes away. */
export const Access = { DENY: 0, READ: 1, WRITE: 2, READ_WRITE: 3 } as const;
export type Access = (typeof Access)[keyof typeof Access];

export interface Rule {
  readonly access: Access;
  readonly filter: Uint8Array;
}

/** A rule as it is written: %c stands for the client id, %u for the user name. */
export interface Pattern {
  readonly access: Access;
  readonly filter: string;
  readonly namesUser: boolean;
  readonly namesClient: boolean;
  /** The rule that it is for everybody; null where a name has to be filled in. */
  readonly rule: Rule | null;
}

const encoder = new TextEncoder();

export function isTopicFilter(filter: string): boolean {
  const bytes = encoder.encode(filter);
  return validateTopicFilter(bytes, 0, bytes.length, STRING_BYTES_MAX, STRING_BYTES_MAX + 1) >= 0;
}

export const FILTER_PROBLEM = 'not a valid topic filter; + and # stand alone in a level, and # only in the last';

export function ruleOf(access: Access, filter: string): Rule {
  return { access, filter: encoder.encode(filter) };
}

export function patternOf(access: Access, filter: string): Pattern {
  const namesUser = filter.includes('%u');
  const namesClient = filter.includes('%c');
  return { access, filter, namesUser, namesClient, rule: namesUser || namesClient ? null : ruleOf(access, filter) };
}

/** Adds the rules that patterns are for one client. False: a deny cannot be told, so everything is denied. */
export function fillInto(rules: Rule[], patterns: readonly Pattern[], username: string | null, clientId: string): boolean {
  for (const pattern of patterns) {
    if (pattern.rule !== null) {
      rules.push(pattern.rule);
      continue;
    }
    if (pattern.namesUser && username === null) continue; // a rule about users says nothing of a client that is none
    const filter = fillIn(pattern.filter, username, clientId);
    if (filter !== null) rules.push(ruleOf(pattern.access, filter));
    else if (pattern.access === Access.DENY) return false;
  }
  return true;
}

/** The filter of a pattern for one client, in a single pass; null when a name in it could mean more than itself. */
function fillIn(filter: string, username: string | null, clientId: string): string | null {
  let safe = true;
  const filled = filter.replace(/%[cu]/g, (placeholder, at: number) => {
    const name = placeholder === '%c' ? clientId : (username ?? '');
    if (name === '' || /[+#/]/.test(name) || (at === 0 && name.startsWith('$'))) safe = false;
    return name;
  });
  return safe ? filled : null;
}

/** Whether the topic name in [from, to) may be read or written. */
export function allows(rules: readonly Rule[], access: Access, topic: Uint8Array, from: number, to: number): boolean {
  let allowed = false;
  for (const rule of rules) {
    if (beginsElsewhere(rule.filter, topic, from, to)) continue;
    if (rule.access === Access.DENY) {
      if (covers(rule.filter, topic, from, to)) return false;
    } else if (!allowed && (rule.access & access) !== 0) {
      allowed = covers(rule.filter, topic, from, to);
    }
  }
  return allowed;
}

const PLUS = 0x2b;
const HASH = 0x23;

/** Whether the first byte alone tells that a filter does not cover a topic name: most rules are not about the topic in question. */
function beginsElsewhere(filter: Uint8Array, topic: Uint8Array, from: number, to: number): boolean {
  const first = filter[0];
  return from < to && first !== topic[from] && first !== PLUS && first !== HASH;
}

/**
 * Whether a message could ever come through the filter in [from, to), given without its `$share/{name}/`. Roughly (one deny at a time, not their union): every delivery is
 * judged again by its topic name.
 */
export function letsThrough(rules: readonly Rule[], filter: Uint8Array, from: number, to: number): boolean {
  let overlapped = false;
  for (const rule of rules) {
    if (rule.access === Access.DENY) {
      if (covers(rule.filter, filter, from, to)) return false;
    } else if ((rule.access & Access.READ) !== 0) {
      overlapped ||= overlaps(rule.filter, filter, from, to);
    }
  }
  return overlapped;
}
