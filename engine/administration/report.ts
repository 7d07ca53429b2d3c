// A record of processing (GDPR Art. 30(2)) from the configuration that is in force: what is stored, where, for how long, and which measures (Art. 32) hold. Only what this program knows: who the processor and the
// controllers are, and whatever lies outside of the process, is for the operator to add. It names options and listeners, never a user, a role's user, a topic or a path.

import { isLoopback } from '../config/auth.ts';
import { parseTopicLine, type TopicBounds } from '../config/bridge-topics.ts';
import { type BridgeConfig, isPlainBridge } from '../config/bridges.ts';
import type { Config, ListenerConfig } from '../config/load.ts';
import type { Inventory } from './inventory.ts';
import { auditFile } from './keep-audit.ts';

/** One kind of data. */
export interface DataKind {
  readonly what: string;
  readonly where: string;
  readonly kept: string;
}

/** A technical measure; `key` is its heading in docs/DPA-ANNEX.md, where the test stands that proves it. */
export interface Measure {
  readonly key: string;
  readonly isInForce: boolean;
  /** As it is set. */
  readonly setting: string;
}

export interface ProcessingRecord {
  /** ISO 8601, UTC. */
  readonly made: string;
  readonly version: string;
  readonly data: readonly DataKind[];
  readonly recipients: readonly string[];
  readonly measures: readonly Measure[];
  /** What the operator should look at: each a sentence with the option that changes it. */
  readonly attention: readonly string[];
  /** What is held now; null where nothing could be asked. */
  readonly held: Inventory | null;
}

const HOUR_S = 3_600;
const DAY_S = 86_400;
const NEVER_S = 4_294_967_295;

/** @param held what is held now; null: not known */
export function processingRecord(config: Config, version: string, wallMs: number, held: Inventory | null): ProcessingRecord {
  return {
    made: new Date(wallMs).toISOString(),
    version,
    data: dataOf(config),
    recipients: recipientsOf(config),
    measures: measuresOf(config),
    attention: attentionOf(config),
    held,
  };
}

function dataOf(config: Config): readonly DataKind[] {
  const { server, session, spool, retained, limits } = config;
  const isStored = server.dataDir !== '';
  const store = isStored ? 'data directory, encrypted' : 'memory of the process';
  const messages = Math.min(spool.maxRetentionS, orNone(session.messageExpiryMaxS), ceilingOf(config, 'messageExpiryMaxS'));
  const sessions = Math.min(limits.sessionExpiryMaxS, ceilingOf(config, 'sessionExpiryMaxS'));
  const gone = isStored ? `; beyond recovery within ${spool.eraseWithinMs} ms` : '';
  const retainedWhere = retained.policy === 'disk' ? store : 'memory of the process';
  const auditWhere = auditFile(config);
  return [
    { what: 'messages at QoS 0', where: 'memory of the process', kept: 'while they are on their way' },
    {
      what: 'messages at QoS 1 and 2 owed to sessions (topic, properties, payload)',
      where: store,
      kept: `until the last subscriber has acknowledged${gone}; at most ${span(messages)}`,
    },
    {
      what: 'sessions (client identifier, user name, subscriptions, will)',
      where: store,
      kept: `while connected, then as long as the client asked for; at most ${span(sessions)}${gone}`,
    },
    retained.policy === 'off'
      ? { what: 'retained messages', where: 'nowhere', kept: 'there are none' }
      : {
          what: 'retained messages',
          where: retainedWhere,
          kept: `until replaced or cleared${retained.maxAgeS === 0 ? '' : `; at most ${span(retained.maxAgeS)}`}${gone}`,
        },
    {
      what: 'addresses of clients',
      where: 'memory of the process',
      kept: 'while connected; of failed logins as a keyed hash, for minutes',
    },
    {
      what: 'audit log (pseudonyms, counts, the reasons that operators type)',
      where: auditWhere === '' ? 'nowhere' : 'a file, append-only, hash-chained',
      kept: auditWhere === '' ? 'there is none' : `${config.audit.keepFiles} files of ${config.audit.rotateBytes} bytes`,
    },
    {
      what: 'log and metrics',
      where: 'standard error; the admin port',
      kept: 'by whoever collects them; they hold no personal data',
    },
  ];
}

function recipientsOf({ auth, bridges, limits }: Config): readonly string[] {
  const others = bridges.length === 0 ? 'nobody else, and no other server' : 'and the brokers of the bridges below';
  const recipients = [`subscribers that the rights of this configuration entitle to a message; ${others}`];
  for (const bridge of bridges) recipients.push(bridgeLine(bridge, limits));
  if (auth.httpUrl !== '')
    recipients.push(
      `the HTTP service of auth.http_url is told client identifier, user name and password of who connects${auth.httpSendAddress ? ', and the address' : ''}`,
    );
  return recipients;
}

/** To whom a bridge gives messages, how, and by how many lines of topics each way. */
function bridgeLine(bridge: BridgeConfig, limits: TopicBounds): string {
  const { name, addresses, topics } = bridge;
  const how = bridge.transport === 'tls' ? 'over TLS from 1.2 on' : isPlainBridge(bridge) ? 'in clear' : 'on loopback';
  const lines = topics.map((line) => parseTopicLine(line, limits)).filter((topic) => typeof topic !== 'string');
  const count = (way: 'out' | 'in') => lines.filter(({ direction }) => direction === way || direction === 'both').length;
  const [out, into] = [count('out'), count('in')];
  const shown = (lines: number) => `${lines} topic line${lines === 1 ? '' : 's'}`;
  return `the broker at ${addresses.join(' or ')} (bridge ${name}), ${how}: is sent what ${shown(out)} mean${out === 1 ? 's' : ''}, sends what ${shown(into)} mean${into === 1 ? 's' : ''}; what is sent there is kept there as its operator says`;
}

function measuresOf(config: Config): readonly Measure[] {
  const { server, spool, auth, roles, audit, admin, limits, retained } = config;
  const isStored = server.dataDir !== '';
  const hasMasterKey = spool.keyFile !== '' || spool.keyEnv !== '' || spool.keyCommand.length > 0;
  const isOpen = config.listeners.some(isPlainBeyondLoopback) || config.bridges.some(isPlainBridge);
  const hasRights = auth.aclFile !== '' || roles.length > 0;
  return [
    {
      key: 'Opaque payloads',
      isInForce: true,
      setting: 'no code path reads, logs or shows a payload, topic, user name or client identifier',
    },
    {
      key: 'Encryption in transit',
      isInForce: !isOpen,
      setting: [
        ...config.listeners.map((listener) => `${listener.name}: ${transportOf(listener)}`),
        ...config.bridges.map((bridge) => `bridge ${bridge.name}: ${isPlainBridge(bridge) ? 'in clear' : bridge.transport}`),
      ].join('; '),
    },
    {
      key: 'Encryption at rest',
      isInForce: true,
      setting: isStored ? 'AES-256-GCM, a key for each stored value' : 'nothing is at rest',
    },
    {
      key: 'Master key',
      isInForce: hasMasterKey || !isStored,
      setting: hasMasterKey
        ? 'wraps the keys of the spool'
        : isStored
          ? 'none: file modes protect the keys'
          : 'nothing is at rest',
    },
    {
      key: 'Storage limitation',
      isInForce: true,
      setting: 'a message that nobody waits for is never stored; the last acknowledgement removes it',
    },
    { key: 'Erasure', isInForce: true, setting: `keys destroyed within ${spool.eraseWithinMs} ms` },
    {
      key: 'Retention ceilings',
      // What is queued always has one.
      isInForce: retained.maxAgeS > 0 || retained.policy === 'off',
      setting: `messages ${span(spool.maxRetentionS)}; sessions ${span(limits.sessionExpiryMaxS)}; tables of users: ${config.retention.length}`,
    },
    {
      key: 'Authentication',
      isInForce: auth.methods.length > 0,
      setting: auth.methods.length === 0 ? 'none: anonymous clients' : auth.methods.join(', then '),
    },
    {
      key: 'Authorisation',
      isInForce: hasRights,
      setting: hasRights ? 'default deny; checked at publish, subscription and delivery' : 'none: everything is allowed',
    },
    {
      key: 'Protection against guessing',
      isInForce: auth.failuresPerMinute > 0,
      setting: auth.failuresPerMinute > 0 ? `${auth.failuresPerMinute} failed logins a minute of one address` : 'off',
    },
    {
      key: 'Audit log',
      isInForce: auditFile(config) !== '',
      setting: auditFile(config) === '' ? 'none' : `hash-chained, ${audit.keepFiles} files${hasMasterKey ? ', sealed' : ''}`,
    },
    {
      key: 'Administrative access',
      isInForce: !admin.open,
      setting:
        admin.port === null
          ? 'UNIX socket in the data directory, mode 0600'
          : admin.open
            ? 'port on loopback without a token'
            : 'port with a bearer token',
    },
    {
      key: 'Closed memory',
      isInForce: !server.coreDumps,
      setting: server.coreDumps ? 'core dumps hold messages in clear' : 'no core files, and no memory in one; no debugger',
    },
    {
      key: 'Resilience',
      isInForce: spool.durability === 'durable',
      setting: spool.durability === 'durable' ? 'acknowledged after it is durable' : 'acknowledged before it is durable',
    },
    {
      key: 'Data subject requests',
      isInForce: true,
      setting: 'inventory, export and erase, on a running broker or a stopped directory, with receipts',
    },
  ];
}

function attentionOf(config: Config): readonly string[] {
  const { server, spool, auth, roles, retained, admin } = config;
  const said: string[] = [];
  for (const listener of config.listeners) {
    if (isPlainBeyondLoopback(listener))
      said.push(`Listener ${listener.name} carries messages in clear beyond this machine (insecure = true).`);
    if (listener.anonymous && !isLoopback(listener.host))
      said.push(`Listener ${listener.name} lets anonymous clients in beyond loopback (anonymous).`);
  }
  for (const bridge of config.bridges)
    if (isPlainBridge(bridge))
      said.push(`Bridge ${bridge.name} carries messages in clear beyond this machine (insecure = true).`);
  if (server.dataDir !== '' && spool.keyFile === '' && spool.keyEnv === '' && spool.keyCommand.length === 0)
    said.push(
      'The keys of the data directory are protected by file mode only: give a master key (spool.key_file, key_env or key_command).',
    );
  if (spool.durability === 'relaxed')
    said.push('Messages are acknowledged before they are durable (spool.durability = "relaxed").');
  if (auth.aclFile === '' && roles.length === 0)
    said.push('Every client may publish and receive everything: give auth.acl_file or [[role]].');
  if (retained.policy !== 'off' && retained.maxAgeS === 0)
    said.push('Retained messages have no greatest age (retained.max_age_s, retained.policy).');
  if (server.coreDumps) said.push('Core dumps hold messages in clear (server.core_dumps).');
  if (admin.open) said.push('Whoever has an account on this machine may use the admin port (admin.open).');
  return said;
}

function isPlainBeyondLoopback({ transport, host }: ListenerConfig): boolean {
  return (transport === 'tcp' || transport === 'ws') && !isLoopback(host);
}

function transportOf({ transport, tlsMinVersion, clientCertificate, host }: ListenerConfig): string {
  if (transport === 'tcp' || transport === 'ws') return isLoopback(host) ? 'loopback only' : 'in clear';
  const certificates = clientCertificate === 'require' ? ', client certificates required' : '';
  return `TLS from ${tlsMinVersion.slice('TLSv'.length)} on${certificates}`;
}

/** The highest ceiling of all listeners: Infinity where one of them has none. */
function ceilingOf({ listeners }: Config, key: 'sessionExpiryMaxS' | 'messageExpiryMaxS'): number {
  return Math.max(...listeners.map((listener) => listener[key] ?? Infinity));
}

function orNone(seconds: number): number {
  return seconds === 0 ? Infinity : seconds;
}

function span(seconds: number): string {
  if (seconds >= NEVER_S) return 'no ceiling';
  if (seconds >= 2 * DAY_S) return `${round(seconds / DAY_S)} days`;
  return seconds >= 2 * HOUR_S ? `${round(seconds / HOUR_S)} hours` : `${seconds} s`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** The record as a page of Markdown. */
export function recordPage({ made, version, data, recipients, measures, attention, held }: ProcessingRecord): string {
  const lines = [
    '# Record of processing: MQTT broker',
    '',
    `Made by \`lethe report\` (Lethe ${version}) on ${made} from its configuration. For GDPR Art. 30(2); what stands in brackets is yours to add.`,
    '',
    '- Processor: [name and contact; data protection officer]',
    '- On behalf of: [controllers]',
    '- Categories of processing: transport of messages between clients; storage of those that a client waits for',
    '- Transfers to third countries: [none, unless subscribers or the machine are there]',
    '',
    '## What is stored, where, how long',
    '',
    '| data | where | kept |',
    '|---|---|---|',
    ...data.map(({ what, where, kept }) => `| ${what} | ${where} | ${kept} |`),
    '',
    '## Recipients',
    '',
    ...recipients.map((line) => `- ${line}`),
    '',
    '## Technical measures (Art. 32)',
    '',
    'Each is described in docs/DPA-ANNEX.md, with the test that proves it.',
    '',
    '| measure | in force | setting |',
    '|---|---|---|',
    ...measures.map(({ key, isInForce, setting }) => `| ${key} | ${isInForce ? 'yes' : '**no**'} | ${setting} |`),
    '',
    '## To be looked at',
    '',
    ...(attention.length === 0 ? ['Nothing.'] : attention.map((line) => `- ${line}`)),
    '',
  ];
  if (held !== null) {
    const rows = (['messages', 'retained', 'sessions', 'wills', 'quarantined'] as const).map((name) => {
      const { count, bytes, oldestMs } = held[name];
      return `| ${name} | ${count} | ${bytes} | ${oldestMs === null ? '-' : new Date(oldestMs).toISOString()} |`;
    });
    lines.push('## Held now', '', '| class | count | bytes | oldest since |', '|---|---|---|---|', ...rows, '');
  }
  return lines.join('\n');
}
