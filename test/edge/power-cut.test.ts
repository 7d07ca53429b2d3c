// Power cuts: the whole group of processes is gone in the middle of the load, with what a disk leaves of writes that were under way. Three shards; test/crash plays the same game for longer with one and three, test/storage with disks that lie.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { environmentFor } from '../broker.ts';
import { commandLine } from '../cli/command-line.ts';
import { Client } from '../forgetting/client.ts';
import { SeededRandom } from '../seeded-random.ts';

const root = mkdtempSync(join(tmpdir(), 'lethe-power-'));
const data = join(root, 'data');
const ROUNDS = 5;
const PUBLISHERS = 3;
const PAYLOAD_BYTES = 2_000;

/** Groups that run: a test that fails leaves none of them behind. */
const groups = new Set<number>();
afterAll(() => {
  for (const group of groups) process.kill(-group, 'SIGKILL');
  rmSync(root, { recursive: true, force: true });
});

/** A broker in a group of processes of its own. */
async function start() {
  const [program, ...args] = commandLine([
    'serve',
    '--ready-json',
    '--port',
    '0',
    '--ws-port',
    '0',
    '--threads',
    '3',
    '--data',
    data,
  ]);
  const env = { ...process.env, ...environmentFor('serve') };
  const child = spawn(program!, args, { detached: true, stdio: ['ignore', 'pipe', 'inherit'], env });
  groups.add(child.pid!);
  const ended = once(child, 'close').then(() => groups.delete(child.pid!));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { tcp } = JSON.parse(line.toString()) as { tcp: number };
  return {
    tcp,
    async cut() {
      process.kill(-child.pid!, 'SIGKILL');
      await ended;
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** What is on a disk of writes that were under way: pages that nothing refers to yet, half a line, half a file that was to take another's place. */
function tear(random: SeededRandom): void {
  appendFileSync(join(data, 'spool.mdb'), random.bytes(4_096 + random.below(20_000)));
  appendFileSync(join(data, 'audit.log'), '{"seq":99,"time":"20');
  writeFileSync(join(data, 'spool.time.next'), 'lethe time v1 17');
  writeFileSync(join(data, 'audit.log.head.next'), '{');
}

test('what was acknowledged before any of five power cuts is there afterwards, once at QoS 2, and in order', {
  timeout: 120_000,
}, async () => {
  const seed = Number(process.env['LETHE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const again = `again: LETHE_SEED=${seed} npx vitest run --config test/vitest.config.ts test/edge/power-cut.test.ts`;
  const random = new SeededRandom(seed);
  const acknowledged: string[][] = Array.from({ length: PUBLISHERS }, () => []);
  let broker = await start();
  const away = await Client.connect(broker.tcp, { clientId: 'away' });
  await away.subscribe('load/#', 2);
  await away.leave();
  for (let round = 0; round < ROUNDS; round++) {
    let answered = 0;
    const enough = 20 + random.below(150);
    let cut: Promise<void> | null = null;
    await Promise.all(
      acknowledged.map(async (mine, number) => {
        const client = await Client.connect(broker.tcp, { clientId: `publisher-${number}`, clean: true, expiryS: 0 });
        const qos = number === 0 ? 1 : 2;
        for (let n = 0; cut === null; n++) {
          const name = `${round}.${n}`;
          const payload = `${name} `.padEnd(PAYLOAD_BYTES, '.');
          // The one that is under way when the power goes has no answer.
          const reason = await client.publish({ topic: `load/${number}`, payload, qos }).catch(() => -1);
          if (reason !== 0) break;
          mine.push(name);
          if (++answered === enough) cut = broker.cut();
        }
      }),
    );
    await cut!;
    tear(random);
    broker = await start();
  }
  const total = acknowledged.reduce((sum, mine) => sum + mine.length, 0);
  const back = await Client.connect(broker.tcp, { clientId: 'away' });
  await back.got(total);
  const last = await Client.connect(broker.tcp, { clientId: 'last', clean: true, expiryS: 0 });
  await last.publish({ topic: 'load/end', payload: 'end', qos: 2 });
  await back.until('the end has come', () => back.payloads.includes('end'));
  for (const [number, mine] of acknowledged.entries()) {
    const came = back.received
      .filter(({ topic }) => topic === `load/${number}`)
      .map(({ payload }) => payload.toString().split(' ', 1)[0]!);
    // One of each round may have been taken without its answer having arrived; nothing else is there, and nothing twice.
    expect(new Set(came).size, again).toBe(came.length);
    const answered = new Set(mine);
    expect(
      came.filter((name) => answered.has(name)),
      again,
    ).toEqual(mine);
    expect(came.length - mine.length, again).toBeLessThanOrEqual(ROUNDS);
  }
  expect(existsSync(join(data, 'audit.log')), again).toBe(true);
  await back.leave(0);
  await broker.stop();
});
