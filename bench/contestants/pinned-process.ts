// Brokers as processes of their own, pinned to cores: started, waited for until they are ready, and the words they leave behind.
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { Failure } from '../../engine/cli/failure.ts';
import { hasEnded, startChild, stopChild, untilListening } from '../child-process.ts';
import type { Ports } from './contestant.ts';

const READY_TIMEOUT_MS = 10_000;
/** The time that a start takes is measured with it. */
const POLL_MS = 2;
/** Characters of what it has said that are kept. */
const SAID_MAX = 2_000;

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

/** Whether processes can be pinned here. */
export function canPin(): boolean {
  return spawnSync('taskset', ['-p', String(process.pid)]).status === 0;
}

/** Pins this process, all threads. */
export function pinSelf(core: number): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(core), String(process.pid)], { stdio: 'ignore' });
}

export class PinnedProcess {
  readonly #child: ChildProcess;
  readonly #name: string;
  #out = '';
  #said = '';

  constructor(cores: string | null, name: string, command: string, args: readonly string[]) {
    this.#name = name;
    // taskset becomes the command, so the child's pid is the broker's.
    const line = cores === null ? [command, ...args] : ['taskset', '-c', cores, command, ...args];
    this.#child = startChild(line[0]!, line.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#out = (this.#out + text).slice(0, SAID_MAX);
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-SAID_MAX);
    });
    this.#child.on('error', (error) => {
      this.#said = error.message;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** How it has ended, in words; null while it runs. */
  readonly ended = (): string | null => {
    const child = this.#child;
    if (!hasEnded(child)) return null;
    const said = this.#said.trim().split('\n').at(-1);
    return `${this.#name} ended with ${child.signalCode ?? `code ${child.exitCode}`}${said ? ` (${said})` : ''}`;
  };

  readonly stop = (): Promise<void> => stopChild(this.#child);

  /** Waits for the first line that it writes; ends it when that does not come. */
  async firstLine(): Promise<string> {
    const { stdout } = this.#child;
    const timer = setTimeout(() => void this.stop(), READY_TIMEOUT_MS);
    try {
      while (!this.#out.includes('\n')) {
        if (this.#child.pid === undefined || hasEnded(this.#child) || stdout!.readableEnded) throw await this.#notReady();
        await new Promise<void>((resolve) => {
          for (const event of ['data', 'end'] as const) stdout!.once(event, () => resolve());
          this.#child.once('exit', () => resolve());
        });
      }
    } finally {
      clearTimeout(timer);
    }
    return this.#out.slice(0, this.#out.indexOf('\n'));
  }

  /** Waits until it takes connections on both ports; ends it when it does not. */
  async listening({ stream, ws }: Ports): Promise<void> {
    const goesOn = () => this.ended() === null;
    for (const port of [stream, ws])
      if (!(await untilListening('127.0.0.1', port, READY_TIMEOUT_MS, goesOn, POLL_MS))) throw await this.#notReady();
  }

  async #notReady(): Promise<Failure> {
    const ended = this.ended();
    if (this.#child.pid !== undefined) await this.stop();
    return new Failure(ended ?? `${this.#name} was not ready within ${READY_TIMEOUT_MS / 1_000} s: ${this.#said.trim()}`);
  }
}

/** Two ports that nobody listens on. */
export async function freePorts(): Promise<Ports> {
  return { stream: await freePort(), ws: await freePort() };
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
