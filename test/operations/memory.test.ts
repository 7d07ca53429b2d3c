// The memory of a broker is closed to who looks from outside: a core dump, forced here, holds none of it, and SIGUSR1 starts no debugger.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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
async function brokerWithMessage(name: string, args: readonly string[]): Promise<{ child: Child; cwd: string }> {
  const cwd = mkdtempSync(join(folder, `${name}-`));
  const command = [process.execPath, LETHE_MAIN, 'serve', '--ready-json', '--port', '0', '--ws-port', '0', ...SMALL, ...args];
  const child = new Child('sh', ['-c', 'ulimit -c unlimited; exec "$@"', 'sh', ...command], {
    cwd,
    env: environmentFor('serve'),
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

/** Canaries in the core file that a broker leaves when it is aborted; null: this machine pipes core files elsewhere. */
async function seenInCore(name: string, args: readonly string[]): Promise<readonly string[] | null> {
  const { child, cwd } = await brokerWithMessage(name, args);
  child.kill('SIGABRT');
  await child.ended();
  const core = readdirSync(cwd).find((entry) => entry.startsWith('core'));
  if (core === undefined) return null;
  // grep reads what would not fit into one string.
  const grep = new Child('grep', ['-aoF', ...CANARIES.flatMap((text) => ['-e', text]), join(cwd, core)]);
  await grep.ended();
  rmSync(join(cwd, core));
  return [...new Set(grep.stdout.split('\n').filter((line) => line !== ''))];
}

const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
const isFile = !/[|/]/.test(pattern);

describe.skipIf(!isFile)(
  `core files (this machine's core_pattern is ${pattern}; others than plain names cannot be looked at)`,
  () => {
    test('a core dump holds nothing of what the broker has in memory', async () => {
      expect(await seenInCore('closed', [])).toEqual([]);
    });

    test('and would: with server.core_dumps = true the same search finds all of it', async () => {
      expect((await seenInCore('open', ['--set', 'server.core_dumps=true']))?.toSorted()).toEqual(CANARIES.toSorted());
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
