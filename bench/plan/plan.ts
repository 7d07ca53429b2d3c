// What a run is to do, as plain data that every thread of the load gets: nothing in it is left to be decided.
import type { WireAddress } from '../raw/stream-wire.ts';

export type QoS = 0 | 1 | 2;

/** How a run goes. */
export const Course = {
  /** Warm up, measure, stop, settle. */
  TRAFFIC: 'traffic',
  /** Sessions go away, messages are published for them, they come back and take what they are owed. */
  PERSISTENT: 'persistent',
  /** Traffic, and every so often all subscribers lose their connections at once and come back. */
  STORM: 'storm',
  /** Connections are made and held. */
  CONNECTIONS: 'connections',
} as const;
export type Course = (typeof Course)[keyof typeof Course];

/** Publishers that are alike. Patterns: %i number of the client, %c its client id, %u its user name, %t number of its topic. */
export interface PublisherGroup {
  readonly count: number;
  readonly topic: string;
  /** Topics that each publisher takes in turn, message by message. */
  readonly topics: number;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly payloadBytes: number;
  /** Messages a second of the whole group, sent when they are due whatever comes back; 0: as fast as the window lets them. */
  readonly rate: number;
  /** Most messages of one publisher on their way. */
  readonly window: number;
  /** Messages of the whole group; 0: no end. */
  readonly limit: number;
}

export interface SubscriberGroup {
  readonly count: number;
  /** A pattern too. */
  readonly filter: string;
  /** Filters that each subscriber has: %t is the number of each. Their topics must not overlap. */
  readonly filters: number;
  readonly qos: QoS;
  /** Name of the shared subscription that all of them are; null: each gets everything. */
  readonly shared: string | null;
  /** Not connected while the publishers publish. */
  readonly away: boolean;
}

export interface BrokerAddress extends WireAddress {
  readonly level: 3 | 4 | 5;
  /** A pattern; null: none. */
  readonly userName: string | null;
  readonly password: string | null;
}

export interface ClientPlan {
  /** Client ids are this, the role and the number. */
  readonly prefix: string;
  readonly firstNumber: number;
  readonly keepAliveS: number;
  /** Connections a second of all threads together; 0: as fast as the broker takes them. */
  readonly connectPerSecond: number;
  /** Addresses that connections come from, in turn; empty: as the system decides. */
  readonly localAddresses: readonly string[];
  /** Whether sessions end with their connections. */
  readonly clean: boolean;
  /** How long they outlive them otherwise (MQTT 5). */
  readonly sessionExpiryS: number;
}

export interface KillPlan {
  /** Seconds from the beginning of what is measured. */
  readonly afterS: number;
  readonly restartCommand: string;
}

export interface Plan {
  /** Name of the scenario, or of the file. */
  readonly scenario: string;
  readonly course: Course;
  /** Told apart from other runs by its messages (the low 8 bits) and by its topics. */
  readonly run: number;
  readonly broker: BrokerAddress;
  readonly clients: ClientPlan;
  readonly publishers: readonly PublisherGroup[];
  readonly subscribers: readonly SubscriberGroup[];
  /** Connections that do nothing. */
  readonly idle: number;
  /** Whether everything that subscribers get comes from this run's publishers, so that what does not come is lost. */
  readonly closed: boolean;
  readonly warmUpS: number;
  /** 0: until the limits are reached, or until interrupted. */
  readonly durationS: number;
  /** Nothing came for so long: what is missing does not come. */
  readonly settleS: number;
  /** Seconds between two storms, 0: none. */
  readonly stormEveryS: number;
  readonly kill: KillPlan | null;
  /** Whether sessions of the run are ended when it is over. */
  readonly cleansUp: boolean;
  readonly threads: number;
  /** Whether a thread that waits for a message's time does so awake, to the microsecond, or asleep, to the millisecond. */
  readonly spins: boolean;
}

/** Whether the publishers of a group keep to a clock. */
export function isOpenLoop(group: PublisherGroup): boolean {
  return group.rate > 0;
}
