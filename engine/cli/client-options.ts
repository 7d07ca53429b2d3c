// The options that `lethe pub` and `lethe sub` share: where the broker is, who the client is, TLS, the session, the will. Mosquitto's
// letters with Mosquitto's meaning, judged as a whole and turned into what MQTT.js takes. A mistake ends the program as a usage error.
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, type ParseOptionsResult } from 'commander';
import type { IClientOptions } from 'mqtt';
import { STRING_BYTES_MAX } from '../../protocol/limits.ts';
import { Level } from '../../protocol/packet.ts';
import { shareFilterFrom, validateTopicFilter, validateTopicName } from '../../protocol/topic.ts';
import { systemRandom } from '../random.ts';
import { type Address, addressOf } from './client-address.ts';
import { addProperty, foldProperties, type PropertyCommand, type PropertySet } from './client-properties.ts';
import { Failure, messageOf } from './failure.ts';

export type QoS = 0 | 1 | 2;

export interface ClientFlags {
  readonly host?: string;
  readonly port?: number;
  readonly url?: string;
  readonly ws?: true;
  readonly path?: string;
  readonly tls?: true;
  readonly cafile?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecure?: true;
  readonly id?: string;
  readonly idPrefix?: string;
  readonly username?: string;
  readonly pw?: string;
  readonly protocolVersion?: Level;
  readonly keepalive: number;
  readonly disableCleanSession?: true;
  readonly sessionExpiry?: number;
  /** Words of each -D. */
  readonly property?: readonly (readonly string[])[];
  readonly qos: QoS;
  readonly willTopic?: string;
  readonly willPayload?: string;
  readonly willQos?: QoS;
  readonly willRetain?: true;
  readonly quiet?: true;
}

/** What the flags come to. */
export interface ClientSettings {
  readonly address: Address;
  readonly level: Level;
  readonly properties: PropertySet;
  readonly options: IClientOptions;
}

export const SESSION_NEVER_EXPIRES = 4_294_967_295;
const KEEP_ALIVE_S_DEFAULT = 60;
const KEEP_ALIVE_S_MAX = 65_535;
const CLIENT_ID_RANDOM_BYTES = 6;

/** A command that takes `-D` with several words. */
class ClientCommand extends Command {
  override parseOptions(argv: string[]): ParseOptionsResult {
    return super.parseOptions(foldProperties(argv, this.options));
  }
}

/** A command to which `addClientOptions` adds the shared options when it has its own. */
export function clientCommand(name: string): Command {
  // -h is the host, as in Mosquitto's clients.
  return new ClientCommand(name).helpOption('--help', 'print this help');
}

/** @param propertyCommands packets that the program sends, whose properties -D gives */
export function addClientOptions(command: Command, propertyCommands: readonly PropertyCommand[]): void {
  command
    .option('-q, --qos <qos>', 'quality of service: 0, 1 or 2', parseQos, 0)
    .option(
      '-D, --property <packet name value>',
      `MQTT 5 property of ${propertyCommands.join(', ')}; user-property has two values`,
      (words: string, before: readonly string[][] = []) => [...before, JSON.parse(words) as string[]],
    )
    .option('--quiet', 'no error messages but for wrong arguments')
    .optionsGroup('Broker:')
    .option('-h, --host <host>', 'host of the broker (default localhost)')
    .option('-p, --port <port>', 'its port (default 1883; with TLS 8883; with --ws 8083, with both 443)', whole(1, 65_535))
    .option('-L, --url <url>', 'all in one: mqtt[s]://[user[:password]@]host[:port][/topic] or ws[s]://…/path')
    .option('--ws', 'MQTT over WebSocket')
    .option('--path <path>', 'path of the WebSocket (default /mqtt)')
    .optionsGroup('TLS (on with any of these, with port 8883, mqtts:// and wss://):')
    .option('--tls', 'trust the authorities that Node trusts')
    .option('--cafile <file>', 'trust these authorities instead, PEM')
    .option('--cert <file>', 'certificate of this client, PEM')
    .option('--key <file>', 'its private key, PEM')
    .option('--insecure', 'do not check that the certificate bears the name of the host')
    .optionsGroup('Client:')
    .option('-i, --id <id>', 'client id (default: MQTT 5 lets the broker choose, MQTT 3 a random one)')
    .option('-I, --id-prefix <prefix>', 'client id made of this and the process id')
    .option('-u, --username <name>', 'user name')
    .option('-P, --pw <password>', 'password; ps shows it to everybody, LETHE_PASSWORD in the environment is safer')
    .option(
      '-V, --protocol-version <version>',
      '31, 311, 5, or mqttv31, mqttv311, mqttv5 (default 311; with -D or -x 5)',
      parseLevel,
    )
    .option('-k, --keepalive <seconds>', 'keep alive', whole(0, KEEP_ALIVE_S_MAX), KEEP_ALIVE_S_DEFAULT)
    .option('-c, --disable-clean-session', 'keep the session: the broker queues for this client id while it is away')
    .option('-x, --session-expiry <seconds>', 'how long the session outlives the connection; -1: for ever (MQTT 5)', parseExpiry)
    .optionsGroup('Will:')
    .option('--will-topic <topic>', 'topic of the message that the broker publishes when this client is lost')
    .option('--will-payload <payload>', 'its payload (default: empty)')
    .option('--will-qos <qos>', 'its quality of service', parseQos)
    .option('--will-retain', 'retain it');
}

/** Ends the program as a usage error. */
export function refuse(command: Command, message: string): never {
  return command.error(`error: ${message}`);
}

/** Judges the flags together and reads the files they name. */
export function clientSettings(
  command: Command,
  flags: ClientFlags,
  propertyCommands: readonly PropertyCommand[],
): ClientSettings {
  const address = addressOf(flags, (message) => refuse(command, message));
  const properties = propertiesOf(command, flags, propertyCommands);
  const needsV5 = flags.property !== undefined ? '-D' : flags.sessionExpiry !== undefined ? '-x' : null;
  const level = flags.protocolVersion ?? (needsV5 === null ? Level.V311 : Level.V5);
  if (needsV5 !== null && level !== Level.V5) refuse(command, `${needsV5} needs MQTT 5: give -V 5 or leave out -V`);
  const username = flags.username ?? address.username;
  const password = flags.pw ?? address.password ?? (username === undefined ? undefined : process.env['LETHE_PASSWORD']);
  // MQTT 5 would allow it; MQTT.js does not.
  if (password !== undefined && username === undefined) refuse(command, 'a password needs a user name: give -u');
  const sessionExpiry = sessionExpiryOf(flags, properties);
  judgeSession(command, flags, sessionExpiry);
  const connect = { ...properties.connect, ...(sessionExpiry === undefined ? {} : { sessionExpiryInterval: sessionExpiry }) };
  return {
    address,
    level,
    properties,
    options: {
      protocol: address.protocol,
      // MQTT.js puts the name into a URL for WebSocket, where IPv6 stands in brackets.
      hostname: address.host.includes(':') && address.protocol.startsWith('ws') ? `[${address.host}]` : address.host,
      port: address.port,
      path: address.path,
      ...tlsOptions(command, flags),
      protocolVersion: level,
      protocolId: level === Level.V31 ? 'MQIsdp' : 'MQTT',
      clientId: clientIdOf(flags, level),
      clean: flags.disableCleanSession !== true,
      keepalive: flags.keepalive,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...willOf(command, flags, properties),
      ...(level === Level.V5 ? { properties: connect } : {}),
    },
  };
}

function propertiesOf(command: Command, flags: ClientFlags, propertyCommands: readonly PropertyCommand[]): PropertySet {
  const set: PropertySet = {};
  for (const words of flags.property ?? []) {
    try {
      addProperty(words, propertyCommands, set);
    } catch (error) {
      refuse(command, `-D ${words.join(' ')}: ${messageOf(error)}`);
    }
  }
  return set;
}

function sessionExpiryOf(flags: ClientFlags, properties: PropertySet): number | undefined {
  if (flags.sessionExpiry !== undefined) return flags.sessionExpiry;
  if (properties.connect?.['sessionExpiryInterval'] !== undefined) return undefined;
  return flags.disableCleanSession === true ? SESSION_NEVER_EXPIRES : undefined;
}

function judgeSession(command: Command, flags: ClientFlags, sessionExpiry: number | undefined): void {
  if (flags.id !== undefined && flags.idPrefix !== undefined) refuse(command, 'give -i or -I, not both');
  const named = flags.id !== undefined && flags.id !== '';
  if (flags.disableCleanSession === true && !named) refuse(command, '-c needs a client id to find the session again: give -i');
  if (sessionExpiry === SESSION_NEVER_EXPIRES && !named)
    refuse(command, 'a session that never expires needs a client id: give -i');
}

function clientIdOf(flags: ClientFlags, level: Level): string {
  if (flags.id !== undefined) return flags.id;
  if (flags.idPrefix !== undefined) return `${flags.idPrefix}${process.pid}`;
  return level === Level.V5 ? '' : `lethe-${Buffer.from(systemRandom.bytes(CLIENT_ID_RANDOM_BYTES)).toString('hex')}`;
}

/** Unlike MQTT.js's `rejectUnauthorized: false`, `--insecure` leaves the chain of signatures checked, as in Mosquitto. */
function tlsOptions(command: Command, flags: ClientFlags): IClientOptions {
  if ((flags.cert === undefined) !== (flags.key === undefined)) refuse(command, '--cert and --key go together');
  const checks = flags.insecure === true ? { checkServerIdentity: () => undefined } : {};
  return {
    ...(flags.cafile === undefined ? {} : { ca: readPem('--cafile', flags.cafile) }),
    ...(flags.cert === undefined ? {} : { cert: readPem('--cert', flags.cert) }),
    ...(flags.key === undefined ? {} : { key: readPem('--key', flags.key) }),
    ...checks,
    wsOptions: checks as NonNullable<IClientOptions['wsOptions']>,
  };
}

function readPem(option: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Failure(`${option} ${file} cannot be read: ${messageOf(error)}`);
  }
}

function willOf(command: Command, flags: ClientFlags, properties: PropertySet): Pick<IClientOptions, 'will'> {
  const { willTopic, willPayload, willQos, willRetain } = flags;
  if (willTopic === undefined) {
    const stray = {
      '--will-payload': willPayload,
      '--will-qos': willQos,
      '--will-retain': willRetain,
      '-D will': properties.will,
    };
    for (const [name, value] of Object.entries(stray)) if (value !== undefined) refuse(command, `${name} needs --will-topic`);
    return {};
  }
  if (!isTopicName(willTopic)) refuse(command, `--will-topic '${willTopic}' ${NOT_A_NAME}`);
  return {
    will: {
      topic: willTopic,
      payload: Buffer.from(willPayload ?? ''),
      qos: willQos ?? 0,
      retain: willRetain === true,
      ...(properties.will === undefined ? {} : { properties: properties.will }),
    },
  };
}

export const NOT_A_NAME = 'is no topic name: it is 1 to 65535 bytes long, without + and # and U+0000';
export const NOT_A_FILTER =
  'is no topic filter: + stands alone between slashes, # alone behind the last one, $share/NAME/ before a filter';

export function isTopicName(topic: string): boolean {
  const bytes = Buffer.from(topic);
  return validateTopicName(bytes, 0, bytes.length, STRING_BYTES_MAX, STRING_BYTES_MAX) > 0;
}

export function isTopicFilter(filter: string): boolean {
  const bytes = Buffer.from(filter);
  const from = shareFilterFrom(bytes, 0, bytes.length);
  return from >= 0 && validateTopicFilter(bytes, from, bytes.length, STRING_BYTES_MAX, STRING_BYTES_MAX) > 0;
}

/** A parser of whole numbers. */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** A parser of times in seconds, with decimals. */
export function seconds(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^(\d+\.?\d*|\.\d+)$/.test(text) || value < min || value > SECONDS_MAX)
      throw new InvalidArgumentError(`It must be a number of seconds from ${min} to ${SECONDS_MAX}.`);
    return value;
  };
}

/** The longest that a timer of Node can wait. */
const SECONDS_MAX = 2_147_483;

export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

function parseQos(text: string): QoS {
  if (!/^[012]$/.test(text)) throw new InvalidArgumentError('It must be 0, 1 or 2.');
  return Number(text) as QoS;
}

const LEVELS: ReadonlyMap<string, Level> = new Map([
  ['3', Level.V31],
  ['31', Level.V31],
  ['4', Level.V311],
  ['311', Level.V311],
  ['5', Level.V5],
]);

function parseLevel(text: string): Level {
  const level = LEVELS.get(text.replace(/^mqttv/i, ''));
  if (level === undefined) throw new InvalidArgumentError('It must be one of: 31, 311, 5, mqttv31, mqttv311, mqttv5, 3, 4.');
  return level;
}

function parseExpiry(text: string): number {
  return text === '-1' || text === '∞' ? SESSION_NEVER_EXPIRES : whole(0, SESSION_NEVER_EXPIRES)(text);
}
