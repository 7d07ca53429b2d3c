// The command line as a person runs it, `node dist/cli/main.js`, and the brokers that its clients talk to: Lethe inside the
// test process, and Debian's mosquitto.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import type { Broker } from '../../engine/lethe.ts';
import { environmentFor, startBroker } from '../broker.ts';
import { Child, type ChildOptions } from '../end-to-end/child.ts';
import { temporaryFile } from '../security/temporary.ts';

export const root = new URL('../..', import.meta.url).pathname;

/** What a shell would run. */
export function commandLine(args: readonly string[]): string[] {
  return [process.execPath, LETHE_MAIN, ...args];
}

/** Starts a command. Of the tests' own environment nothing configures it but the suite's shards, where it is a broker. */
export function start(args: readonly string[], { env = {}, ...options }: ChildOptions = {}): Child {
  const own = { ...environmentFor(args[0]), ...env };
  return new Child(process.execPath, [LETHE_MAIN, ...args], { cwd: root, ...options, env: own });
}

/** Runs a command to its end. */
export async function run(args: readonly string[], options: ChildOptions = {}): Promise<Child> {
  const child = start(args, options);
  await child.exited;
  return child;
}

/** Runs a command that must succeed without a word on standard error. */
export async function succeed(args: readonly string[], options: ChildOptions = {}): Promise<Child> {
  const child = await run(args, options);
  if (child.exit?.code !== 0 || child.stderr !== '')
    throw new Error(`lethe ${args.join(' ')} ended with ${JSON.stringify(child.exit)}: ${child.stderr}`);
  return child;
}

/** Runs a command inside a line of shell, where it is `"$@"`. */
export function shell(script: string, args: readonly string[]): Child {
  return new Child('sh', ['-c', script, 'sh', process.execPath, LETHE_MAIN, ...args], { cwd: root });
}

export interface UsedBroker {
  readonly port: number;
  /** Where it is, as the clients take it. */
  readonly at: readonly string[];
}

export interface UsedLethe extends UsedBroker {
  readonly broker: Broker;
  /** Resolves when there are this many subscriptions. */
  subscribed(count: number): Promise<void>;
}

type Lines = readonly string[];
/** Given as they are, or made when the broker starts. */
type LaterLines = Lines | (() => Lines | Promise<Lines>);

/**
 * One Lethe for a test file or a `describe`.
 * @param set options as `lethe serve --set` takes them
 */
export function useLethe(set: LaterLines = []): UsedLethe {
  let broker: Broker | null = null;
  const now = (): Broker => {
    if (broker === null) throw new Error('the broker runs only inside tests');
    return broker;
  };
  beforeAll(async () => {
    broker = await startBroker(typeof set === 'function' ? await set() : set);
  });
  afterAll(() => broker?.stop());
  return {
    get broker() {
      return now();
    },
    get port() {
      return now().tcp;
    },
    get at() {
      return ['-h', '127.0.0.1', '-p', String(now().tcp)];
    },
    subscribed: (count) => until(`there are ${count} subscriptions`, () => now().counts().subscriptions >= count),
  };
}

/**
 * One mosquitto for a test file or a `describe`; it ends with the file, as every `Child` does.
 * @param configuration lines beside the listener
 */
export function useMosquitto(configuration: LaterLines = ['allow_anonymous true']): UsedBroker {
  let port = 0;
  beforeAll(async () => {
    const lines = typeof configuration === 'function' ? await configuration() : configuration;
    port = await freePort();
    const file = temporaryFile(['user root', `listener ${port} 127.0.0.1`, ...lines].join('\n'));
    const broker = new Child('mosquitto', ['-c', file]);
    await broker.until('mosquitto serves', () => broker.stderr.includes(' running'));
  });
  return {
    get port() {
      return port;
    },
    get at() {
      return ['-h', '127.0.0.1', '-p', String(port)];
    },
  };
}

/** A port on which nothing listens. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const WAIT_MS_MAX = 20_000;
const LOOK_EVERY_MS = 5;

/** Resolves when the condition holds; fails by name when it does not within 20 s. Between two looks the core is the child's. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const startMs = performance.now();
  while (!condition()) {
    if (performance.now() - startMs > WAIT_MS_MAX) throw new Error(`waited in vain until ${what}`);
    await pause(LOOK_EVERY_MS);
  }
}

let names = 0;

/** A name that no other test of the file uses. */
export function unique(prefix: string): string {
  names += 1;
  return `${prefix}-${process.pid}-${names}`;
}
