// The brokers under test: how each is started, pinned to a core, with a TCP and a WebSocket port on loopback, and ended.
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasEnded, startChild, stopChild, untilListening } from './child-process.ts';

export interface Ports {
  readonly tcp: number;
  readonly ws: number;
}

export interface RunningBroker extends Ports {
  readonly pid: number;
  stop(): Promise<void>;
}

export interface Contestant {
  readonly name: string;
  readonly version: string;
  /** Starts it on the cores of a list such as 0 or 0,1 (null: anywhere), on free ports unless told which. */
  start(cores: string | null, ports?: Ports): Promise<RunningBroker>;
}

const READY_TIMEOUT_MS = 10_000;
/** Debian puts it where a user's PATH does not look. */
const MOSQUITTO_PATHS = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/opt/homebrew/sbin/mosquitto'];

/** The build of Lethe whose command line is `main`; `flags` are added to those of `serve`. */
export function lethe(main: string, name: string, flags: readonly string[] = []): Contestant {
  const version = execFileSync(process.execPath, [main, 'version'], { encoding: 'utf8' }).trim();
  return {
    name,
    version,
    async start(cores, { tcp: port, ws: wsPort } = { tcp: 0, ws: 0 }) {
      const own = ['--port', String(port), '--ws-port', String(wsPort), '--ready-json'];
      const child = spawnPinned(cores, process.execPath, [main, 'serve', ...own, ...flags], 'pipe');
      const line = await firstLine(child).catch(async (error: unknown) => {
        await stopChild(child);
        throw error;
      });
      const { tcp, ws } = JSON.parse(line) as { tcp: number; ws: number };
      return { pid: child.pid!, tcp, ws, stop: () => stopChild(child) };
    },
  };
}

/**
 * Mosquitto as installed; null when it is not. Nothing is limited or logged, and Nagle's algorithm is off as it is in Lethe. Nothing is stored
 * unless `folder` says where.
 */
export function mosquitto(dataFolder: string | null = null): Contestant | null {
  const path = MOSQUITTO_PATHS.find(existsSync);
  if (path === undefined) return null;
  const [version] = spawnSync(path, ['-h'], { encoding: 'utf8' }).stdout.split('\n', 1);
  return {
    name: 'mosquitto',
    version: version ?? 'mosquitto',
    async start(cores, ports) {
      const { tcp, ws } = ports ?? { tcp: await freePort(), ws: await freePort() };
      const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'));
      const file = join(folder, 'mosquitto.conf');
      const listeners = `listener ${tcp} 127.0.0.1\nlistener ${ws} 127.0.0.1\nprotocol websockets\n`;
      // With persistence, saved every second: the closest that it comes to durable.
      const persistence =
        dataFolder === null
          ? 'persistence false\n'
          : `persistence true\npersistence_location ${dataFolder}/\nautosave_interval 1\n`;
      const settings = `allow_anonymous true\nlog_dest none\nset_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 0\n${persistence}`;
      writeFileSync(file, `${settings}${listeners}`);
      const child = spawnPinned(cores, path, ['-c', file], 'ignore');
      const end = async (): Promise<void> => {
        await stopChild(child);
        rmSync(folder, { recursive: true, force: true });
      };
      try {
        await listening(tcp, child);
        await listening(ws, child);
      } catch (error) {
        await end();
        throw error;
      }
      return { pid: child.pid!, tcp, ws, stop: end };
    },
  };
}

/** Whether processes can be pinned here. */
export function canPin(): boolean {
  return spawnSync('taskset', ['-p', String(process.pid)]).status === 0;
}

/** Pins this process, all threads. */
export function pinSelf(core: number): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(core), String(process.pid)], { stdio: 'ignore' });
}

// taskset becomes the command, so the child's pid is the broker's.
function spawnPinned(cores: string | null, command: string, args: readonly string[], stdout: 'pipe' | 'ignore'): ChildProcess {
  const line = cores === null ? [command, ...args] : ['taskset', '-c', cores, command, ...args];
  return startChild(line[0]!, line.slice(1), { stdio: ['ignore', stdout, 'inherit'] });
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => reject(new Error('bench: the broker was not ready in time')), READY_TIMEOUT_MS);
    child.once('error', reject);
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`bench: the broker ended with code ${code} before it was ready`));
    });
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0) return;
      clearTimeout(timer);
      resolve(text.slice(0, end));
    });
  });
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  if (!(await untilListening('127.0.0.1', port, READY_TIMEOUT_MS, () => !hasEnded(child))))
    throw new Error('bench: the broker was not ready in time');
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
