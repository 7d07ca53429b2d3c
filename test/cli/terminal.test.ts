// A terminal that goes away while a program runs in it: what the program is at is brought to an end in order, and nothing aborts.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Child } from '../end-to-end/child.ts';
import { commandLine, root, until } from './command-line.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-terminal-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface InTerminal {
  /** `script` (Debian's bsdutils, always there), whose end is the terminal's. */
  readonly terminal: Child;
  /** What a shell says of how the command ended. */
  ended(): Promise<number>;
}

function inTerminal(name: string, args: readonly string[]): InTerminal {
  const file = join(folder, `${name}.code`);
  const command = commandLine(args).map((word) => `'${word}'`);
  // The shell outlives the terminal, to tell; a trap is not handed down.
  const line = `trap : HUP; ${command.join(' ')}; echo $? >'${file}.new'; mv '${file}.new' '${file}'`;
  return {
    terminal: new Child('script', ['-qefc', line, '/dev/null'], { cwd: root }),
    async ended() {
      await until('the command has ended', () => existsSync(file));
      return Number(readFileSync(file, 'utf8'));
    },
  };
}

/** By its own exit, or by SIGHUP where Node cannot exit without its terminal; not by SIGABRT or SIGSEGV. */
const IN_ORDER = (code: number) => [code, 129];

test('a self-test takes away what it has made', async () => {
  const data = join(folder, 'tested');
  mkdirSync(data);
  const { terminal, ended } = inTerminal('self-test', ['self-test', '--data', data]);
  await terminal.until('it is at work', () => terminal.stdout.includes('disk flush'));
  terminal.kill('SIGKILL');
  // On a machine that is busy it may have come to its end.
  expect([...IN_ORDER(143), 0]).toContain(await ended());
  expect(readdirSync(data)).toEqual([]);
});

test('a broker serves on, and stops in order', async () => {
  const serve = [
    'serve',
    '--ready-json',
    '--port',
    '0',
    '--ws-port',
    '0',
    '--data',
    join(folder, 'data'),
    '--log-level',
    'debug',
  ];
  const { terminal, ended } = inTerminal('serve', serve);
  await terminal.until('it is ready', () => terminal.stdout.includes('"ready"'));
  const { pid, tcp } = JSON.parse(/\{"ready".*\}/.exec(terminal.stdout)![0]) as { pid: number; tcp: number };
  terminal.kill('SIGKILL');
  await terminal.exited;
  // Hanging up is SIGHUP, a reload, of which it writes a line that nobody reads.
  const pub = new Child(
    process.execPath,
    commandLine(['pub', '-p', String(tcp), '-t', 'still', '-q', '1', '-m', 'here']).slice(1),
  );
  expect(await pub.ended(), pub.stderr).toEqual({ code: 0, signal: null });
  process.kill(pid, 'SIGTERM');
  expect(IN_ORDER(0)).toContain(await ended());
});
