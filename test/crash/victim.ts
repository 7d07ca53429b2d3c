// The broker as a process that dies: started on a data directory, killed at any moment, started again.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { environmentFor } from '../broker.ts';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What is started: a command that takes the arguments of `lethe`, and does not fork. */
export interface Program {
  readonly command: readonly [string, ...string[]];
  /** Where it sees the data directory. */
  readonly folder: string;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class Victim {
  readonly exited: Promise<Exit>;
  stderr = '';
  readonly #process: ChildProcess;
  #stdout = '';

  /** Starts it; `set` are options of the configuration. */
  constructor({ command, folder }: Program, set: readonly string[]) {
    const env = { ...process.env, ...environmentFor('serve') };
    const options = ['server.log_level=warn', ...set].flatMap((option) => ['--set', option]);
    const [file, ...before] = command;
    const args = [...before, 'serve', '--port', '0', '--ws-port', '0', '--ready-json', '--data', folder, ...options];
    this.#process = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.#process);
    this.#process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exited = once(this.#process, 'close').then(([code, signal]) => {
      running.delete(this.#process);
      return { code: code as Exit['code'], signal: signal as Exit['signal'] };
    });
  }

  /** The port of its TCP listener once it serves; 0 when it has ended instead. */
  async port(): Promise<number> {
    const data = (): Promise<unknown> => once(this.#process.stdout!, 'data');
    while (!this.#stdout.includes('\n')) {
      const ended = await Promise.race([data().then(() => false), this.exited.then(() => true)]);
      if (ended) return 0;
    }
    return (JSON.parse(this.#stdout) as { tcp: number }).tcp;
  }

  /** Sends a signal to this process, unless it has ended. */
  kill(signal: 'SIGKILL' | 'SIGTERM'): void {
    if (running.has(this.#process)) this.#process.kill(signal);
  }
}
