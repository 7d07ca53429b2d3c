// A broker that may open few files, besieged by more connections than it can have: those who are there are served, the spool and a reload find what they need, nothing spins, and newcomers are taken when there is room again.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { run, shell } from '../cli/command-line.ts';
import type { Ready } from '../end-to-end/served.ts';
import { Client } from '../forgetting/client.ts';

const root = mkdtempSync(join(tmpdir(), 'lethe-few-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const LOOK_MS = 1_000;
/** /proc/PID/stat counts in hundredths of a second. */
const TICK_MS = 10;

/** Processor time that a process has had, in ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function openTo(port: number): Socket {
  const socket = connect(port, '127.0.0.1');
  // That it is closed again, or refused, is what may happen to it.
  socket.on('error', () => {});
  return socket;
}

function start(limit: number, data: string, args: readonly string[] = []) {
  const serve = [
    'serve',
    '--ready-json',
    '--port',
    '0',
    '--ws-port',
    '0',
    '--data',
    data,
    '--set',
    'limits.connect_timeout_ms=60000',
  ];
  return shell(`ulimit -n ${limit}; exec "$@"`, [...serve, ...args]);
}

describe.skipIf(process.platform !== 'linux').each([64, 256])('with %i descriptors', (limit) => {
  test('it serves whom it has, keeps what it must, reloads, rests, and recovers', async () => {
    const data = join(root, `${limit}`);
    const child = start(limit, data);
    await child.until('the broker is ready', () => child.stdout.includes('\n'));
    const ready = JSON.parse(child.stdout) as Required<Ready>;
    const away = await Client.connect(ready.tcp, { clientId: 'away' });
    await away.subscribe('kept/#', 1);
    await away.leave();
    const resident = await Client.connect(ready.tcp, { clientId: 'resident' });
    const crowd = Array.from({ length: 2 * limit }, (_, at) => openTo(at % 2 === 0 ? ready.ws : ready.tcp));
    await child.until('it says that there is no room', () => child.stderr.includes('nearly all file descriptors are in use'));
    for (let at = 0; at < 50; at++) expect(await resident.publish({ topic: `kept/${at}`, payload: `${at}` })).toBe(0);
    // Those that wait in the kernel keep nothing busy.
    const before = cpuMs(child.pid);
    await pause(LOOK_MS);
    expect(cpuMs(child.pid) - before).toBeLessThan(LOOK_MS / 3);
    const reload = await run(['reload', '--data', data]);
    expect(reload.stderr).toBe('');
    expect(reload.exit).toEqual({ code: 0, signal: null });
    for (const socket of crowd) socket.destroy();
    // The first may still find it full.
    const back = async (): Promise<Client> => {
      for (;;) {
        const client = await Client.connect(ready.tcp, { clientId: 'away' }).catch(() => null);
        if (client !== null) return client;
      }
    };
    const client = await back();
    await client.got(50);
    expect(client.payloads).toEqual(Array.from({ length: 50 }, (_, at) => `${at}`));
    // Told once, however often somebody came; and nothing else went wrong.
    expect(child.stderr.match(/nearly all file descriptors/g)).toHaveLength(1);
    expect(child.stderr).not.toMatch(/EMFILE| error /);
    child.kill('SIGTERM');
    expect(await child.ended()).toEqual({ code: 0, signal: null });
  });
});

describe.skipIf(process.platform !== 'linux')('at the start', () => {
  test('who asks for more connections than the descriptors allow is warned, and who asks for nothing is told', async () => {
    const asked = start(300, join(root, 'asked'), ['--set', 'limits.connections_max=5000']);
    await asked.until('it warns', () =>
      asked.stderr.includes('warn limits.connections_max is more than the file descriptors allow: raise LimitNOFILE='),
    );
    expect(asked.stderr).toContain(' connections=232');
    asked.kill('SIGTERM');
    await asked.ended();
    const fitting = start(300, join(root, 'fitting'), ['--set', 'limits.connections_max=200']);
    await fitting.until('it is ready', () => fitting.stdout.includes('\n'));
    fitting.kill('SIGTERM');
    await fitting.ended();
    expect(fitting.stderr).toBe('');
    const plain = shell('ulimit -n 300; exec "$@"', ['serve', '--port', '0', '--ws-port', '0']);
    await plain.until('it tells', () =>
      plain.stdout.includes('File descriptors allow about 232 connections (LimitNOFILE=, ulimit -n).\n'),
    );
    plain.kill('SIGTERM');
    await plain.ended();
    expect(plain.stderr).toBe('');
    // Each thread has some of its own, and may take some before it looks.
    const many = shell('ulimit -n 300; exec "$@"', ['serve', '--port', '0', '--ws-port', '0', '--threads', '8']);
    await many.until('it tells', () => many.stdout.includes('File descriptors allow about 168 connections '));
    many.kill('SIGTERM');
    await many.ended();
  });
});
