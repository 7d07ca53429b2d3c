// A question to the operator's own service, by HTTP: who is this, may they come in, what may they do. POST of JSON:
//
//   { "client_id": "c", "username": "u" | null, "password": "p" | null, "listener": "tcp" }      "address": "192.0.2.1" only where the configuration says so
//
// A password that is not UTF-8 is sent as "password_base64" instead. The answer is 200 with JSON:
//
//   { "result": "allow", "roles": ["reader"], "acl": { "publish": ["a/%c"], "subscribe": [] } }      roles and acl may be left out
//   { "result": "deny" } or { "result": "ignore" }
//
// Anything else, and no answer in time, is a refusal (0x88): a service that is down lets nobody in.
import { isUtf8 } from 'node:buffer';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { Reason } from '../../protocol/packet.ts';
import type { AuthOutcome, Credentials } from '../gate.ts';
import type { Log } from '../log.ts';
import { readGivenRights } from './given-rights.ts';
import { type HttpClient, HttpProblem } from './http-client.ts';
import { type Method, type MethodAnswer, NOT_MINE } from './method.ts';
import { readTextFile } from './text-file.ts';

export interface CalloutOptions {
  readonly client: HttpClient;
  readonly sendAddress: boolean;
  readonly log: Log;
}

const UNAVAILABLE: AuthOutcome = { ok: false, reason: Reason.SERVER_UNAVAILABLE };
const BUSY: AuthOutcome = { ok: false, reason: Reason.SERVER_BUSY };
const DENIED: AuthOutcome = { ok: false, reason: Reason.NOT_AUTHORIZED };

export const CALLOUT_ANSWER_BYTES_MAX = 65_536;

export function byCallout({ client, sendAddress, log }: CalloutOptions): Method {
  let isDown = false;
  /** Answers that are none have been told of, once: a client by which the service is confused must not fill the log. */
  let isOdd = false;

  async function ask(credentials: Credentials): Promise<MethodAnswer> {
    try {
      const { status, text } = await client.ask(questionOf(credentials, sendAddress));
      if (status >= 500) throw new HttpProblem(`status ${status}`);
      if (isDown) log.info('auth.http_url answers again');
      isDown = false;
      const answer = status === 200 ? read(text, credentials.username) : null;
      if (answer !== null) return answer;
      if (!isOdd)
        log.error(
          `auth.http_url gives an answer that is none, and who is asked about does not come in: ${status === 200 ? 'it is not understood' : `status ${status}`}`,
        );
      isOdd = true;
      return UNAVAILABLE;
    } catch (error) {
      if (error instanceof HttpProblem && error.isBusy) return BUSY;
      if (!isDown)
        log.error(
          `auth.http_url does not answer, and nobody comes in by it: ${error instanceof HttpProblem ? error.message : 'failed'}`,
        );
      isDown = true;
      return UNAVAILABLE;
    }
  }

  return { answer: ask };
}

function questionOf(
  { clientId, username, password, peer }: Credentials,
  sendAddress: boolean,
): Readonly<Record<string, unknown>> {
  const isText = password === null || isUtf8(password);
  return {
    client_id: clientId,
    username,
    password: password === null || !isText ? null : Buffer.from(password).toString(),
    ...(isText ? {} : { password_base64: Buffer.from(password).toString('base64') }),
    listener: peer.listener,
    ...(sendAddress ? { address: peer.address } : {}),
  };
}

/** Null when it is no answer. */
function read(text: string, username: string | null): MethodAnswer | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { result, roles, acl } = value as Readonly<Record<string, unknown>>;
  if (result === 'ignore') return NOT_MINE;
  if (result === 'deny') return DENIED;
  if (result !== 'allow') return null;
  const given = readGivenRights({ roles, acl });
  return given === null ? null : { ok: true, username, ...given };
}

/** Reads the file of a header, `Name: value`. @throws Error in one line with the path */
export function loadHeader(path: string): Readonly<Record<string, string>> {
  const { lines } = readTextFile(path);
  const [line = '', ...rest] = lines.filter((text) => text.trim() !== '');
  const colon = line.indexOf(':');
  const name = line.slice(0, colon).trim();
  const value = line.slice(colon + 1).trim();
  try {
    if (colon < 1 || value === '' || rest.length > 0) throw new Error('broken');
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch {
    throw new Error(`${path}: the file must hold one line, written as Name: value`);
  }
  return { [name]: value };
}
