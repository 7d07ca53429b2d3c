// MQTT 5 properties on the command line, as Mosquitto's clients take them: `-D command identifier value`, and
// `-D command user-property name value`. Owns which property goes with which packet, and how its value is written.
import type { Command, Option } from 'commander';

/** Packets of a client that carry properties. */
export type PropertyCommand = 'connect' | 'publish' | 'subscribe' | 'unsubscribe' | 'disconnect' | 'will';

type UserProperties = Record<string, string | string[]>;

/** Properties of one packet under MQTT.js's names. */
export type Properties = Record<string, unknown> & { userProperties?: UserProperties };
export type PropertySet = Partial<Record<PropertyCommand, Properties>>;

type Kind = 'flag' | 'uint16' | 'uint32' | 'identifier' | 'text' | 'binary' | 'pair';

interface Property {
  /** MQTT.js's name. */
  readonly key: string;
  readonly kind: Kind;
  readonly commands: readonly PropertyCommand[];
}

const PROPERTIES: Readonly<Record<string, Property>> = {
  'content-type': { key: 'contentType', kind: 'text', commands: ['publish', 'will'] },
  'correlation-data': { key: 'correlationData', kind: 'binary', commands: ['publish', 'will'] },
  'maximum-packet-size': { key: 'maximumPacketSize', kind: 'uint32', commands: ['connect'] },
  'message-expiry-interval': { key: 'messageExpiryInterval', kind: 'uint32', commands: ['publish', 'will'] },
  'payload-format-indicator': { key: 'payloadFormatIndicator', kind: 'flag', commands: ['publish', 'will'] },
  'receive-maximum': { key: 'receiveMaximum', kind: 'uint16', commands: ['connect'] },
  'request-problem-information': { key: 'requestProblemInformation', kind: 'flag', commands: ['connect'] },
  'request-response-information': { key: 'requestResponseInformation', kind: 'flag', commands: ['connect'] },
  'response-topic': { key: 'responseTopic', kind: 'text', commands: ['publish', 'will'] },
  'session-expiry-interval': { key: 'sessionExpiryInterval', kind: 'uint32', commands: ['connect', 'disconnect'] },
  'subscription-identifier': { key: 'subscriptionIdentifier', kind: 'identifier', commands: ['subscribe'] },
  'topic-alias': { key: 'topicAlias', kind: 'uint16', commands: ['publish'] },
  'topic-alias-maximum': { key: 'topicAliasMaximum', kind: 'uint16', commands: ['connect'] },
  'user-property': {
    key: 'userProperties',
    kind: 'pair',
    commands: ['connect', 'publish', 'subscribe', 'unsubscribe', 'disconnect', 'will'],
  },
  'will-delay-interval': { key: 'willDelayInterval', kind: 'uint32', commands: ['will'] },
};

const RANGES = {
  flag: [0, 1],
  uint16: [1, 65_535],
  uint32: [0, 4_294_967_295],
  identifier: [1, 268_435_455],
} as const;

/**
 * Reads the words of one -D into `set`. Throws Error that says what is allowed in place of what is wrong.
 * @param allowed packets that the program at hand sends
 */
export function addProperty(words: readonly string[], allowed: readonly PropertyCommand[], set: PropertySet): void {
  const [commandText = '', name = '', ...values] = words;
  const command = commandText.toLowerCase() as PropertyCommand;
  if (!allowed.includes(command)) throw new Error(`the command must be one of: ${allowed.join(', ')}`);
  const property = Object.hasOwn(PROPERTIES, name) ? PROPERTIES[name] : undefined;
  if (property === undefined || !property.commands.includes(command)) {
    const names = Object.keys(PROPERTIES).filter((each) => PROPERTIES[each]!.commands.includes(command));
    throw new Error(`the property of ${command} must be one of: ${names.join(', ')}`);
  }
  if (values.length !== (property.kind === 'pair' ? 2 : 1)) {
    throw new Error(`write -D ${command} ${name} ${property.kind === 'pair' ? 'NAME VALUE' : 'VALUE'}`);
  }
  set[command] ??= {};
  const properties = set[command];
  if (property.kind === 'pair') {
    properties.userProperties ??= Object.create(null) as UserProperties;
    addUserProperty(properties.userProperties, values[0]!, values[1]!);
  } else {
    if (property.key in properties) throw new Error(`${name} of ${command} is given twice`);
    properties[property.key] = parseValue(property.kind, values[0]!);
  }
}

function addUserProperty(all: UserProperties, name: string, value: string): void {
  const before = all[name];
  all[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
}

function parseValue(kind: Exclude<Kind, 'pair'>, text: string): string | number | boolean | Buffer {
  if (kind === 'text') return text;
  if (kind === 'binary') return Buffer.from(text);
  const [min, max] = RANGES[kind];
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw new Error(`the value must be a whole number from ${min} to ${max}`);
  }
  return kind === 'flag' ? value === 1 : value;
}

/**
 * Puts the three or four words of each -D into one argument, which is all that commander gives an option: `-D publish
 * user-property k -1` becomes `-D '["publish","user-property","k","-1"]'`. Values of other options are stepped over.
 */
export function foldProperties(args: readonly string[], options: Command['options']): string[] {
  const folded: string[] = [];
  let at = 0;
  while (at < args.length) {
    const arg = args[at++]!;
    folded.push(arg);
    if (arg === '-D' || arg === '--property') {
      const count = args[at + 1] === 'user-property' ? 4 : 3;
      folded.push(JSON.stringify(args.slice(at, at + count)));
      at += count;
    } else if (takesNext(arg, options) && at < args.length) {
      folded.push(args[at++]!);
    } else if (arg === '--') {
      return [...folded, ...args.slice(at)];
    }
  }
  return folded;
}

/** Whether the word behind `arg` is its value. Of `-vt`, the last letter decides, unless an earlier one takes the rest as its value. */
function takesNext(arg: string, options: readonly Option[]): boolean {
  if (arg.startsWith('--')) return options.some(({ long, required }) => long === arg && required);
  if (!arg.startsWith('-')) return false;
  for (let letter = 1; letter < arg.length; letter++) {
    const option = options.find(({ short }) => short === `-${arg[letter]}`);
    if (option?.required === true) return letter === arg.length - 1;
  }
  return false;
}
