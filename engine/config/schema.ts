// Every option of the configuration: name, type, range, default and one line for a person. Keys are snake_case as in the file;
// `load.ts` turns them into `Config`.
import * as v from 'valibot';
import { defaultLimits, type Limits, limitRanges } from '../../protocol/limits.ts';
import { LogLevel } from '../log.ts';
import { ALGORITHMS, CERTIFICATE_NAMES, METHODS } from './auth.ts';

const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1_024, MiB: 1_048_576, GiB: 1_073_741_824 };
const TIME_UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `16MiB`, `10s`, `31d` as a number in the unit that the key's name says; anything else is left for the schema to refuse. */
function withUnit(key: string, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const match = /^(\d+)\s*([A-Za-z]+)$/.exec(value.trim());
  if (match === null) return value;
  const [, digits, unit] = match;
  if (/_bytes(_|$)/.test(key)) return unit! in SIZE_UNITS ? Number(digits) * SIZE_UNITS[unit!]! : value;
  const ms = unit! in TIME_UNITS_MS ? Number(digits) * TIME_UNITS_MS[unit!]! : Number.NaN;
  if (Number.isNaN(ms)) return value;
  if (key.endsWith('_ms')) return ms;
  return /_s(_|$)/.test(key) ? ms / 1_000 : value;
}

/** A bound in seconds that is not there unless it is set. */
function ceiling(key: string, min: number) {
  return v.optional(v.nullable(number(key, min, 4_294_967_295)), null);
}

function integer(key: string, min: number, max: number, preset: number) {
  return v.optional(number(key, min, max), preset);
}

function number(key: string, min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  const isInRange = (value: number) => Number.isSafeInteger(value) && value >= min && value <= max;
  return v.pipe(
    v.unknown(),
    v.transform((value) => withUnit(key, value)),
    v.number(message),
    v.check(isInRange, message),
  );
}

function oneOf<const T extends readonly string[]>(values: T) {
  return v.picklist(values, `must be one of: ${values.join(', ')}`);
}

function choice<const T extends readonly string[]>(values: T, preset: T[number]) {
  return v.optional(oneOf(values), preset);
}

const string = () => v.string('must be a string');
const boolean = () => v.boolean('must be true or false');
const flag = (preset: boolean) => v.optional(boolean(), preset);
const text = (preset: string) => v.optional(string(), preset);
const texts = () => v.array(string(), 'must be a list of strings');
const list = () => v.optional(texts(), []);
const someOf = <const T extends readonly string[]>(values: T) =>
  v.optional(v.array(oneOf(values), `must be a list out of: ${values.join(', ')}`), []);
const named = () => v.pipe(string(), v.regex(/^[a-z][a-z0-9-]*$/, 'must be lower-case letters, digits and dashes'));

/** A section. What it may not hold is found by `load.ts`, which names every such option; here it is passed over. */
function table<const T extends v.ObjectEntries>(entries: T) {
  // The table's own complaint is that a key is missing: the rule of that key is told.
  const missing = ({ path }: v.ObjectIssue) =>
    `is missing; it ${(entries[String(path?.[0].key)] as { message?: string }).message}`;
  return v.pipe(v.custom<Table>(isTable, 'must be a table: a section in brackets'), v.object(entries, missing));
}

export type Table = Record<string, unknown>;

/** Lists and dates are objects to JavaScript, and no tables. */
export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const sections = {
  server: {
    data_dir: text(''),
    sys_interval_s: integer('sys_interval_s', 0, 86_400, 10),
    stop_timeout_ms: integer('stop_timeout_ms', 0, 600_000, 5_000),
    log_level: choice(Object.keys(LogLevel) as (keyof typeof LogLevel)[], 'info'),
    threads: integer('threads', 1, 64, 1),
    core_dumps: flag(false),
  },
  session: {
    v3_expiry_s: integer('v3_expiry_s', 0, 4_294_967_295, 31 * 86_400),
    maximum_qos: integer('maximum_qos', 0, 2, 2),
    retain_available: flag(true),
    wildcard_subscriptions: flag(true),
    shared_subscriptions: flag(true),
    takeover: choice(['same_user', 'any_user'], 'same_user'),
    response_information: text(''),
    server_reference: text(''),
    message_expiry_max_s: integer('message_expiry_max_s', 0, 4_294_967_295, 0),
  },
  spool: {
    durability: choice(['durable', 'relaxed'], 'durable'),
    commit_window_ms: integer('commit_window_ms', 0, 1_000, 3),
    erase_within_ms: integer('erase_within_ms', 100, 3_600_000, 1_000),
    max_retention_s: integer('max_retention_s', 1, 4_294_967_295, 31 * 86_400),
    disk_floor_bytes: integer('disk_floor_bytes', 0, Number.MAX_SAFE_INTEGER, 67_108_864),
    key_file: text(''),
    key_env: text(''),
    key_command: v.optional(texts(), []),
  },
  auth: {
    methods: someOf(METHODS),
    password_file: text(''),
    acl_file: text(''),
    default_roles: list(),
    anonymous_roles: list(),
    failures_per_minute: integer('failures_per_minute', 0, 100_000, 20),
    failures_block_s: integer('failures_block_s', 1, 86_400, 300),
    jwt_secret_file: text(''),
    jwt_key_file: text(''),
    jwks_file: text(''),
    jwks_url: text(''),
    jwks_cache_s: integer('jwks_cache_s', 1, 86_400, 600),
    jwt_algorithms: someOf(ALGORITHMS),
    jwt_issuer: text(''),
    jwt_audience: text(''),
    jwt_user_claim: text('sub'),
    jwt_user_must_match: flag(true),
    jwt_client_id_claim: text(''),
    jwt_clock_tolerance_s: integer('jwt_clock_tolerance_s', 0, 3_600, 30),
    http_url: text(''),
    http_timeout_ms: integer('http_timeout_ms', 1, 60_000, 3_000),
    http_ca_file: text(''),
    http_header_file: text(''),
    http_send_address: flag(false),
  },
  role: {
    name: named(),
    publish: list(),
    subscribe: list(),
    deny: list(),
    users: list(),
  },
  admin: {
    port: v.optional(number('port', 0, 65_535)),
    host: text('127.0.0.1'),
    cert_file: text(''),
    key_file: text(''),
    token_file: text(''),
    open: flag(false),
    socket: text(''),
    pseudonym_key_file: text(''),
  },
  audit: {
    file: text(''),
    rotate_bytes: integer('rotate_bytes', 4_096, Number.MAX_SAFE_INTEGER, 16_777_216),
    keep_files: integer('keep_files', 1, 10_000, 10),
  },
  retained: {
    policy: choice(['disk', 'memory', 'off'], 'disk'),
    max_age_s: integer('max_age_s', 0, 4_294_967_295, 0),
  },
  retention: {
    users: v.pipe(texts(), v.minLength(1, 'must name at least one user')),
    session_expiry_max_s: ceiling('session_expiry_max_s', 0),
    message_expiry_max_s: ceiling('message_expiry_max_s', 1),
  },
  limits: {
    ...Object.fromEntries(
      (Object.keys(limitRanges) as (keyof Limits)[]).map((name) => {
        const key = snakeCase(name);
        return [key, integer(key, limitRanges[name][0], limitRanges[name][1], defaultLimits[name])];
      }),
    ),
    banned_networks: v.optional(texts(), []),
  },
  bridge: {
    name: named(),
    addresses: v.pipe(texts(), v.minLength(1, 'must name at least one host:port')),
    round_robin: flag(false),
    transport: choice(['tls', 'tcp'], 'tls'),
    insecure: flag(false),
    topics: v.pipe(texts(), v.minLength(1, 'must name at least one topic line')),
    remote_clientid: text(''),
    remote_username: text(''),
    remote_password_file: text(''),
    local_clientid: text(''),
    clean_start: flag(false),
    local_clean_start: flag(false),
    protocol_version: choice(['auto', 'mqttv50', 'mqttv311'], 'auto'),
    try_private: flag(true),
    keepalive_interval_s: integer('keepalive_interval_s', 0, 65_535, 60),
    restart_timeout_s: integer('restart_timeout_s', 1, 86_400, 5),
    restart_timeout_max_s: integer('restart_timeout_max_s', 1, 86_400, 30),
    inflight_max: integer('inflight_max', 1, 32_767, 100),
    queue_overflow: choice(['refuse', 'drop_oldest', 'drop_newest'], 'refuse'),
    outgoing_retain: flag(true),
    notifications: flag(true),
    notification_topic: text(''),
    session_expiry_s: integer('session_expiry_s', 0, 4_294_967_295, 31 * 86_400),
    ca_file: text(''),
    cert_file: text(''),
    key_file: text(''),
  },
  listener: {
    name: named(),
    transport: oneOf(['tcp', 'tls', 'ws', 'wss']),
    host: text('127.0.0.1'),
    port: integer('port', 0, 65_535, 0),
    path: v.optional(v.pipe(string(), v.regex(/^\//, 'must begin with /')), '/mqtt'),
    cert_file: text(''),
    key_file: text(''),
    ca_file: text(''),
    client_certificate: choice(['none', 'request', 'require'], 'none'),
    tls_min_version: v.optional(
      v.pipe(
        v.unknown(),
        v.transform((value) => (typeof value === 'number' ? String(value) : value)),
        oneOf(['1.2', '1.3']),
      ),
      '1.2',
    ),
    insecure: flag(false),
    anonymous: v.optional(boolean()),
    origins: v.optional(texts()),
    compression: flag(false),
    proxy_protocol: flag(false),
    proxy_trusted: v.optional(texts(), []),
    real_address_header: v.optional(
      v.pipe(string(), v.regex(/^[\w!#$%&'*+.^`|~-]*$/, 'must be the name of a header, like x-forwarded-for')),
      '',
    ),
    certificate_user: choice(CERTIFICATE_NAMES, 'none'),
    queue_overflow: choice(['refuse', 'drop_oldest', 'drop_newest'], 'refuse'),
    session_expiry_max_s: ceiling('session_expiry_max_s', 0),
    message_expiry_max_s: ceiling('message_expiry_max_s', 1),
  },
};

export const schema = v.object({
  server: v.optional(table(sections.server), {}),
  session: v.optional(table(sections.session), {}),
  retained: v.optional(table(sections.retained), {}),
  retention: v.optional(v.array(table(sections.retention), 'must be written as [[retention]] tables'), []),
  spool: v.optional(table(sections.spool), {}),
  auth: v.optional(table(sections.auth), {}),
  role: v.optional(v.array(table(sections.role), 'must be written as [[role]] tables'), []),
  admin: v.optional(table(sections.admin), {}),
  audit: v.optional(table(sections.audit), {}),
  limits: v.optional(table(sections.limits), {}),
  bridge: v.optional(v.array(table(sections.bridge), 'must be written as [[bridge]] tables'), []),
  listener: v.optional(v.array(table(sections.listener), 'must be written as [[listener]] tables'), []),
});

export type RawConfig = v.InferOutput<typeof schema>;
export type RawListener = RawConfig['listener'][number];
export type RawBridge = RawConfig['bridge'][number];

/** Sections that are lists of tables. */
export const LISTS = ['listener', 'role', 'retention', 'bridge'] as const;

/** Options that have another name now. */
export const replacedOptions: Readonly<Record<string, string>> = {
  'listener.use_certificate_name_as_user': 'listener.certificate_user; write certificate_user = "common_name"',
};

/** Options that a section may hold, and the sections for ''. */
export function optionNames(section: string): readonly string[] {
  if (section === '') return Object.keys(sections);
  return Object.hasOwn(sections, section) ? Object.keys(sections[section as keyof typeof sections]) : [];
}

/** One line on each option, for `lethe print-config` and the documentation. */
export const optionHelp: Readonly<Record<string, string>> = {
  'server.data_dir': 'directory of the spool; empty: sessions and messages live in memory',
  'server.sys_interval_s': 'seconds between two rounds of $SYS topics; 0: none',
  'server.stop_timeout_ms': 'longest time that a graceful stop may take',
  'server.log_level': 'error, warn, info or debug',
  'server.core_dumps':
    'whether a core file may be made, with the memory of the broker, messages in clear included, and SIGUSR1 start a debugger',
  'server.threads': 'shards, each with a thread and every port: as many as there are cores to use',
  'session.v3_expiry_s': 'how long an MQTT 3 session without Clean Session outlives its connection',
  'session.maximum_qos': 'highest QoS granted and accepted',
  'session.retain_available': 'whether retained messages are kept',
  'session.wildcard_subscriptions': 'whether filters may hold + and #',
  'session.shared_subscriptions': 'whether $share/group/filter is allowed',
  'session.takeover': "who may connect with the client identifier of another user's session: same_user (nobody) or any_user",
  'session.response_information': 'Response Information for MQTT 5 clients that ask; empty: none',
  'session.server_reference': 'Server Reference in the DISCONNECT of a stopping broker; empty: none',
  'session.message_expiry_max_s': 'longest time that any message is kept, whatever its publisher asks for; 0: no ceiling',
  'retained.policy':
    'disk: retained messages outlive a restart where there is a data directory; memory: they never touch it; off: there are none',
  'retained.max_age_s': 'age at which a retained message is let go, whatever its publisher asks for; 0: no ceiling',
  'retention.users': 'user names that the ceilings of this table hold for',
  'retention.session_expiry_max_s': 'longest session expiry of these users; unset: no ceiling of their own',
  'retention.message_expiry_max_s': 'longest time that what these users publish is kept; unset: no ceiling of their own',
  'spool.durability': 'durable: acknowledged when it would survive a power cut; relaxed: before that',
  'spool.commit_window_ms': 'how long messages are gathered for one commit; what is consumed meanwhile is never written',
  'spool.erase_within_ms': 'time within which what was consumed is beyond recovery',
  'spool.max_retention_s': 'longest time that a queued message or a session is kept; also the cap of limits.session_expiry_max_s',
  'spool.disk_floor_bytes': 'bytes that the disk must have left before messages are taken; 0: no floor',
  'spool.key_file': 'file with the master key; empty: none',
  'spool.key_env': 'environment variable with the master key; empty: none',
  'spool.key_command': 'program and arguments whose output is the master key; empty: none',
  'auth.methods':
    'who is asked, in this order, until one allows or denies: certificate, jwt, password_file, http; empty: those that are configured, in this order',
  'auth.password_file': 'password file (`lethe passwd`, mosquitto_passwd); empty: none',
  'auth.acl_file': "ACL file in Mosquitto's format; empty: everything is allowed where there is no role either",
  'auth.default_roles': 'names of roles of every client with a verified user name',
  'auth.anonymous_roles': 'names of roles of every client without one',
  'auth.failures_per_minute': 'failed logins of one address (IPv6: one /64) before it has to wait; 0: any',
  'auth.failures_block_s': 'longest wait; it begins with seconds and doubles each time',
  'auth.jwt_secret_file': 'file with the shared secret of JSON Web Tokens (HS256, HS384, HS512), at least 32 bytes',
  'auth.jwt_key_file': 'file with the public key of JSON Web Tokens, PEM (RS, PS, ES, EdDSA)',
  'auth.jwks_file': 'file with the public keys of JSON Web Tokens, as a JSON Web Key Set',
  'auth.jwks_url': 'URL of such a set: https, or http on loopback',
  'auth.jwks_cache_s': 'how long the keys of auth.jwks_url are used before they are asked for again',
  'auth.jwt_algorithms': 'algorithms that a token may be signed by; empty: all that the key is for',
  'auth.jwt_issuer': 'issuer (iss) that a token must name; empty: any',
  'auth.jwt_audience': 'audience (aud) that a token must name; empty: any',
  'auth.jwt_user_claim': 'claim that is the user name',
  'auth.jwt_user_must_match': "whether the user name of CONNECT, when it gives one, must be the token's",
  'auth.jwt_client_id_claim': 'claim that the client identifier must be equal to; empty: none',
  'auth.jwt_clock_tolerance_s': 'how far the clock of the issuer may be off',
  'auth.http_url': 'URL that is asked who may come in (POST): https, or http on loopback; empty: none',
  'auth.http_timeout_ms': 'longest wait for an answer of auth.http_url or auth.jwks_url',
  'auth.http_ca_file': 'authorities of the certificates of auth.http_url and auth.jwks_url, PEM; empty: those of the system',
  'auth.http_header_file': 'file with a header that is sent to auth.http_url, as "Name: value": a secret; empty: none',
  'auth.http_send_address': "whether auth.http_url is told the client's address",
  'role.name': 'name of the role, in tokens, answers of auth.http_url, auth.default_roles and auth.anonymous_roles',
  'role.publish': 'topic filters that it may publish to; %c stands for the client identifier, %u for the user name',
  'role.subscribe': 'topic filters that it may receive from, likewise',
  'role.deny': 'topic filters that it may do neither with, whatever else allows it',
  'role.users': 'user names that have the role',
  'admin.port': 'port of the admin API, the metrics and the live page; 0 takes a free one; unset: none',
  'admin.host': 'address of the admin port; beyond loopback it needs a certificate and a token',
  'admin.cert_file': 'certificate chain of the admin port, PEM; empty: no TLS, which only loopback may do without',
  'admin.key_file': 'private key of the admin port, PEM',
  'admin.token_file': 'file of mode 0600 with the bearer token of the admin port, 32 characters at least',
  'admin.open': 'allows an admin port on loopback without a token: whoever has an account on this machine may then use it',
  'admin.socket':
    'path of a UNIX socket (mode 0600) for the admin API of a broker without a data directory; with one it stands there',
  'admin.pseudonym_key_file':
    'file with the key of pseudonyms, 32 bytes or 64 hex digits; empty: pseudonym.key in the data directory, or derived from the master key',
  'audit.file': 'audit log; empty: audit.log in the data directory, and none without one',
  'audit.rotate_bytes': 'size at which a file of the audit log is put aside and the next one begun',
  'audit.keep_files': 'files of the audit log that are kept, the one being written included',
  'limits.connections_max': 'connections at one time',
  'limits.sessions_max': 'sessions held, connected or not',
  'limits.packet_bytes_max': 'largest packet accepted from a client',
  'limits.connect_bytes_max': 'largest first packet: what a stranger can make the broker buffer',
  'limits.connect_timeout_ms': 'time from accept to a complete CONNECT',
  'limits.topic_bytes_max': 'longest topic name or filter',
  'limits.topic_levels_max': 'most levels of a topic name or filter',
  'limits.client_id_bytes_max': 'longest client identifier',
  'limits.user_properties_max': 'most user properties of one packet',
  'limits.subscriptions_per_client_max': 'subscriptions of one session',
  'limits.session_bytes_max': 'bytes of the topic filters and wills of all sessions together',
  'limits.inflight_max': 'outbound QoS 1 and 2 not yet acknowledged, per client',
  'limits.receive_maximum': 'inbound QoS 1 and 2 not yet acknowledged, per client',
  'limits.queued_messages_per_client_max': 'messages queued for one session',
  'limits.queued_bytes_per_client_max': 'bytes queued for one session',
  'limits.queued_messages_max': 'messages queued for all sessions together',
  'limits.queued_bytes_max': 'bytes queued for all sessions together',
  'limits.retained_messages_max': 'retained messages',
  'limits.retained_bytes_max': 'bytes of retained messages',
  'limits.topic_aliases_in_max': 'topic aliases that a client may use',
  'limits.topic_aliases_out_max': 'topic aliases used towards a client, at most what it allows',
  'limits.keep_alive_max_s': 'longest keep alive; 0: any, and none is allowed',
  'limits.session_expiry_max_s': 'longest session expiry',
  'limits.outbox_high_bytes': 'unsent bytes to a client at which its publishers are paused',
  'limits.outbox_max_bytes': 'unsent bytes to a client that are never passed, but for a single packet',
  'limits.unsent_bytes_max':
    'unsent bytes to all clients of one shard together beyond which a receiver is fed no more from 16 KiB on, and who takes nothing for 30 s is disconnected',
  'limits.backpressure_ms': 'how long a slow receiver may pause its publishers',
  'limits.trie_nodes_max': 'nodes of the topic trie; reserved, touched as used',
  'limits.trie_subscriptions_max': 'subscriptions of the topic trie; reserved, touched as used',
  'limits.topic_cache_entries': 'topics whose receivers are remembered',
  'limits.client_messages_per_s': 'PUBLISH packets that are read from one client in a second, the rest waits; 0: no bound',
  'limits.client_bytes_per_s': 'bytes that are read from one client in a second, likewise; 0: no bound',
  'limits.client_connects_per_minute': 'times that one client may connect in a minute (0x9F); 0: no bound',
  'limits.connections_per_user': 'connections with one user name at one time (0x97); 0: no bound',
  'limits.overload_delay_ms': 'lateness of the event loop above which new connections are refused (0x89, HTTP 503); 0: never',
  'limits.banned_networks': 'addresses and networks whose connections are closed before a byte is read',
  'bridge.name': 'name in messages, metrics, $SYS/broker/connection/NAME/state and --set bridge.NAME.key=value',
  'bridge.addresses': 'host:port of the remote broker, and of others that stand in for it, tried in this order',
  'bridge.round_robin': 'true: stays with the address that answered; false: goes back to the first one when it is there again',
  'bridge.transport': 'tls or tcp',
  'bridge.insecure': 'allows a bridge without TLS to an address that is not loopback',
  'bridge.topics':
    'what goes where, as in mosquitto.conf: pattern [out, in or both [qos [local-prefix [remote-prefix]]]]; "" stands for an empty one',
  'bridge.remote_clientid': "client identifier at the remote broker; empty: this machine's name, a dot and the bridge's name",
  'bridge.remote_username': 'user name at the remote broker; empty: none',
  'bridge.remote_password_file': 'file of mode 0600 with the password there; empty: none',
  'bridge.local_clientid': 'client identifier of the session in this broker that keeps what goes out; empty: $bridge/NAME',
  'bridge.clean_start': 'whether the remote broker forgets the session when the link is cut',
  'bridge.local_clean_start': 'whether this broker keeps nothing while the link is cut',
  'bridge.protocol_version': 'mqttv50, mqttv311, or auto: 5.0, and 3.1.1 where the remote broker refuses that',
  'bridge.try_private': 'tells a 3.1.1 broker that this is a bridge, as Mosquitto does, so that it sends nothing back',
  'bridge.keepalive_interval_s': 'keep alive of the link; 0: none',
  'bridge.restart_timeout_s': 'wait before the link is tried again; it doubles each time, less a random part',
  'bridge.restart_timeout_max_s': 'longest such wait',
  'bridge.inflight_max': 'QoS 1 and 2 messages on their way in each direction; no more than 20 go out over MQTT 3.1.1',
  'bridge.queue_overflow': 'when the queue of what goes out is full: refuse (the publisher is told), drop_oldest or drop_newest',
  'bridge.outgoing_retain': 'whether what was published as retained is retained at the remote broker',
  'bridge.notifications': 'whether $SYS/broker/connection/NAME/state tells here whether the link stands: 1 or 0, retained',
  'bridge.notification_topic': 'topic at the remote broker that tells the same, retained and by will; empty: none',
  'bridge.session_expiry_s': 'how long an MQTT 5 remote broker keeps the session when the link is cut',
  'bridge.ca_file': "authorities of the remote broker's certificate, PEM; empty: those that Node brings",
  'bridge.cert_file': 'certificate of this broker as a client, PEM; empty: none',
  'bridge.key_file': 'its private key, PEM',
  'listener.name': 'name in messages, and in --set listener.NAME.key=value',
  'listener.transport': 'tcp, tls, ws or wss',
  'listener.host': 'address to listen on',
  'listener.port': 'port; 0 takes a free one',
  'listener.path': 'path of a WebSocket listener',
  'listener.cert_file': 'certificate chain, PEM (tls, wss)',
  'listener.key_file': 'private key, PEM (tls, wss)',
  'listener.ca_file': 'authorities of client certificates, PEM (tls)',
  'listener.client_certificate': 'none, request or require (tls)',
  'listener.tls_min_version': '1.2 or 1.3',
  'listener.insecure': 'allows a listener without TLS on an address that is not loopback',
  'listener.anonymous': 'whether clients may come without a user name; unset: on loopback, and while there is no password file',
  'listener.origins': 'origins that browsers may come from; unset: any',
  'listener.compression': 'WebSocket compression',
  'listener.proxy_protocol': 'expects a PROXY protocol header: v1 or v2 (tcp, tls), v2 (ws)',
  'listener.proxy_trusted': 'addresses or CIDR ranges of the proxies whose PROXY header or real_address_header is believed',
  'listener.real_address_header':
    "header in which a proxy names the client: x-forwarded-for, x-real-ip, forwarded (ws, wss); '': the address of the connection counts",
  'listener.queue_overflow': 'when the queue of a session that came here is full: refuse, drop_oldest or drop_newest',
  'listener.certificate_user':
    'what of the client certificate is the user name: none, common_name, subject, san_dns, san_email or san_uri (tls)',
  'listener.session_expiry_max_s': 'longest session expiry of clients that come here; unset: no ceiling of its own',
  'listener.message_expiry_max_s': 'longest time that what clients publish here is kept; unset: no ceiling of its own',
};
