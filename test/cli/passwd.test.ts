// `lethe passwd`: its files serve Mosquitto's broker and its own, and Mosquitto's files serve it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadPasswordFile, Verdict } from '../../engine/security/password-file.ts';
import { startBroker } from '../broker.ts';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { commandLine, run, succeed, unique, useMosquitto } from './command-line.ts';

/** A password in a test need not be dear. */
const QUICK = ['--format', 'mosquitto', '-I', '10'];

function newPath(): string {
  return `${temporaryFile('')}.${unique('passwords')}`;
}

function verdict(path: string, user: string, password: string): Promise<Verdict> {
  return loadPasswordFile(path).verify(user, new TextEncoder().encode(password));
}

async function failure(args: readonly string[], input = ''): Promise<{ code: number | null | undefined; stderr: string }> {
  const { exit, stderr, stdout } = await run(['passwd', ...args], { input });
  expect(stdout).toBe('');
  return { code: exit?.code, stderr };
}

test('-c makes a file for its owner alone; more users, new passwords and deletions change one line each', async () => {
  const path = newPath();
  await succeed(['passwd', ...QUICK, '-c', path, 'ada'], { input: 'one\n' });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await succeed(['passwd', ...QUICK, '-b', path, 'grace', 'two words ü']);
  await succeed(['passwd', ...QUICK, path, 'bob'], { input: 'three\nthree\n' });
  const before = readFileSync(path, 'utf8').split('\n');
  await succeed(['passwd', ...QUICK, path, 'grace'], { input: 'new' });
  const after = readFileSync(path, 'utf8').split('\n');
  expect([after[0], after[2], after[3]]).toEqual([before[0], before[2], '']);
  expect(after[1]).toMatch(/^grace:\$7\$10\$/);
  expect(await verdict(path, 'ada', 'one')).toBe(Verdict.OK);
  expect(await verdict(path, 'grace', 'new')).toBe(Verdict.OK);
  expect(await verdict(path, 'grace', 'two words ü')).toBe(Verdict.DENIED);
  expect(await verdict(path, 'bob', 'three')).toBe(Verdict.OK);
  await succeed(['passwd', '-D', path, 'ada']);
  expect(readFileSync(path, 'utf8').split('\n')).toEqual(after.slice(1));
});

test('-c replaces a file that exists, and says so', async () => {
  const path = temporaryFile('old:line\n');
  const { exit, stderr } = await run(['passwd', ...QUICK, '-c', '-b', path, 'ada', 'x']);
  expect([exit?.code, stderr]).toEqual([0, `lethe passwd: ${path} is replaced, with all its users\n`]);
  expect(readFileSync(path, 'utf8')).toMatch(/^ada:.*\n$/);
});

test('-U hashes the passwords of a plain file', async () => {
  const path = temporaryFile('# users\nada:one\ngrace:two\n');
  await succeed(['passwd', ...QUICK, '-U', path]);
  expect(readFileSync(path, 'utf8')).toMatch(/^# users\nada:\$7\$10\$\S+\ngrace:\$7\$10\$\S+\n$/);
  expect(await verdict(path, 'grace', 'two')).toBe(Verdict.OK);
});

test('passwords are hashed with scrypt, or become keys of SCRAM; each line keeps its kind', async () => {
  const path = newPath();
  await succeed(['passwd', '-c', '-b', path, 'ada', 'one']);
  await succeed(['passwd', '--format', 'scram', '-I', '4096', '-b', path, 'bob', 'two']);
  const scrypt = '\\$scrypt\\$ln=15,r=8,p=3\\$\\S+';
  const scram = '\\$scram-sha-256\\$4096\\$\\S+';
  expect(readFileSync(path, 'utf8')).toMatch(new RegExp(`^ada:${scrypt}\nbob:${scram}\n$`));
  expect(await verdict(path, 'ada', 'one')).toBe(Verdict.OK);
  expect(await verdict(path, 'bob', 'two')).toBe(Verdict.OK);
  expect(await verdict(path, 'bob', 'one')).toBe(Verdict.DENIED);
});

test('without -I the hash has the rounds that are recommended', async () => {
  const path = newPath();
  await succeed(['passwd', '-H', 'sha512-pbkdf2', '-c', '-b', path, 'ada', 'x']);
  expect(readFileSync(path, 'utf8')).toMatch(/^ada:\$7\$210000\$/);
});

describe('refusals leave the file as it is', () => {
  const usage: readonly (readonly [args: (path: string) => string[], message: string])[] = [
    [() => [], "missing required argument 'file'"],
    [(path) => [path], 'the user name is missing: lethe passwd FILE USER'],
    [(path) => [path, 'a', 'b'], 'a password in the arguments needs -b'],
    [(path) => ['-b', path, 'a'], 'the password is missing: lethe passwd -b FILE USER PASSWORD'],
    [(path) => ['-b', path, 'a', ''], 'the password is empty'],
    [(path) => ['-b', path, 'a:b', 'x'], 'a user name is not empty, does not begin with # and has no colon'],
    [(path) => ['-b', path, '', 'x'], 'a user name is not empty'],
    [(path) => ['-c', '-D', path, 'a'], '-c and -D do not go together'],
    [(path) => ['-b', '-D', path, 'a'], '-b does not go with -D'],
    [(path) => ['-U', path, 'a'], '-U changes the whole file: leave out the user name'],
    [(path) => ['--format', 'bcrypt', path, 'a'], 'Allowed choices are scrypt, mosquitto, scram'],
    [(path) => ['-I', '1000', path, 'a'], '-I is for --format mosquitto and --format scram'],
    [(path) => ['--format', 'scram', '-I', '4095', path, 'a'], 'SCRAM-SHA-256 has at least 4096 rounds'],
    [(path) => ['--format', 'scram', '-H', 'sha512-pbkdf2', path, 'a'], '-H does not go with --format scram'],
    [(path) => ['-H', 'sha512', path, 'a'], '-H sha512: only sha512-pbkdf2 is written'],
    [(path) => ['-I', '0', path, 'a'], 'whole number from 1 to 10000000'],
  ];

  test('wrong arguments end with 2', async () => {
    const path = temporaryFile('ada:line\n');
    for (const [args, message] of usage) {
      const { code, stderr } = await failure(args(path), 'x\n');
      expect(stderr).toContain(message);
      expect(code, message).toBe(2);
    }
    expect(readFileSync(path, 'utf8')).toBe('ada:line\n');
  });

  test('what goes wrong otherwise ends with 1', async () => {
    const path = temporaryFile('ada:line\n');
    const absent = newPath();
    for (const [args, input, message] of [
      [['-D', path, 'grace'], '', `${path}: the file has no such user`],
      [[path, 'grace'], '', 'the password is empty'],
      [[path, 'grace'], '\nx\n', 'the password is empty'],
      [[path, 'grace'], 'one\ntwo\n', 'the two passwords differ'],
      [[absent, 'grace'], 'x\n', `${absent} does not exist; give -c to make it`],
      [['-U', absent], '', `${absent} does not exist`],
      [['-c', '-b', '/nowhere/passwords', 'ada', 'x'], '', '/nowhere/passwords: ENOENT'],
      [['-U', temporaryFile('ada\n')], '', 'line 1: the user name or the password is missing'],
    ] as const) {
      const { code, stderr } = await failure(args, input);
      expect(stderr).toContain(message);
      expect(code, message).toBe(1);
    }
    expect(readFileSync(path, 'utf8')).toBe('ada:line\n');
    expect(existsSync(absent)).toBe(false);
  });
});

describe('at a terminal', () => {
  test('the password is asked for twice and not shown; the line can be edited', async () => {
    const path = newPath();
    const { code, shown } = await atTerminal(['-c', path, 'ada'], ['secreX\x7ft ü\r', 'secret ü\r']);
    expect(shown).toBe('Password: \r\nReenter password: \r\n');
    expect(code).toBe(0);
    expect(await verdict(path, 'ada', 'secret ü')).toBe(Verdict.OK);
  });

  test.each([
    ['two that differ', ['one\r', 'two\r'], 'the two passwords differ', 1],
    ['an empty one', ['\r'], 'the password is empty', 1],
    ['Ctrl-C', ['one\r', 'on\x03'], 'no password was given; nothing is changed', 130],
    ['Ctrl-D', ['\x04'], 'no password was given; nothing is changed', 130],
  ])('%s', async (_name, answers, message, expected) => {
    const path = newPath();
    const { code, shown } = await atTerminal(['-c', path, 'ada'], answers);
    expect(shown).toContain(`lethe passwd: ${message}`);
    expect(code).toBe(expected);
    expect(existsSync(path)).toBe(false);
  });

  /** `script` (Debian's bsdutils, always there) gives the command a terminal; each answer is typed when its prompt is there. */
  async function atTerminal(
    args: readonly string[],
    answers: readonly string[],
  ): Promise<{ code: number | null; shown: string }> {
    const command = commandLine(['passwd', ...QUICK, ...args]);
    const child = spawn('script', ['-qefc', command.map((word) => `'${word}'`).join(' '), '/dev/null']);
    let shown = '';
    let typed = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString();
      const asked = shown.split('assword: ').length - 1;
      while (typed < Math.min(asked, answers.length)) child.stdin.write(answers[typed++]!);
    });
    try {
      const [code] = (await once(child, 'close')) as [number | null];
      return { code, shown };
    } finally {
      child.kill('SIGKILL');
    }
  }
});

describe("Mosquitto's programs", () => {
  const path = newPath();
  const mosquitto = useMosquitto(async () => {
    await succeed(['passwd', ...QUICK, '-c', '-b', path, 'ada', 'one ü']);
    await succeed(['passwd', '--format', 'mosquitto', '-b', path, 'grace', 'two']);
    return ['allow_anonymous false', `password_file ${path}`];
  });

  test('mosquitto serves with a file of lethe passwd', async () => {
    const pub = ['pub', ...mosquitto.at, '-t', 'a', '-m', 'x', '-q', '1'];
    await succeed([...pub, '-u', 'ada', '-P', 'one ü']);
    await succeed([...pub, '-u', 'grace', '-P', 'two']);
    expect((await run([...pub, '-u', 'grace', '-P', 'one ü'])).exit?.code).toBe(3);
  });

  test('Lethe serves with a file of mosquitto_passwd', async () => {
    const theirs = newPath();
    mosquittoPasswd('-c', '-b', theirs, 'ada', 'one ü');
    mosquittoPasswd('-H', 'sha512', '-b', theirs, 'grace', 'two');
    const broker = await startBroker([`auth.password_file=${theirs}`]);
    try {
      const pub = ['pub', '-h', '127.0.0.1', '-p', `${broker.tcp}`, '-t', 'a', '-m', 'x', '-q', '1'];
      await succeed([...pub, '-u', 'ada', '-P', 'one ü']);
      await succeed([...pub, '-u', 'grace', '-P', 'two']);
      expect((await run([...pub, '-u', 'ada', '-P', 'two'])).exit?.code).toBe(3);
    } finally {
      await broker.stop();
    }
  });

  test('both change the same file', async () => {
    const shared = newPath();
    await succeed(['passwd', ...QUICK, '-c', '-b', shared, 'ada', 'one']);
    mosquittoPasswd('-b', shared, 'grace', 'two');
    await succeed(['passwd', ...QUICK, '-b', shared, 'bob', 'three']);
    mosquittoPasswd('-D', shared, 'ada');
    expect(await verdict(shared, 'grace', 'two')).toBe(Verdict.OK);
    expect(await verdict(shared, 'bob', 'three')).toBe(Verdict.OK);
    expect(loadPasswordFile(shared).users).toBe(2);
  });
});
