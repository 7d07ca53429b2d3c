// JSON Web Tokens as passwords: real tokens, made with jose, good ones and every way for one to be wrong.
import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  type CryptoKey,
  exportJWK,
  exportPKCS8,
  exportSPKI,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Credentials } from '../../engine/gate.ts';
import { TransportKind } from '../../engine/link.ts';
import { byToken, type TokenOptions } from '../../engine/security/by-token.ts';
import { NOT_MINE } from '../../engine/security/method.ts';
import { loadKeySet, loadPublicKey, loadSecret, type TokenKeys } from '../../engine/security/token-keys.ts';
import { Reason } from '../../protocol/packet.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { messageOf, temporaryFile } from './temporary.ts';

const clock = new VirtualClock();
const nowS = clock.wallMs() / 1_000;
const SECRET = 'a secret of more than thirty-two bytes, for tests';
const secret = new TextEncoder().encode(SECRET);
const REFUSED = { ok: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD };

/** A pair for each kind of key, with the public one as a file. */
const KINDS = ['RS256', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;
const pairs = new Map<string, { privateKey: CryptoKey; publicKey: CryptoKey; file: string }>();
const pair = (kind: string) => pairs.get(kind)!;

beforeAll(async () => {
  for (const kind of KINDS) {
    const { privateKey, publicKey } = await generateKeyPair(kind, { extractable: true });
    pairs.set(kind, { privateKey, publicKey, file: temporaryFile(await exportSPKI(publicKey)) });
  }
});

function method(keys: TokenKeys, options: Partial<TokenOptions> = {}) {
  return byToken({
    keys,
    algorithms: [],
    issuer: '',
    audience: '',
    userClaim: 'sub',
    userMustMatch: true,
    clientIdClaim: '',
    toleranceS: 0,
    clock,
    ...options,
  });
}

function credentials(token: string | Uint8Array | null, username: string | null = null): Credentials {
  const peer = { transport: TransportKind.MEMORY, listener: 'l', address: '', port: 1, secure: true, certificate: null };
  return { clientId: 'c', username, password: typeof token === 'string' ? Buffer.from(token) : token, peer };
}

type Key = CryptoKey | KeyObject | Uint8Array;
function signed(claims: JWTPayload, key: Key, alg: string, header: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return new SignJWT({ sub: 'alice', exp: nowS + 60, ...claims }).setProtectedHeader({ ...header, alg }).sign(key);
}

/** What becomes of a token by the shared secret. */
async function judged(claims: JWTPayload, options: Partial<TokenOptions> = {}, username: string | null = null) {
  const keys = loadSecret(temporaryFile(SECRET));
  return method(keys, options).answer(credentials(await signed(claims, secret, 'HS256'), username), true);
}

const inIt = (rest: object = {}) => ({
  ok: true,
  username: 'alice',
  roles: [],
  grants: null,
  expiresAtMs: (nowS + 60) * 1_000,
  ...rest,
});

describe('algorithms', () => {
  test.each(['HS256', 'HS384', 'HS512'])('a shared secret verifies %s', async (alg) => {
    const keys = loadSecret(temporaryFile(`${SECRET}\n`));
    expect(await method(keys).answer(credentials(await signed({}, secret, alg)), true)).toEqual(inIt());
  });

  test.each([
    ['RS256', 'RS256'],
    ['RS256', 'RS512'],
    ['RS256', 'PS256'],
    ['RS256', 'PS384'],
    ['ES256', 'ES256'],
    ['ES384', 'ES384'],
    ['ES512', 'ES512'],
    ['EdDSA', 'EdDSA'],
    ['EdDSA', 'Ed25519'],
  ])('a public key of the kind for %s verifies %s', async (kind, alg) => {
    const { KeyObject: Keys } = await import('node:crypto');
    const key = Keys.from(pair(kind).privateKey as unknown as Parameters<typeof Keys.from>[0]);
    expect(await method(loadPublicKey(pair(kind).file)).answer(credentials(await signed({}, key, alg)), true)).toEqual(inIt());
  });

  test('a public key is never taken for a shared secret', async () => {
    const { file, publicKey } = pair('RS256');
    const pem = await exportSPKI(publicKey);
    const { n } = await exportJWK(publicKey);
    const der = createPublicKey(pem).export({ type: 'spki', format: 'der' });
    for (const confused of [Buffer.from(pem), Buffer.from(pem.trim()), der, Buffer.from(n!, 'base64url'), Buffer.from(n!)])
      for (const alg of ['HS256', 'HS384', 'HS512'])
        expect(await method(loadPublicKey(file)).answer(credentials(await signed({}, confused, alg)), true)).toEqual(REFUSED);
  });

  test('a shared secret verifies no signature of a key', async () => {
    const token = await signed({}, pair('ES256').privateKey, 'ES256');
    expect(await method(loadSecret(temporaryFile(SECRET))).answer(credentials(token), true)).toEqual(REFUSED);
  });

  test('a key of another kind verifies nothing', async () => {
    const token = await signed({}, pair('ES256').privateKey, 'ES256');
    for (const kind of ['RS256', 'ES384', 'EdDSA'])
      expect(await method(loadPublicKey(pair(kind).file)).answer(credentials(token), true)).toEqual(REFUSED);
  });

  test('no signature is a refusal', async () => {
    const token = new UnsecuredJWT({ sub: 'alice', exp: nowS + 60 }).encode();
    const [header, payload] = token.split('.');
    const none = (alg: string) => `${Buffer.from(JSON.stringify({ alg })).toString('base64url')}.${payload}.`;
    for (const keys of [loadSecret(temporaryFile(SECRET)), loadPublicKey(pair('RS256').file)])
      for (const forged of [token, `${header}.${payload}.AAAA`, none('None'), none('NONE'), none('HS256'), none('RS256')])
        expect(await method(keys, { algorithms: [] }).answer(credentials(forged), true)).toEqual(REFUSED);
  });

  test('the configuration can only take away', async () => {
    expect(await judged({}, { algorithms: ['HS256'] })).toEqual(inIt());
    expect(await judged({}, { algorithms: ['HS512'] })).toEqual(REFUSED);
    const confused = await signed({}, Buffer.from(await exportSPKI(pair('RS256').publicKey)), 'HS256');
    expect(
      await method(loadPublicKey(pair('RS256').file), { algorithms: ['HS256'] }).answer(credentials(confused), true),
    ).toEqual(REFUSED);
  });

  test('a key that the token brings along is not used, and what it declares critical must be known', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    const keys = loadPublicKey(pair('ES256').file);
    expect(await method(keys).answer(credentials(await signed({}, privateKey, 'ES256', { jwk })), true)).toEqual(REFUSED);
    const token = await signed({}, secret, 'HS256');
    const [, payload, signature] = token.split('.');
    const header = Buffer.from(JSON.stringify({ alg: 'HS256', crit: ['exp'], exp: 1 })).toString('base64url');
    expect(
      await method(loadSecret(temporaryFile(SECRET))).answer(credentials(`${header}.${payload}.${signature}`), true),
    ).toEqual(REFUSED);
  });

  test('a changed token is a refusal', async () => {
    const token = await signed({}, secret, 'HS256');
    const [header, , signature] = token.split('.');
    const other = Buffer.from(JSON.stringify({ sub: 'root', exp: nowS + 60 })).toString('base64url');
    expect(await method(loadSecret(temporaryFile(SECRET))).answer(credentials(`${header}.${other}.${signature}`), true)).toEqual(
      REFUSED,
    );
  });
});

describe('claims', () => {
  test('the end of a token is needed, and is the end of the connection', async () => {
    expect(await judged({ exp: nowS + 5 })).toMatchObject({ ok: true, expiresAtMs: (nowS + 5) * 1_000 });
    expect(await judged({ exp: nowS - 5 }, { toleranceS: 30 })).toMatchObject({ ok: true, expiresAtMs: (nowS + 25) * 1_000 });
    expect(await judged({ exp: nowS - 31 }, { toleranceS: 30 })).toEqual(REFUSED);
    expect(await judged({ exp: nowS })).toEqual(REFUSED);
    expect(await judged({ exp: undefined as unknown as number })).toEqual(REFUSED);
    expect(await judged({ exp: '9999999999' as unknown as number })).toEqual(REFUSED);
  });

  test('a token that begins later is a refusal', async () => {
    expect(await judged({ nbf: nowS + 10 })).toEqual(REFUSED);
    expect(await judged({ nbf: nowS + 10 }, { toleranceS: 10 })).toMatchObject({ ok: true });
  });

  test('issuer and audience, where they are asked for', async () => {
    const options = { issuer: 'https://issuer.example', audience: 'lethe' };
    expect(await judged({ iss: 'https://issuer.example', aud: ['other', 'lethe'] }, options)).toMatchObject({ ok: true });
    expect(await judged({ iss: 'https://issuer.example', aud: 'other' }, options)).toEqual(REFUSED);
    expect(await judged({ iss: 'https://else.example', aud: 'lethe' }, options)).toEqual(REFUSED);
    expect(await judged({}, options)).toEqual(REFUSED);
    expect(await judged({ iss: 'any', aud: 'any' })).toMatchObject({ ok: true });
  });

  test('the user name is a claim, and must be one', async () => {
    expect(await judged({ name: 'bob' }, { userClaim: 'name' })).toMatchObject({ username: 'bob' });
    for (const sub of [undefined, '', 7, ['alice'], 'a\0b', 'x'.repeat(1_025)])
      expect(await judged({ sub: sub as string })).toEqual(REFUSED);
    expect(await judged({}, { userClaim: 'constructor' })).toEqual(REFUSED);
  });

  test('the user name of CONNECT must be the same, unless the configuration does not care', async () => {
    expect(await judged({}, {}, 'alice')).toEqual(inIt());
    expect(await judged({}, {}, 'bob')).toEqual(REFUSED);
    expect(await judged({}, {}, '')).toEqual(REFUSED);
    expect(await judged({}, { userMustMatch: false }, 'bob')).toEqual(inIt());
  });

  test('the client id, where a claim says so', async () => {
    expect(await judged({ device: 'c' }, { clientIdClaim: 'device' })).toEqual(inIt());
    expect(await judged({ device: 'd' }, { clientIdClaim: 'device' })).toEqual(REFUSED);
    expect(await judged({}, { clientIdClaim: 'device' })).toEqual(REFUSED);
  });

  test('roles and an ACL', async () => {
    const acl = { publish: ['a/%c'], subscribe: ['a/#'] };
    expect(await judged({ roles: ['reader'], acl })).toEqual(inIt({ roles: ['reader'], grants: acl }));
    expect(await judged({ roles: 'reader' })).toEqual(REFUSED);
    expect(await judged({ acl: { publish: ['a/#/b'] } })).toEqual(REFUSED);
  });
});

test.each([
  '',
  'secret',
  'a.b.c',
  'eyJ.x.y',
  'eyJhbGciOiJIUzI1NiJ9.x',
  'eyJhbGciOiJIUzI1NiJ9.e30.x.y',
  `${btoa('{"typ":"JWT"}')}.e30.x`,
  'pässword',
])('the password %j is no token, and somebody else’s to judge', (password) => {
  expect(method(loadSecret(temporaryFile(SECRET))).answer(credentials(password), false)).toBe(NOT_MINE);
});

test('no password is no token', () => {
  expect(method(loadSecret(temporaryFile(SECRET))).answer(credentials(null, 'alice'), false)).toBe(NOT_MINE);
});

describe('key files', () => {
  test('a secret must be long, and may be any bytes', () => {
    expect(messageOf(() => loadSecret(temporaryFile('short\n')))).toMatch(/has 5 bytes; at least 32/);
    expect(loadSecret(temporaryFile(new Uint8Array(32).fill(0xff))).algorithms).toContain('HS256');
  });

  test('a public key must be one, of a kind and size that is used', async () => {
    const { privateKey } = pair('ES256');
    expect(messageOf(() => loadPublicKey('/none/key.pem'))).toMatch(/no such file/);
    expect(messageOf(() => loadPublicKey(temporaryFile('no key')))).toMatch(/no PEM public key/);
    const own = temporaryFile(await exportPKCS8(privateKey));
    expect(messageOf(() => loadPublicKey(own))).toMatch(/private key; give the public one/);
    const { generateKeyPairSync } = await import('node:crypto');
    const pem = (key: KeyObject) => temporaryFile(key.export({ type: 'spki', format: 'pem' }).toString());
    const small = pem(generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey);
    expect(messageOf(() => loadPublicKey(small))).toMatch(/1024 bits; at least 2048/);
    const odd = pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey);
    expect(messageOf(() => loadPublicKey(odd))).toMatch(/verify no tokens/);
  });

  test('a key set is searched by the key’s id', async () => {
    const jwks = {
      keys: await Promise.all(KINDS.map(async (kind) => ({ ...(await exportJWK(pair(kind).publicKey)), kid: kind }))),
    };
    const own = method(loadKeySet(temporaryFile(JSON.stringify(jwks))));
    for (const kind of KINDS) {
      const token = await signed({}, pair(kind).privateKey, kind, { kid: kind });
      expect(await own.answer(credentials(token), true)).toEqual(inIt());
    }
    const wrong = await signed({}, pair('ES256').privateKey, 'ES256', { kid: 'nobody' });
    expect(await own.answer(credentials(wrong), true)).toEqual(REFUSED);
    const forged = await signed({}, Buffer.from(JSON.stringify(jwks.keys[0])), 'HS256', { kid: 'RS256' });
    expect(await own.answer(credentials(forged), true)).toEqual(REFUSED);
  });

  test('a key set holds public keys and nothing else', async () => {
    const set = (...keys: unknown[]) => temporaryFile(JSON.stringify({ keys }));
    const good = await exportJWK(pair('ES256').publicKey);
    const own = await exportJWK(pair('ES256').privateKey);
    expect(messageOf(() => loadKeySet(set(good, { kty: 'oct', k: 'c2VjcmV0' })))).toMatch(/key 2 is a shared secret/);
    expect(messageOf(() => loadKeySet(set(good, own)))).toMatch(/key 2 is a private key/);
    expect(messageOf(() => loadKeySet(set({ kty: 'EC' })))).toMatch(/no public key/);
    expect(messageOf(() => loadKeySet(set()))).toMatch(/has no key/);
    expect(messageOf(() => loadKeySet(set(...Array<unknown>(101).fill(good))))).toMatch(/101 keys/);
    expect(messageOf(() => loadKeySet(temporaryFile('[]')))).toMatch(/no JSON Web Key Set/);
    expect(messageOf(() => loadKeySet(temporaryFile('{')))).toMatch(/not JSON/);
    for (const broken of [set(good, own), set({ kty: 'oct', k: 'c2VjcmV0' })])
      expect(messageOf(() => loadKeySet(broken))).not.toMatch(/c2VjcmV0/);
  });
});

test('what is longer than any token is none', async () => {
  const long = (bytes: number) => credentials(`eyJhbGciOiJIUzI1NiJ9.${'a'.repeat(bytes - 22)}.`);
  const judge = method(loadSecret(temporaryFile(SECRET)));
  expect(await judge.answer(long(16_384), true)).toEqual(REFUSED);
  expect(await judge.answer(long(16_385), true)).toBe(NOT_MINE);
});
