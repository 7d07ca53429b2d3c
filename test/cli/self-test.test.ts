// `lethe self-test` as a person runs it: it passes on a good machine, names the right thing on a bad one, and leaves nothing behind in either case.
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { CheckReport } from '../../engine/cli/self-test/check.ts';
import { ChildBroker } from '../../engine/cli/self-test/child-broker.ts';
import { FakeTime, YEAR_S } from '../edge/fake-time.ts';
import type { Child } from '../end-to-end/child.ts';
import { run, shell, start, until } from './command-line.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-tested-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Report {
  readonly ok: boolean;
  readonly checks: readonly CheckReport[];
}

/** A directory of its own to test. */
function place(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

/** Names of the checks that failed, and what each says. */
function failuresOf(child: Child): Readonly<Record<string, string>> {
  expect(child.stderr).toBe('');
  const { ok, checks } = JSON.parse(child.stdout) as Report;
  const failed = checks.filter(({ outcome }) => outcome === 'FAIL');
  expect(child.exit).toEqual({ code: ok ? 0 : 1, signal: null });
  return Object.fromEntries(failed.map(({ name, detail, advice }) => [name, `${detail} -> ${advice}`]));
}

/** Processes that work below a folder. */
function processesIn(path: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`).startsWith(path);
    } catch {
      return false; // it has ended, or is nobody's
    }
  });
}

describe('on this machine', () => {
  test('it passes, says so in words, and leaves nothing behind', async () => {
    const data = place('good');
    const child = await run(['self-test', '--data', data]);
    expect(child.exit, child.stdout + child.stderr).toEqual({ code: 0, signal: null });
    const lines = child.stdout.trim().split('\n');
    expect(lines[0]).toMatch(/^lethe \S+ self-test$/);
    expect(lines.at(-1)).toMatch(/^PASS: this machine runs Lethe \(16 checks in \d+\.\d s\)$/);
    expect(lines.slice(1, -1).filter((line) => !line.startsWith('pass '))).toEqual([]);
    expect(readdirSync(data)).toEqual([]);
    expect(processesIn(folder)).toEqual([]);
  });

  test('a data directory that is not there yet is not made', async () => {
    const near = place('near');
    const child = await run(['self-test', '--json', '--data', join(near, 'not', 'yet')]);
    expect(failuresOf(child)).toEqual({});
    expect(readdirSync(near)).toEqual([]);
  });

  test.each([
    ['SIGINT', 130, 'queue for who is away'],
    ['SIGTERM', 143, 'kill and start'],
    ['SIGHUP', 143, 'disk flush'],
    ['SIGQUIT', 143, 'publish and receive'],
  ] as const)('interrupted by %s it leaves nothing behind', async (signal, code, after) => {
    const data = place(signal);
    const child = start(['self-test', '--data', data]);
    await child.until(`"${after}" has passed`, () => child.stdout.includes(after));
    child.kill(signal);
    expect(await child.ended()).toEqual({ code, signal: null });
    expect(readdirSync(data)).toEqual([]);
    expect(processesIn(folder)).toEqual([]);
  });
});

test('killed by SIGKILL it leaves no broker, and its folder to the next one, which leaves alone what is not of that kind', async () => {
  const data = place('killed');
  const child = start(['self-test', '--data', data]);
  await child.until('a broker is at work', () => child.stdout.includes('queue for who is away'));
  child.kill('SIGKILL');
  await child.ended();
  await until('its broker has ended too', () => processesIn(data).length === 0);
  expect(readdirSync(data)).toHaveLength(1);
  // One in which somebody works, one that may be just being made, one that is open to others, one of another name.
  const others = ['used', 'new', 'open'].map((name) => `.lethe-self-test-${name}`);
  for (const name of [...others, 'lethe']) mkdirSync(join(data, name), { mode: name.endsWith('open') ? 0o755 : 0o700 });
  const user = createServer().listen(join(data, '.lethe-self-test-used', 'lethe.sock'));
  await once(user, 'listening');
  const next = await run(['self-test', '--json', '--data', data]);
  user.close();
  expect(failuresOf(next)).toEqual({});
  expect(readdirSync(data).sort()).toEqual([...others, 'lethe'].sort());
});

describe('on a bad one it names', () => {
  const small = place('small');
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', small]).status === 0;
  afterAll(() => {
    if (isMounted) execFileSync('umount', ['--lazy', small]);
  });

  test.skipIf(!isMounted)('a full disk', async () => {
    const failures = failuresOf(await run(['self-test', '--json', '--data', small]));
    expect(Object.keys(failures)).toEqual(['disk space', 'start']);
    expect(failures['disk space']).toMatch(/^0 MiB free; .* -> free space on this disk/);
    expect(failures['start']).toMatch(/the disk is full.* -> free space on this disk/);
    expect(readdirSync(small)).toEqual([]);
  });

  test.skipIf(!isMounted)('a disk that is read-only', async () => {
    execFileSync('mount', ['-o', 'remount,ro', small]);
    const child = await run(['self-test', '--json', '--data', small]);
    execFileSync('mount', ['-o', 'remount,rw', small]);
    expect(failuresOf(child)).toEqual({
      folder: `${small} is read-only (EROFS) -> mount the disk for writing, or give --data on another one`,
    });
    const { checks } = JSON.parse(child.stdout) as Report;
    expect(checks.find(({ name }) => name === 'stop')).toMatchObject({ outcome: 'not run', detail: 'because "folder" failed' });
    expect(checks.find(({ name }) => name === 'native addons')).toMatchObject({ outcome: 'pass' });
  });

  test('too few descriptors', async () => {
    const child = shell(`ulimit -n 100; exec "$@" --json --data ${place('few')}`, ['self-test']);
    await child.ended();
    const failures = failuresOf(child);
    expect(Object.keys(failures)).toEqual(['descriptors']);
    expect(failures['descriptors']).toMatch(/^100 may be open at one time -> raise the limit to 256 or more \(LimitNOFILE=/);
  });

  test('a clock from before the program was made', async () => {
    const time = new FakeTime(-55 * YEAR_S);
    const child = await run(['self-test', '--json', '--data', place('old')], { env: time.env });
    time.remove();
    const failures = failuresOf(child);
    expect(Object.keys(failures)).toEqual(['clock']);
    expect(failures['clock']).toMatch(/^it says 19\d\d-\d\d-\d\dT\S+, before this program was made -> set the clock/);
  });

  test('a port that somebody has', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const failures = failuresOf(await run(['self-test', '--json', '--data', place('port'), '--port', String(port)]));
    other.close();
    expect(Object.keys(failures)).toEqual(['start']);
    expect(failures['start']).toContain(`port ${port} of 127.0.0.1 is in use`);
    expect(failures['start']).toMatch(/-> stop the program that has the port, or give another --port or --ws-port$/);
  });

  test('a broker that does not come up, with its last words', async () => {
    const words = `process.stderr.write('first\\nthis is what is wrong\\n'); process.exit(7);`;
    const broken = new ChildBroker(place('broken'), { tcp: 0, ws: 0 }, [process.execPath, '-e', words, '--']);
    await expect(broken.start()).rejects.toThrow(
      'the broker does not come up: it ended with code 7; it says: this is what is wrong',
    );
    const missing = new ChildBroker(place('missing'), { tcp: 0, ws: 0 }, ['/nowhere/lethe']);
    await expect(missing.start()).rejects.toThrow(
      'the broker does not come up: it cannot be started: spawn /nowhere/lethe ENOENT',
    );
    await broken.end();
    await expect(broken.start()).rejects.toThrow('the test is over');
  });

  const netless = spawnSync('unshare', ['-n', 'true']).status === 0;
  test.skipIf(!netless)('a loopback interface that is down', async () => {
    const child = shell(`exec unshare -n "$@" --json --data ${place('down')}`, ['self-test']);
    await child.ended();
    const failures = failuresOf(child);
    expect(Object.keys(failures)).toEqual(['publish and receive']);
    expect(failures['publish and receive']).toMatch(/ENETUNREACH.* -> bring the loopback interface up: ip link set lo up$/);
  });
});
