// The options of authentication: their types, and what no single one of them shows. What is told names options and roles, never a user or a topic.
import { isIP } from 'node:net';
import { FILTER_PROBLEM, isTopicFilter } from '../security/rules.ts';
import { PUBLIC_KEY_ALGORITHMS, SHARED_SECRET_ALGORITHMS } from '../security/token-algorithms.ts';
import type { RawConfig } from './schema.ts';

// Tokens come before passwords: a name of the file would be told by the time that its hash takes, where a token without worth is refused at once for any other.
export const METHODS = ['certificate', 'jwt', 'password_file', 'http'] as const;
export type MethodName = (typeof METHODS)[number];

/** What of a client certificate is the user name. */
export const CERTIFICATE_NAMES = ['none', 'common_name', 'subject', 'san_dns', 'san_email', 'san_uri'] as const;

export const ALGORITHMS = [...SHARED_SECRET_ALGORITHMS, ...PUBLIC_KEY_ALGORITHMS] as const;

export interface AuthConfig {
  /** In the order in which they are asked. */
  readonly methods: readonly MethodName[];
  readonly passwordFile: string;
  readonly aclFile: string;
  readonly defaultRoles: readonly string[];
  readonly anonymousRoles: readonly string[];
  readonly failuresPerMinute: number;
  readonly failuresBlockS: number;
  readonly jwtSecretFile: string;
  readonly jwtKeyFile: string;
  readonly jwksFile: string;
  readonly jwksUrl: string;
  readonly jwksCacheS: number;
  /** Empty: all that the key is for. */
  readonly jwtAlgorithms: readonly string[];
  readonly jwtIssuer: string;
  readonly jwtAudience: string;
  readonly jwtUserClaim: string;
  readonly jwtUserMustMatch: boolean;
  readonly jwtClientIdClaim: string;
  readonly jwtClockToleranceS: number;
  readonly httpUrl: string;
  readonly httpTimeoutMs: number;
  readonly httpCaFile: string;
  readonly httpHeaderFile: string;
  readonly httpSendAddress: boolean;
}

/** Tells a problem of the option at a path. */
export type Say = (path: readonly string[], message: string) => void;

const KEY_SOURCES = ['jwt_secret_file', 'jwt_key_file', 'jwks_file', 'jwks_url'] as const;

export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

function configuredMethods({ auth, listener }: RawConfig): readonly MethodName[] {
  const isConfigured: Record<MethodName, boolean> = {
    certificate: listener.some((own) => own.certificate_user !== 'none'),
    password_file: auth.password_file !== '',
    jwt: KEY_SOURCES.some((key) => auth[key] !== ''),
    http: auth.http_url !== '',
  };
  return METHODS.filter((name) => isConfigured[name]);
}

export function resolveAuth(raw: RawConfig): AuthConfig {
  const { auth } = raw;
  return {
    methods: auth.methods.length > 0 ? auth.methods : configuredMethods(raw),
    passwordFile: auth.password_file,
    aclFile: auth.acl_file,
    defaultRoles: auth.default_roles,
    anonymousRoles: auth.anonymous_roles,
    failuresPerMinute: auth.failures_per_minute,
    failuresBlockS: auth.failures_block_s,
    jwtSecretFile: auth.jwt_secret_file,
    jwtKeyFile: auth.jwt_key_file,
    jwksFile: auth.jwks_file,
    jwksUrl: auth.jwks_url,
    jwksCacheS: auth.jwks_cache_s,
    jwtAlgorithms: auth.jwt_algorithms,
    jwtIssuer: auth.jwt_issuer,
    jwtAudience: auth.jwt_audience,
    jwtUserClaim: auth.jwt_user_claim,
    jwtUserMustMatch: auth.jwt_user_must_match,
    jwtClientIdClaim: auth.jwt_client_id_claim,
    jwtClockToleranceS: auth.jwt_clock_tolerance_s,
    httpUrl: auth.http_url,
    httpTimeoutMs: auth.http_timeout_ms,
    httpCaFile: auth.http_ca_file,
    httpHeaderFile: auth.http_header_file,
    httpSendAddress: auth.http_send_address,
  };
}

/** Whether user names and passwords are looked at by anything. */
export function asksForCredentials(auth: AuthConfig): boolean {
  return auth.methods.some((name) => name !== 'certificate');
}

export function judgeAuth(raw: RawConfig, say: Say): void {
  judgeMethods(raw, say);
  judgeTokens(raw.auth, say);
  judgeUrl(raw.auth, 'jwks_url', say);
  judgeUrl(raw.auth, 'http_url', say);
  if (raw.auth.http_header_file !== '' && raw.auth.http_url === '')
    say(['auth', 'http_header_file'], 'auth.http_header_file needs auth.http_url');
  if (raw.auth.http_ca_file !== '' && raw.auth.http_url === '' && raw.auth.jwks_url === '')
    say(['auth', 'http_ca_file'], 'auth.http_ca_file needs auth.http_url or auth.jwks_url');
  judgeRoles(raw, say);
}

function judgeMethods(raw: RawConfig, say: Say): void {
  const { methods } = raw.auth;
  const configured = configuredMethods(raw);
  const needs: Record<MethodName, string> = {
    certificate: 'a listener with certificate_user',
    password_file: 'auth.password_file',
    jwt: `one of ${KEY_SOURCES.map((key) => `auth.${key}`).join(', ')}`,
    http: 'auth.http_url',
  };
  methods.forEach((name, at) => {
    if (methods.indexOf(name) !== at) say(['auth', 'methods'], `auth.methods names ${name} twice`);
    else if (!configured.includes(name)) say(['auth', 'methods'], `auth.methods names ${name}, which needs ${needs[name]}`);
  });
}

function judgeTokens(auth: RawConfig['auth'], say: Say): void {
  const sources = KEY_SOURCES.filter((key) => auth[key] !== '');
  for (const key of sources.slice(1)) {
    const confusion = sources[0] === 'jwt_secret_file' ? '; a shared secret beside public keys lets tokens be forged' : '';
    say(['auth', key], `auth.${key} and auth.${sources[0]} both say how tokens are verified; keep one${confusion}`);
  }
  if (sources.length === 0) {
    for (const key of ['jwt_issuer', 'jwt_audience', 'jwt_client_id_claim', 'jwt_algorithms'] as const)
      if (auth[key].length > 0)
        say(['auth', key], `auth.${key} needs a key: ${KEY_SOURCES.map((name) => `auth.${name}`).join(', ')}`);
    return;
  }
  if (auth.jwt_user_claim === '') say(['auth', 'jwt_user_claim'], 'auth.jwt_user_claim must name a claim, like sub');
  const fitting: readonly string[] = sources[0] === 'jwt_secret_file' ? SHARED_SECRET_ALGORITHMS : PUBLIC_KEY_ALGORITHMS;
  const others = auth.jwt_algorithms.filter((algorithm) => !fitting.includes(algorithm));
  if (others.length > 0)
    say(
      ['auth', 'jwt_algorithms'],
      `auth.jwt_algorithms: ${others.join(', ')} cannot be used with auth.${sources[0]}; allowed: ${fitting.join(', ')}`,
    );
}

function judgeUrl(auth: RawConfig['auth'], key: 'jwks_url' | 'http_url', say: Say): void {
  if (auth[key] === '') return;
  const problem = (message: string) => say(['auth', key], `auth.${key} ${message}`);
  let url: URL;
  try {
    url = new URL(auth[key]);
  } catch {
    problem('is not a URL; write it like https://auth.example/mqtt');
    return;
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const isTrusted = url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(host));
  if (!isTrusted) problem('must be https, or http on loopback: passwords and keys travel by it');
  if (url.username !== '' || url.password !== '') problem('must not hold a password; use auth.http_header_file');
}

function judgeRoles({ auth, role: roles }: RawConfig, say: Say): void {
  const names = roles.map(({ name }) => name);
  roles.forEach((role, index) => {
    const at = (key: string) => ['role', String(index), key];
    if (names.indexOf(role.name) !== index) say(at('name'), `role '${role.name}': has the name of another role`);
    if (role.publish.length + role.subscribe.length + role.deny.length === 0)
      say(at('name'), `role '${role.name}': has no filter; give publish, subscribe or deny`);
    for (const key of ['publish', 'subscribe', 'deny'] as const)
      if (!role[key].every(isTopicFilter)) say(at(key), `role '${role.name}': ${key} has an entry that is ${FILTER_PROBLEM}`);
    if (role.users.includes('')) say(at('users'), `role '${role.name}': users has an empty name`);
  });
  for (const key of ['default_roles', 'anonymous_roles'] as const)
    for (const name of auth[key])
      if (!names.includes(name)) {
        const known = names.length === 0 ? 'there is no [[role]]' : `there are: ${names.join(', ')}`;
        say(['auth', key], `auth.${key} names the role '${name}', which does not exist; ${known}`);
      }
}
