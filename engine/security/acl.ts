// Topic rights from an ACL file in Mosquitto's format. Owns the rules; what a client may do is what some rule allows it and
// no rule denies it.
//
//   # comment                                       only where a line begins
//   topic [read|write|readwrite|deny] <filter>      before the first `user`: for clients without a verified user name
//   user <name>                                     the `topic` lines below are for this user, and for nobody else
//   pattern [read|write|readwrite|deny] <filter>    for everybody; %c stands for the client id, %u for the user name
//
// Stricter than Mosquitto 2.0.11, each time towards "no":
// - `deny` wins whatever rule it stands beside; in Mosquitto a `topic` that allows hides a `pattern` that denies;
// - a client id or user name with `+`, `#` or `/` in it, or a `$` that would start the filter, fills no pattern (the class of
//   CVE-2017-7650; Mosquitto lets `/` and `$` pass). Where it would have to fill a `deny`, everything is denied;
// - a subscription that no rule could ever let a message through is refused. Mosquitto grants it and delivers nothing;
// - a file without rules, and an access word without a filter, are mistakes.
// Subscriptions are judged roughly (one deny at a time, not their union): every delivery is judged again by its topic name.
import { STRING_BYTES_MAX } from '../../protocol/limits.ts';
import { validateTopicFilter } from '../../protocol/topic.ts';
import type { Rights } from '../gate.ts';
import { covers, overlaps } from './filter.ts';
import { readTextFile } from './text-file.ts';

/** What a rule gives: bits, none of them for a rule that takes away. */
const Access = { DENY: 0, READ: 1, WRITE: 2, READ_WRITE: 3 } as const;
type Access = (typeof Access)[keyof typeof Access];

const accessWords: ReadonlyMap<string, Access> = new Map([
  ['read', Access.READ],
  ['write', Access.WRITE],
  ['readwrite', Access.READ_WRITE],
  ['deny', Access.DENY],
]);
const ACCESS_HELP = 'read, write, readwrite or deny';

interface Rule {
  readonly access: Access;
  readonly filter: Uint8Array;
}

interface Pattern {
  readonly access: Access;
  /** The filter as it stands in the file, with its placeholders. */
  readonly filter: string;
  readonly namesUser: boolean;
}

interface RuleSet {
  readonly anonymous: Rule[];
  readonly byUser: Map<string, Rule[]>;
  readonly patterns: Pattern[];
}

const encoder = new TextEncoder();

/** Rights of one file; immutable. */
export class Acl implements Rights {
  readonly #rules: RuleSet;

  constructor(rules: RuleSet) {
    this.#rules = rules;
  }

  mayPublish(username: string | null, clientId: string, topic: Uint8Array, from: number, to: number): boolean {
    return allows(this.#rulesFor(username, clientId), Access.WRITE, topic, from, to);
  }

  mayReceive(username: string | null, clientId: string, topic: Uint8Array, from: number, to: number): boolean {
    return allows(this.#rulesFor(username, clientId), Access.READ, topic, from, to);
  }

  /** Whether a message could ever come through the filter in [from, to), given without its `$share/{name}/`. */
  maySubscribe(username: string | null, clientId: string, filter: Uint8Array, from: number, to: number): boolean {
    let overlapped = false;
    for (const rule of this.#rulesFor(username, clientId)) {
      if (rule.access === Access.DENY) {
        if (covers(rule.filter, filter, from, to)) return false;
      } else if ((rule.access & Access.READ) !== 0) {
        overlapped ||= overlaps(rule.filter, filter, from, to);
      }
    }
    return overlapped;
  }

  /** The client's own rules, then the patterns with its names filled in. Without any rule there is no right. */
  #rulesFor(username: string | null, clientId: string): readonly Rule[] {
    const { anonymous, byUser, patterns } = this.#rules;
    const own = username === null ? anonymous : (byUser.get(username) ?? []);
    if (patterns.length === 0) return own;
    const rules = [...own];
    for (const pattern of patterns) {
      if (pattern.namesUser && username === null) continue; // a rule about users says nothing of a client that is none
      const filter = fillIn(pattern.filter, username, clientId);
      if (filter !== null) rules.push({ access: pattern.access, filter: encoder.encode(filter) });
      else if (pattern.access === Access.DENY) return [];
    }
    return rules;
  }
}

/** Reads an ACL file; throws Error `path:line: what is wrong and what to do`, without any name or topic of the file. */
export function loadAclFile(path: string): Acl {
  return new Acl(parseAcl(readTextFile(path).lines, path));
}

function parseAcl(lines: readonly string[], path: string): RuleSet {
  const rules: RuleSet = { anonymous: [], byUser: new Map(), patterns: [] };
  let current = rules.anonymous;
  let count = 0;
  for (const [index, raw] of lines.entries()) {
    const line = raw.replace(/^ +|[ \t]+$/g, '');
    if (line === '' || raw.startsWith('#')) continue;
    const space = line.indexOf(' ');
    const word = space < 0 ? line : line.slice(0, space);
    const rest = space < 0 ? '' : line.slice(space).replace(/^ +/, '');
    try {
      if (word === 'user') {
        current = rulesOfUser(rules, rest);
      } else if (word === 'topic') {
        const { access, filter } = parseRule(rest);
        current.push({ access, filter: encoder.encode(filter) });
        count++;
      } else if (word === 'pattern') {
        const { access, filter } = parseRule(rest);
        rules.patterns.push({ access, filter, namesUser: filter.includes('%u') });
        count++;
      } else {
        throw new Error('unknown word; a line begins with topic, user, pattern or #, then a space');
      }
    } catch (error) {
      throw new Error(`${path}:${index + 1}: ${error instanceof Error ? error.message : 'broken line'}`);
    }
  }
  if (count === 0)
    throw new Error(`${path}: the file has no rule; add topic or pattern lines, or take the ACL file out of the configuration`);
  return rules;
}

function rulesOfUser(rules: RuleSet, name: string): Rule[] {
  if (name === '') throw new Error('the user name is missing; write user <name>');
  let own = rules.byUser.get(name);
  if (own === undefined) {
    own = [];
    rules.byUser.set(name, own);
  }
  return own;
}

/** `[access] <filter>`: a filter that has spaces in it needs the access word before it. */
function parseRule(text: string): { access: Access; filter: string } {
  if (text === '') throw new Error(`the topic filter is missing; write [${ACCESS_HELP}] <filter>`);
  const space = text.indexOf(' ');
  if (space < 0 && accessWords.has(text)) {
    throw new Error('an access word without a topic filter; write the filter behind it');
  }
  const access = space < 0 ? Access.READ_WRITE : accessWords.get(text.slice(0, space));
  if (access === undefined) throw new Error(`unknown access word; the allowed words are ${ACCESS_HELP}`);
  const filter = space < 0 ? text : text.slice(space).replace(/^ +/, '');
  const bytes = encoder.encode(filter);
  if (validateTopicFilter(bytes, 0, bytes.length, STRING_BYTES_MAX, STRING_BYTES_MAX + 1) < 0) {
    throw new Error('not a valid topic filter; + and # stand alone in a level, and # only in the last');
  }
  return { access, filter };
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

function allows(rules: readonly Rule[], access: Access, topic: Uint8Array, from: number, to: number): boolean {
  let allowed = false;
  for (const rule of rules) {
    if (rule.access === Access.DENY) {
      if (covers(rule.filter, topic, from, to)) return false;
    } else if (!allowed && (rule.access & access) !== 0) {
      allowed = covers(rule.filter, topic, from, to);
    }
  }
  return allowed;
}
