// The threads of a load, from the one that leads them.
import type { Worker } from 'node:worker_threads';
import { startThread } from '../engine/thread.ts';
import { allocateDoorbell } from '../storage/doorbell.ts';
import type { Plan } from './plan/plan.ts';
import type { Roster } from './plan/roster.ts';
import type { Answers, Command, FromThread, Interval, LoadData, ToThread } from './raw/account.ts';
import { allocateGauges, Gauges } from './raw/gauges.ts';

interface Waiting {
  readonly resolve: (answer: Answers[keyof Answers]) => void;
  readonly reject: (error: Error) => void;
}

export class Crew {
  readonly gauges: Gauges;
  readonly #workers: Worker[] = [];
  readonly #waiting = new Map<string, Waiting>();
  #number = 0;
  #failure: Error | null = null;

  constructor(plan: Plan, roster: Roster, told: (thread: number, interval: Interval) => void) {
    const gauges = allocateGauges(plan.threads);
    this.gauges = new Gauges(gauges);
    const shared = {
      gauges,
      progress: new SharedArrayBuffer(Math.max(1, roster.slots) * Int32Array.BYTES_PER_ELEMENT),
      interrupted: new SharedArrayBuffer(roster.publishers.length + 1),
      bells: Array.from({ length: plan.threads }, allocateDoorbell),
    };
    for (let thread = 0; thread < plan.threads; thread++) {
      const data: LoadData = { plan, thread, ...shared };
      const worker = startThread(threadFile(), { workerData: data, name: `load ${thread}` });
      worker.on('message', (message: FromThread) => {
        if (message.kind === 'interval') told(thread, message.interval);
        else this.#settle(thread, message);
      });
      worker.on('error', (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
      worker.on('exit', () => this.#fail(new Error('a thread of the load has ended')));
      this.#workers.push(worker);
    }
  }

  /** Has every thread do it; the answers come in the order of the threads. */
  ask<Name extends Command['do']>(command: Command & { readonly do: Name }): Promise<Answers[Name][]> {
    const number = ++this.#number;
    return Promise.all(
      this.#workers.map((worker, thread) => {
        if (this.#failure !== null) return Promise.reject(this.#failure);
        return new Promise<Answers[Name]>((resolve, reject) => {
          this.#waiting.set(`${thread} ${number}`, { resolve: resolve as Waiting['resolve'], reject });
          worker.postMessage({ number, command } satisfies ToThread);
        });
      }),
    );
  }

  /** Ends the threads whatever they do. */
  async dismiss(): Promise<void> {
    for (const worker of this.#workers) worker.removeAllListeners('exit');
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #settle(thread: number, message: Exclude<FromThread, { kind: 'interval' }>): void {
    const key = `${thread} ${message.number}`;
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    if (message.kind === 'answer') waiting?.resolve(message.answer);
    else waiting?.reject(new Error(message.message));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** The threads run the built file, also when the bench runs from its sources in a test. */
function threadFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? '../dist/bench/raw/load-thread.js' : './raw/load-thread.js', import.meta.url);
}
