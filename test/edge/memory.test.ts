// A broker with 256 MiB of memory, as its control group has it, and much more to hold than fits: a thousand connections, queues that go to the disk, retained messages and receivers that do not read. It refuses by reason code, and is not
// ended by the kernel.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { fitToMemory } from '../../engine/config/fit-memory.ts';
import { loadConfig } from '../../engine/lethe.ts';
import { defaultLimits, limitsConflict } from '../../protocol/limits.ts';
import { Reason } from '../../protocol/packet.ts';
import { shell } from '../cli/command-line.ts';
import { connect, subscribe } from '../conformance/bytes.ts';
import type { Child } from '../end-to-end/child.ts';
import type { Ready } from '../end-to-end/served.ts';
import { Client } from '../forgetting/client.ts';
import { MemoryGroup } from './control-group.ts';

const MiB = 1_048_576;
const LIMIT_BYTES = 256 * MiB;
const root = mkdtempSync(join(tmpdir(), 'lethe-memory-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('limits that were left at their defaults', () => {
  const configOf = (...set: string[]) => loadConfig({ set });

  test.each([
    ['in memory only', configOf()],
    ['on a disk', configOf('server.data_dir=/var/lib/lethe')],
    ['with eight shards', configOf('server.threads=8')],
  ])('fit small memories %s, agree with each other, and leave large ones alone', (_where, config) => {
    for (const bytes of [64 * MiB, 128 * MiB, LIMIT_BYTES, 512 * MiB, 1_024 * MiB]) {
      const { limits } = fitToMemory(config, bytes);
      expect(limitsConflict(limits)).toBeNull();
      const threads = config.server.threads;
      const inMemory = config.server.dataDir === '' ? limits.queuedBytesMax : 0;
      const sum = limits.retainedBytesMax + limits.sessionBytesMax + limits.unsentBytesMax * threads + inMemory;
      expect(sum).toBeLessThan(Math.max(bytes, 32 * MiB));
      // What waits on a disk needs no memory.
      if (config.server.dataDir !== '') expect(limits.queuedBytesMax).toBe(defaultLimits.queuedBytesMax);
    }
    expect(fitToMemory(config, 64 * 1_024 * MiB)).toBe(config);
  });

  test('are all that is changed: what was set is as it was set', () => {
    const config = configOf('limits.retained_bytes_max=200MiB');
    const { limits } = fitToMemory(config, LIMIT_BYTES);
    expect(limits.retainedBytesMax).toBe(200 * MiB);
    expect(limits.sessionBytesMax).toBeLessThan(defaultLimits.sessionBytesMax);
  });
});

const group = MemoryGroup.make(LIMIT_BYTES);
let child: Child | null = null;
afterAll(async () => {
  child?.kill('SIGKILL');
  await child?.exited;
  group?.remove();
});

const CONNECTIONS = 1_000;
const AT_ONCE = 100;
const PAYLOAD_BYTES = 200_000;
const IN_FLIGHT = 16;
const AWAY = 2;
const FROZEN = 40;

/** A large payload that begins with its number. */
const numbered = (number: number) => Buffer.alloc(PAYLOAD_BYTES, `${number} `);
const numberOf = ({ payload }: { payload: string | Buffer }) => Number.parseInt(payload.toString('latin1', 0, 12), 10);

/** Publishes in a window until something is refused: the numbers of what was taken, and what the refusals were. */
async function publishUntilRefused(client: Client, topicOf: (n: number) => string, retain: boolean) {
  const reasons = new Set<number>();
  const taken: number[] = [];
  for (let from = 0; reasons.size === 0; from += IN_FLIGHT) {
    const numbers = Array.from({ length: IN_FLIGHT }, (_, at) => from + at);
    const answers = numbers.map((n) => client.publish({ topic: topicOf(n), payload: numbered(n), retain }));
    for (const [at, reason] of (await Promise.all(answers)).entries())
      if (reason >= 0x80) reasons.add(reason);
      else taken.push(from + at);
  }
  return { taken, reasons: [...reasons] };
}

/** A receiver that asks for the flood and reads nothing of it. */
function freeze(port: number, at: number): Socket {
  const socket = connectSocket(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(connect(5, { clientId: `frozen-${at}` }));
  socket.write(subscribe(5, { packetId: 1, filters: [['flood', 0]] }));
  socket.pause();
  return socket;
}

// Where no control group can be made (an ordinary user, a container without the right) there is nothing to test it in.
describe.skipIf(group === null)('with 256 MiB', () => {
  test('it refuses what it cannot hold, keeps what it has taken and those who are there, and lives', {
    timeout: 120_000,
  }, async () => {
    const serve = ['serve', '--ready-json', '--port', '0', '--ws-port', '0', '--data', join(root, 'data')];
    const started = shell(`${group!.enter}; exec "$@"`, serve);
    child = started;
    await started.until('the broker is ready', () => started.stdout.includes('\n'));
    expect(started.stderr).toContain('limits that were left at their defaults are lowered to fit the memory mebibytes=256');
    const { tcp: port } = JSON.parse(started.stdout) as Required<Ready>;

    const crowd: Client[] = [];
    for (let made = 0; made < CONNECTIONS; made += AT_ONCE) {
      const some = Array.from({ length: AT_ONCE }, (_, at) =>
        Client.connect(port, { clientId: `crowd-${made + at}`, clean: true, expiryS: 0 }),
      );
      crowd.push(...(await Promise.all(some)));
    }
    const publisher = await Client.connect(port, { clientId: 'publisher', clean: true, expiryS: 0 });

    // As much as there is room for everything is queued for those who are away: it waits on the disk, up to what each may have there.
    const queued: number[][] = [];
    for (let number = 0; number < AWAY; number++) {
      const away = await Client.connect(port, { clientId: `away-${number}` });
      await away.subscribe(`queue/${number}`, 1);
      await away.leave();
      const { taken, reasons } = await publishUntilRefused(publisher, () => `queue/${number}`, false);
      expect(reasons).toEqual([Reason.QUOTA_EXCEEDED]);
      queued.push(taken);
    }
    expect(queued.flat().length * PAYLOAD_BYTES).toBeGreaterThan(0.9 * (LIMIT_BYTES - 120 * MiB));

    const retained = await publishUntilRefused(publisher, (n) => `retained/${n}`, true);
    expect(retained.reasons).toEqual([Reason.QUOTA_EXCEEDED]);
    expect(retained.taken.length).toBeGreaterThan(10);

    const frozen = Array.from({ length: FROZEN }, (_, at) => freeze(port, at));
    const witness = await Client.connect(port, { clientId: 'witness', clean: true, expiryS: 0 });
    await witness.subscribe('flood', 0);
    for (let n = 0; n < 40; n++) {
      await publisher.publish({ topic: 'flood', payload: numbered(n), qos: 0 });
      await publisher.publish({ topic: 'nobody', payload: '' });
    }
    await witness.until('the witness is served', () => witness.received.length > 0);

    // Below the ordinary mark they are only slow while unsent bytes are at their limit.
    const isShort = () =>
      [...started.stderr.matchAll(/does not keep up.* pendingBytes=(\d+)/g)].some((found) => Number(found[1]) < MiB);
    await started.until('unsent bytes are at their limit', isShort);

    // While nobody has made room, all that was acknowledged is there, in order, for those who come for it.
    await Promise.all(
      queued.map(async (taken, number) => {
        const back = await Client.connect(port, { clientId: `away-${number}` });
        await back.got(taken.length);
        expect(back.received.map(numberOf)).toEqual(taken);
        await back.leave();
      }),
    );
    const reader = await Client.connect(port, { clientId: 'reader', clean: true, expiryS: 0 });
    await reader.subscribe('retained/#', 0);
    await reader.got(retained.taken.length);
    expect(reader.received.map(numberOf).sort((a, b) => a - b)).toEqual(retained.taken);
    for (const socket of frozen) socket.destroy();

    // Everybody is still there.
    expect(crowd.filter(({ closed }) => closed)).toHaveLength(0);
    expect(group!.kills).toBe(0);
    expect(started.exit).toBeNull();
    started.kill('SIGTERM');
    expect(await started.ended()).toEqual({ code: 0, signal: null });
  });
});
