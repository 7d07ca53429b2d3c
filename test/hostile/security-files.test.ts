// A password or ACL file that cannot be used refuses the start, with the file and where there is one the line. It never means that
// everything is allowed. Mosquitto 2.0.11 starts with an empty ACL file and then denies everything (PUBACK 0x87); here an empty file is
// taken for the accident that it most likely is.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { systemRandom } from '../../engine/random.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import { startBroker } from '../broker.ts';
import { Child } from '../end-to-end/child.ts';
import { lethed } from '../end-to-end/served.ts';
import { directory, temporaryFile } from '../security/temporary.ts';

const asNobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
const nobodyRuns = spawnSync('setpriv', [...asNobody, process.execPath, LETHE_MAIN, 'version']).status === 0;
const good = await hashPassword('secret', systemRandom, { format: 'mosquitto', iterations: 10 });

const missing = join(directory, 'no-such-file');
const folder = join(directory, 'a-folder');
mkdirSync(folder);
const dangling = join(directory, 'dangling');
symlinkSync(missing, dangling);
const loop = join(directory, 'loop');
symlinkSync(loop, loop);

const UNUSABLE: readonly (readonly [what: string, path: string, says: RegExp])[] = [
  ['missing', missing, /there is no such file/],
  ['below a file', join(temporaryFile('x'), 'below'), /there is no such file/],
  ['a directory', folder, /not a regular file/],
  ['a device', '/dev/null', /not a regular file/],
  ['a dangling link', dangling, /there is no such file/],
  ['a link to itself', loop, /could not be read \(ELOOP\)/],
  ['not UTF-8', temporaryFile(Buffer.from([0x61, 0xff, 0xfe, 0x0a])), /not UTF-8/],
  ['with a NUL byte', temporaryFile('topic read a\0b\n'), /NUL/],
];

const BROKEN_ACL: readonly (readonly [what: string, text: string, line: number | null, says: RegExp])[] = [
  ['empty', '', null, /no rule/],
  ['blank lines and comments alone', '\n# topic readwrite #\n\n', null, /no rule/],
  ['a user without rules', 'user alice\n', null, /no rule/],
  ['an unknown word', 'topic read a\nallow all\n', 2, /unknown word/],
  ['a word that goes on', 'topicread a\n', 1, /unknown word/],
  ['an unknown access', 'topic readwrite a\ntopic admin #\n', 2, /read, write, readwrite or deny/],
  ['an access without a filter', 'topic read\n', 1, /without a topic filter/],
  ['a rule without anything', 'topic\n', 1, /filter is missing/],
  ['a broken filter', 'topic read a\n\ntopic read a/#/b\n', 3, /not a valid topic filter/],
  ['a broken pattern', 'pattern write dev/%c+/x\n', 1, /not a valid topic filter/],
  ['a user line without a name', 'user\ntopic read #\n', 1, /user name is missing/],
  ['another program’s file', '<?xml version="1.0"?>\n<acl/>\n', 1, /unknown word/],
];

const BROKEN_PASSWORDS: readonly (readonly [what: string, text: string, line: number | null, says: RegExp])[] = [
  ['empty', '', null, /no user/],
  ['blank lines and comments alone', `\n# alice:${good}\n\n`, null, /no user/],
  ['no colon', `alice:${good}\nbob\n`, 2, /no colon/],
  ['no name', `:${good}\n`, 1, /name is missing/],
  ['no hash', `alice:${good}\nbob:\n`, 2, /hash is missing/],
  ['plain text', 'alice:secret\n', 1, /plain text/],
  ['a hash of another kind', 'alice:$2b$10$abcdefghijklmnopqrstuv\n', 1, /unknown kind/],
  ['a hash that is cut short', `alice:${good.slice(0, -9)}\n`, 1, /broken or cut short/],
  ['no iterations', `alice:${good.replace('$7$10$', '$7$0$')}\n`, 1, /iterations/],
  ['the same user twice', `alice:${good}\nbob:${good}\nalice:${good}\n`, 3, /line above/],
];

/** The broker does not start, and says in one line which file is to blame, and where. */
async function refused(option: 'acl_file' | 'password_file', path: string, line: number | null, says: RegExp): Promise<void> {
  const error = await startBroker([`auth.${option}=${path}`]).then(
    async (broker) => {
      await broker.stop();
      return new Error('it started');
    },
    (reason: unknown) => reason as Error,
  );
  expect(error.message.startsWith(line === null ? `${path}: ` : `${path}:${line}: `), error.message).toBe(true);
  expect(error.message).toMatch(says);
  expect(error.message).not.toContain('\n');
  expect(error.message, 'no name, hash or topic of the file').not.toMatch(/alice|secret|\$7\$10/);
}

describe.each(['acl_file', 'password_file'] as const)('auth.%s', (option) => {
  test.each(UNUSABLE)('%s', (_what, path, says) => refused(option, path, null, says));
});

describe('an ACL file', () => {
  test.each(BROKEN_ACL)('%s', (_what, text, line, says) => refused('acl_file', temporaryFile(text), line, says));
});

describe('a password file', () => {
  test.each(BROKEN_PASSWORDS)('%s', (_what, text, line, says) => refused('password_file', temporaryFile(text), line, says));
});

describe('the command line', () => {
  const toml = (option: string, path: string) => temporaryFile(`[auth]\n${option} = '${path}'\n`);
  const broken = temporaryFile('topic read a\nallow all\n');

  test.each([
    ['acl_file', broken, `${broken}:2: `],
    ['password_file', missing, `${missing}: `],
  ])('`lethe serve` with a bad %s ends with exit code 2 before it listens', async (option, path, start) => {
    const child = await lethed(['serve', '--ready-json', '--port', '0', '--ws-port', '0', '--config', toml(option, path)]);
    expect({ exit: child.exit, stdout: child.stdout }).toEqual({ exit: { code: 2, signal: null }, stdout: '' });
    expect(child.stderr.startsWith(`lethe: ${start}`), child.stderr).toBe(true);
    expect(child.stderr.trim().split('\n')).toHaveLength(1);
  });

  test('`lethe check-config` says the same', async () => {
    const child = await lethed(['check-config', toml('acl_file', broken)]);
    expect({ exit: child.exit, stdout: child.stdout }).toEqual({ exit: { code: 2, signal: null }, stdout: '' });
    expect(child.stderr.startsWith(`${broken}:2: `), child.stderr).toBe(true);
  });

  // Root may read everything, so the broker runs as nobody where it can.
  test.skipIf(!nobodyRuns)('a file that may not be read', async () => {
    const path = temporaryFile('topic readwrite #\n', 0o600);
    const config = temporaryFile(`[auth]\nacl_file = '${path}'\n`, 0o644);
    chmodSync(directory, 0o755);
    const child = new Child('setpriv', [...asNobody, process.execPath, LETHE_MAIN, 'serve', '--ready-json', '--config', config]);
    await child.exited;
    expect({ exit: child.exit, stdout: child.stdout }).toEqual({ exit: { code: 2, signal: null }, stdout: '' });
    expect(child.stderr.trim()).toBe(`lethe: ${path}: the file may not be read by this process; correct its owner or mode`);
  });
});
