// The options of authentication and roles: what is refused, where it says so, and that it prints as it was read.
import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ConfigError, loadConfig } from '../../engine/config/load.ts';
import { printConfig } from '../../engine/config/print.ts';
import { silentLog } from '../../engine/log.ts';
import { loadSecurity } from '../../engine/shards/gatekeeper.ts';
import { messageOf, temporaryFile } from './temporary.ts';

const tcp = "[[listener]]\nname = 'a'\ntransport = 'tcp'\n";
const tls =
  "[[listener]]\nname = 'a'\ntransport = 'tls'\ncert_file = 'c'\nkey_file = 'k'\nca_file = 'a'\nclient_certificate = 'request'\n";

const load = (toml: string) => loadConfig({ file: temporaryFile(toml) });

test('methods are those that are configured, in an order that is always the same', () => {
  const all = `[auth]\nhttp_url = 'https://auth.example'\njwks_url = 'https://keys.example'\npassword_file = 'p'\n${tls}certificate_user = 'san_uri'\n`;
  expect(load(all).auth.methods).toEqual(['certificate', 'jwt', 'password_file', 'http']);
  expect(
    load(`[auth]\nmethods = ['http', 'password_file']\nhttp_url = 'https://a.example'\npassword_file = 'p'\n`).auth.methods,
  ).toEqual(['http', 'password_file']);
  expect(load('').auth.methods).toEqual([]);
});

test.each([
  ['', true],
  ["[auth]\npassword_file = 'p'\n", false],
  ["[auth]\njwt_secret_file = 's'\n", false],
  ["[auth]\nhttp_url = 'https://a.example'\n", false],
])('a listener on loopback takes anonymous clients unless somebody is asked: %j', (auth, anonymous) => {
  expect(load(`${auth}${tcp}`).listeners[0]!.anonymous).toBe(anonymous);
  expect(load(`${auth}${tcp}anonymous = true\n`).listeners[0]!.anonymous).toBe(true);
});

test('prints what it has read, roles too', () => {
  const config = load(`[auth]
methods = ['jwt', 'http']
jwt_key_file = 'key.pem'
jwt_algorithms = ['ES256', 'EdDSA']
jwt_issuer = 'https://issuer.example'
http_url = 'http://[::1]:8080/auth'
http_header_file = 'h'
http_send_address = true
default_roles = ['reader']
anonymous_roles = ['two-words']
[[role]]
name = 'reader'
subscribe = ['news/#', 'own/%u/+']
users = ['alice', "o'neil"]
[[role]]
name = 'two-words'
publish = ['in/%c']
deny = ['#']
${tcp}`);
  expect(loadConfig({ file: temporaryFile(printConfig(config)) })).toEqual(config);
});

test('options of a role are set by its name', () => {
  const file = temporaryFile("[[role]]\nname = 'reader'\nsubscribe = ['a']\n");
  const { roles } = loadConfig({ file, set: ['role.reader.subscribe=["b", "c"]'], env: { LETHE_ROLE__READER__USERS: '["u"]' } });
  expect(roles[0]).toMatchObject({ subscribe: ['b', 'c'], users: ['u'] });
  expect(messageOf(() => loadConfig({ file, set: ['role.writer.subscribe=[]'] }))).toMatch(
    /there is no role named 'writer'; there are: reader/,
  );
});

describe('refuses', () => {
  const role = "[[role]]\nname = 'r'\n";
  test.each<readonly [toml: string, line: number, message: RegExp]>([
    ["[auth]\nmethods = ['ldap']\n", 2, /^auth\.methods .*certificate, jwt, password_file, http/],
    ["[auth]\nmethods = ['jwt']\n", 2, /^auth\.methods names jwt, which needs one of auth\.jwt_secret_file/],
    ["[auth]\nmethods = ['http']\n", 2, /names http, which needs auth\.http_url/],
    ["[auth]\nmethods = ['password_file', 'password_file']\npassword_file = 'p'\n", 2, /names password_file twice/],
    [
      `[auth]\nmethods = ['password_file']\npassword_file = 'p'\n${tls}certificate_user = 'subject'\n`,
      2,
      /must name certificate/,
    ],
    [
      "[auth]\njwt_secret_file = 's'\njwt_key_file = 'k'\n",
      3,
      /keep one; a shared secret beside public keys lets tokens be forged/,
    ],
    ["[auth]\njwks_file = 's'\njwks_url = 'https://k.example'\n", 3, /both say how tokens are verified; keep one$/],
    ["[auth]\njwt_issuer = 'i'\n", 2, /auth\.jwt_issuer needs a key/],
    [
      "[auth]\njwt_secret_file = 's'\njwt_algorithms = ['RS256']\n",
      3,
      /RS256 cannot be used with auth\.jwt_secret_file; allowed: HS256/,
    ],
    [
      "[auth]\njwks_file = 's'\njwt_algorithms = ['HS256', 'RS256']\n",
      3,
      /HS256 cannot be used with auth\.jwks_file; allowed: RS256/,
    ],
    ["[auth]\njwt_secret_file = 's'\njwt_algorithms = ['none']\n", 3, /^auth\.jwt_algorithms /],
    ["[auth]\njwt_secret_file = 's'\njwt_user_claim = ''\n", 3, /must name a claim/],
    ["[auth]\nhttp_url = 'http://auth.example/'\n", 2, /must be https, or http on loopback/],
    ["[auth]\nhttp_url = 'http://127.0.0.1.example/'\n", 2, /must be https, or http on loopback/],
    ["[auth]\njwks_url = 'ftp://127.0.0.1/'\n", 2, /must be https, or http on loopback/],
    ["[auth]\nhttp_url = 'auth'\n", 2, /is not a URL/],
    ["[auth]\nhttp_url = 'https://u:p@auth.example/'\n", 2, /must not hold a password/],
    ["[auth]\nhttp_header_file = 'h'\n", 2, /needs auth\.http_url/],
    ["[auth]\nhttp_ca_file = 'h'\n", 2, /needs auth\.http_url or auth\.jwks_url/],
    ["[auth]\ndefault_roles = ['r']\n", 2, /names the role 'r', which does not exist; there is no \[\[role\]\]/],
    [`[auth]\nanonymous_roles = ['x']\n${role}deny = ['a']\n`, 2, /names the role 'x', which does not exist; there are: r/],
    [role, 2, /^role 'r': has no filter/],
    [`${role}deny = ['a']\n${role}deny = ['a']\n`, 5, /has the name of another role/],
    [`${role}publish = ['a/#/secret-topic']\n`, 3, /^role 'r': publish has an entry that is not a valid topic filter/],
    [`${role}publish = ['a']\nusers = ['']\n`, 4, /users has an empty name/],
    [`${role}publish = ['a']\nsubscribes = ['a']\n`, 4, /unknown option 'role\.subscribes'/],
    [
      `${tls}use_certificate_name_as_user = true\n`,
      8,
      /has become listener\.certificate_user; write certificate_user = "common_name"/,
    ],
    [`${tls}certificate_user = 'serial'\n`, 8, /none, common_name, subject, san_dns, san_email, san_uri/],
    [`${tcp}certificate_user = 'subject'\n`, 4, /certificate_user needs client_certificate/],
  ])('%j', (toml, line, message) => {
    const file = temporaryFile(toml);
    let problems: ConfigError['problems'] = [];
    try {
      loadConfig({ file });
    } catch (error) {
      if (error instanceof ConfigError) problems = error.problems;
    }
    const found = problems.find((problem) => message.test(problem.message));
    expect(found?.where, problems.map((problem) => `${problem.where}: ${problem.message}`).join('\n')).toBe(`${file}:${line}`);
    expect(found!.message).not.toContain('secret-topic');
  });

  test.each([
    ["jwt_secret_file = '/nowhere/s'", '/nowhere/s: there is no such file'],
    ["jwt_key_file = '/nowhere/k'", '/nowhere/k: there is no such file'],
    ["jwks_file = '/nowhere/j'", '/nowhere/j: there is no such file'],
    ["http_url = 'https://a.example'\nhttp_ca_file = '/nowhere/c'", '/nowhere/c: there is no such file'],
    ["http_url = 'https://a.example'\nhttp_header_file = '/nowhere/h'", '/nowhere/h: there is no such file'],
    ["password_file = '/nowhere/p'", '/nowhere/p: there is no such file'],
    ["acl_file = '/nowhere/a'", '/nowhere/a: there is no such file'],
  ])('a file that is not there: %s', async (options, message) => {
    await expect(loadSecurity(load(`[auth]\n${options}\n`), silentLog)).rejects.toThrow(message);
  });

  test('algorithms that no key of the file is for: nobody could come in', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = temporaryFile(publicKey.export({ type: 'spki', format: 'pem' }));
    const set = temporaryFile(JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] }));
    const loaded = (options: string) => loadSecurity(load(`[auth]\n${options}\n`), silentLog);
    for (const [option, file] of [
      ['jwt_key_file', pem],
      ['jwks_file', set],
    ]) {
      await expect(loaded(`${option} = '${file}'\njwt_algorithms = ['RS256', 'ES384']`)).rejects.toThrow(
        `auth.jwt_algorithms: RS256, ES384 cannot be used with what auth.${option} has, which is for: ES256`,
      );
      (await loaded(`${option} = '${file}'\njwt_algorithms = ['RS256', 'ES256']`)).close();
    }
  });
});
