// The scenarios that have a name: who publishes to whom. Numbers and qualities that were not given are the scenario's own.
import { Course, type QoS } from './plan.ts';
import { type PublisherSettings, type Settings, SettingsError, type SubscriberSettings } from './settings.ts';

export interface Casting {
  readonly course: Course;
  readonly publishers: readonly PublisherSettings[];
  readonly subscribers: readonly SubscriberSettings[];
  readonly idle: number;
  /** Where they differ from the general ones. */
  readonly defaults: {
    readonly qos?: QoS;
    readonly rate?: number;
    readonly limit?: number;
    readonly duration?: number;
    readonly warmUp?: number;
    readonly stormEvery?: number;
  };
  /** The run's clients are all that use its topics. */
  readonly closed: boolean;
}

interface Scenario {
  readonly about: string;
  /** @param base first levels of the topics, for nobody else */
  readonly cast: (settings: Settings, base: string) => Casting;
}

const SHARED_NAME = 'bench';

export const scenarios: Readonly<Record<string, Scenario>> = {
  'point-to-point': {
    about: '-c pairs: one publisher, one subscriber, a topic of their own (default 1)',
    cast: ({ clients = 1, topic, topics = 1, ...settings }, base) => {
      const own = topic ?? `${base}/%i${topics > 1 ? '/%t' : ''}`;
      return traffic(
        [{ count: settings.publishers ?? clients, topic: own, topics }],
        [{ count: settings.subscribers ?? clients, filter: own.replace(/[^/]*%t[^/]*/g, '+') }],
      );
    },
  },
  'fan-in': {
    about: '-c publishers (default 10), each on its own topic; --subscribers of all of it (default 1)',
    cast: ({ clients = 10, topic, topics = 1, ...settings }, base) => {
      const own = topic ?? `${base}/%i${topics > 1 ? '/%t' : ''}`;
      return traffic(
        [{ count: settings.publishers ?? clients, topic: own, topics }],
        [{ count: settings.subscribers ?? 1, filter: everyTopic(own) }],
      );
    },
  },
  'fan-out': {
    about: '--publishers (default 1); -c subscribers of all of it (default 10)',
    cast: ({ clients = 10, topic, topics = 1, ...settings }, base) => {
      const own = topic ?? `${base}/%i${topics > 1 ? '/%t' : ''}`;
      return traffic(
        [{ count: settings.publishers ?? 1, topic: own, topics }],
        [{ count: settings.subscribers ?? clients, filter: everyTopic(own) }],
      );
    },
  },
  shared: {
    about: `--publishers (default 1); -c members of a shared subscription (default 10) named by --shared (default ${SHARED_NAME})`,
    cast: ({ clients = 10, topic, topics = 1, shared = SHARED_NAME, ...settings }, base) => {
      const own = topic ?? `${base}/%i${topics > 1 ? '/%t' : ''}`;
      return traffic(
        [{ count: settings.publishers ?? 1, topic: own, topics }],
        [{ count: settings.subscribers ?? clients, filter: everyTopic(own), shared }],
      );
    },
  },
  persistent: {
    about:
      '-c pairs (default 10) whose subscribers are away while -L messages (default 100,000) are published, then come for them',
    cast: ({ clients = 10, topic, ...settings }, base) => {
      const own = topic ?? `${base}/%i`;
      return {
        ...traffic(
          [{ count: settings.publishers ?? clients, topic: own }],
          [{ count: settings.subscribers ?? clients, filter: own.includes('%') ? own : everyTopic(own) }],
        ),
        course: Course.PERSISTENT,
        defaults: { qos: 1, limit: 100_000, duration: 0, warmUp: 0 },
      };
    },
  },
  'reconnect-storm': {
    about: '-c subscribers (default 100) that lose their connections all at once, every --storm-every, under traffic',
    cast: ({ clients = 100, topic, ...settings }, base) => {
      if (topic !== undefined) throw new SettingsError('-t does not go with reconnect-storm: it makes its own topics');
      const count = settings.subscribers ?? clients;
      return {
        ...traffic(
          [{ count: settings.publishers ?? 1, topic: `${base}/%i/%t`, topics: count }],
          [{ count, filter: `${base}/+/%i` }],
        ),
        course: Course.STORM,
        defaults: { qos: 1, rate: 1_000, stormEvery: 3 },
      };
    },
  },
  wildcards: {
    about:
      'a tree of topics: --publishers (default 10) with --topics each (default 100); -c subscribers (default 10) with +, # and both',
    cast: ({ clients = 10, topic, topics = 100, ...settings }, base) => {
      if (topic !== undefined) throw new SettingsError('-t does not go with wildcards: it makes its own topics');
      const subscribers = settings.subscribers ?? clients;
      const filters = [
        `${base}/site-%i/#`,
        `${base}/+/room/%i/temperature`,
        `${base}/+/+/+/temperature`,
        `${base}/+/room/%i/#`,
        `${base}/#`,
      ];
      // A publisher is a site and a topic a room.
      return traffic(
        [{ count: settings.publishers ?? 10, topic: `${base}/site-%i/room/%t/temperature`, topics }],
        filters.flatMap((filter, i) => {
          const count = Math.floor((subscribers + filters.length - 1 - i) / filters.length);
          return count === 0 ? [] : [{ count, filter }];
        }),
      );
    },
  },
  custom: {
    about: 'the groups [[publishers]] and [[subscribers]] of a scenario file',
    cast: ({ publisherGroups = [], subscriberGroups = [] }) => {
      if (publisherGroups.length === 0 && subscriberGroups.length === 0)
        throw new SettingsError('a custom scenario needs [[publishers]] and [[subscribers]] in a scenario file');
      return { ...traffic(publisherGroups, subscriberGroups), closed: publisherGroups.length > 0 };
    },
  },
};

/** What `lethe bench pub`, `sub` and `conn` do. */
export const soloists: Readonly<Record<'pub' | 'sub' | 'conn', Scenario['cast']>> = {
  pub: ({ clients = 1, topic = 'bench/%i', topics = 1 }) => ({
    ...traffic([{ count: clients, topic, topics }], []),
    defaults: { warmUp: 0 },
  }),
  sub: ({ clients = 1, topic = 'bench/#', shared }) => ({
    ...traffic([], [{ count: clients, filter: topic, shared }]),
    closed: false,
    defaults: { warmUp: 0, duration: 0 },
  }),
  conn: ({ clients = 100 }) => ({
    ...traffic([], []),
    course: Course.CONNECTIONS,
    idle: clients,
    defaults: { warmUp: 0 },
  }),
};

function traffic(publishers: readonly PublisherSettings[], subscribers: readonly SubscriberSettings[]): Casting {
  return { course: Course.TRAFFIC, publishers, subscribers, idle: 0, defaults: {}, closed: true };
}

/** A filter for all topics of a pattern. */
function everyTopic(pattern: string): string {
  return pattern.replace(/[^/]*%[icut][^/]*/g, '+');
}
