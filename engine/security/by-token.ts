// A JSON Web Token as the password. What is taken for a token is decided by its form alone; from there on it is the token that decides, and one that is wrong in any way is a refusal.
//
// Which algorithms are believed depends on the key (token-keys.ts) and the configuration, not on the token; `none` is never among them. A token must have an end (`exp`), and the connection ends
// with it.
import { errors, type JWTPayload, jwtVerify } from 'jose';
import { Reason } from '../../protocol/packet.ts';
import type { Clock } from '../clock.ts';
import type { AuthOutcome, Credentials } from '../gate.ts';
import { readGivenRights } from './given-rights.ts';
import { type Method, NOT_MINE } from './method.ts';
import { NoKeys } from './remote-keys.ts';
import type { TokenKeys } from './token-keys.ts';

export interface TokenOptions {
  readonly keys: TokenKeys;
  /** Empty: all that the keys are for. */
  readonly algorithms: readonly string[];
  /** Empty: any. */
  readonly issuer: string;
  readonly audience: string;
  readonly userClaim: string;
  /** Whether the user name of CONNECT, when there is one, must be the token's. */
  readonly userMustMatch: boolean;
  /** Empty: none. */
  readonly clientIdClaim: string;
  readonly toleranceS: number;
  readonly clock: Clock;
}

const BAD_TOKEN: AuthOutcome = { ok: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD };
const NO_KEYS: AuthOutcome = { ok: false, reason: Reason.SERVER_UNAVAILABLE };
/** Far above what a token with rights needs, and below what a password can be: no token is parsed that is longer. */
const TOKEN_BYTES_MAX = 16_384;
const USER_NAME_BYTES_MAX = 1_024;

export function byToken(options: TokenOptions): Method {
  const { keys, issuer, audience, clock } = options;
  // What is not for these keys is not believed, whatever the configuration says.
  const algorithms =
    options.algorithms.length === 0 ? keys.algorithms : keys.algorithms.filter((name) => options.algorithms.includes(name));

  async function judge(token: string, credentials: Credentials): Promise<AuthOutcome> {
    try {
      const { payload } = await jwtVerify(token, keys.keyOf, {
        algorithms: [...algorithms],
        clockTolerance: options.toleranceS,
        currentDate: new Date(clock.wallMs()),
        requiredClaims: ['exp'],
        ...(issuer === '' ? {} : { issuer }),
        ...(audience === '' ? {} : { audience }),
      });
      return identityOf(payload, credentials, options);
    } catch (error) {
      if (error instanceof NoKeys) return NO_KEYS;
      if (error instanceof errors.JOSEError) return BAD_TOKEN;
      return { ok: false, reason: Reason.NOT_AUTHORIZED };
    }
  }

  return {
    answer(credentials) {
      const { password } = credentials;
      if (password === null || password.length > TOKEN_BYTES_MAX) return NOT_MINE;
      const token = Buffer.from(password.buffer, password.byteOffset, password.length).toString('latin1');
      return looksLikeToken(token) ? judge(token, credentials) : NOT_MINE;
    },
  };
}

/** Three parts in base64url with points between, the first of them a JSON object. The last one may be empty: a token without a signature is a token, and a refusal. */
function looksLikeToken(text: string): boolean {
  if (!/^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(text)) return false;
  try {
    const header: unknown = JSON.parse(Buffer.from(text.slice(0, text.indexOf('.')), 'base64url').toString());
    return typeof header === 'object' && header !== null && 'alg' in header;
  } catch {
    return false;
  }
}

/** What a token that has been verified says of the client. */
function identityOf(payload: JWTPayload, credentials: Credentials, options: TokenOptions): AuthOutcome {
  const username = payload[options.userClaim];
  if (typeof username !== 'string' || !isUserName(username)) return BAD_TOKEN;
  if (options.userMustMatch && credentials.username !== null && credentials.username !== username) return BAD_TOKEN;
  if (options.clientIdClaim !== '' && payload[options.clientIdClaim] !== credentials.clientId) return BAD_TOKEN;
  const given = readGivenRights({ roles: payload['roles'], acl: payload['acl'] });
  if (given === null) return BAD_TOKEN;
  return { ok: true, username, ...given, expiresAtMs: (payload.exp! + options.toleranceS) * 1_000 };
}

function isUserName(name: string): boolean {
  return name !== '' && Buffer.byteLength(name) <= USER_NAME_BYTES_MAX && !/[\p{Cc}\p{Cs}]/u.test(name);
}
