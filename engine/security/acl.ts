// The rules of an ACL file in Mosquitto's format. What they mean for one client is worked out in rights.ts.
//
//   # comment                                       only where a line begins
//   topic [read|write|readwrite|deny] <filter>      before the first `user`: for clients without a verified user name
//   user <name>                                     the `topic` lines below are for this user, and for nobody else
//   pattern [read|write|readwrite|deny] <filter>    for everybody; %c stands for the client id, %u for the user name
//
// Stricter than Mosquitto 2.0.11, each time towards "no":
// - `deny` wins whatever rule it stands beside; in Mosquitto a `topic` that allows hides a `pattern` that denies;
// - names that could mean more than themselves fill no pattern (rules.ts);
// - a subscription that no rule could ever let a message through is refused. Mosquitto grants it and delivers nothing;
// - a file without rules, and an access word without a filter, are mistakes.
import { Access, FILTER_PROBLEM, isTopicFilter, type Pattern, patternOf, type Rule, ruleOf } from './rules.ts';
import { readTextFile } from './text-file.ts';

const accessWords: ReadonlyMap<string, Access> = new Map([
  ['read', Access.READ],
  ['write', Access.WRITE],
  ['readwrite', Access.READ_WRITE],
  ['deny', Access.DENY],
]);
const ACCESS_HELP = 'read, write, readwrite or deny';

/** Rules of one file; immutable. */
export interface AclRules {
  readonly anonymous: readonly Rule[];
  readonly byUser: ReadonlyMap<string, readonly Rule[]>;
  readonly patterns: readonly Pattern[];
}

/** Reads an ACL file; throws Error `path:line: what is wrong and what to do`, without any name or topic of the file. */
export function loadAclFile(path: string): AclRules {
  return parseAcl(readTextFile(path).lines, path);
}

function parseAcl(lines: readonly string[], path: string): AclRules {
  const anonymous: Rule[] = [];
  const byUser = new Map<string, Rule[]>();
  const patterns: Pattern[] = [];
  let current = anonymous;
  let count = 0;
  for (const [index, raw] of lines.entries()) {
    const line = raw.replace(/^ +|[ \t]+$/g, '');
    if (line === '' || raw.startsWith('#')) continue;
    const space = line.indexOf(' ');
    const word = space < 0 ? line : line.slice(0, space);
    const rest = space < 0 ? '' : line.slice(space).replace(/^ +/, '');
    try {
      if (word === 'user') {
        current = rulesOfUser(byUser, rest);
      } else if (word === 'topic') {
        const { access, filter } = parseRule(rest);
        current.push(ruleOf(access, filter));
        count++;
      } else if (word === 'pattern') {
        const { access, filter } = parseRule(rest);
        patterns.push(patternOf(access, filter));
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
  return { anonymous, byUser, patterns };
}

function rulesOfUser(byUser: Map<string, Rule[]>, name: string): Rule[] {
  if (name === '') throw new Error('the user name is missing; write user <name>');
  let own = byUser.get(name);
  if (own === undefined) {
    own = [];
    byUser.set(name, own);
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
  if (!isTopicFilter(filter)) throw new Error(FILTER_PROBLEM);
  return { access, filter };
}
