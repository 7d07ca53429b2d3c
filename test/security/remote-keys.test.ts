// A key set at a URL: when it is asked for, how often, and what holds while it does not answer. The clock stands still but for the test.
import { type CryptoKey, exportJWK, generateKeyPair, type JWK } from 'jose';
import { beforeAll, expect, test } from 'vitest';
import { type HttpAnswer, type HttpClient, HttpProblem } from '../../engine/security/http-client.ts';
import { type KeptKeys, NoKeys, remoteKeys } from '../../engine/security/remote-keys.ts';
import { VirtualClock } from '../virtual-clock.ts';

const CACHE_MS = 600_000;
let one: JWK;
let two: JWK;

beforeAll(async () => {
  const make = async (kid: string) => ({ ...(await exportJWK((await generateKeyPair('ES256')).publicKey)), kid });
  [one, two] = [await make('one'), await make('two')];
});

class Source {
  asked = 0;
  keys: readonly unknown[] = [];
  /** What happens instead of an answer. */
  problem: Error | null = null;
  status = 200;
  /** What an answer waits for. */
  held: Promise<void> = Promise.resolve();
  readonly kept: KeptKeys = { last: null };
  readonly logged: string[] = [];
  readonly clock = new VirtualClock();
  readonly #log = (message: string) => this.logged.push(message);
  readonly #client: HttpClient = {
    ask: async (): Promise<HttpAnswer> => {
      this.asked++;
      await this.held;
      if (this.problem !== null) throw this.problem;
      return { status: this.status, text: JSON.stringify({ keys: this.keys }) };
    },
    close() {},
    destroy() {},
  };
  #keys = this.#made('https://a.example/keys');

  #made(url: string) {
    const log = { error: this.#log, warn: this.#log, info: this.#log, debug: this.#log };
    return remoteKeys({ url, kept: this.kept, client: this.#client, cacheMs: CACHE_MS, clock: this.clock, log });
  }

  /** As a reload does. */
  makeAnew(url: string): void {
    this.#keys = this.#made(url);
  }

  /** Whether there is a key of this id; the error's name when there is none. */
  find(kid: string, alg = 'ES256'): Promise<string> {
    const found = this.#keys.keyOf({ alg, kid }, { payload: '', signature: '' }) as Promise<CryptoKey>;
    return found.then(
      () => 'found',
      (error: Error) => (error instanceof NoKeys ? 'no keys' : (error as Error & { code: string }).code),
    );
  }
}

const UNKNOWN = 'ERR_JWKS_NO_MATCHING_KEY';

test('is asked for when the first token comes, once for all that wait, and kept', async () => {
  const source = new Source();
  source.keys = [one];
  expect(source.asked).toBe(0);
  expect(await Promise.all([source.find('one'), source.find('one'), source.find('one')])).toEqual(['found', 'found', 'found']);
  source.clock.advance(CACHE_MS - 1);
  expect(await source.find('one')).toBe('found');
  expect(source.asked).toBe(1);
  source.clock.advance(1);
  source.keys = [two];
  expect(await source.find('one')).toBe(UNKNOWN);
  expect(source.asked).toBe(2);
});

test('an unknown key asks again at most every 30 s', async () => {
  const source = new Source();
  source.keys = [one];
  expect(await source.find('two')).toBe(UNKNOWN);
  for (let i = 0; i < 10; i++) expect(await source.find(`guess ${i}`)).toBe(UNKNOWN);
  expect(source.asked).toBe(1);
  source.clock.advance(30_000);
  source.keys = [one, two];
  expect(await Promise.all([source.find('two'), source.find('two'), source.find('no')])).toEqual(['found', 'found', UNKNOWN]);
  expect(source.asked).toBe(2);
  expect(await source.find('no')).toBe(UNKNOWN);
  expect(source.asked).toBe(2);
});

test('while it does not answer, the old keys hold for an hour, and no longer', async () => {
  const source = new Source();
  source.keys = [one];
  expect(await source.find('one')).toBe('found');
  source.problem = new HttpProblem('ECONNREFUSED');
  source.clock.advance(CACHE_MS);
  expect(await source.find('one')).toBe('found');
  expect(await source.find('one')).toBe('found');
  expect(source.asked).toBe(2); // not for every client
  source.clock.advance(3_600_000 - 1);
  expect(await source.find('one')).toBe('found');
  source.clock.advance(1);
  expect(await source.find('one')).toBe('no keys');
  source.problem = null;
  source.clock.advance(5_000);
  expect(await source.find('one')).toBe('found');
  expect(source.logged).toEqual(['auth.jwks_url gives no key set: ECONNREFUSED', 'auth.jwks_url answers again']);
});

test('without any keys nobody comes in, and each client does not ask again', async () => {
  const source = new Source();
  source.status = 500;
  expect(await source.find('one')).toBe('no keys');
  expect(await source.find('one')).toBe('no keys');
  expect(source.asked).toBe(1);
  source.status = 200;
  source.clock.advance(5_000);
  expect(await source.find('one')).toBe('no keys'); // a set of none
  source.keys = [one];
  source.clock.advance(5_000);
  expect(await source.find('one')).toBe('found');
  expect(source.logged).toEqual(['auth.jwks_url gives no key set: status 500', 'auth.jwks_url answers again']);
});

test('a shared secret or private key in the set is left out', async () => {
  const source = new Source();
  source.keys = [{ kty: 'oct', k: 'c2VjcmV0', kid: 'secret' }, { ...one, d: one.x, kid: 'private' }, one];
  expect(await source.find('secret', 'HS256')).not.toBe('found');
  expect(await source.find('private')).toBe(UNKNOWN);
  expect(await source.find('one')).toBe('found');
});

test('a reload takes the set of the same URL along, of no other', async () => {
  const source = new Source();
  source.keys = [one];
  expect(await source.find('one')).toBe('found');
  source.problem = new HttpProblem('ECONNREFUSED');
  source.makeAnew('https://a.example/keys');
  expect(await source.find('one')).toBe('found');
  expect(source.asked).toBe(1);
  // It does not grow younger by it.
  source.clock.advance(CACHE_MS + 3_600_000);
  source.makeAnew('https://a.example/keys');
  expect(await source.find('one')).toBe('no keys');
  source.makeAnew('https://b.example/keys');
  expect(await source.find('one')).toBe('no keys');
});

test('while the URL hangs and the old set can go on, nobody waits for longer than a second', async () => {
  const source = new Source();
  source.keys = [one];
  expect(await source.find('one')).toBe('found');
  let answer = () => {};
  source.held = new Promise((resolve) => {
    answer = resolve;
  });
  source.clock.advance(CACHE_MS);
  const [first, second] = [source.find('one'), source.find('one')];
  source.clock.advance(1_000);
  expect(await Promise.all([first, second])).toEqual(['found', 'found']);
  expect(await source.find('one')).toBe('found');
  expect(source.asked).toBe(2);
  source.keys = [two];
  answer();
  await expect.poll(() => source.find('one')).toBe(UNKNOWN);
});
