// No network when the broker starts: no route, no name server, even the loopback interface down. It starts, serves whom it can once loopback is there, and refuses those whom only somebody far away could let in.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { commandLine, shell } from '../cli/command-line.ts';
import { Child } from '../end-to-end/child.ts';
import type { Ready } from '../end-to-end/served.ts';
import { temporaryFile } from '../security/temporary.ts';

const root = mkdtempSync(join(tmpdir(), 'lethe-network-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A network of its own, in which nothing is up. */
const isAllowed = spawnSync('unshare', ['-n', 'true']).status === 0;

async function serveAlone(name: string, toml: string) {
  const config = temporaryFile(toml);
  const serve = ['serve', '--ready-json', '--port', '0', '--ws-port', '0', '--data', join(root, name), '--config', config];
  const child = shell('exec unshare -n "$@"', serve);
  await child.until('the broker is ready', () => child.stdout.includes('\n'));
  const { tcp } = JSON.parse(child.stdout) as Required<Ready>;
  const inside = (...command: string[]) => ['-t', String(child.pid), '-n', ...command];
  return {
    child,
    bringUp: () => execFileSync('nsenter', inside('ip', 'link', 'set', 'lo', 'up')),
    /** Runs one of the clients in the same network. */
    async client(...args: string[]): Promise<Child> {
      const client = new Child('nsenter', inside(...commandLine([...args, '-p', String(tcp)])));
      await client.ended();
      return client;
    },
    async stop() {
      child.kill('SIGTERM');
      expect(await child.ended()).toEqual({ code: 0, signal: null });
    },
  };
}

describe.skipIf(!isAllowed)('without a network', () => {
  test('it starts, and serves as soon as there is a loopback interface', async () => {
    const broker = await serveAlone('plain', '');
    const early = await broker.client('pub', '-t', 'a', '-m', 'early', '-q', '1');
    expect(early.exit).toEqual({ code: 3, signal: null });
    expect(early.stderr).toContain('ENETUNREACH');
    broker.bringUp();
    const late = await broker.client('pub', '-t', 'a', '-m', 'late', '-q', '1', '-r');
    expect(late.exit, late.stderr).toEqual({ code: 0, signal: null });
    const received = await broker.client('sub', '-t', 'a', '-C', '1');
    expect(received.stdout).toBe('late\n');
    expect(broker.child.stderr).toBe('');
    await broker.stop();
  });

  test('keys of tokens and a callout behind names that nobody resolves keep no broker from starting: their clients are refused', async () => {
    const [hash, acl] = [temporaryFile(''), temporaryFile('user ada\ntopic readwrite #\n')];
    const made = new Child(process.execPath, [...commandLine(['passwd', '-b', hash, 'ada', 'right']).slice(1)]);
    await made.ended();
    const broker = await serveAlone(
      'names',
      `[auth]\npassword_file = '${hash}'\nacl_file = '${acl}'\njwks_url = 'https://keys.example.org/jwks'\nhttp_url = 'https://who.example.org/'\nhttp_timeout_ms = 500\n`,
    );
    broker.bringUp();
    const known = await broker.client('pub', '-t', 'a', '-m', 'x', '-q', '1', '-V', '5', '-u', 'ada', '-P', 'right');
    expect(known.exit, known.stderr).toEqual({ code: 0, signal: null });
    const other = await broker.client('pub', '-t', 'a', '-m', 'x', '-q', '1', '-V', '5', '-u', 'eve', '-P', 'guess');
    expect(other.exit).toEqual({ code: 3, signal: null });
    expect(other.stderr).toContain('refused the connection');
    expect(broker.child.exit).toBeNull();
    await broker.stop();
  });

  test('a bridge to a name that nobody resolves keeps no broker from starting: it tries again, and clients are served', async () => {
    const bridge =
      "[[bridge]]\nname = 'cloud'\naddresses = ['mqtt.example.org:8883']\nremote_clientid = 'site-7'\ntopics = ['a out 1']\n";
    const broker = await serveAlone('bridge', bridge);
    broker.bringUp();
    const client = await broker.client('pub', '-t', 'a', '-m', 'kept', '-q', '1');
    expect(client.exit, client.stderr).toEqual({ code: 0, signal: null });
    const held = await broker.client('sub', '-t', '$SYS/broker/uptime', '-C', '1');
    expect(held.exit, held.stderr).toEqual({ code: 0, signal: null });
    expect(broker.child.exit).toBeNull();
    await broker.stop();
  });

  test('a name to listen on that nobody resolves is refused in one line', async () => {
    const config = temporaryFile(
      "[[listener]]\nname = 'tcp'\ntransport = 'tcp'\nhost = 'broker.example.org'\nport = 0\ninsecure = true\nanonymous = true\n",
    );
    const child = shell('exec unshare -n "$@"', ['serve', '--config', config]);
    expect(await child.ended()).toEqual({ code: 1, signal: null });
    expect(child.stderr).toBe('lethe: listener "tcp": host broker.example.org cannot be resolved; set host to an address\n');
  });
});
