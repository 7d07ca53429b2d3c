// Starts one broker inside the test process, on free loopback ports: the one place in test/ that knows how. And the one place that knows how many shards the
// suite gives its brokers: `LETHE_SERVER__THREADS=3` says so to those in the test process and to those that tests start as processes.
import { systemClock } from '../engine/clock.ts';
import { type Broker, type BrokerOptions, type Config, createBroker, createLog, type Log, loadConfig } from '../engine/lethe.ts';
import { judgeLine } from './log-lines.ts';

const VARIABLE = 'LETHE_SERVER__THREADS';

/** Shards of every broker that a test does not want otherwise. */
export const shards = Number(process.env[VARIABLE] ?? 1);

/** For tests whose subject is one thread: it goes before whatever else is set. */
export const ONE_SHARD = 'server.threads=1';

/** A broker in the test process shares its event loop: what a test computes for seconds is no overload. */
const PATIENT = 'limits.overload_delay_ms=0';

export type RunningBroker = Broker;

/** @param set options as `lethe serve --set` takes them */
export function startBroker(set: readonly string[] = [], options: Omit<BrokerOptions, 'set' | 'config'> = {}): Promise<Broker> {
  return createBroker({ log: watchedLog(), ...options, set: [`server.threads=${shards}`, PATIENT, ...set] });
}

/** Everything that is logged, at the lowest level, is held against what lines may be (log-lines.ts). */
function watchedLog(): Log {
  return createLog('debug', judgeLine, systemClock.wallMs);
}

/** What a file says, for a broker of the suite's shards, unless `set` says otherwise. */
export function configOf(file: string, set: readonly string[] = []): Config {
  return loadConfig({ file, set: [`server.threads=${shards}`, PATIENT, ...set] });
}

/** Over the environment of the tests: takes away what would configure a process, but for the suite's shards where it is a broker or starts one. */
export function environmentFor(command: string | undefined): Readonly<Record<string, undefined>> {
  const keptName = command === 'serve' || command === 'bench' ? VARIABLE : '';
  const taken = Object.keys(process.env).filter((name) => name.startsWith('LETHE_') && name !== keptName);
  return Object.fromEntries(taken.map((name) => [name, undefined]));
}
