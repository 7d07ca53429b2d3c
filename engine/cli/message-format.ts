// How `lethe sub` writes a message: the payload alone, with its topic, or by a format in the language of mosquitto_sub's -F.
// A format is read once into parts; payloads pass through as the bytes they are.
import type { IPublishPacket } from 'mqtt';

export interface ReceivedMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly packet: IPublishPacket;
  readonly received: Date;
}

/** The bytes to write for a message, without the end of the line. Throws Error when the payload does not fit the format (%J). */
export type MessageFormat = (message: ReceivedMessage) => Buffer;

export const formatPayload: MessageFormat = ({ payload }) => payload;

export const formatVerbose: MessageFormat = ({ topic, payload }) =>
  payload.length === 0 ? Buffer.from(`${topic} (null)`) : Buffer.concat([Buffer.from(`${topic} `), payload]);

export const formatHelp = `
Formats (-F), as in mosquitto_sub:
  %t topic   %p payload   %x %X payload in hexadecimal   %l its length   %q QoS   %r retained   %m packet identifier
  %A topic alias   %C content type   %D correlation data   %E message expiry   %F payload format   %P user properties
  %R response topic   %S subscription identifier
  %I time, ISO 8601   %U time, Unix   %j all as JSON   %J all as JSON, with the payload as the JSON that it is   %% %
  @Y @m @d @H @M @S @N @z @s @F @T @y @j parts of the time, as in date(1); @N nanoseconds   @@ @
  \\n \\t \\r \\0 \\a \\e \\v \\\\
  Between % and its letter: - aligns to the left, 0 fills with zeros, then the width, then . and the greatest width: %-20.20t`;

interface Padding {
  readonly left: boolean;
  readonly zeros: boolean;
  readonly width: number;
  readonly widthMax: number;
}

type Part = (message: ReceivedMessage) => Buffer;
type Value = (message: ReceivedMessage) => string | Buffer | number | undefined;

/** Which of width, greatest width and zeros a field knows. */
interface Kind {
  readonly widths: boolean;
  readonly cut: boolean;
  readonly zeros: boolean;
}

const PLAIN: Kind = { widths: false, cut: false, zeros: false };
const BYTES: Kind = { widths: true, cut: false, zeros: false };
const TEXT: Kind = { widths: true, cut: true, zeros: false };
const NUMBER: Kind = { widths: true, cut: false, zeros: true };

/** What a letter stands for, with the kind that it has in mosquitto_sub. */
const FIELDS: Readonly<Record<string, readonly [kind: Kind, value: Value]>> = {
  t: [TEXT, ({ topic }) => topic],
  p: [BYTES, ({ payload }) => payload],
  x: [NUMBER, ({ payload }) => payload.toString('hex')],
  X: [NUMBER, ({ payload }) => payload.toString('hex').toUpperCase()],
  l: [NUMBER, ({ payload }) => payload.length],
  q: [PLAIN, ({ packet }) => packet.qos],
  r: [PLAIN, ({ packet }) => Number(packet.retain)],
  m: [NUMBER, ({ packet }) => packet.messageId ?? 0],
  A: [NUMBER, ({ packet }) => packet.properties?.topicAlias],
  C: [TEXT, ({ packet }) => packet.properties?.contentType],
  D: [PLAIN, ({ packet }) => packet.properties?.correlationData],
  E: [NUMBER, ({ packet }) => packet.properties?.messageExpiryInterval],
  F: [NUMBER, ({ packet }) => payloadFormatOf(packet)],
  P: [PLAIN, ({ packet }) => pairsOf(packet).join(' ')],
  R: [TEXT, ({ packet }) => packet.properties?.responseTopic],
  S: [NUMBER, ({ packet }) => subscriptionIdentifiersOf(packet)],
  I: [TEXT, ({ received }) => `${date(received)}T${time(received)}${zone(received)}`],
  U: [PLAIN, ({ received }) => `${unixSeconds(received)}.${nanoseconds(received)}`],
  j: [PLAIN, (message) => JSON.stringify(jsonOf(message, message.payload.length === 0 ? null : message.payload.toString()))],
  J: [PLAIN, (message) => `${JSON.stringify(jsonOf(message, undefined)).slice(0, -1)},"payload":${jsonPayload(message)}}`],
  '%': [PLAIN, () => '%'],
};

const TIMES: Readonly<Record<string, (at: Date) => string>> = {
  Y: (at) => String(at.getFullYear()),
  y: (at) => two(at.getFullYear() % 100),
  m: (at) => two(at.getMonth() + 1),
  d: (at) => two(at.getDate()),
  j: (at) => String(dayOfYear(at)).padStart(3, '0'),
  H: (at) => two(at.getHours()),
  M: (at) => two(at.getMinutes()),
  S: (at) => two(at.getSeconds()),
  N: nanoseconds,
  z: zone,
  s: (at) => String(unixSeconds(at)),
  F: date,
  T: time,
  '@': () => '@',
};

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  '0': '\0',
  a: '\x07',
  e: '\x1b',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

const SEQUENCE = /%(-?0?|0-)(\d{0,4})(?:\.(\d{1,4}))?(.?)|@(.?)|\\(.?)|[^%@\\]+/gsu;

/** Reads a format; throws Error that names the sequence that is unknown and those that are known. */
export function parseFormat(format: string): MessageFormat {
  const parts: Part[] = [];
  for (const [text, flags, width, widthMax, letter, timeLetter, escapeLetter] of format.matchAll(SEQUENCE)) {
    if (letter !== undefined) {
      const [kind, value] = known(FIELDS, letter, text);
      const padding = {
        left: flags!.includes('-'),
        zeros: flags!.includes('0') && kind.zeros,
        width: kind.widths ? Number(width) : 0,
        widthMax: widthMax === undefined || !kind.cut ? Number.POSITIVE_INFINITY : Number(widthMax),
      };
      parts.push((message) => padded(value(message), padding));
    } else if (timeLetter !== undefined) {
      const part = known(TIMES, timeLetter, text);
      parts.push(({ received }) => Buffer.from(part(received)));
    } else {
      const bytes = Buffer.from(escapeLetter === undefined ? text : known(ESCAPES, escapeLetter, text));
      parts.push(() => bytes);
    }
  }
  return (message) => Buffer.concat(parts.map((part) => part(message)));
}

function known<T>(table: Readonly<Record<string, T>>, letter: string, text: string): T {
  if (Object.hasOwn(table, letter)) return table[letter]!;
  const all = Object.keys(table).map((each) => `${text.charAt(0)}${each}`);
  throw new Error(`'${text}' means nothing; there are: ${all.join(' ')}`);
}

/** Bytes pass as they are; a width counts bytes, as in mosquitto_sub. */
function padded(value: string | Buffer | number | undefined, { left, zeros, width, widthMax }: Padding): Buffer {
  const whole = Buffer.isBuffer(value) ? value : Buffer.from(String(value ?? ''));
  const bytes = whole.subarray(0, widthMax);
  if (bytes.length >= width) return bytes;
  const fill = Buffer.alloc(width - bytes.length, zeros && !left ? '0' : ' ');
  return Buffer.concat(left ? [bytes, fill] : [fill, bytes]);
}

function payloadFormatOf({ properties }: IPublishPacket): number | undefined {
  return properties?.payloadFormatIndicator === undefined ? undefined : Number(properties.payloadFormatIndicator);
}

function subscriptionIdentifiersOf({ properties }: IPublishPacket): string | number | undefined {
  const found = properties?.subscriptionIdentifier;
  return Array.isArray(found) ? found.join(' ') : found;
}

function pairsOf({ properties }: IPublishPacket): string[] {
  return Object.entries(properties?.userProperties ?? {}).flatMap(([name, value]) =>
    [value].flat().map((each) => `${name}:${each}`),
  );
}

/** The members and their order are mosquitto_sub's; a user property that comes twice is a list. */
function jsonOf({ topic, payload, packet, received }: ReceivedMessage, shown: unknown): object {
  const { properties } = packet;
  const listed = {
    ...(properties?.userProperties === undefined ? {} : { 'user-properties': properties.userProperties }),
    ...(properties?.topicAlias === undefined ? {} : { 'topic-alias': properties.topicAlias }),
    ...(properties?.contentType === undefined ? {} : { 'content-type': properties.contentType }),
    ...(properties?.correlationData === undefined ? {} : { 'correlation-data': properties.correlationData.toString() }),
    ...(properties?.responseTopic === undefined ? {} : { 'response-topic': properties.responseTopic }),
    ...(properties?.payloadFormatIndicator === undefined ? {} : { 'payload-format-indicator': payloadFormatOf(packet) }),
    ...(properties?.messageExpiryInterval === undefined ? {} : { 'message-expiry-interval': properties.messageExpiryInterval }),
    ...(properties?.subscriptionIdentifier === undefined ? {} : { 'subscription-identifier': properties.subscriptionIdentifier }),
  };
  return {
    tst: `${date(received)}T${time(received)}.${nanoseconds(received).slice(0, 6)}${zone(received)}`,
    topic,
    qos: packet.qos,
    retain: Number(packet.retain),
    payloadlen: payload.length,
    ...(packet.qos === 0 ? {} : { mid: packet.messageId }),
    ...(Object.keys(listed).length === 0 ? {} : { properties: listed }),
    payload: shown,
  };
}

/** The payload as it is written, so that long numbers keep their digits; valid JSON has line ends between its tokens alone. */
function jsonPayload({ topic, payload }: ReceivedMessage): string {
  if (payload.length === 0) return 'null';
  const text = payload.toString();
  try {
    JSON.parse(text);
  } catch {
    throw new Error(`the payload on topic ${topic} is not JSON, which %J needs; %j takes any`);
  }
  return text.replace(/[\t\n\r]/g, ' ');
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

function date(at: Date): string {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

function time(at: Date): string {
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function zone(at: Date): string {
  const minutes = -at.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${two(size % 60)}`;
}

/** The clock gives milliseconds; the places behind them are zeros. */
function nanoseconds(at: Date): string {
  return `${String(at.getMilliseconds()).padStart(3, '0')}000000`;
}

function unixSeconds(at: Date): number {
  return Math.floor(at.getTime() / 1_000);
}

function dayOfYear(at: Date): number {
  return Math.round((Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) - Date.UTC(at.getFullYear(), 0, 0)) / 86_400_000);
}
