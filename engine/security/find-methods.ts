// The methods that a configuration names, built from its options and files. What only some configurations need is loaded only for them.
import type { Clock } from '../clock.ts';
import type { MethodName } from '../config/auth.ts';
import type { Config } from '../config/load.ts';
import type { Log } from '../log.ts';
import { byCertificate } from './by-certificate.ts';
import { byPasswordFile } from './by-password.ts';
import type { HttpClient } from './http-client.ts';
import type { Method } from './method.ts';
import { loadPasswordFile } from './password-file.ts';
import type { KeptKeys } from './remote-keys.ts';
import type { ScramUsers } from './scram-users.ts';

export interface Methods {
  /** In the order in which they are asked. */
  readonly methods: readonly Method[];
  /** Users of the password file who can come by SCRAM; null: none. */
  readonly scram: ScramUsers | null;
  /** Lets the connections go that are kept open to those who are asked, once nothing is asked on them. */
  close(): void;
  /** Ends them at once. */
  destroy(): void;
}

/** @throws Error in one line with file and line */
export async function findMethods({ auth, server }: Config, log: Log, clock: Clock, kept: KeptKeys): Promise<Methods> {
  const clients: HttpClient[] = [];
  let scram: ScramUsers | null = null;
  const makers: Readonly<Record<MethodName, () => Method | Promise<Method>>> = {
    certificate: () => byCertificate,
    password_file() {
      const passwordFile = loadPasswordFile(auth.passwordFile, { shards: server.threads });
      for (const warning of passwordFile.warnings) log.warn(warning);
      scram = passwordFile.scram;
      return byPasswordFile(passwordFile);
    },
    async jwt() {
      const { byToken } = await import('./by-token.ts');
      const keys = await tokenKeys();
      const { jwtAlgorithms } = auth;
      // All of them would be refused, and nobody would know why.
      if (jwtAlgorithms.length > 0 && !keys.algorithms.some((name) => jwtAlgorithms.includes(name)))
        throw new Error(
          `auth.jwt_algorithms: ${jwtAlgorithms.join(', ')} cannot be used with what auth.${keySource()} has, which is for: ${keys.algorithms.join(', ')}`,
        );
      return byToken({
        keys,
        algorithms: auth.jwtAlgorithms,
        issuer: auth.jwtIssuer,
        audience: auth.jwtAudience,
        userClaim: auth.jwtUserClaim,
        userMustMatch: auth.jwtUserMustMatch,
        clientIdClaim: auth.jwtClientIdClaim,
        toleranceS: auth.jwtClockToleranceS,
        clock,
      });
    },
    async http() {
      const { byCallout, CALLOUT_ANSWER_BYTES_MAX, loadHeader } = await import('./by-callout.ts');
      const headers = auth.httpHeaderFile === '' ? {} : loadHeader(auth.httpHeaderFile);
      const client = await httpClient(auth.httpUrl, CALLOUT_ANSWER_BYTES_MAX, headers);
      return byCallout({ client, sendAddress: auth.httpSendAddress, log });
    },
  };

  function keySource(): string {
    if (auth.jwtSecretFile !== '') return 'jwt_secret_file';
    if (auth.jwtKeyFile !== '') return 'jwt_key_file';
    return auth.jwksFile !== '' ? 'jwks_file' : 'jwks_url';
  }

  async function tokenKeys() {
    const { loadKeySet, loadPublicKey, loadSecret } = await import('./token-keys.ts');
    if (auth.jwtSecretFile !== '') return loadSecret(auth.jwtSecretFile);
    if (auth.jwtKeyFile !== '') return loadPublicKey(auth.jwtKeyFile);
    if (auth.jwksFile !== '') return loadKeySet(auth.jwksFile);
    const { KEY_SET_BYTES_MAX, remoteKeys } = await import('./remote-keys.ts');
    const client = await httpClient(auth.jwksUrl, KEY_SET_BYTES_MAX, {});
    return remoteKeys({ url: auth.jwksUrl, kept, client, cacheMs: auth.jwksCacheS * 1_000, clock, log });
  }

  async function httpClient(url: string, answerBytesMax: number, headers: Readonly<Record<string, string>>): Promise<HttpClient> {
    const { createHttpClient, loadAuthorities } = await import('./http-client.ts');
    const ca = auth.httpCaFile === '' ? null : loadAuthorities(auth.httpCaFile);
    const client = createHttpClient({ url, timeoutMs: auth.httpTimeoutMs, answerBytesMax, clock, ca, headers });
    clients.push(client);
    return client;
  }

  const methods: Method[] = [];
  for (const name of auth.methods) methods.push(await makers[name]());
  return {
    methods,
    scram,
    close() {
      for (const client of clients) client.close();
    },
    destroy() {
      for (const client of clients) client.destroy();
    },
  };
}
