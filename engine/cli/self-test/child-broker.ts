// The broker of a self-test: a process of the same program on free loopback ports, or on those that were asked for, over a data directory in the folder of the test. It is started, killed and started again.
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ownCommand } from '../own-command.ts';
import { CheckFailure } from './check.ts';

const READY_MS_MAX = 30_000;
const STOP_MS_MAX = 10_000;
/** Of what it says before it fails, the end is enough. */
const SAID_CHARACTERS_MAX = 2_000;
/** Relative to the folder of the test, in which the broker runs: the path of a UNIX socket is short. */
const DATA = 'data';

export interface Ports {
  readonly tcp: number;
  readonly ws: number;
}

export class ChildBroker {
  readonly #folder: string;
  readonly #asked: Ports;
  readonly #command: readonly string[];
  #process: ChildProcess | null = null;
  #ended: Promise<string> = Promise.resolve('it has not been started');
  #said = '';
  #isOver = false;
  ports: Ports = { tcp: 0, ws: 0 };

  /** @param asked ports to listen on; 0 takes a free one */
  constructor(folder: string, asked: Ports, command: readonly string[] = ownCommand()) {
    this.#folder = folder;
    this.#asked = asked;
    this.#command = command;
  }

  get dataFolder(): string {
    return join(this.#folder, DATA);
  }

  /** Starts it and waits until it is ready; resolves with the ms that took. @throws CheckFailure */
  async start(): Promise<number> {
    if (this.#isOver) throw new CheckFailure('the test is over', 'start it again');
    const startMs = performance.now();
    const [program, ...first] = this.#command;
    const ports = ['--port', String(this.#asked.tcp), '--ws-port', String(this.#asked.ws)];
    // Nothing of the operator's configuration: the machine is tested, with defaults.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(LETHE_[A-Z0-9]+__|NOTIFY_SOCKET$)/.test(name)),
    );
    const child = spawn(program!, [...first, 'serve', '--ready-json', '--host', '127.0.0.1', '--data', DATA, ...ports], {
      cwd: this.#folder,
      env,
      // A broker with a channel to who has started it ends with him, however he ends.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#process = child;
    this.#said = '';
    const { stdout, stderr } = child as ChildProcessByStdio<null, Readable, Readable>;
    stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-SAID_CHARACTERS_MAX);
    });
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(`it cannot be started: ${error.message}`));
      child.once('close', (code, signal) =>
        resolve(signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`),
      );
    });
    let line = '';
    const ready = new Promise<'ready'>((resolve) => {
      stdout.on('data', (chunk: Buffer) => {
        line += chunk.toString();
        if (line.includes('\n')) resolve('ready');
      });
    });
    const what = await within(READY_MS_MAX, Promise.race([ready, this.#ended]));
    if (what !== 'ready')
      throw new CheckFailure(
        `the broker does not come up: ${what ?? `it is not ready within ${READY_MS_MAX / 1_000} s`}${this.#lastWords()}`,
        this.#advice(),
      );
    const { tcp, ws } = JSON.parse(line) as Ports;
    this.ports = { tcp, ws };
    return performance.now() - startMs;
  }

  /** SIGKILL, as a power cut is to a process; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.#ended;
    this.#process = null;
  }

  /** Likewise, for good: no check that is under way starts it again. */
  async end(): Promise<void> {
    this.endNow();
    await this.kill();
  }

  /** Likewise, for who cannot wait. */
  endNow(): void {
    this.#isOver = true;
    this.#process?.kill('SIGKILL');
  }

  /** Asks it to stop. @throws CheckFailure when it does not, or not in order */
  async stop(): Promise<void> {
    this.#process?.kill('SIGTERM');
    const how = await within(STOP_MS_MAX, this.#ended);
    if (how !== 'it ended with code 0')
      throw new CheckFailure(
        `the broker does not stop in order: ${how ?? `it runs on after ${STOP_MS_MAX / 1_000} s`}${this.#lastWords()}`,
        'see what it says',
      );
    this.#process = null;
  }

  /** What it is doing, for a check that has failed. @throws CheckFailure when it is not running any more */
  async mustRun(): Promise<void> {
    const how = await within(0, this.#ended);
    if (how !== null) throw new CheckFailure(`the broker is gone: ${how}${this.#lastWords()}`, 'see what it says, and dmesg');
  }

  #lastWords(): string {
    const said = this.#said.trim().split('\n').at(-1)!;
    return said === '' ? '' : `; it says: ${said}`;
  }

  #advice(): string {
    if (/ is in use|EADDRINUSE/.test(this.#said))
      return 'stop the program that has the port, or give another --port or --ws-port';
    if (/needs a permission/.test(this.#said)) return 'give ports from 1024 up, or grant CAP_NET_BIND_SERVICE';
    if (/is not an address of this machine|cannot be bound/.test(this.#said))
      return 'bring the loopback interface up: ip link set lo up';
    if (/disk is full|ENOSPC|no room/.test(this.#said)) return 'free space on this disk, or give --data on another one';
    return 'do what it says; if it says nothing, start `lethe serve` by hand and look';
  }
}

/** The value of a promise, or null when it takes longer. */
export async function within<Value>(ms: number, promise: Promise<Value>): Promise<Value | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, ms, null);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
