// Which options of a configuration are put in force, and which wait for a restart.
import { expect, test } from 'vitest';
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
