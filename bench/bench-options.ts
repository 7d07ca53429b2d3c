// The flags of `lethe bench`: emqtt-bench's letters where it has them, and what they come to as settings.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { whole } from '../engine/cli/client-options.ts';
import type { QoS } from './plan/plan.ts';
import { BYTES_RULE, parseBytes, parseSeconds, SECONDS_RULE } from './plan/quantity.ts';
import type { Settings } from './plan/settings.ts';

/** What a subcommand does with messages. */
export const Kind = { PUB: 'pub', SUB: 'sub', CONN: 'conn', RUN: 'run' } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** As commander gives them. */
export interface BenchFlags {
  readonly [name: string]: unknown;
}

/** Where the result goes. */
export interface OutputFlags {
  /** True: standard output. */
  readonly json?: string | true;
  readonly report?: string;
  readonly assert?: readonly string[];
  readonly quiet?: true;
}

const CLIENTS_MAX = 1_000_000;
const KEEP_ALIVE_MAX = 65_535;

export function addBenchOptions(command: Command, kind: Kind): void {
  const publishes = kind === Kind.PUB || kind === Kind.RUN;
  const subscribes = kind === Kind.SUB || kind === Kind.RUN;
  command.optionsGroup('Clients and messages:');
  command.option('-c, --count <clients>', COUNT_HELP[kind], whole(1, CLIENTS_MAX));
  if (publishes || subscribes) {
    command
      .option('-t, --topic <topic>', topicHelp(kind))
      .option(
        '-q, --qos <qos>',
        `quality of service: 0, 1 or 2 (default 0${kind === Kind.RUN ? '; persistent, reconnect-storm 1' : ''})`,
        choice([0, 1, 2]),
      );
  }
  if (kind === Kind.RUN) {
    command
      .option('--publishers <count>', 'publishers, where -c does not count them', whole(1, CLIENTS_MAX))
      .option('--subscribers <count>', 'subscribers, where -c does not count them', whole(1, CLIENTS_MAX));
  }
  if (subscribes) command.option('--shared <group>', 'subscribe as members of this shared subscription');
  if (publishes) {
    command
      .option('--topics <count>', 'topics of each publisher, taken in turn (%t)', whole(1, CLIENTS_MAX))
      .option('-s, --size <bytes>', 'payload: 256, 4KiB, 1MiB; at least 16 (default 256)', bytes)
      .option('-r, --retain [bool]', 'have messages retained', bool)
      .option(
        '-L, --limit <messages>',
        'end after so many messages of all publishers together',
        whole(1, Number.MAX_SAFE_INTEGER),
      )
      .optionsGroup('Pace (default: each publisher as fast as its window lets it):')
      .option('-w, --window <messages>', 'closed loop: most messages of one publisher on their way', whole(1, 1_000_000))
      .option(
        '--rate <messages>',
        'open loop: messages a second of all publishers together; latency counts from when each was due',
        rate,
      )
      .option('-I, --interval_of_msg <ms>', 'open loop: time between two messages of one publisher; 0: closed loop', number)
      .option('--no-spin', 'let the open loop sleep between messages: less CPU, and late by up to a millisecond or two');
  }
  command
    .optionsGroup('Connections:')
    .option('-R, --connrate <rate>', 'connections a second (default: as fast as the broker takes them)', rate)
    .option('-i, --interval <ms>', 'time between two connections', number)
    .option('-V, --version <version>', 'MQTT 3 (3.1), 4 (3.1.1) or 5 (default 4)', choice([3, 4, 5]))
    .option('-k, --keepalive <seconds>', 'keep alive (default 300)', whole(0, KEEP_ALIVE_MAX))
    .option('-C, --clean [bool]', 'sessions end with their connections (default true)', bool)
    .option('-x, --session-expiry <seconds>', 'how long sessions outlive connections (MQTT 5)', whole(0, 4_294_967_295))
    .option('--prefix <prefix>', 'client ids are PREFIX-pub-N, PREFIX-sub-N (default bench-RUN)')
    .option('-n, --startnumber <number>', 'number of the first client, %i (default 0)', whole(0, CLIENTS_MAX))
    .option('--ifaddr <addresses>', 'addresses that connections come from, with commas, in turn', list)
    .optionsGroup('Broker:')
    .option('-h, --host <host>', 'host (default 127.0.0.1)')
    .addOption(new Option('-H <host>').hideHelp())
    .option('-p, --port <port>', 'port (default 1883; with TLS 8883; with --ws 8083, with both 443)', whole(1, 65_535))
    .option('--ws [bool]', 'MQTT over WebSocket', bool)
    .option('--path <path>', 'path of the WebSocket (default /mqtt)')
    .option('-S, --ssl [bool]', 'TLS (on with any of the next four, and with port 8883)', bool)
    .option('--cafile <file>', 'trust these authorities instead of those that Node trusts, PEM')
    .option('--certfile <file>', 'certificate of the clients, PEM')
    .option('--keyfile <file>', 'its private key, PEM')
    .option('--insecure', 'do not check that the certificate bears the name of the host')
    .option('-u, --username <name>', 'user name; may hold %i and %c')
    .option('-P, --password <password>', 'password; LETHE_PASSWORD in the environment is safer')
    .option('--pid <pid>', 'process of the broker: its CPU and memory are measured', whole(1, 2 ** 22))
    .option('--start <command>', 'start the broker with this, measure it, end it when the run is over');
  if (kind !== Kind.CONN) {
    command
      .option(
        '--kill-after <seconds>',
        'kill the broker (SIGKILL) so long into the run, start it again, and account nevertheless',
        seconds,
      )
      .option('--restart-command <command>', 'how it is started again (default: as by --start); with --pid it is left running');
  }
  command.optionsGroup('Run:').option('--duration <seconds>', DURATION_HELP[kind], seconds);
  if (publishes) {
    command
      .option(
        '--warm-up <seconds>',
        `time before it that does not count (default ${kind === Kind.RUN ? '1s' : '0'}, 0 with -L)`,
        seconds,
      )
      .option(
        '--settle <seconds>',
        'how long nothing may come before what is missing counts as lost (default 1s; 5s with --kill-after and where sessions are persistent)',
        seconds,
      );
  }
  if (kind === Kind.RUN)
    command.option('--storm-every <seconds>', 'reconnect-storm: time between two storms (default 3s)', seconds);
  command
    .option('--threads <count>', 'worker threads of the load (default 1)', whole(1, 64))
    .optionsGroup('Result:')
    .option('--json [file]', 'write the result as JSON, to standard output instead of the summary when no file is named')
    .option('--report <file>', 'write the result as one HTML page with plots')
    .option('--assert <list>', "what must hold, for example 'p99<5ms,lost=0,rate>100k'; otherwise the exit code is 1", collect)
    .option('--quiet', 'no summary');
}

/** What was said by flags; the rest is left out. */
export function settingsOf(flags: BenchFlags, scenario: string): Settings {
  const settings = {
    scenario,
    host: flags['host'] ?? flags['H'],
    port: flags['port'],
    ws: flags['ws'],
    ssl: flags['ssl'],
    path: flags['path'],
    username: flags['username'],
    password: flags['password'],
    cafile: flags['cafile'],
    certfile: flags['certfile'],
    keyfile: flags['keyfile'],
    insecure: flags['insecure'],
    version: flags['version'],
    pid: flags['pid'],
    start: flags['start'],
    prefix: flags['prefix'],
    startNumber: flags['startnumber'],
    keepalive: flags['keepalive'],
    clean: flags['clean'],
    sessionExpiry: flags['sessionExpiry'],
    connectRate: flags['connrate'],
    connectInterval: flags['interval'],
    ifaddr: flags['ifaddr'],
    clients: flags['count'],
    publishers: flags['publishers'],
    subscribers: flags['subscribers'],
    topic: flags['topic'],
    topics: flags['topics'],
    size: flags['size'],
    qos: flags['qos'],
    retain: flags['retain'],
    shared: flags['shared'],
    window: flags['window'],
    rate: flags['rate'],
    interval: flags['interval_of_msg'],
    limit: flags['limit'],
    warmUp: flags['warmUp'],
    duration: flags['duration'],
    settle: flags['settle'],
    stormEvery: flags['stormEvery'],
    threads: flags['threads'],
    // Commander's --no-spin is true unless it is given.
    spin: flags['spin'] === false ? false : undefined,
    killAfter: flags['killAfter'],
    restartCommand: flags['restartCommand'],
    assertions: flags['assert'],
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as unknown as Settings;
}

const COUNT_HELP: Readonly<Record<Kind, string>> = {
  pub: 'publishers (default 1)',
  sub: 'subscribers (default 1)',
  conn: 'connections (default 100)',
  run: 'clients; what it counts is the scenario’s',
};

const DURATION_HELP: Readonly<Record<Kind, string>> = {
  pub: 'time that counts (default 10s, with -L until everything is sent)',
  sub: 'how long to receive (default: until Ctrl-C)',
  conn: 'how long to hold the connections (default 10s)',
  run: 'time that counts (default 10s, with -L until everything has come)',
};

function topicHelp(kind: Kind): string {
  const variables = '%i number of the client, %c its id, %u its user name';
  if (kind === Kind.PUB) return `topic: ${variables}, %t number of the topic (default bench/%i)`;
  if (kind === Kind.SUB) return `topic filter: ${variables} (default bench/#)`;
  return `topic of the publishers: ${variables}, %t number of the topic (default: for this run alone)`;
}

function choice<const Value extends QoS | 3 | 4 | 5>(values: readonly Value[]): (text: string) => Value {
  return (text) => {
    const value = values.find((own) => String(own) === text);
    if (value === undefined) throw new InvalidArgumentError(`It must be one of: ${values.join(', ')}.`);
    return value;
  };
}

function bool(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('It must be true or false.');
  return text === 'true';
}

function seconds(text: string): number {
  const value = parseSeconds(text);
  if (value === null) throw new InvalidArgumentError(`It ${SECONDS_RULE}.`);
  return value;
}

function bytes(text: string): number {
  const value = parseBytes(text);
  if (value === null || !Number.isInteger(value)) throw new InvalidArgumentError(`It ${BYTES_RULE}.`);
  return value;
}

function number(text: string): number {
  const value = Number(text);
  if (!/^\d+\.?\d*$/.test(text) || value < 0) throw new InvalidArgumentError('It must be a number, 0 or more.');
  return value;
}

function rate(text: string): number {
  const value = number(text);
  if (value === 0) throw new InvalidArgumentError('It must be above 0.');
  return value;
}

function list(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
