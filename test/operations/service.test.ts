// What systemd is told and given: readiness and the stop through its own program, and a unit that it finds right and tight.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Child } from '../end-to-end/child.ts';
import { serve } from '../end-to-end/served.ts';

const root = new URL('../..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'lethe-service-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('systemd is told when the broker is ready, and when it stops', async () => {
  const socket = join(folder, 'notify');
  const told = new Child('socat', ['-u', `UNIX-RECV:${socket}`, '-']);
  // The socket is there once socat can be written to by the same program that the broker uses.
  const probe = () => spawnSync('systemd-notify', ['--no-block', 'PROBE=1'], { env: { ...process.env, NOTIFY_SOCKET: socket } });
  for (let tries = 0; tries < 200 && !told.stdout.includes('PROBE=1'); tries++) {
    probe();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const served = await serve('', [], { NOTIFY_SOCKET: socket });
  await told.until('READY=1', () => told.stdout.includes('READY=1'));
  expect(told.stdout).not.toContain('STOPPING=1');
  expect(await served.stop()).toEqual({ code: 0, signal: null });
  await told.until('STOPPING=1', () => told.stdout.includes('STOPPING=1'));
  told.kill('SIGKILL');
});

test('where systemd cannot be told, the log says so and the broker serves', async () => {
  const served = await serve('', [], { NOTIFY_SOCKET: join(folder, 'nobody') });
  await served.child.until('the warning', () => served.child.stderr.includes('systemd could not be told'));
  expect(await served.stop()).toEqual({ code: 0, signal: null });
});

test('the unit is one that systemd understands, and leaves the broker little that it could do', () => {
  // The paths of an installed broker stand for programs that are here.
  const unit = join(folder, 'lethe.service');
  writeFileSync(unit, readFileSync(join(root, 'docs/deploy/lethe.service'), 'utf8').replaceAll('/usr/bin/lethe', '/bin/true'));
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
  expect(verified.stderr.split('\n').filter((line) => line.includes('lethe.service'))).toEqual([]);
  // 0 is closed, 10 open; a unit without any of it has 9.2 or more.
  const judged = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=15', '--no-pager', unit], {
    encoding: 'utf8',
  });
  expect(judged.stdout).toMatch(/Overall exposure level for lethe\.service: [01]\.\d/);
  expect(judged.status).toBe(0);
});
