// A key set at a URL, as long as it is good: asked for when the first token comes, again when it has become old, and, at most every 30 s, when a token names a key that is not in it. One request
// at a time, whoever waits. When the URL does not answer, the old set goes on for an hour; after that nobody comes in, because a key that was withdrawn must not live on. While there is a set that
// goes on, nobody waits longer than a second for a new one. A reload takes the set along.
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { type HttpClient, HttpProblem } from './http-client.ts';
import { PUBLIC_KEY_ALGORITHMS } from './token-algorithms.ts';
import { parseKeySet, type TokenKeys } from './token-keys.ts';

/** How long an old set may be used while there is no new one. */
const STALE_MAX_MS = 3_600_000;
const UNKNOWN_KEY_MS = 30_000;
const FAILED_MS = 1_000;
/** How long logins wait for a new set where the old one can go on. */
const PATIENCE_MS = 1_000;

export const KEY_SET_BYTES_MAX = 262_144;

/** A set that was fetched, and when. */
interface Fetched {
  readonly url: string;
  readonly set: JWTVerifyGetKey;
  readonly atMs: number;
}

/** Keeps the set that was fetched last beyond a reload. */
export interface KeptKeys {
  last: Fetched | null;
}

export interface RemoteKeysOptions {
  readonly url: string;
  /** Where there is a set of this URL, it is gone on with. */
  readonly kept: KeptKeys;
  readonly client: HttpClient;
  readonly cacheMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** There is no key set to judge by. */
export class NoKeys extends Error {}

export function remoteKeys({ url, kept, client, cacheMs, clock, log }: RemoteKeysOptions): TokenKeys {
  let fetched = kept.last?.url === url ? kept.last : null;
  let triedMs = -Infinity;
  let hasFailed = false;
  let underWay: Promise<void> | null = null;
  let patience: Promise<void> = Promise.resolve();

  async function fetchOnce(): Promise<void> {
    triedMs = clock.monotonicMs();
    try {
      const set = createLocalJWKSet(await fetchSet(client));
      fetched = { url, set, atMs: clock.monotonicMs() };
      kept.last = fetched;
      if (hasFailed) log.info('auth.jwks_url answers again');
      hasFailed = false;
    } catch (error) {
      if (!hasFailed) log.error(`auth.jwks_url gives no key set: ${error instanceof HttpProblem ? error.message : 'failed'}`);
      hasFailed = true;
    }
  }

  function refresh(): Promise<void> {
    if (underWay !== null) return underWay;
    const asking = fetchOnce();
    patience = new Promise((resolve) => {
      const cancel = clock.after(PATIENCE_MS, resolve);
      void asking.then(() => {
        cancel();
        underWay = null;
        resolve();
      });
    });
    underWay = asking;
    return asking;
  }

  const ageMs = () => clock.monotonicMs() - (fetched?.atMs ?? -Infinity);

  async function current(): Promise<JWTVerifyGetKey> {
    if (ageMs() >= cacheMs && (underWay !== null || clock.monotonicMs() - triedMs >= FAILED_MS)) {
      const refreshed = refresh();
      if (ageMs() >= cacheMs + STALE_MAX_MS) await refreshed;
      else if (!hasFailed) await patience;
    }
    if (fetched === null || ageMs() >= cacheMs + STALE_MAX_MS) throw new NoKeys();
    return fetched.set;
  }

  const keyOf: JWTVerifyGetKey = async (header, token) => {
    const keys = await current();
    try {
      return await keys(header, token);
    } catch (error) {
      const mayAskAgain = underWay !== null || clock.monotonicMs() - triedMs >= UNKNOWN_KEY_MS;
      if (!(error instanceof errors.JWKSNoMatchingKey) || !mayAskAgain) throw error;
      await refresh();
      return fetched!.set(header, token);
    }
  };
  return { algorithms: PUBLIC_KEY_ALGORITHMS, keyOf };
}

/** Keys that are no public ones are left out: a shared secret that anybody can fetch is none. */
async function fetchSet(client: HttpClient): Promise<JSONWebKeySet> {
  const { status, text } = await client.ask(null);
  if (status !== 200) throw new HttpProblem(`status ${status}`);
  const parsed = parseKeySet(text);
  if (typeof parsed === 'string') throw new HttpProblem(parsed);
  return parsed.set;
}
