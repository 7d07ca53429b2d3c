// What the broker's answers mean, for a person: the standard's name of each code, and what to do about it where there is something
// to do. Codes of MQTT 5.0 §2.4; those of an MQTT 3 CONNACK (3.1.1 §3.2.2.3) are told apart by being below 0x80.
import { Reason } from '../../protocol/packet.ts';

const V3_REFUSALS: Readonly<Record<number, Reason>> = {
  1: Reason.UNSUPPORTED_PROTOCOL_VERSION,
  2: Reason.CLIENT_IDENTIFIER_NOT_VALID,
  3: Reason.SERVER_UNAVAILABLE,
  4: Reason.BAD_USER_NAME_OR_PASSWORD,
  5: Reason.NOT_AUTHORIZED,
};

const ADVICE: { readonly [code: number]: string } = {
  [Reason.UNSUPPORTED_PROTOCOL_VERSION]: 'try another -V: 31, 311 or 5',
  [Reason.CLIENT_IDENTIFIER_NOT_VALID]: 'give another client id with -i',
  [Reason.BAD_USER_NAME_OR_PASSWORD]: 'check -u, and -P or LETHE_PASSWORD',
  [Reason.NOT_AUTHORIZED]: 'give -u and -P, or have the right granted by the broker',
  [Reason.SERVER_BUSY]: 'try again later',
  [Reason.SESSION_TAKEN_OVER]: 'another client uses the same client id; give another one with -i',
  [Reason.TOPIC_ALIAS_INVALID]: 'give a lower topic-alias, or none',
  [Reason.PACKET_TOO_LARGE]: 'the broker takes smaller messages only',
  [Reason.QUOTA_EXCEEDED]: 'a limit of the broker is reached',
  [Reason.PAYLOAD_FORMAT_INVALID]: 'payload-format-indicator 1 promises UTF-8',
  [Reason.RETAIN_NOT_SUPPORTED]: 'leave out -r',
  [Reason.QOS_NOT_SUPPORTED]: 'give a lower -q',
};

/** Reasons to close a connection that may be over in a moment. After any other, a client that comes back is thrown out again. */
const PASSING: ReadonlySet<number> = new Set([
  Reason.SUCCESS,
  Reason.UNSPECIFIED,
  Reason.SERVER_UNAVAILABLE,
  Reason.SERVER_BUSY,
  Reason.SERVER_SHUTTING_DOWN,
  Reason.KEEP_ALIVE_TIMEOUT,
  Reason.MESSAGE_RATE_TOO_HIGH,
  Reason.MAXIMUM_CONNECT_TIME,
  Reason.CONNECTION_RATE_EXCEEDED,
]);

/** Whether a client that was sent away with this reason may well come back by itself. */
export function isPassing(code: number): boolean {
  return PASSING.has(code);
}

/** Two names that the standard ends with a word that `Reason` leaves out. */
const FULL_NAMES: Readonly<Record<string, string>> = {
  UNSPECIFIED: 'Unspecified error',
  IMPLEMENTATION_SPECIFIC: 'Implementation specific error',
};

const names = new Map<number, string>(Object.entries(Reason).map(([name, code]) => [code, FULL_NAMES[name] ?? inWords(name)]));

function inWords(name: string): string {
  const words = name
    .toLowerCase()
    .replaceAll('_', ' ')
    .replace(/\bqos\b/, 'QoS');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * `0x87 Not authorized; give -u and -P, …`.
 * @param detail Reason String of the broker, shown behind the name
 */
export function explainReason(code: number, detail?: string): string {
  const reason = V3_REFUSALS[code] ?? code;
  const shown = code < 0x80 ? `${code}` : `0x${code.toString(16)}`;
  const name = names.get(reason) ?? 'a code that MQTT does not define';
  const advice = ADVICE[reason];
  return `${shown} ${name}${detail === undefined ? '' : ` (${detail})`}${advice === undefined ? '' : `; ${advice}`}`;
}
