// What a line of the log may be: a time, a level, a message that stands in the sources, and fields whose values are numbers, codes or names of listeners. There is no room in it for anything of a client. Every line that a
// broker writes under any test of the suite is held against this: test/broker.ts and test/end-to-end/child.ts hand lines in, test/log-watch.ts fails the file that had a wrong one.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;

/** Where messages are made: at the log itself, and where the store tells of trouble, which the log passes on; warnings of files that others can read. */
const MESSAGE =
  /(?:\blog\.(?:error|warn|info|debug)|#?log\.(?:error|warn|info|debug)|trouble|#full|#good|\bfatal|warnings\.push)\(\s*('(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)/g;
/** Messages that are put together elsewhere: each line names the file that does it. */
const ELSEWHERE = [
  // engine/security/exposed-files.ts
  String.raw`\S+: everybody on this machine can (?:read or )?change [a-zA-Z ]+; run chmod \S+ on it`,
  // engine/security: warnings of secrets
  String.raw`\S+: everybody on this machine can read [a-zA-Z ]+; run chmod 600 on it`,
  // engine/lethe.ts: what a thread died of
  'the storage thread has died and nothing more can be acknowledged: .*',
  'the broker cannot go on without all of its shards: .*',
  'a reload has failed half way, and shards may differ: .*',
];
const FIELD = /^(?:-?\d+(?:\.\d+)?|[A-Z][A-Z0-9_]*|[a-z][a-z0-9-]*)$/;
const LINE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:error|warn|info|debug) (.*)$/;

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? walk(join(folder, entry.name)) : entry.name.endsWith('.ts') ? [join(folder, entry.name)] : [],
  );
}

/** A pattern for what a literal of the sources can become. What it has holes for is the program's own: numbers, paths, names of options. */
function patternOf(literal: string): string {
  const text = literal.slice(1, -1).replaceAll(/\\(.)/g, '$1');
  const parts = literal.startsWith('`') ? text.split(/\$\{(?:[^{}]|\{[^{}]*\})*\}/) : [text];
  return parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join('.*');
}

let known: RegExp | null = null;

function messages(): RegExp {
  if (known !== null) return known;
  const literals = ['engine', 'storage'].flatMap((folder) =>
    walk(join(root, folder)).flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(MESSAGE)].map(([, literal]) => patternOf(literal!)),
    ),
  );
  known = new RegExp(`^(?:${[...new Set(literals), ...ELSEWHERE].join('|')})$`);
  return known;
}

/** What is wrong with a line of the log; null when nothing is. */
export function faultOf(line: string): string | null {
  const rest = LINE.exec(line)?.[1];
  if (rest === undefined) return 'is no line of a log';
  const fields = /^(.*?)((?: [a-zA-Z0-9]+=\S*)*)$/.exec(rest)!;
  for (const field of fields[2]!.split(' ').slice(1))
    if (!FIELD.test(field.slice(field.indexOf('=') + 1)))
      return `has a field that is neither a number, a code nor the name of a listener`;
  return messages().test(fields[1]!) ? null : 'has a message that does not stand in the sources';
}

const faults: string[] = [];

/** Holds a line against what lines may be. */
export function judgeLine(line: string): void {
  const fault = faultOf(line);
  if (fault !== null) faults.push(`${fault}: ${line}`);
}

/** Lines that were wrong since the last call. */
export function takeFaults(): string[] {
  return faults.splice(0);
}

/** Lines of the log among what a process has written to standard error. */
export function logLines(text: string): string[] {
  return text.split('\n').filter((line) => LINE.test(line));
}
