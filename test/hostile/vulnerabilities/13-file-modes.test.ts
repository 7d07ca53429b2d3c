// 13. Files that others can read. Deeper: test/storage/folder.test.ts, test/security/password-edit.test.ts, test/end-to-end/serve.test.ts.
// Red when: a file of the data directory is made with the mode that the umask allows, or a secret that others can read passes without a word.
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../../engine/log.ts';
import { systemRandom } from '../../../engine/random.ts';
import { rewritePasswordFile } from '../../../engine/security/password-edit.ts';
import { hashPassword } from '../../../engine/security/password-hash.ts';
import { startBroker } from '../../broker.ts';
import { temporaryFolder } from '../../forgetting/place.ts';
import { temporaryFile } from '../../security/temporary.ts';

/** The widest umask there is: whoever relies on it is found. */
let umask = 0;
beforeAll(() => {
  umask = process.umask(0);
});
afterAll(() => void process.umask(umask));

const PASSWORDS = `ada:${await hashPassword('pw', systemRandom, { format: 'mosquitto', iterations: 10 })}\n`;
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

describe.skipIf(process.platform === 'win32')('under a umask of 0', () => {
  test('the data directory is its owner’s alone, and every file in it', async () => {
    const folder = join(temporaryFolder(), 'below', 'data');
    for (let starts = 0; starts < 2; starts++) {
      const broker = await startBroker([`server.data_dir=${folder}`]);
      expect(modeOf(folder)).toBe('700');
      const names = readdirSync(folder);
      expect(names.length).toBeGreaterThan(2);
      for (const name of names) expect(`${name} ${modeOf(join(folder, name))}`).toBe(`${name} 600`);
      await broker.stop();
    }
  });

  test('files that were opened to others meanwhile are closed to them again', async () => {
    const folder = temporaryFolder();
    await (await startBroker([`server.data_dir=${folder}`])).stop();
    chmodSync(folder, 0o755);
    for (const name of readdirSync(folder)) if (statSync(join(folder, name)).isFile()) chmodSync(join(folder, name), 0o666);
    const broker = await startBroker([`server.data_dir=${folder}`]);
    expect(modeOf(folder)).toBe('700');
    for (const name of ['spool.keys', 'spool.mdb', 'spool.mdb-lock'])
      expect(`${name} ${modeOf(join(folder, name))}`).toBe(`${name} 600`);
    await broker.stop();
  });

  test('a directory that others use is refused, not taken from them', async () => {
    const folder = join(temporaryFolder(), 'shared');
    mkdirSync(folder, { mode: 0o777 });
    writeFileSync(join(folder, 'somebody-elses'), '');
    await expect(startBroker([`server.data_dir=${folder}`])).rejects.toThrow(/others may enter/);
    expect(modeOf(folder)).toBe('777');
  });

  test('a password file that is made, or changed, is its owner’s alone', async () => {
    const path = join(temporaryFolder(), 'passwords');
    await rewritePasswordFile(path, (text) => `${text}ada:x\n`);
    expect(modeOf(path)).toBe('600');
  });
});

describe('secrets that others can read are told of at start', async () => {
  async function warningsOf(...set: string[]): Promise<string[]> {
    const warnings: string[] = [];
    const broker = await startBroker(set, { log: { ...silentLog, warn: (text) => void warnings.push(text) } });
    await broker.stop();
    return warnings;
  }

  test.each<[string, string, string]>([
    ['a password file', 'auth.password_file', PASSWORDS],
    ['a master key', 'spool.key_file', 'ab'.repeat(32)],
    ['a key of pseudonyms', 'admin.pseudonym_key_file', 'ab'.repeat(32)],
  ])('%s', async (_what, option, text) => {
    const folder = `server.data_dir=${temporaryFolder()}`;
    const open = temporaryFile(text);
    chmodSync(open, 0o644);
    const warnings = await warningsOf(folder, `${option}=${open}`);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(`${open}: everybody on this machine can read or change`);
    chmodSync(open, 0o600);
    expect(await warningsOf(folder, `${option}=${open}`)).toEqual([]);
  });

  test('an ACL file that others can change, not one that they can read', async () => {
    const acl = temporaryFile('topic readwrite #\n');
    chmodSync(acl, 0o644);
    expect(await warningsOf(`auth.acl_file=${acl}`)).toEqual([]);
    chmodSync(acl, 0o666);
    expect(await warningsOf(`auth.acl_file=${acl}`)).toEqual([expect.stringContaining('can change the ACL file')]);
  });
});
