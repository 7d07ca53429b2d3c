// The process of the broker under load, where it is on this machine: what it costs, and for runs that want it, its violent end and its
// return. It kills what the user named or what it started itself, nothing else.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, messageOf } from '../engine/cli/failure.ts';
import { accepts, hasEnded, startChild, stopChild, untilListening } from './child-process.ts';
import { isRunning, type ProcessCost, processCost } from './process-cost.ts';
import type { Mortal } from './run.ts';

const READY_TIMEOUT_MS = 30_000;
const GONE_TIMEOUT_MS = 10_000;
const POLL_MS = 5;
const SHELL_WORDS = /[;&|<>()`$\n]/;
/** Characters of its complaints that are kept. */
const SAID_MAX = 2_000;

interface Place {
  readonly host: string;
  readonly port: number;
}

export class BrokerProcess implements Mortal {
  readonly #place: Place;
  /** Whether it ends with the bench; what the user had running goes on when it was started again. */
  readonly #isOwn: boolean;
  /** Null: unknown since a restart that left no process of ours. */
  #pid: number | null;
  #child: ChildProcess | null = null;
  /** CPU seconds of those that were killed. */
  #spent = { userS: 0, systemS: 0 };

  private constructor(place: Place, pid: number | null, isOwn: boolean) {
    this.#place = place;
    this.#pid = pid;
    this.#isOwn = isOwn;
  }

  /** One that runs already. */
  static watch(pid: number, place: Place): BrokerProcess {
    if (!isRunning(pid)) throw new Failure(`--pid ${pid}: there is no such process`);
    return new BrokerProcess(place, pid, false);
  }

  /** Starts one, and waits until it takes connections. */
  static async start(command: string, place: Place): Promise<BrokerProcess> {
    const broker = new BrokerProcess(place, null, true);
    await broker.#start(command);
    return broker;
  }

  get pid(): number | null {
    return this.#pid;
  }

  /** Of all its lives; null where the system does not tell. */
  cost(): ProcessCost | null {
    const now = this.#pid === null ? null : processCost(this.#pid);
    if (now === null) return null;
    return {
      userS: now.userS + this.#spent.userS,
      systemS: now.systemS + this.#spent.systemS,
      residentBytes: now.residentBytes,
    };
  }

  async killAndRestart(command: string): Promise<void> {
    const pid = this.#pid;
    if (pid === null) throw new Failure('the broker has no process that could be killed');
    const { userS, systemS } = this.cost() ?? this.#spent;
    this.#spent = { userS, systemS };
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      throw new Failure(`the broker, process ${pid}, cannot be killed: ${messageOf(error)}`);
    }
    await this.#untilGone(pid);
    const { host, port } = this.#place;
    if (this.#isOwn && (await accepts(host, port)))
      throw new Failure(
        `process ${pid} was killed and something still listens on ${host}:${port}: --start must become the broker, not a program that runs it (npx, a script without exec)`,
      );
    await this.#start(command);
  }

  /** Ends it when the bench started it. */
  async stop(): Promise<void> {
    if (this.#child !== null && this.#isOwn) await stopChild(this.#child);
  }

  async #start(command: string): Promise<void> {
    // The shell becomes a simple command, so that the child's pid is the broker's; a line of shell has to see to that itself.
    const line = SHELL_WORDS.test(command) ? command : `exec ${command}`;
    const child = this.#isOwn
      ? startChild('/bin/sh', ['-c', line], { stdio: ['ignore', 'ignore', 'pipe'] })
      : spawn('/bin/sh', ['-c', line], { stdio: 'ignore', detached: true });
    child.unref();
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-SAID_MAX);
    });
    // What the command has left behind may hold it open for ever.
    (child.stderr as Socket | null)?.unref();
    this.#child = child;
    // A command that only tells a service manager to start the broker ends at once, and well.
    const goesOn = () => !hasEnded(child) || child.exitCode === 0;
    const { host, port } = this.#place;
    const isReady = await untilListening(host, port, READY_TIMEOUT_MS, goesOn);
    this.#pid = hasEnded(child) ? null : child.pid!;
    if (isReady && goesOn()) return;
    const why = goesOn()
      ? `does not listen on ${host}:${port} within ${READY_TIMEOUT_MS / 1_000} s`
      : `ended with ${child.exitCode ?? child.signalCode}`;
    await this.stop();
    throw new Failure(`the broker started by '${command}' ${why}${said === '' ? '' : `\n${said.trimEnd()}`}`);
  }

  async #untilGone(pid: number): Promise<void> {
    const child = this.#child;
    const deadline = performance.now() + GONE_TIMEOUT_MS;
    while (child?.pid === pid ? !hasEnded(child) : isRunning(pid)) {
      if (performance.now() > deadline) throw new Failure(`the broker, process ${pid}, was killed and does not end`);
      await sleep(POLL_MS);
    }
  }
}
