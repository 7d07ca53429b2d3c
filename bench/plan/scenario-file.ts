// Scenario files: TOML with the settings that flags give too, and with groups of clients of any shape. Every mistake is told with the
// file, the line, the key and what is allowed.
import { readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import * as v from 'valibot';
import { messageOf } from '../../engine/cli/failure.ts';
import { locateKeys } from '../../engine/config/locate.ts';
import { isTable, type Table } from '../../engine/config/schema.ts';
import { BYTES_RULE, parseBytes, parseSeconds, SECONDS_RULE } from './quantity.ts';
import { scenarios } from './scenarios.ts';
import { type Settings, SettingsError } from './settings.ts';

const CLIENTS_MAX = 1_000_000;
const BIG = Number.MAX_SAFE_INTEGER;

function whole(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  const isInRange = (value: number) => Number.isSafeInteger(value) && value >= min && value <= max;
  return v.pipe(v.number(message), v.check(isInRange, message));
}

function amount(parseText: (text: string) => number | null, rule: string, isAllowed: (value: number) => boolean) {
  return v.pipe(
    v.union([v.number(), v.string()], rule),
    v.transform((value) => (typeof value === 'number' ? value : parseText(value))),
    v.number(rule),
    v.check((value) => value >= 0 && isAllowed(value), rule),
  );
}

function oneOf<const T extends readonly (number | string)[]>(values: T) {
  return v.picklist(values, `must be one of: ${values.join(', ')}`);
}

/** What it may not hold is found by `unknownKeys`, which names every such key; here it is passed over. */
function table<const T extends v.ObjectEntries>(entries: T) {
  // The table's own complaint is that a key is missing: the rule of that key is told.
  const missing = ({ path }: v.ObjectIssue) =>
    `is missing; it ${(entries[String(path?.[0].key)] as { message?: string }).message}`;
  return v.pipe(v.custom<Table>(isTable, 'must be a table'), v.object(entries, missing));
}

/** A union would tell of a mistake in a group that it is no union: the shape that the file has decides. */
function groupsOrCount<const T extends v.ObjectEntries>(group: T) {
  const groups = v.array(table(group));
  const count = whole(1, CLIENTS_MAX);
  return v.lazy((value) => (Array.isArray(value) ? groups : count));
}

const text = v.string('must be a string');
const flag = v.boolean('must be true or false');
const seconds = amount(parseSeconds, SECONDS_RULE, Number.isFinite);
const bytes = amount(parseBytes, BYTES_RULE, Number.isInteger);
const qos = oneOf([0, 1, 2]);
const RATE_RULE = 'must be a number of messages a second';
const rate = v.pipe(v.number(RATE_RULE), v.finite(RATE_RULE), v.gtValue(0, 'must be above 0'));
const INTERVAL_RULE = 'must be a number of milliseconds';
const interval = v.pipe(v.number(INTERVAL_RULE), v.finite(INTERVAL_RULE), v.minValue(0, 'must not be below 0'));
const NAMES = Object.keys(scenarios);

const publishers = {
  count: whole(1, CLIENTS_MAX),
  topic: text,
  topics: v.optional(whole(1, CLIENTS_MAX)),
  qos: v.optional(qos),
  retain: v.optional(flag),
  size: v.optional(bytes),
  rate: v.optional(rate),
  window: v.optional(whole(1, 1_000_000)),
  limit: v.optional(whole(1, BIG)),
};

const subscribers = {
  count: whole(1, CLIENTS_MAX),
  filter: text,
  qos: v.optional(qos),
  shared: v.optional(text),
};

const broker = {
  host: v.optional(text),
  port: v.optional(whole(1, 65_535)),
  ws: v.optional(flag),
  path: v.optional(text),
  ssl: v.optional(flag),
  cafile: v.optional(text),
  certfile: v.optional(text),
  keyfile: v.optional(text),
  insecure: v.optional(flag),
  username: v.optional(text),
  password: v.optional(text),
  version: v.optional(oneOf([3, 4, 5])),
  pid: v.optional(whole(1, 2 ** 22)),
  start: v.optional(text),
};

const kill = { after: seconds, restart_command: v.optional(text) };

const keys = {
  scenario: v.optional(oneOf(NAMES)),
  name: v.optional(text),
  clients: v.optional(whole(1, CLIENTS_MAX)),
  topic: v.optional(text),
  topics: v.optional(whole(1, CLIENTS_MAX)),
  size: v.optional(bytes),
  qos: v.optional(qos),
  retain: v.optional(flag),
  shared: v.optional(text),
  window: v.optional(whole(1, 1_000_000)),
  rate: v.optional(rate),
  interval_ms: v.optional(interval),
  limit: v.optional(whole(1, BIG)),
  warm_up: v.optional(seconds),
  duration: v.optional(seconds),
  settle: v.optional(seconds),
  storm_every: v.optional(seconds),
  threads: v.optional(whole(1, 64)),
  spin: v.optional(flag),
  prefix: v.optional(text),
  start_number: v.optional(whole(0, CLIENTS_MAX)),
  keepalive: v.optional(whole(0, 65_535)),
  clean: v.optional(flag),
  session_expiry: v.optional(whole(0, 4_294_967_295)),
  connect_rate: v.optional(rate),
  ifaddr: v.optional(v.array(text, 'must be a list of addresses')),
  assert: v.optional(v.union([text, v.array(text)], 'must be an assertion or a list of them')),
  broker: v.optional(table(broker)),
  kill: v.optional(table(kill)),
  publishers: v.optional(groupsOrCount(publishers)),
  subscribers: v.optional(groupsOrCount(subscribers)),
};

const schema = v.object(keys);
const sections = { broker, kill, publishers, subscribers };

/** Reads and judges a file; throws SettingsError with everything that is wrong with it. */
export function readScenario(file: string): Settings {
  const { source, table: raw } = readToml(file);
  const unknown = unknownKeys(raw);
  const parsed = v.safeParse(schema, raw);
  if (!parsed.success || unknown.length > 0) {
    const lines = locateKeys(source);
    const wrong = (parsed.issues ?? []).map((issue) => describe(issue, file, lines));
    throw new SettingsError([...wrong, ...unknown.map((path) => describeUnknown(path, file, lines))].join('\n'));
  }
  const { broker: place = {}, kill: end, publishers: own, subscribers: theirs, assert: asserts, ...rest } = parsed.output;
  return {
    ...place,
    scenario: rest.scenario ?? 'custom',
    name: rest.name ?? file,
    prefix: rest.prefix,
    startNumber: rest.start_number,
    keepalive: rest.keepalive,
    clean: rest.clean,
    sessionExpiry: rest.session_expiry,
    connectRate: rest.connect_rate,
    ifaddr: rest.ifaddr,
    clients: rest.clients,
    publishers: typeof own === 'number' ? own : undefined,
    subscribers: typeof theirs === 'number' ? theirs : undefined,
    topic: rest.topic,
    topics: rest.topics,
    size: rest.size,
    qos: rest.qos,
    retain: rest.retain,
    shared: rest.shared,
    window: rest.window,
    rate: rest.rate,
    interval: rest.interval_ms,
    limit: rest.limit,
    warmUp: rest.warm_up,
    duration: rest.duration,
    settle: rest.settle,
    stormEvery: rest.storm_every,
    threads: rest.threads,
    spin: rest.spin,
    killAfter: end?.after,
    restartCommand: end?.restart_command,
    assertions: typeof asserts === 'string' ? [asserts] : asserts,
    publisherGroups: typeof own === 'object' ? own : undefined,
    subscriberGroups: typeof theirs === 'object' ? theirs : undefined,
  };
}

function readToml(file: string): { readonly source: string; readonly table: Table } {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    throw new SettingsError(`${file} cannot be read: ${messageOf(error)}`);
  }
  try {
    return { source, table: parse(source) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [message] = error.message.split('\n');
    throw new SettingsError(`${file}:${error.line}: is not TOML: ${message!.replace(/^Invalid TOML document: /, '')}`);
  }
}

/** Paths of what no table of a file may hold. */
function unknownKeys(raw: Table): string[][] {
  return Object.entries(raw).flatMap(([name, value]) => {
    if (!allowedIn('').includes(name)) return [[name]];
    if (!Object.hasOwn(sections, name)) return [];
    const unknownIn = (part: unknown, path: readonly string[]) =>
      (isTable(part) ? Object.keys(part) : []).filter((key) => !allowedIn(name).includes(key)).map((key) => [...path, key]);
    return Array.isArray(value)
      ? value.flatMap((part, index) => unknownIn(part, [name, String(index)]))
      : unknownIn(value, [name]);
  });
}

function describeUnknown(path: readonly string[], file: string, lines: ReadonlyMap<string, number>): string {
  const allowed = allowedIn(path.length === 1 ? '' : path[0]!).join(', ');
  return `${placeOf(path, file, lines)}: unknown key '${nameOf(path)}'; allowed here: ${allowed}`;
}

function describe({ path, message }: v.BaseIssue<unknown>, file: string, lines: ReadonlyMap<string, number>): string {
  const parts = (path ?? []).map(({ key }) => String(key));
  return `${placeOf(parts, file, lines)}: ${nameOf(parts)} ${message}`;
}

/** Without the numbers of groups. */
function nameOf(path: readonly string[]): string {
  return path.filter((part) => !/^\d+$/.test(part)).join('.');
}

/** Keys of a section, and of the file itself for ''. */
function allowedIn(section: string): string[] {
  return Object.keys(section === '' ? keys : sections[section as keyof typeof sections]);
}

function placeOf(path: readonly string[], file: string, lines: ReadonlyMap<string, number>): string {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(path.slice(0, length).join('.'));
    if (line !== undefined) return `${file}:${line}`;
  }
  return file;
}
