// Which options of a configuration are put in force, and which wait for a restart.
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../engine/config/load.ts';
import { planReload } from '../../engine/config/plan-reload.ts';
import { temporaryFile } from '../security/temporary.ts';

const config = (...set: string[]) => loadConfig({ set });

test('nothing has changed', () => {
  expect(planReload(config(), config())).toEqual({ config: config(), changed: [], restart: [] });
});

test.each([
  ['limits.keep_alive_max_s=9', 'changed'],
  ['limits.session_expiry_max_s=9', 'changed'],
  ['limits.client_bytes_per_s=9', 'changed'],
  ['limits.sessions_max=9', 'restart'],
  ['limits.connections_max=9', 'restart'],
  ['limits.packet_bytes_max=2MiB', 'restart'],
  ['limits.banned_networks=["10.0.0.0/8"]', 'changed'],
  ['session.v3_expiry_s=9', 'changed'],
  ['session.maximum_qos=1', 'restart'],
  ['session.retain_available=false', null],
  ['retained.max_age_s=9', 'changed'],
  ['server.log_level=debug', 'changed'],
  ['server.threads=2', 'restart'],
  ['server.data_dir=/somewhere', 'restart'],
  ['auth.acl_file=/somewhere', 'changed'],
  ['listener.tcp.port=9', 'restart'],
  ['listener.tcp.host=127.0.0.2', 'restart'],
  ['listener.tcp.anonymous=false', 'changed'],
  ['listener.ws.origins=["https://example.org"]', 'changed'],
  ['listener.ws.path=/other', 'restart'],
])('%s: %s', (set, where) => {
  const before = config();
  const after = config(set);
  const plan = planReload(before, after);
  const name = set.split('=')[0]!;
  expect(plan.changed).toEqual(where === 'changed' ? [name] : []);
  expect(plan.restart).toEqual(where === 'restart' ? [name] : []);
  expect(plan.config).toEqual(where === 'changed' ? after : before);
});

test('a policy that waits for a restart takes what follows from it along', () => {
  const plan = planReload(config(), config('retained.policy=off'));
  expect(plan).toEqual({ config: config(), changed: [], restart: ['retained.policy'] });
});

test('listeners that are new or gone wait for a restart', () => {
  const listener = (name: string) => `[[listener]]\nname = '${name}'\ntransport = 'tcp'\n`;
  const of = (...names: string[]) => loadConfig({ file: temporaryFile(names.map(listener).join('')) });
  expect(planReload(of('one', 'two'), of('two', 'three'))).toMatchObject({ restart: ['listener.one', 'listener.three'] });
  expect(planReload(of('one', 'two'), of('two', 'one')).restart).toEqual([]);
});

test('the retention that is in force caps the session expiry, not the one that waits for a restart', () => {
  const plan = planReload(
    config('spool.max_retention_s=100'),
    config('spool.max_retention_s=1000', 'limits.session_expiry_max_s=500'),
  );
  expect(plan.config.limits.sessionExpiryMaxS).toBe(100);
});

test('what can change must go together with what cannot', () => {
  const before = config('limits.packet_bytes_max=1MiB');
  expect(() => planReload(before, config('limits.packet_bytes_max=4MiB', 'limits.connect_bytes_max=2MiB'))).toThrow(
    'limits: connectBytesMax must not exceed packetBytesMax, as long as the broker has not been started anew',
  );
});

// What is good as a file can open a door as a mixture: methods of authentication change at once, where a listener listens and whether it asks for certificates only at a start.
describe('identity that rests on what waits for a restart', () => {
  const TLS = "transport = 'tls'\ncert_file = 'c'\nkey_file = 'k'\nca_file = 'a'\n";
  const of = (listener: string, auth = '') =>
    loadConfig({ file: temporaryFile(`[auth]\n${auth}\n[[listener]]\nname = 'a'\n${listener}\n`) });
  const PASSWORDS = "password_file = '/p'";
  const open = `host = '0.0.0.0'\n${TLS}`;
  const required = `${open}client_certificate = 'require'\n`;
  const here = "transport = 'tcp'\nhost = '127.0.0.1'\n";
  const public_ = "transport = 'tcp'\ninsecure = true\nhost = '0.0.0.0'\n";

  test.each([
    ['passwords to client certificates', of(open, PASSWORDS), of(required), 'listener.a.client_certificate'],
    [
      'certificates to passwords and back to none',
      of(open, PASSWORDS),
      of(`${required}anonymous = true\n`),
      'client_certificate',
    ],
    ['to loopback without passwords', of(public_, PASSWORDS), of(here), 'listener.a.host'],
    ['to loopback, anonymous in so many words', of(public_, PASSWORDS), of(`${here}anonymous = true\n`), 'listener.a.host'],
    ['to names from certificates', of(open, PASSWORDS), of(`${required}certificate_user = 'common_name'\n`), 'certificate_user'],
    ['a listener with passwords goes', of(public_, PASSWORDS), of(`${here}`.replace('tcp', 'ws')), 'listener.a.host'],
    ['names from certificates no more', of(`${required}certificate_user = 'subject'\n`), of(open, PASSWORDS), 'certificate_user'],
  ])('%s: refused, and says for what', (_, before, after, waiting) => {
    expect(() => planReload(before, after)).toThrow(
      new RegExp(`as long as the broker has not been started anew; these options wait for a restart: .*${waiting}`),
    );
  });

  test('the running policy stays where its reasons wait, unless the new one lets in fewer', () => {
    const guarded = planReload(of(public_, PASSWORDS), of(`${here}anonymous = true\n`, PASSWORDS));
    expect(guarded.config.listeners[0]!.anonymous).toBe(false);
    expect(guarded.restart).toContain('listener.a.anonymous');
    const shut = planReload(of(here), of(public_, PASSWORDS));
    expect(shut.config.listeners[0]).toMatchObject({ host: '127.0.0.1', anonymous: false });
    // Nothing else has changed: what follows from the methods is in force at once.
    expect(planReload(of(here), of(here, PASSWORDS)).config.listeners[0]!.anonymous).toBe(false);
    expect(planReload(of(here, PASSWORDS), of(here)).config.listeners[0]!.anonymous).toBe(true);
  });

  test('origins and files that a transport needs stay as long as it does', () => {
    const web = of("transport = 'ws'\nhost = '127.0.0.1'\norigins = ['https://example.org']\n");
    expect(planReload(web, of(here)).config.listeners[0]).toMatchObject({ transport: 'ws', origins: ['https://example.org'] });
    const plan = planReload(
      of(required),
      of(`host = '0.0.0.0'\ntransport = 'tls'\ncert_file = 'c'\nkey_file = 'k'\nanonymous = true\n`),
    );
    expect(plan.config.listeners[0]).toMatchObject({ clientCertificate: 'require', caFile: 'a' });
  });
});
