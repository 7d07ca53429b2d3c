// A child process: what it has printed, and how it ended. Whatever a test file leaves running is ended when the file is done, by
// its own pid.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { afterAll } from 'vitest';
import { judgeLine, logLines } from '../log-lines.ts';
import { Watched } from './watched.ts';

/** How a process ended: a code, or the signal that ended it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  /** Over the environment of the tests; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Everything that it reads from standard input, which is empty otherwise. */
  readonly input?: string | Uint8Array;
}

const running = new Set<Child>();

afterAll(async () => {
  const left = [...running];
  for (const child of left) child.kill('SIGKILL');
  await Promise.all(left.map((child) => child.exited));
});

export class Child extends Watched {
  readonly exited: Promise<Exit>;
  readonly pid: number;
  stderr = '';
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #chunks: Buffer[] = [];
  #exit: Exit | null = null;

  constructor(command: string, args: readonly string[], options: ChildOptions = {}) {
    super();
    const { cwd, env = {}, input = '' } = options;
    const child = spawn(command, args, { ...(cwd === undefined ? {} : { cwd }), env: { ...process.env, ...env } });
    if (child.pid === undefined) throw new Error(`${command} cannot be started`);
    this.#process = child;
    this.pid = child.pid;
    running.add(this);
    child.stdout.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.changed();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
      this.changed();
    });
    child.stdin.on('error', () => {}); // it ended before it had read everything
    child.stdin.end(input);
    this.exited = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        this.#exit = { code, signal };
        for (const line of logLines(this.stderr)) judgeLine(line);
        running.delete(this);
        this.changed();
        resolve(this.#exit);
      });
    });
  }

  get stdout(): string {
    return this.stdoutBytes.toString();
  }

  get stdoutBytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** Null while it runs. */
  get exit(): Exit | null {
    return this.#exit;
  }

  /** Its end, which must come within the time of `until`. */
  async ended(): Promise<Exit> {
    await this.until('the process ends', () => this.#exit !== null);
    return this.#exit!;
  }

  /** Sends a signal to this process, unless it has ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.#exit === null) this.#process.kill(signal);
  }

  protected override isOver(): boolean {
    return this.#exit !== null;
  }

  protected override describe(): string {
    const state = this.#exit === null ? 'it runs' : `it ended with ${this.#exit.code ?? this.#exit.signal}`;
    return `${state}; standard output:\n${this.stdout}\nstandard error:\n${this.stderr}`;
  }
}
