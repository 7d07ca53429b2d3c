// A real process: SIGHUP and `lethe reload` read what it was started with anew.
import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { mqttJs, refusalOf } from '../end-to-end/mqttjs.ts';
import { lethed, serve } from '../end-to-end/served.ts';
import { temporaryFolder } from '../forgetting/place.ts';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';

test('SIGHUP and lethe reload: new passwords, a broken file that changes nothing, options that need a restart', async () => {
  const folder = temporaryFolder();
  const passwords = temporaryFile('');
  mosquittoPasswd('-b', passwords, 'anna', 'first');
  const toml = (rest = '') => `[server]\ndata_dir = '${folder}'\n[auth]\npassword_file = '${passwords}'\n${rest}`;
  const file = temporaryFile(toml());
  const served = await serve('', ['--config', file]);
  const { child } = served;
  const port = served.port('tcp');
  const stays = await mqttJs({ port, username: 'anna', password: 'first' });

  mosquittoPasswd('-b', passwords, 'anna', 'second');
  child.kill('SIGHUP');
  await child.until('it says so', () => child.stderr.includes('info reloaded'));
  expect(await refusalOf({ port, username: 'anna', password: 'first' })).toBe(4);
  await (await mqttJs({ port, username: 'anna', password: 'second' })).end();

  writeFileSync(file, toml('[limits]\nkeep_alive_max_s = "long"\n'));
  child.kill('SIGHUP');
  await child.until('it says why not', () => child.stderr.includes('reload refused'));
  expect(child.stderr).toContain(`${file}:6: limits.keep_alive_max_s must be a whole number`);

  writeFileSync(file, toml('[limits]\nkeep_alive_max_s = 60\nsessions_max = 5\n'));
  const told = await lethed(['reload', '--data', folder]);
  expect(told.stdout).toBe(
    'reloaded; changed: limits.keep_alive_max_s\nthese need a restart, and stay as they were: limits.sessions_max\n',
  );
  const asJson = await lethed(['reload', '--data', folder, '--json']);
  expect(JSON.parse(asJson.stdout)).toEqual({ changed: [], restart: ['limits.sessions_max'], ended: 0, dropped: 0 });

  writeFileSync(passwords, 'nonsense\n');
  const refused = await lethed(['reload', '--data', folder]);
  expect(refused.exit?.code).toBe(1);
  expect(refused.stderr).toContain(`lethe reload: ${passwords}:1: `);

  await stays.publish('still/here', 'x', { qos: 1 });
  await stays.end();
  expect(await served.stop()).toEqual({ code: 0, signal: null });
  const nobody = await lethed(['reload', '--data', folder]);
  expect(nobody.stderr).toContain('no broker runs on this data directory');
});
