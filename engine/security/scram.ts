// SCRAM-SHA-256 (RFC 5802, RFC 7677) as a method of enhanced authentication (MQTT 5.0 §4.12): the password never leaves the client, and the client can tell that the broker knows it.
//
//   CONNECT  n,,n=<user>,r=<client nonce>                       AUTH     r=<both nonces>,s=<salt>,i=<rounds>
//   AUTH     c=biws,r=<both nonces>,p=<client proof>            CONNACK  v=<server signature>
//
// Invariant: an exchange that has failed stays failed, and every failure is the same to the client. There is no channel binding: `y` and `n` are taken, `p=` is not, and there is no -PLUS. A
// password is prepared by scram-keys.ts; names are compared as they come. A connection that authenticates again must do so as the same user.
import { timingSafeEqual } from 'node:crypto';
import { Reason } from '../../protocol/packet.ts';
import type { Credentials, Exchange, ExchangeMethods, ExchangeOutcome } from '../gate.ts';
import type { Random } from '../random.ts';
import type { ListenerPolicy } from './authenticator.ts';
import { hmacSha256, sha256 } from './scram-keys.ts';
import type { ScramUser, ScramUsers } from './scram-users.ts';

export const SCRAM_METHOD = 'SCRAM-SHA-256';

/** Longest message of a client: a name and two nonces, and room for extensions. */
const MESSAGE_BYTES_MAX = 4_096;
const NONCE_CHARACTERS_MAX = 512;
const NONCE_BYTES = 18;

/** gs2-header, then the message itself with name and nonce. Extensions may follow; a mandatory one, `m=`, may not stand before the name. */
const CLIENT_FIRST = /^([ny],(?:a=([^,\0]+))?,)(n=([^,\0]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,\0]+)*)$/;
const CLIENT_FINAL = /^(c=([A-Za-z0-9+/]+=*),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-oq-z]=[^,\0]+)*),p=([A-Za-z0-9+/]{43}=)$/;

const FAILURE: ExchangeOutcome = { kind: 'failure', reason: Reason.NOT_AUTHORIZED };

export interface ScramOptions {
  readonly users: ScramUsers;
  readonly random: Random;
  /** By the name of the listener. One that takes the user name from the certificate has no use for a password, and one that is not here lets nobody in. */
  readonly listeners: ReadonlyMap<string, ListenerPolicy>;
  /** Printable ASCII without a comma; for tests. */
  readonly serverNonce?: () => string;
}

export function createScram(options: ScramOptions): ExchangeMethods {
  return {
    begin(method, credentials) {
      if (method !== SCRAM_METHOD) return null;
      const policy = options.listeners.get(credentials.peer.listener);
      if (policy === undefined || policy.certificateUser !== 'none') return null;
      return new ScramExchange(options, credentials);
    },
  };
}

/** What the client has said first, and what it was told. */
interface Challenge {
  readonly username: string;
  readonly user: ScramUser;
  readonly nonce: string;
  /** Base64 of the client's gs2-header, which it repeats. */
  readonly header: string;
  /** client-first-message-bare and server-first-message, with a comma each. */
  readonly transcript: string;
}

class ScramExchange implements Exchange {
  readonly #options: ScramOptions;
  /** The name that the client has to be: what CONNECT says, then who it was. */
  #username: string | null;
  #challenge: Challenge | null = null;
  #hasFailed = false;

  constructor(options: ScramOptions, credentials: Credentials) {
    this.#options = options;
    this.#username = credentials.username;
  }

  step(data: Uint8Array | null): ExchangeOutcome {
    const message = this.#hasFailed ? null : textOf(data);
    const challenge = this.#challenge;
    this.#challenge = null; // a nonce is good for one answer
    const outcome = message === null ? null : challenge === null ? this.#first(message) : this.#final(message, challenge);
    if (outcome !== null) return outcome;
    this.#hasFailed = true;
    return FAILURE;
  }

  #first(message: string): ExchangeOutcome | null {
    const parts = CLIENT_FIRST.exec(message);
    if (parts === null) return null;
    const [, header, authorized, bare, name, clientNonce] = parts as unknown as readonly [string, string, string?, ...string[]];
    const username = nameOf(name!);
    if (username === null || clientNonce!.length > NONCE_CHARACTERS_MAX) return null;
    if (authorized !== undefined && nameOf(authorized) !== username) return null;
    if (this.#username !== null && this.#username !== username) return null;
    const { users, random, serverNonce } = this.#options;
    const user = users.find(username);
    const nonce = clientNonce + (serverNonce?.() ?? base64(random.bytes(NONCE_BYTES)));
    const serverFirst = `r=${nonce},s=${base64(user.salt)},i=${user.iterations}`;
    this.#challenge = { username, user, nonce, header: base64(Buffer.from(header)), transcript: `${bare},${serverFirst},` };
    return { kind: 'continue', data: Buffer.from(serverFirst) };
  }

  #final(message: string, { username, user, nonce, header, transcript }: Challenge): ExchangeOutcome | null {
    const parts = CLIENT_FINAL.exec(message);
    if (parts === null) return null;
    const [, withoutProof, repeatedHeader, repeatedNonce, proof] = parts as unknown as readonly string[];
    if (repeatedHeader !== header || repeatedNonce !== nonce) return null;
    const authMessage = transcript + withoutProof;
    const clientSignature = hmacSha256(user.storedKey, authMessage);
    const clientKey = Buffer.from(proof!, 'base64').map((byte, at) => byte ^ clientSignature[at]!);
    const isProven = timingSafeEqual(sha256(clientKey), user.storedKey) && user.known;
    clientKey.fill(0);
    const serverSignature = hmacSha256(user.serverKey, authMessage);
    if (!isProven) return null;
    this.#username = username;
    return { kind: 'success', username, data: Buffer.from(`v=${base64(serverSignature)}`) };
  }
}

function textOf(data: Uint8Array | null): string | null {
  if (data === null || data.length > MESSAGE_BYTES_MAX) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return null;
  }
}

/** A saslname (RFC 5802 §5.1) as it is meant, null for a `=` that stands for nothing. */
function nameOf(saslname: string): string | null {
  if (/=(?!2C|3D)/.test(saslname)) return null;
  return saslname.replaceAll('=2C', ',').replaceAll('=3D', '=');
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
