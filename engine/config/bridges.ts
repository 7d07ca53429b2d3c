// The bridges of a configuration: their options, and what no single one of them shows. What is told names bridges and options, never a topic.
import { STRING_BYTES_MAX } from '../../protocol/limits.ts';
import { OWN_CLIENT_PREFIX } from '../principal.ts';
import { isLoopback, type Say } from './auth.ts';
import { isTopicName, parseTopicLine } from './bridge-topics.ts';
import type { Config } from './load.ts';
import type { RawBridge } from './schema.ts';

export interface BridgeConfig {
  readonly name: string;
  /** Tried in this order. */
  readonly addresses: readonly string[];
  readonly roundRobin: boolean;
  readonly transport: 'tls' | 'tcp';
  readonly insecure: boolean;
  /** Lines as `parseTopicLine` reads them. */
  readonly topics: readonly string[];
  readonly remoteClientid: string;
  readonly remoteUsername: string;
  readonly remotePasswordFile: string;
  readonly localClientid: string;
  readonly cleanStart: boolean;
  readonly localCleanStart: boolean;
  readonly protocolVersion: 'auto' | 'mqttv50' | 'mqttv311';
  readonly tryPrivate: boolean;
  readonly keepaliveIntervalS: number;
  readonly restartTimeoutS: number;
  readonly restartTimeoutMaxS: number;
  readonly inflightMax: number;
  readonly queueOverflow: RawBridge['queue_overflow'];
  readonly outgoingRetain: boolean;
  readonly notifications: boolean;
  readonly notificationTopic: string;
  readonly sessionExpiryS: number;
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface RemoteAddress {
  readonly host: string;
  readonly port: number;
}

const PORTS = { tls: 8_883, tcp: 1_883 } as const;

export function resolveBridge(raw: RawBridge): BridgeConfig {
  return {
    name: raw.name,
    addresses: raw.addresses,
    roundRobin: raw.round_robin,
    transport: raw.transport,
    insecure: raw.insecure,
    topics: raw.topics,
    remoteClientid: raw.remote_clientid,
    remoteUsername: raw.remote_username,
    remotePasswordFile: raw.remote_password_file,
    localClientid: raw.local_clientid,
    cleanStart: raw.clean_start,
    localCleanStart: raw.local_clean_start,
    protocolVersion: raw.protocol_version,
    tryPrivate: raw.try_private,
    keepaliveIntervalS: raw.keepalive_interval_s,
    restartTimeoutS: raw.restart_timeout_s,
    restartTimeoutMaxS: raw.restart_timeout_max_s,
    inflightMax: raw.inflight_max,
    queueOverflow: raw.queue_overflow,
    outgoingRetain: raw.outgoing_retain,
    notifications: raw.notifications,
    notificationTopic: raw.notification_topic,
    sessionExpiryS: raw.session_expiry_s,
    caFile: raw.ca_file,
    certFile: raw.cert_file,
    keyFile: raw.key_file,
  };
}

/** Client identifier of the session in this broker that keeps what goes out. */
export function localClientIdOf({ name, localClientid }: BridgeConfig): string {
  return localClientid === '' ? `${OWN_CLIENT_PREFIX}${name}` : localClientid;
}

/** `host`, `host:port` or `[v6]:port`; null when it is none of these. */
export function parseAddress(text: string, transport: BridgeConfig['transport']): RemoteAddress | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return null;
  const port = match[3] === undefined ? PORTS[transport] : Number(match[3]);
  return port >= 1 && port <= 65_535 ? { host: match[1] ?? match[2]!, port } : null;
}

/** Whether what a bridge carries could be read on the way. */
export function isPlainBridge({ transport, addresses }: BridgeConfig): boolean {
  return transport === 'tcp' && addresses.some((address) => !isLoopback(parseAddress(address, transport)?.host ?? ''));
}

/** @param say takes the path of an option and what is wrong with it */
/** What stands for a listener at the local side of a bridge; no listener can have this name. */
export function localListenerOf({ name }: BridgeConfig): string {
  return `bridge.${name}`;
}

export function judgeBridges(config: Config, say: Say): void {
  const names = new Set<string>();
  const localIds = new Map<string, string>();
  config.bridges.forEach((own, index) => {
    const sayOf = (key: string, message: string) => say(['bridge', String(index), key], `bridge '${own.name}': ${message}`);
    if (names.has(own.name)) sayOf('name', 'has the name of another bridge');
    names.add(own.name);
    const localId = localClientIdOf(own);
    const other = localIds.get(localId);
    if (other !== undefined) sayOf('local_clientid', `has the local session of bridge '${other}'`);
    localIds.set(localId, own.name);
    if (Buffer.byteLength(localId) > config.limits.clientIdBytesMax)
      sayOf('local_clientid', 'is longer than limits.client_id_bytes_max');
    if (localId.includes('\0')) sayOf('local_clientid', 'must not have U+0000 in it');
    judgeRemote(own, sayOf);
    judgeTopics(own, config, sayOf);
  });
}

function judgeRemote(own: BridgeConfig, say: (key: string, message: string) => void): void {
  for (const address of own.addresses)
    if (parseAddress(address, own.transport) === null)
      say('addresses', 'must be written as host:port, or [address]:port for IPv6');
  if (isPlainBridge(own) && !own.insecure)
    say('transport', 'would carry messages in clear beyond loopback; use transport tls, or say insecure = true');
  if (own.transport === 'tcp')
    for (const [key, value] of [
      ['ca_file', own.caFile],
      ['cert_file', own.certFile],
      ['key_file', own.keyFile],
    ] as const)
      if (value !== '') say(key, `${key} is for transport tls only`);
  if ((own.certFile === '') !== (own.keyFile === ''))
    say(own.certFile === '' ? 'key_file' : 'cert_file', 'cert_file and key_file go together');
  if (own.remotePasswordFile !== '' && own.remoteUsername === '')
    say('remote_password_file', 'remote_password_file needs remote_username');
  if (own.restartTimeoutMaxS < own.restartTimeoutS)
    say('restart_timeout_max_s', 'restart_timeout_max_s must not be below restart_timeout_s');
  for (const [key, value] of [
    ['remote_clientid', own.remoteClientid],
    ['remote_username', own.remoteUsername],
  ] as const) {
    if (Buffer.byteLength(value) > STRING_BYTES_MAX) say(key, 'is longer than a string of MQTT can be');
    if (value.includes('\0')) say(key, 'must not have U+0000 in it');
  }
}

function judgeTopics(own: BridgeConfig, { limits }: Config, say: (key: string, message: string) => void): void {
  own.topics.forEach((line, at) => {
    const parsed = parseTopicLine(line, limits);
    if (typeof parsed === 'string') say('topics', `line ${at + 1}: ${parsed}`);
  });
  if (own.notificationTopic !== '' && !isTopicName(own.notificationTopic, limits))
    say('notification_topic', 'must be a topic name: no wildcards, within limits.topic_bytes_max');
}
