// The file alone, on a machine without Node: it serves real clients there, finds what is wrong itself, and is killed again and again without losing what it has acknowledged.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../cli/command-line.ts';
import { Campaign } from '../crash/campaign.ts';
import { Child } from '../end-to-end/child.ts';
import { mosquittoPub, mosquittoSub } from '../end-to-end/mosquitto.ts';
import { BUNDLE, MAKE_MS_MAX, makeBundle } from './bundle-file.ts';
import { CleanRoot, MAKE_ROOT_MS_MAX, mountedForRoots, noCleanRoot } from './clean-root.ts';

const ROUNDS = 20;
const VIOLATION_CHARACTERS_MAX = 1_000;
const LETHE = '/usr/bin/lethe';
const why = noCleanRoot();

describe.skipIf(why !== null)(`on a machine without Node${why === null ? '' : ` (not here: ${why})`}`, () => {
  let root: CleanRoot;
  beforeAll(() => {
    makeBundle();
    root = CleanRoot.make();
    root.bring(BUNDLE, LETHE);
  }, MAKE_MS_MAX + MAKE_ROOT_MS_MAX);
  afterAll(() => {
    expect(mountedForRoots(), 'nothing stays mounted').toEqual([]);
    root?.remove();
  });

  const inside = (...args: readonly string[]): Child => {
    const [command, ...before] = root.enter;
    return new Child(command, [...before, LETHE, ...args]);
  };

  /** A broker after other mounts, which are gone with it. What it has unpacked before is not there. */
  const started = (mounts: string): Child => {
    for (const folder of root.unpacked()) rmSync(folder, { recursive: true });
    const [command, ...before] = root.enterAfter(mounts);
    return new Child(command, [...before, LETHE, 'serve', '--port', '0', '--ws-port', '0', '--ready-json']);
  };

  test('there is no Node in it', () => {
    expect(root.find('node')).toEqual([]);
    expect(root.find('*.node')).toEqual([]);
    expect(spawnSync('chroot', [root.folder, 'node', '--version'], { encoding: 'utf8' }).stderr).toContain('No such file');
  });

  test('it serves MQTT.js, mosquitto and its own clients', async () => {
    const broker = inside('serve', '--port', '0', '--ws-port', '0', '--data', '/var/lib/lethe', '--ready-json');
    await broker.until('it is ready', () => broker.stdout.includes('\n'));
    const ready = JSON.parse(broker.stdout) as { pid: number; tcp: number; ws: number };
    expect(ready.pid, 'what is started is the broker itself').toBe(broker.pid);
    const heard: string[] = [];
    const client = await connectAsync(`ws://127.0.0.1:${ready.ws}/mqtt`, { protocolVersion: 5 });
    client.on('message', (topic, payload) => heard.push(`${topic} ${payload}`));
    await client.subscribeAsync('clean/#', { qos: 2 });
    const printed = await mosquittoSub({ port: ready.tcp }, '-t', 'clean/#', '-q', '1');
    await mosquittoPub({ port: ready.tcp }, ['-t', 'clean/mosquitto', '-m', 'one', '-q', '2']);
    const own = inside('pub', '-h', '127.0.0.1', '-p', String(ready.tcp), '-t', 'clean/own', '-m', 'two', '-q', '1');
    expect(await own.exited, own.stderr).toEqual({ code: 0, signal: null });
    await client.publishAsync('clean/js', 'three', { qos: 1 });
    await printed.until('all three have come', () => printed.payloads.length === 3);
    expect(printed.payloads).toEqual(['one', 'two', 'three']);
    await until('MQTT.js has heard them', () => heard.length === 3);
    expect(heard).toEqual(['clean/mosquitto one', 'clean/own two', 'clean/js three']);
    await client.endAsync();
    broker.kill('SIGTERM');
    expect(await broker.exited, broker.stderr).toEqual({ code: 0, signal: null });
  });

  test('its self-test passes, with a network of its own that has only loopback', async () => {
    const data = '/var/lib/self-tested';
    const [command, ...before] = root.enterAlone;
    const child = new Child(command, [...before, LETHE, 'self-test', '--data', data, '--json']);
    expect((await child.ended()).code, `${child.stdout}${child.stderr}`).toBe(0);
    const { ok, checks } = JSON.parse(child.stdout) as { ok: boolean; checks: { name: string; outcome: string }[] };
    expect(ok).toBe(true);
    const outcomes = Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome]));
    for (const name of ['native addons', 'publish and receive', 'kill and start', 'recover', 'forget', 'stop'])
      expect(outcomes[name], name).toBe('pass');
    expect(existsSync(join(root.folder, data)), 'it has left nothing behind').toBe(false);
  });

  test('what it unpacked is one private folder', () => {
    const found = root.unpacked();
    expect(found).toHaveLength(1);
    expect(statSync(found[0]!).mode & 0o7777).toBe(0o700);
    expect(readdirSync(found[0]!).sort()).toEqual(['lmdb.node', 'uws.node']);
  });

  test('a root that cannot be written, and a folder for temporary files without programs: it goes on to the next place', async () => {
    const broker = started(
      'mount -o bind,ro "$0" "$0" && mount -t tmpfs -o noexec none "$0/tmp" && mount -t tmpfs none "$0/run"',
    );
    await broker.until('it is ready', () => broker.stdout.includes('\n'));
    expect(broker.stderr).toBe('');
    broker.kill('SIGTERM');
    expect(await broker.exited).toEqual({ code: 0, signal: null });
  });

  test('where there is no place at all it says so in one line, with the way out', async () => {
    const none = ['/tmp', '/run', '/dev/shm'].map((place) => `mount -t tmpfs -o noexec none "$0${place}"`);
    const broker = started(['mount -o bind,ro "$0" "$0"', ...none].join(' && '));
    expect(await broker.exited).toEqual({ code: 2, signal: null });
    expect(broker.stderr.trim().split('\n')).toHaveLength(1);
    expect(broker.stderr).toContain('/tmp is mounted noexec');
    expect(broker.stderr).toMatch(/\/var\/cache.*read-only file system/i);
    expect(broker.stderr).toContain('LETHE_RUNTIME_DIR');
  });

  test('kill -9 at any moment loses nothing that was acknowledged', async () => {
    const seed = Number(process.env['LETHE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    const folder = join(root.folder, 'crash');
    mkdirSync(folder);
    const program = { command: [...root.enter, LETHE], folder: '/crash' } as const;
    const campaign = new Campaign({ folder, seed, rounds: ROUNDS, program });
    const violations = (await campaign.run()).map((violation) => violation.slice(0, VIOLATION_CHARACTERS_MAX));
    expect(violations.join('\n'), `seed: LETHE_SEED=${seed}`).toBe('');
    expect(campaign.round).toBe(ROUNDS);
    expect(campaign.ledger.delivered).toBeGreaterThan(campaign.ledger.published);
  }, 240_000);
});
