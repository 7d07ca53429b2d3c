// The memory of a broker is closed to who looks from outside: no core file is made of it, one that is forced holds none of it, and SIGUSR1 starts no debugger.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { environmentFor } from '../broker.ts';
import { Child } from '../end-to-end/child.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-core-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Put together at run time, and one by one: the source of this file is in no memory but the test's. */
const canary = (what: string) => ['canary', what, 'b7f1'].join('-');
const CANARIES = ['client', 'user', 'password', 'topic', 'payload', 'property'].map(canary);

/** What is reserved and untouched stands in a core file all the same, as a hole. */
const SMALL = ['--set', 'limits.trie_nodes_max=16384', '--set', 'limits.trie_subscriptions_max=16384'];

/** A broker that may dump core into a folder of its own, with a message in its memory that waits for a client. */
async function brokerWithMessage(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ child: Child; cwd: string }> {
  const cwd = mkdtempSync(join(folder, `${name}-`));
  const command = [process.execPath, LETHE_MAIN, 'serve', '--ready-json', '--port', '0', '--ws-port', '0', ...SMALL, ...args];
  const child = new Child('/bin/sh', ['-c', 'ulimit -c unlimited; exec "$@"', 'sh', ...command], {
    cwd,
    env: { ...environmentFor('serve'), ...env },
  });
  await child.until('the broker is ready', () => child.stdout.includes('\n'));
  const { tcp: port } = JSON.parse(child.stdout) as { tcp: number };
  const session = { clientId: canary('client'), username: canary('user'), password: canary('password'), clean: false };
  const subscriber = await mqttJs({ transport: 'tcp', port, level: 5, ...session, properties: { sessionExpiryInterval: 600 } });
  await subscriber.subscribe(canary('topic'), 1);
  await subscriber.end();
  const publisher = await mqttJs({ transport: 'tcp', port, level: 5 });
  await publisher.publish(canary('topic'), canary('payload'), {
    qos: 1,
    properties: { userProperties: { key: canary('property') } },
  });
  return { child, cwd };
}

/** The core file that a broker leaves when it is aborted; null: none. */
async function coreOf({ child, cwd }: { child: Child; cwd: string }): Promise<string | null> {
  child.kill('SIGABRT');
  await child.ended();
  const core = readdirSync(cwd).find((entry) => entry.startsWith('core'));
  return core === undefined ? null : join(cwd, core);
}

const BLOCK_BYTES = 512;
const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
const isFile = !/[|/]/.test(pattern);

describe.skipIf(!isFile)(
  `core files (this machine's core_pattern is ${pattern}; others than plain names cannot be looked at)`,
  () => {
    test('no core file is made of a broker, also where they are allowed', async () => {
      expect(await coreOf(await brokerWithMessage('closed', []))).toBe(null);
    });

    test('where it cannot be forbidden, the broker says so, and it holds no memory', async () => {
      const broker = await brokerWithMessage('no-prlimit', [], { PATH: '/nowhere' });
      await broker.child.until('it says so', () => broker.child.stderr.includes('forbid core files'));
      const core = (await coreOf(broker))!;
      // Registers of some threads, a list of files and holes.
      expect(statSync(core).blocks * BLOCK_BYTES).toBeLessThan(512 * 1_024);
      rmSync(core);
    });

    test('and with server.core_dumps = true all of it is found in one', async () => {
      const core = (await coreOf(await brokerWithMessage('open', ['--set', 'server.core_dumps=true'])))!;
      // grep reads what would not fit into one string.
      const grep = new Child('grep', ['-aoF', ...CANARIES.flatMap((text) => ['-e', text]), core]);
      await grep.ended();
      rmSync(core);
      const seen = new Set(grep.stdout.split('\n').filter((line) => line !== ''));
      expect([...seen].toSorted()).toEqual(CANARIES.toSorted());
    });
  },
);

test('a core dump is told to hold no memory, and SIGUSR1 starts no debugger', async () => {
  const { child } = await brokerWithMessage('filter', []);
  expect(readFileSync(`/proc/${child.pid}/coredump_filter`, 'utf8').trim()).toBe('00000000');
  child.kill('SIGUSR1');
  await child.until('it says so', () => child.stderr.includes('SIGUSR1 does nothing here'));
  child.kill('SIGTERM');
  expect(await child.ended()).toEqual({ code: 0, signal: null });
  expect(child.stderr).not.toContain('ebugger listening');
});
