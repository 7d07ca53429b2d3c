// The broker as a process of its own, started as a person starts it: `node dist/cli/main.js serve` with a configuration file.
import { afterAll, beforeAll, expect } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { environmentFor } from '../broker.ts';
import { temporaryFile } from '../security/temporary.ts';
import { Child, type ChildOptions, type Exit } from './child.ts';

const root = new URL('../..', import.meta.url).pathname;

/** What `--ready-json` prints. */
export interface Ready {
  readonly ready: true;
  readonly pid: number;
  readonly tcp?: number;
  readonly ws?: number;
  readonly tls?: number;
  readonly wss?: number;
}

export type Transport = 'tcp' | 'tls' | 'ws' | 'wss';

/** A broker that serves. */
export interface Served {
  readonly child: Child;
  readonly ready: Ready;
  /** The port of a transport that the configuration has a listener for. */
  port(transport: Transport): number;
  /** Asks it to stop by SIGTERM. */
  stop(): Promise<Exit>;
}

/** Runs the command line with these arguments. Of the tests' own environment nothing configures it but the suite's shards. */
export function lethe(args: readonly string[], env: ChildOptions['env'] = {}): Child {
  return new Child(process.execPath, [LETHE_MAIN, ...args], { cwd: root, env: { ...environmentFor(args[0]), ...env } });
}

/** Runs a command that ends by itself, and waits for its end. */
export async function lethed(args: readonly string[], env: ChildOptions['env'] = {}): Promise<Child> {
  const child = lethe(args, env);
  await child.ended();
  return child;
}

/** Starts the broker on free ports, and waits until it says that it is ready. */
export async function serve(toml = '', args: readonly string[] = [], env: ChildOptions['env'] = {}): Promise<Served> {
  const ports = /^\[\[listener\]\]/m.test(toml) ? [] : ['--port', '0', '--ws-port', '0'];
  const child = lethe(['serve', '--ready-json', '--config', temporaryFile(toml), ...ports, ...args], env);
  await child.until('the broker is ready', () => child.stdout.includes('\n'));
  const ready = JSON.parse(child.stdout) as Ready;
  return {
    child,
    ready,
    port(transport) {
      const port = ready[transport];
      if (port === undefined) throw new Error(`the configuration has no ${transport} listener`);
      return port;
    },
    stop() {
      child.kill('SIGTERM');
      return child.ended();
    },
  };
}

/** One broker for a test file; it must stop with exit code 0 and have had nothing to complain of. */
export function useServed(toml: () => string): Served {
  let served: Served | null = null;
  const now = (): Served => {
    if (served === null) throw new Error('the broker runs only inside tests');
    return served;
  };
  beforeAll(async () => {
    served = await serve(toml());
  });
  afterAll(async () => {
    if (served === null) return;
    expect(await served.stop()).toEqual({ code: 0, signal: null });
    expect(served.child.stderr).toBe('');
  });
  return {
    get child() {
      return now().child;
    },
    get ready() {
      return now().ready;
    },
    port: (transport) => now().port(transport),
    stop: () => now().stop(),
  };
}
