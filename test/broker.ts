// Starts one broker inside the test process, on free loopback ports: the one place in test/ that knows how.
import { type Broker, type BrokerOptions, createBroker } from '../engine/lethe.ts';

/** Shards of every broker that a test does not want otherwise. */
const threads = process.env['LETHE_TEST_THREADS'] === undefined ? [] : [`server.threads=${process.env['LETHE_TEST_THREADS']}`];

export type RunningBroker = Broker;

/** @param set options as `lethe serve --set` takes them */
export function startBroker(set: readonly string[] = [], options: Omit<BrokerOptions, 'set' | 'config'> = {}): Promise<Broker> {
  return createBroker({ ...options, set: [...threads, ...set] });
}
