// Starts one broker inside the test process, on free loopback ports: the one place in test/ that knows how.
import { type Broker, type BrokerOptions, createBroker } from '../engine/lethe.ts';

export type RunningBroker = Broker;

/** @param set options as `lethe serve --set` takes them */
export function startBroker(set: readonly string[] = [], options: Omit<BrokerOptions, 'set' | 'config'> = {}): Promise<Broker> {
  return createBroker({ ...options, set });
}
