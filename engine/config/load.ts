// The configuration: one TOML file, then environment variables, then flags, each over the one before, judged as a whole.
//
// Environment: LETHE_SECTION__KEY, for example LETHE_LIMITS__PACKET_BYTES_MAX=1MiB; a listener by its name:
// LETHE_LISTENER__TCP__PORT=1884. Flags: --set section.key=value, --set listener.NAME.key=value; roles likewise. Values are read as
// TOML where they are TOML (numbers, true, lists) and as plain text otherwise.
import { readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import { type BaseIssue, safeParse } from 'valibot';
import { type Limits, limitRanges, limitsConflict } from '../../protocol/limits.ts';
import type { CertificateUser } from '../link.ts';
import type { LogLevel } from '../log.ts';
import type { RoleConfig } from '../security/rights.ts';
import { QueueOverflow } from '../sessions/session.ts';
import { type AuthConfig, asksForCredentials, isLoopback, judgeAuth, resolveAuth } from './auth.ts';
import { type BridgeConfig, judgeBridges, resolveBridge } from './bridges.ts';
import { judgeAdmin } from './judge-admin.ts';
import { judgeDoors } from './judge-doors.ts';
import { judgeRetention } from './judge-retention.ts';
import { locateKeys } from './locate.ts';
import {
  isTable,
  LISTS,
  optionNames,
  type RawConfig,
  type RawListener,
  replacedOptions,
  schema,
  snakeCase,
  type Table,
} from './schema.ts';

export interface ListenerConfig {
  readonly name: string;
  readonly transport: 'tcp' | 'tls' | 'ws' | 'wss';
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
  readonly clientCertificate: 'none' | 'request' | 'require';
  readonly tlsMinVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly insecure: boolean;
  readonly anonymous: boolean;
  /** Null: any origin. */
  readonly origins: readonly string[] | null;
  readonly compression: boolean;
  readonly proxyProtocol: boolean;
  readonly proxyTrusted: readonly string[];
  /** '': none. */
  readonly realAddressHeader: string;
  readonly certificateUser: CertificateUser;
  readonly queueOverflow: QueueOverflow;
  /** Ceilings of what comes by this listener; null: none of its own. */
  readonly sessionExpiryMaxS: number | null;
  readonly messageExpiryMaxS: number | null;
}

/** Ceilings of some users. */
export interface RetentionConfig {
  readonly users: readonly string[];
  readonly sessionExpiryMaxS: number | null;
  readonly messageExpiryMaxS: number | null;
}

/** Where the admin API is served, besides the socket in the data directory. */
export interface AdminConfig {
  /** Null: no port. */
  readonly port: number | null;
  readonly host: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly tokenFile: string;
  /** Whether loopback needs no token. */
  readonly open: boolean;
  readonly socket: string;
  readonly pseudonymKeyFile: string;
}

export interface Config {
  readonly server: {
    readonly dataDir: string;
    readonly sysIntervalS: number;
    readonly stopTimeoutMs: number;
    readonly logLevel: LogLevel;
    readonly threads: number;
    readonly coreDumps: boolean;
  };
  readonly session: {
    readonly v3ExpiryS: number;
    readonly maximumQos: 0 | 1 | 2;
    readonly retainAvailable: boolean;
    readonly wildcardSubscriptions: boolean;
    readonly sharedSubscriptions: boolean;
    readonly takeover: 'same_user' | 'any_user';
    readonly responseInformation: string;
    readonly serverReference: string;
    /** 0: no ceiling. */
    readonly messageExpiryMaxS: number;
  };
  readonly retained: {
    readonly policy: 'disk' | 'memory' | 'off';
    /** 0: no ceiling. */
    readonly maxAgeS: number;
  };
  readonly retention: readonly RetentionConfig[];
  readonly spool: {
    readonly durability: 'durable' | 'relaxed';
    readonly commitWindowMs: number;
    readonly eraseWithinMs: number;
    readonly maxRetentionS: number;
    readonly diskFloorBytes: number;
    readonly keyFile: string;
    readonly keyEnv: string;
    readonly keyCommand: readonly string[];
  };
  readonly auth: AuthConfig;
  readonly roles: readonly RoleConfig[];
  readonly admin: AdminConfig;
  readonly audit: { readonly file: string; readonly rotateBytes: number; readonly keepFiles: number };
  readonly limits: Limits;
  readonly bannedNetworks: readonly string[];
  readonly bridges: readonly BridgeConfig[];
  readonly listeners: readonly ListenerConfig[];
}

export interface ConfigProblem {
  /** `file:line`, an environment variable, or a flag. */
  readonly where: string;
  readonly message: string;
}

/** A configuration that is refused, with everything that is wrong with it. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(({ where, message }) => `${where}: ${message}`).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

export interface ConfigSources {
  readonly file?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** `key=value`, as --set takes them. */
  readonly set?: readonly string[];
  /** Flags that have an option of their own; they win over `set`. */
  readonly flags?: readonly { readonly flag: string; readonly key: string; readonly value: string }[];
}

/** Names in the file of what happens when a queue is full. */
export const OVERFLOWS = {
  refuse: QueueOverflow.REFUSE,
  drop_oldest: QueueOverflow.DROP_OLDEST,
  drop_newest: QueueOverflow.DROP_NEWEST,
} as const;

/** Where each option's value came from, by path. */
type Origins = Map<string, string>;

const DEFAULT_LISTENERS: readonly Table[] = [
  { name: 'tcp', transport: 'tcp', host: '127.0.0.1', port: 1883 },
  { name: 'ws', transport: 'ws', host: '127.0.0.1', port: 8083 },
];

/** Reads, merges and judges; throws ConfigError with every problem found. */
export function loadConfig(sources: ConfigSources = {}): Config {
  const origins: Origins = new Map();
  const raw = sources.file === undefined ? {} : readFile(sources.file, origins);
  if (raw['listener'] === undefined || (Array.isArray(raw['listener']) && raw['listener'].length === 0))
    raw['listener'] = DEFAULT_LISTENERS.map((table) => ({ ...table }));
  for (const [name, value] of Object.entries(sources.env ?? {})) {
    if (!name.startsWith('LETHE_') || value === undefined || !name.includes('__')) continue;
    apply(raw, name.slice(6).toLowerCase().split('__'), value, name, origins);
  }
  for (const pair of sources.set ?? []) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new ConfigError([{ where: `--set ${pair}`, message: 'must be written as key=value' }]);
    const path = pair.slice(0, equals).split('.');
    apply(raw, path, pair.slice(equals + 1), `--set ${pair.slice(0, equals)}`, origins);
  }
  for (const { flag, key, value } of sources.flags ?? []) apply(raw, key.split('.'), value, flag, origins);
  const fallback = sources.file ?? 'configuration';
  const unknown = unknownOptions(raw).map((path) => describeUnknown(path, origins, fallback));
  const parsed = safeParse(schema, raw);
  const wrong = (parsed.issues ?? []).map((issue) => describe(issue, origins, fallback));
  if (!parsed.success || unknown.length > 0) throw new ConfigError([...wrong, ...unknown]);
  const config = resolve(parsed.output);
  const problems = judge(parsed.output, config, origins, fallback);
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

function readFile(file: string, origins: Origins): Table {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new ConfigError([{ where: file, message: `cannot be read (${code}); give the path of a TOML file` }]);
  }
  try {
    const table = parse(source) as Table;
    for (const [path, line] of locateKeys(source)) origins.set(path, `${file}:${line}`);
    return table;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const message = error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
    throw new ConfigError([{ where: `${file}:${error.line}`, message: `is not TOML: ${message}` }]);
  }
}

/** Sets one option from text, finding a listener by its name. */
function apply(raw: Table, path: readonly string[], text: string, where: string, origins: Origins): void {
  const [section, ...rest] = path;
  if (isList(section!) && rest.length === 2) {
    const tables = (raw[section!] ?? []) as Table[];
    if (!Array.isArray(tables)) return; // the schema says what is wrong
    const index = tables.findIndex((table) => table['name'] === rest[0]);
    if (index < 0) {
      const names = tables.map((table) => String(table['name'])).join(', ') || 'none';
      throw new ConfigError([{ where, message: `there is no ${section} named '${rest[0]}'; there are: ${names}` }]);
    }
    tables[index]![rest[1]!] = parseValue(text);
    origins.set(`${section}.${index}.${rest[1]}`, where);
    return;
  }
  if (rest.length !== 1) {
    throw new ConfigError([
      { where, message: 'names no option; write section.key or listener.NAME.key (lethe print-config lists them)' },
    ]);
  }
  if (raw[section!] === undefined) {
    raw[section!] = {};
    origins.set(section!, where);
  }
  const table = raw[section!] as Table;
  if (typeof table !== 'object') return; // likewise
  table[rest[0]!] = parseValue(text);
  origins.set(`${section}.${rest[0]}`, where);
}

function parseValue(text: string): unknown {
  try {
    return parse(`value = ${text}`)['value'];
  } catch {
    return text;
  }
}

/** Paths of what no section may hold. */
function unknownOptions(raw: Table): string[][] {
  return Object.entries(raw).flatMap(([section, value]) => {
    if (!optionNames('').includes(section)) return [[section]];
    const names = optionNames(section);
    const unknownIn = (table: unknown, path: readonly string[]) =>
      (isTable(table) ? Object.keys(table) : []).filter((key) => !names.includes(key)).map((key) => [...path, key]);
    if (!isList(section)) return unknownIn(value, [section]);
    return (Array.isArray(value) ? value : []).flatMap((table, index) => unknownIn(table, [section, String(index)]));
  });
}

function isList(section: string): boolean {
  return (LISTS as readonly string[]).includes(section);
}

function describeUnknown(path: readonly string[], origins: Origins, fallback: string): ConfigProblem {
  const replaced = replacedOptions[nameOf(path)];
  if (replaced !== undefined)
    return { where: whereIs(path, origins, fallback), message: `${nameOf(path)} has become ${replaced}` };
  const allowed = optionNames(path.length === 1 ? '' : path[0]!).join(', ');
  return { where: whereIs(path, origins, fallback), message: `unknown option '${nameOf(path)}'; allowed here: ${allowed}` };
}

function describe({ path, message }: BaseIssue<unknown>, origins: Origins, fallback: string): ConfigProblem {
  const keys = (path ?? []).map(({ key }) => String(key));
  return { where: whereIs(keys, origins, fallback), message: `${nameOf(keys)} ${message}` };
}

/** Without the numbers of an array's tables. */
function nameOf(path: readonly string[]): string {
  return path.filter((part) => !/^\d+$/.test(part)).join('.');
}

function whereIs(path: readonly string[], origins: Origins, fallback: string): string {
  for (let length = path.length; length > 0; length--) {
    const known = origins.get(path.slice(0, length).join('.'));
    if (known !== undefined) return known;
  }
  return fallback;
}

function resolve(raw: RawConfig): Config {
  const auth = resolveAuth(raw);
  const limits = Object.fromEntries(
    (Object.keys(limitRanges) as (keyof Limits)[]).map((name) => [
      name,
      (raw.limits as unknown as Record<string, number>)[snakeCase(name)],
    ]),
  ) as unknown as Limits;
  return {
    server: {
      dataDir: raw.server.data_dir,
      sysIntervalS: raw.server.sys_interval_s,
      stopTimeoutMs: raw.server.stop_timeout_ms,
      logLevel: raw.server.log_level,
      threads: raw.server.threads,
      coreDumps: raw.server.core_dumps,
    },
    session: {
      v3ExpiryS: raw.session.v3_expiry_s,
      maximumQos: raw.session.maximum_qos as 0 | 1 | 2,
      retainAvailable: raw.session.retain_available && raw.retained.policy !== 'off',
      wildcardSubscriptions: raw.session.wildcard_subscriptions,
      sharedSubscriptions: raw.session.shared_subscriptions,
      takeover: raw.session.takeover,
      responseInformation: raw.session.response_information,
      serverReference: raw.session.server_reference,
      messageExpiryMaxS: raw.session.message_expiry_max_s,
    },
    retained: { policy: raw.retained.policy, maxAgeS: raw.retained.max_age_s },
    retention: raw.retention.map((table) => ({
      users: table.users,
      sessionExpiryMaxS: table.session_expiry_max_s,
      messageExpiryMaxS: table.message_expiry_max_s,
    })),
    spool: {
      durability: raw.spool.durability,
      commitWindowMs: raw.spool.commit_window_ms,
      eraseWithinMs: raw.spool.erase_within_ms,
      maxRetentionS: raw.spool.max_retention_s,
      diskFloorBytes: raw.spool.disk_floor_bytes,
      keyFile: raw.spool.key_file,
      keyEnv: raw.spool.key_env,
      keyCommand: raw.spool.key_command,
    },
    auth,
    roles: raw.role,
    admin: {
      port: raw.admin.port ?? null,
      host: raw.admin.host,
      certFile: raw.admin.cert_file,
      keyFile: raw.admin.key_file,
      tokenFile: raw.admin.token_file,
      open: raw.admin.open,
      socket: raw.admin.socket,
      pseudonymKeyFile: raw.admin.pseudonym_key_file,
    },
    audit: { file: raw.audit.file, rotateBytes: raw.audit.rotate_bytes, keepFiles: raw.audit.keep_files },
    // Nothing is kept longer than the retention, whatever a session asks for.
    limits: { ...limits, sessionExpiryMaxS: Math.min(limits.sessionExpiryMaxS, raw.spool.max_retention_s) },
    bannedNetworks: raw.limits.banned_networks,
    bridges: raw.bridge.map(resolveBridge),
    listeners: raw.listener.map((listener) => resolveListener(listener, asksForCredentials(auth))),
  };
}

function resolveListener(raw: RawListener, asks: boolean): ListenerConfig {
  return {
    name: raw.name,
    transport: raw.transport,
    host: raw.host,
    port: raw.port,
    path: raw.path,
    certFile: raw.cert_file,
    keyFile: raw.key_file,
    caFile: raw.ca_file,
    clientCertificate: raw.client_certificate,
    tlsMinVersion: raw.tls_min_version === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
    insecure: raw.insecure,
    anonymous:
      raw.anonymous ??
      (!asks && raw.certificate_user === 'none' && (isLoopback(raw.host) || raw.client_certificate === 'require')),
    origins: raw.origins ?? null,
    compression: raw.compression,
    proxyProtocol: raw.proxy_protocol,
    proxyTrusted: raw.proxy_trusted,
    realAddressHeader: raw.real_address_header,
    certificateUser: raw.certificate_user,
    queueOverflow: OVERFLOWS[raw.queue_overflow],
    sessionExpiryMaxS: raw.session_expiry_max_s,
    messageExpiryMaxS: raw.message_expiry_max_s,
  };
}

/** What no single option shows: options that do not go together, and settings that would open a door unsaid. */
function judge(raw: RawConfig, config: Config, origins: Origins, fallback: string): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const conflict = limitsConflict(config.limits);
  if (conflict !== null)
    problems.push({ where: whereIs(['limits'], origins, fallback), message: conflict.replace(/\b[a-z]+[A-Z]\w*/g, snakeCase) });
  const keySources = (['key_file', 'key_env', 'key_command'] as const).filter((key) => raw.spool[key].length > 0);
  for (const key of keySources.slice(1)) {
    problems.push({
      where: whereIs(['spool', key], origins, fallback),
      message: `spool.${key} and spool.${keySources[0]} both name the master key; keep one`,
    });
  }
  if (keySources.length > 0 && config.server.dataDir === '') {
    const key = keySources[0]!;
    problems.push({
      where: whereIs(['spool', key], origins, fallback),
      message: `spool.${key} needs server.data_dir: without one nothing is stored`,
    });
  }
  judgeAdmin(raw, (key, message) => problems.push({ where: whereIs(['admin', key], origins, fallback), message }));
  judgeAuth(raw, (path, message) => problems.push({ where: whereIs(path, origins, fallback), message }));
  judgeRetention(config, (path, message) => problems.push({ where: whereIs(path, origins, fallback), message }));
  judgeDoors(config, (path, message) => problems.push({ where: whereIs(path, origins, fallback), message }));
  judgeBridges(config, (path, message) => problems.push({ where: whereIs(path, origins, fallback), message }));
  const seen = new Map<string, string>();
  raw.listener.forEach((own, index) => {
    const at = (key: string) => whereIs(['listener', String(index), key], origins, fallback);
    const say = (key: string, message: string) =>
      problems.push({ where: at(key), message: `listener '${own.name}': ${message}` });
    judgeListener(own, say);
    const address = `${own.host}:${own.port}`;
    if (own.port !== 0 && seen.has(address)) say('port', `has the address of listener '${seen.get(address)}'`);
    if ([...seen.values()].includes(own.name)) say('name', 'has the name of another listener');
    seen.set(own.port === 0 ? `${own.name}:free:${index}` : address, own.name);
  });
  return problems;
}

function judgeListener(own: RawListener, say: (key: string, message: string) => void): void {
  const encrypted = own.transport === 'tls' || own.transport === 'wss';
  const webSocket = own.transport === 'ws' || own.transport === 'wss';
  if (!encrypted) {
    for (const key of ['cert_file', 'key_file', 'ca_file'] as const)
      if (own[key] !== '') say(key, `${key} is for tls and wss only`);
  }
  if (own.client_certificate !== 'none' && own.transport !== 'tls')
    say('client_certificate', 'client_certificate is for tls only');
  if (own.tls_min_version !== '1.2' && own.transport !== 'tls')
    say('tls_min_version', `${own.transport} cannot be limited to TLS ${own.tls_min_version}; use a tls listener`);
  if (own.certificate_user !== 'none' && own.client_certificate === 'none')
    say('certificate_user', 'certificate_user needs client_certificate = "require" or "request"');
  if (!webSocket && own.origins !== undefined) say('origins', 'origins is for ws and wss only');
  if (own.proxy_protocol && own.transport === 'wss')
    say('proxy_protocol', 'proxy_protocol is not for wss; let the proxy end TLS and use ws, or use real_address_header');
  if (own.proxy_protocol && own.proxy_trusted.length === 0)
    say('proxy_protocol', 'proxy_protocol needs proxy_trusted: the addresses of the proxies');
  if (own.real_address_header === '') return;
  if (!webSocket) say('real_address_header', 'real_address_header is for ws and wss only');
  if (own.proxy_trusted.length === 0)
    say('real_address_header', 'real_address_header needs proxy_trusted: the addresses of the proxies');
  if (own.proxy_protocol) say('real_address_header', 'real_address_header and proxy_protocol both name the client; keep one');
}
