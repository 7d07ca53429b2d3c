// A plan against a broker on this machine, with nothing said but who publishes to whom and how long: for the benches that measure Lethe
// beside its peers, and for tests.
import { randomInt } from 'node:crypto';
import { Course, type Plan, type PublisherGroup, type SubscriberGroup } from './plan.ts';

export type LocalPlan = Pick<Plan, 'publishers' | 'subscribers'> &
  Partial<Omit<Plan, 'broker' | 'clients'>> & {
    /** On loopback, unless `broker` says where. */
    readonly port?: number;
    readonly broker?: Partial<Plan['broker']>;
    readonly clients?: Partial<Plan['clients']>;
  };

export function localPlan({ port = 0, broker, clients, ...rest }: LocalPlan): Plan {
  const run = randomInt(2 ** 32);
  return {
    scenario: 'local',
    course: Course.TRAFFIC,
    run,
    broker: {
      transport: 'tcp',
      host: '127.0.0.1',
      port,
      path: '/mqtt',
      ca: null,
      cert: null,
      key: null,
      checksName: true,
      level: 4,
      userName: null,
      password: null,
      ...broker,
    },
    clients: {
      prefix: `bench-${run.toString(16)}`,
      firstNumber: 0,
      keepAliveS: 0,
      connectPerSecond: 0,
      localAddresses: [],
      clean: true,
      sessionExpiryS: 0,
      ...clients,
    },
    idle: 0,
    closed: true,
    warmUpS: 0,
    durationS: 0,
    settleS: 1,
    stormEveryS: 0,
    kill: null,
    cleansUp: false,
    threads: 1,
    spins: true,
    ...rest,
  };
}

/** Publishers of which each sends as fast as its window lets it. */
export function publisherGroup(own: Pick<PublisherGroup, 'topic'> & Partial<PublisherGroup>): PublisherGroup {
  return { count: 1, topics: 1, qos: 0, retain: false, payloadBytes: 32, rate: 0, window: 100, limit: 0, ...own };
}

export function subscriberGroup(own: Pick<SubscriberGroup, 'filter'> & Partial<SubscriberGroup>): SubscriberGroup {
  return { count: 1, filters: 1, qos: 0, shared: null, away: false, ...own };
}
