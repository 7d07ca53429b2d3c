// A disk that is read-only, or full: at a start, and under the audit log. What happens to messages on a disk that fills or fails while the broker runs is in test/storage/full-disk.test.ts.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Reason } from '../../protocol/packet.ts';
import { run } from '../cli/command-line.ts';
import { lethed, serve } from '../end-to-end/served.ts';
import { Client } from '../forgetting/client.ts';

const disk = mkdtempSync(join(tmpdir(), 'lethe-disk-'));
const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk]).status === 0;
afterAll(() => {
  if (isMounted) execFileSync('umount', ['--lazy', disk]);
  rmSync(disk, { recursive: true, force: true });
});

const data = join(disk, 'data');
const FILLER = join(disk, 'filler');
const start = () => serve('[spool]\ndisk_floor_bytes = 0\n', ['--data', data]);

function fill(): void {
  for (let size = 1_048_576; size >= 512; size /= 2) {
    try {
      for (;;) writeFileSync(FILLER, Buffer.alloc(size), { flag: 'a' });
    } catch {
      // what is left is less
    }
  }
}

function makeRoom(): void {
  rmSync(FILLER);
}

describe.skipIf(!isMounted)('a disk', () => {
  test('that is read-only: a start is refused in one line that says so, with and without a spool on it', async () => {
    const first = await start();
    const client = await Client.connect(first.port('tcp'), { clientId: 'away' });
    await client.subscribe('a', 1);
    await client.leave();
    await first.stop();
    execFileSync('mount', ['-o', 'remount,ro', disk]);
    const known = await lethed(['serve', '--data', data, '--port', '0', '--ws-port', '0']);
    const fresh = await lethed(['serve', '--data', join(disk, 'fresh'), '--port', '0', '--ws-port', '0']);
    execFileSync('mount', ['-o', 'remount,rw', disk]);
    const advice = 'give a directory that the broker may write\n';
    expect(known.stderr).toBe(`lethe: ${data}: cannot be locked (EROFS: the disk is read-only); ${advice}`);
    expect(fresh.stderr).toBe(`lethe: ${join(disk, 'fresh')}: cannot be made (EROFS: the disk is read-only); ${advice}`);
    for (const { exit } of [known, fresh]) expect(exit).toEqual({ code: 1, signal: null });
  });

  test('that is full at the start: what it holds is served, what is new is refused, and taken when there is room', async () => {
    fill();
    const served = await start();
    const publisher = await Client.connect(served.port('tcp'), { clientId: 'publisher', clean: true, expiryS: 0 });
    let waiting: Promise<number> | null = null;
    const full = served.child
      .until('it says that the disk is full', () => served.child.stderr.includes('the disk is full'))
      .then(() => -1);
    const taken: string[] = [];
    for (let reason = 0; reason === 0; ) {
      const payload = `${taken.length}`.padEnd(20_000, '.');
      const answer = publisher.publish({ topic: 'a', payload });
      reason = await Promise.race([answer, full]);
      if (reason < 0) waiting = answer;
      if (reason <= 0) taken.push(payload);
    }
    const other = await Client.connect(served.port('tcp'), { clientId: 'other', clean: true, expiryS: 0 });
    expect(await other.publish({ topic: 'a', payload: 'refused' })).toBe(Reason.QUOTA_EXCEEDED);
    makeRoom();
    if (waiting !== null) expect(await waiting).toBe(0);
    const back = await Client.connect(served.port('tcp'), { clientId: 'away' });
    await back.got(taken.length);
    expect(back.payloads.slice(0, taken.length)).toEqual(taken);
    await back.leave(0);
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });

  test('that fills under the audit log: its entries wait, are told of, and all of them are written in the end', async () => {
    const served = await start();
    const log = join(data, 'audit.log');
    fill();
    let reloads = 0;
    const isTold = () => served.child.stderr.includes('the audit log cannot be written; its entries wait code=ENOSPC');
    while (!isTold() && reloads < 40) {
      served.child.kill('SIGHUP');
      reloads++;
      await served.child.until('it has reloaded', () => served.child.stderr.split('info reloaded').length > reloads);
    }
    await served.child.until('it tells that the audit log waits', isTold);
    const before = statSync(log).size;
    makeRoom();
    await served.stop();
    expect(statSync(log).size).toBeGreaterThan(before);
    const verified = await run(['audit', 'verify', '--data', data]);
    expect(verified.stdout).toMatch(/^whole: entries 1 to \d+/);
    expect(verified.stdout).not.toContain('not finished');
    expect(verified.exit).toEqual({ code: 0, signal: null });
  });
});
