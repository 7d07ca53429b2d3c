// Scenario files: TOML with the settings that flags give too, and with groups of clients of any shape. Every mistake is told with the
// file, the line, the key and what is allowed.
import { readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import { messageOf } from '../../engine/cli/failure.ts';
import { locateKeys } from '../../engine/config/locate.ts';
import { BYTES_RULE, parseBytes, parseSeconds, SECONDS_RULE } from './quantity.ts';
import { scenarios } from './scenarios.ts';
import { type Settings, SettingsError } from './settings.ts';

const CLIENTS_MAX = 1_000_000;
const BIG = Number.MAX_SAFE_INTEGER;

function whole(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.int(message).min(min, message).max(max, message);
}

function amount(parseText: (text: string) => number | null, rule: string) {
  return z
    .union([z.number(), z.string()], rule)
    .transform((value) => (typeof value === 'number' ? value : parseText(value)))
    .refine((value): value is number => value !== null && value >= 0, rule);
}

const text = z.string('must be a string');
const flag = z.boolean('must be true or false');
const seconds = amount(parseSeconds, SECONDS_RULE);
const bytes = amount(parseBytes, BYTES_RULE).refine((value) => Number.isInteger(value), BYTES_RULE);
const qos = z.literal([0, 1, 2], 'must be one of: 0, 1, 2');
const rate = z.number('must be a number of messages a second').positive('must be above 0');
const NAMES = Object.keys(scenarios);

const publishers = z.strictObject({
  count: whole(1, CLIENTS_MAX),
  topic: text,
  topics: whole(1, CLIENTS_MAX).optional(),
  qos: qos.optional(),
  retain: flag.optional(),
  size: bytes.optional(),
  rate: rate.optional(),
  window: whole(1, 1_000_000).optional(),
  limit: whole(1, BIG).optional(),
});

const subscribers = z.strictObject({
  count: whole(1, CLIENTS_MAX),
  filter: text,
  qos: qos.optional(),
  shared: text.optional(),
});

const broker = z.strictObject({
  host: text.optional(),
  port: whole(1, 65_535).optional(),
  ws: flag.optional(),
  path: text.optional(),
  ssl: flag.optional(),
  cafile: text.optional(),
  certfile: text.optional(),
  keyfile: text.optional(),
  insecure: flag.optional(),
  username: text.optional(),
  password: text.optional(),
  version: z.literal([3, 4, 5], 'must be one of: 3, 4, 5').optional(),
  pid: whole(1, 2 ** 22).optional(),
  start: text.optional(),
});

const kill = z.strictObject({ after: seconds, restart_command: text.optional() });

const schema = z.strictObject({
  scenario: z.enum(NAMES, `must be one of: ${NAMES.join(', ')}`).optional(),
  name: text.optional(),
  clients: whole(1, CLIENTS_MAX).optional(),
  topic: text.optional(),
  topics: whole(1, CLIENTS_MAX).optional(),
  size: bytes.optional(),
  qos: qos.optional(),
  retain: flag.optional(),
  shared: text.optional(),
  window: whole(1, 1_000_000).optional(),
  rate: rate.optional(),
  interval_ms: z.number('must be a number of milliseconds').min(0, 'must not be below 0').optional(),
  limit: whole(1, BIG).optional(),
  warm_up: seconds.optional(),
  duration: seconds.optional(),
  settle: seconds.optional(),
  storm_every: seconds.optional(),
  threads: whole(1, 64).optional(),
  spin: flag.optional(),
  prefix: text.optional(),
  start_number: whole(0, CLIENTS_MAX).optional(),
  keepalive: whole(0, 65_535).optional(),
  clean: flag.optional(),
  session_expiry: whole(0, 4_294_967_295).optional(),
  connect_rate: rate.optional(),
  ifaddr: z.array(text, 'must be a list of addresses').optional(),
  assert: z.union([text, z.array(text)], 'must be an assertion or a list of them').optional(),
  broker: broker.optional(),
  kill: kill.optional(),
  publishers: z.union([z.array(publishers), whole(1, CLIENTS_MAX)]).optional(),
  subscribers: z.union([z.array(subscribers), whole(1, CLIENTS_MAX)]).optional(),
});

/** Reads and judges a file; throws SettingsError with everything that is wrong with it. */
export function readScenario(file: string): Settings {
  const { source, table } = readToml(file);
  // Without a scenario's name a file's groups are the scenario; `publishers` is a number only beside a name.
  const parsed = groupedSchema(table).safeParse(table, { reportInput: true });
  if (!parsed.success) {
    const lines = locateKeys(source);
    throw new SettingsError(parsed.error.issues.flatMap((issue) => describe(issue, file, lines)).join('\n'));
  }
  const { broker: place = {}, kill: end, publishers: own, subscribers: theirs, assert: asserts, ...raw } = parsed.data;
  return {
    ...place,
    scenario: raw.scenario ?? 'custom',
    name: raw.name ?? file,
    prefix: raw.prefix,
    startNumber: raw.start_number,
    keepalive: raw.keepalive,
    clean: raw.clean,
    sessionExpiry: raw.session_expiry,
    connectRate: raw.connect_rate,
    ifaddr: raw.ifaddr,
    clients: raw.clients,
    publishers: typeof own === 'number' ? own : undefined,
    subscribers: typeof theirs === 'number' ? theirs : undefined,
    topic: raw.topic,
    topics: raw.topics,
    size: raw.size,
    qos: raw.qos,
    retain: raw.retain,
    shared: raw.shared,
    window: raw.window,
    rate: raw.rate,
    interval: raw.interval_ms,
    limit: raw.limit,
    warmUp: raw.warm_up,
    duration: raw.duration,
    settle: raw.settle,
    stormEvery: raw.storm_every,
    threads: raw.threads,
    spin: raw.spin,
    killAfter: end?.after,
    restartCommand: end?.restart_command,
    assertions: typeof asserts === 'string' ? [asserts] : asserts,
    publisherGroups: typeof own === 'object' ? own : undefined,
    subscriberGroups: typeof theirs === 'object' ? theirs : undefined,
  };
}

/** A union would tell of a mistake in a group that it is no union: the shape that the file has decides. */
function groupedSchema(table: Record<string, unknown>) {
  return schema.extend({
    publishers: (Array.isArray(table['publishers']) ? z.array(publishers) : whole(1, CLIENTS_MAX)).optional(),
    subscribers: (Array.isArray(table['subscribers']) ? z.array(subscribers) : whole(1, CLIENTS_MAX)).optional(),
  });
}

function readToml(file: string): { readonly source: string; readonly table: Record<string, unknown> } {
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

function describe(issue: z.core.$ZodIssue, file: string, lines: ReadonlyMap<string, number>): string[] {
  const path = issue.path.map(String);
  const named = path.filter((part) => !/^\d+$/.test(part));
  if (issue.code === 'unrecognized_keys') {
    const allowed = allowedIn(named[0]);
    return issue.keys.map(
      (key) =>
        `${placeOf([...path, key], file, lines)}: unknown key '${[...named, key].join('.')}'; allowed here: ${allowed.join(', ')}`,
    );
  }
  const isMissing = issue.input === undefined;
  const rule = issue.code === 'invalid_type' && issue.expected === 'object' ? 'must be a table' : issue.message;
  return [`${placeOf(path, file, lines)}: ${named.join('.')} ${isMissing ? `is missing; it ${rule}` : rule}`];
}

function allowedIn(section: string | undefined): string[] {
  const sections = { broker, kill, publishers, subscribers };
  return Object.keys(section === undefined ? schema.shape : sections[section as keyof typeof sections].shape);
}

function placeOf(path: readonly string[], file: string, lines: ReadonlyMap<string, number>): string {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(path.slice(0, length).join('.'));
    if (line !== undefined) return `${file}:${line}`;
  }
  return file;
}
