// One connection of a client to the broker, over MQTT.js, which is loaded here and nowhere else: about 1 MB of code that `lethe serve`
// never needs. Owns what MQTT.js leaves to its user: why a connection came to nothing, in words, and an end that always comes.
import type { IClientOptions, IConnackPacket, IDisconnectPacket, MqttClient } from 'mqtt';
import { Level } from '../../protocol/packet.ts';
import { showAddress } from './client-address.ts';
import type { ClientSettings } from './client-options.ts';
import { ExitCode } from './exit-code.ts';
import { Failure, messageOf } from './failure.ts';
import { explainReason, isPassing } from './reason-text.ts';

const CONNECT_MS_MAX = 30_000;
const RECONNECT_MS = 1_000;
/** How long an orderly end may take before the connection is cut. */
const END_MS_MAX = 5_000;

/** Given to MQTT.js for a message that is left with the broker: neither acknowledged nor shown. */
export const NOT_TAKEN = new Error('the message is not taken');

export interface ClientHooks {
  /** Whether a connection that was accepted once is made again when it is lost. */
  readonly reconnects: boolean;
  /** Sets up the client before its first packet arrives: a session may have messages waiting. */
  readonly prepare?: (mqtt: MqttClient) => void;
  /** Is told when the connection is lost and when it is back. */
  readonly tell?: (message: string) => void;
}

export interface Client {
  readonly mqtt: MqttClient;
  /** Resolves with the first CONNACK; rejects with Failure when there is none, or when it refuses. */
  readonly accepted: Promise<IConnackPacket>;
  /** Resolves when an accepted connection is gone for good, other than by `end`. */
  readonly lost: Promise<Failure>;
  /** Disconnects in order, within a bounded time. Whatever is on its way is acknowledged before. */
  end(): Promise<void>;
  /** Why the broker sent the client away, when it said so while the client was leaving. */
  dismissal(): Failure | null;
}

export async function openClient(settings: ClientSettings, hooks: ClientHooks): Promise<Client> {
  const mqtt = await createMqtt({
    ...settings.options,
    connectTimeout: CONNECT_MS_MAX,
    reconnectPeriod: hooks.reconnects ? RECONNECT_MS : 0,
    resubscribe: false,
  });
  hooks.prepare?.(mqtt);
  const place = showAddress(settings.address);
  const accepted = promise<IConnackPacket>();
  const lost = promise<Failure>();
  let cause: Error | null = null;
  let refusal: IConnackPacket | null = null;
  let dismissal: IDisconnectPacket | null = null;
  let wasAccepted = false;
  let isAway = false;
  let ended = false;

  function dismissed(packet: IDisconnectPacket): Failure {
    const text = explainReason(packet.reasonCode ?? 0, packet.properties?.reasonString);
    return new Failure(`the broker at ${place} closed the connection: ${text}`, ExitCode.REFUSED);
  }

  function why(): Failure {
    if (refusal !== null) {
      const text = explainReason(refusalCode(refusal), refusal.properties?.reasonString);
      return new Failure(`the broker at ${place} refused the connection: ${text}`, ExitCode.REFUSED);
    }
    if (dismissal !== null) return dismissed(dismissal);
    if (cause !== null) return new Failure(`${place}: ${describe(cause)}${wasAccepted ? '' : whatElse(cause)}`, ExitCode.REFUSED);
    const hint = settings.level === Level.V5 ? '' : '; MQTT 5 gives reasons: try -V 5';
    return new Failure(`the broker at ${place} closed the connection without a reason${hint}`, ExitCode.REFUSED);
  }

  function closed(): void {
    if (ended) return;
    const failure = why();
    const comesBack = wasAccepted && hooks.reconnects && refusal === null && isPassing(dismissal?.reasonCode ?? 0);
    if (comesBack) {
      if (!isAway) hooks.tell?.(`${failure.message}; trying again every second`);
      isAway = true;
      return;
    }
    ended = true;
    mqtt.end(true);
    if (wasAccepted) lost.resolve(failure);
    else accepted.reject(failure);
  }

  /** MQTT.js keeps errors without a code to itself, such as the answer 404 to a WebSocket handshake. */
  function watchStream(): void {
    mqtt.stream.on('error', (error) => {
      cause ??= error;
    });
  }

  watchStream();
  mqtt.on('reconnect', () => process.nextTick(watchStream));
  mqtt.on('packetreceive', (packet) => {
    if (packet.cmd === 'connack' && refusalCode(packet) > 0) refusal = packet;
  });
  mqtt.on('disconnect', (packet) => {
    dismissal = packet;
  });
  mqtt.on('connect', (connack) => {
    cause = null;
    dismissal = null;
    wasAccepted = true;
    if (isAway) hooks.tell?.(`connected to ${place} again`);
    isAway = false;
    accepted.resolve(connack);
  });
  mqtt.on('error', (error) => {
    if (error === NOT_TAKEN) return;
    cause ??= error;
    mqtt.stream.destroy();
  });
  mqtt.on('close', closed);

  return {
    mqtt,
    accepted: accepted.promise,
    lost: lost.promise,
    dismissal: () => (dismissal !== null && (dismissal.reasonCode ?? 0) >= 0x80 ? dismissed(dismissal) : null),
    end() {
      if (ended) return Promise.resolve();
      ended = true;
      return new Promise((resolve) => {
        const timer = setTimeout(() => mqtt.stream.destroy(), END_MS_MAX);
        const done = () => {
          clearTimeout(timer);
          resolve();
        };
        mqtt.once('close', done);
        const { disconnect } = settings.properties;
        mqtt.end(!mqtt.connected, disconnect === undefined ? {} : { properties: disconnect }, done);
      });
    },
  };
}

async function createMqtt(options: IClientOptions): Promise<MqttClient> {
  const { connect } = await import('mqtt');
  try {
    return connect(options);
  } catch (error) {
    // What is judged before the first packet: the files of TLS.
    throw new Failure(`the certificate or key cannot be used: ${messageOf(error)}`);
  }
}

function refusalCode({ reasonCode, returnCode }: IConnackPacket): number {
  return reasonCode ?? returnCode ?? 0;
}

const CONNECTION_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; is the broker running, and is the port right?',
  ENOTFOUND: 'no such host; check the name',
  EAI_AGAIN: 'the name of the host cannot be looked up now',
  ETIMEDOUT: 'no answer from the host; check the address and the firewall',
  EHOSTUNREACH: 'there is no way to the host; check the address and the network',
  ENETUNREACH: 'there is no way to the host; check the address and the network',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  EPROTO: 'TLS failed; does the port speak TLS?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'TLS failed; does the port speak TLS?',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the broker wants a certificate of the client; give one with --cert and --key',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the broker does not trust the certificate of the client; check --cert',
  CERT_HAS_EXPIRED: 'the certificate of the broker has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate of the broker is for another name; give that name with -h, or --insecure',
};

const UNTRUSTED =
  'the certificate of the broker is signed by no authority that is trusted here; give the authority with --cafile';
const UNTRUSTED_CODES: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

function describe(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (UNTRUSTED_CODES.has(code)) return UNTRUSTED;
  const known = CONNECTION_ERRORS[code];
  if (known !== undefined) return `${known} (${code})`;
  if (error.message === 'connack timeout') return `no CONNACK within ${CONNECT_MS_MAX / 1_000} s`;
  if (error.message === 'Keepalive timeout') return 'the broker does not answer any more';
  const status = /^Unexpected server response: (\d+)/.exec(error.message)?.[1];
  if (status !== undefined) return `the WebSocket is refused with HTTP status ${status}; check --path`;
  // OpenSSL's own message is for its developers.
  if ('reason' in error && typeof error.reason === 'string') return `TLS failed: ${error.reason} (${code})`;
  return code === '' ? error.message : `${error.message} (${code})`;
}

/** What may be wrong when a connection did not come to its CONNACK. */
function whatElse(error: Error): string {
  if (!('code' in error)) return error.message.startsWith('Unexpected server response') ? '' : '; is this an MQTT broker?';
  return error.code === 'ECONNRESET' || error.code === 'EPIPE' ? '; does the port speak this protocol?' : '';
}

/** A promise with its ends in hand; a rejection that nobody waits for is no fault of the program. */
function promise<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const made = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  made.catch(() => {});
  return { promise: made, resolve, reject };
}
