// What a person has said about a run, by flags or in a scenario file. What is missing is filled in by the planner.
import type { QoS } from './plan.ts';

export interface PublisherSettings {
  readonly count: number;
  readonly topic: string;
  readonly topics?: number | undefined;
  readonly qos?: QoS | undefined;
  readonly retain?: boolean | undefined;
  readonly size?: number | undefined;
  readonly rate?: number | undefined;
  readonly window?: number | undefined;
  readonly limit?: number | undefined;
}

export interface SubscriberSettings {
  readonly count: number;
  readonly filter: string;
  readonly qos?: QoS | undefined;
  readonly shared?: string | undefined;
}

export interface Settings {
  /** Name of a scenario, or `custom`: the groups below. */
  readonly scenario: string;
  /** As the result calls it. */
  readonly name?: string | undefined;

  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly ws?: boolean | undefined;
  readonly ssl?: boolean | undefined;
  readonly path?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly cafile?: string | undefined;
  readonly certfile?: string | undefined;
  readonly keyfile?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly version?: 3 | 4 | 5 | undefined;
  readonly pid?: number | undefined;
  readonly start?: string | undefined;

  readonly prefix?: string | undefined;
  readonly startNumber?: number | undefined;
  readonly keepalive?: number | undefined;
  readonly clean?: boolean | undefined;
  readonly sessionExpiry?: number | undefined;
  readonly connectRate?: number | undefined;
  /** Milliseconds between two connections. */
  readonly connectInterval?: number | undefined;
  readonly ifaddr?: readonly string[] | undefined;

  readonly clients?: number | undefined;
  readonly publishers?: number | undefined;
  readonly subscribers?: number | undefined;
  readonly topic?: string | undefined;
  readonly topics?: number | undefined;
  readonly size?: number | undefined;
  readonly qos?: QoS | undefined;
  readonly retain?: boolean | undefined;
  readonly shared?: string | undefined;
  readonly window?: number | undefined;
  /** Messages a second of all publishers together. */
  readonly rate?: number | undefined;
  /** Milliseconds between two messages of one publisher. */
  readonly interval?: number | undefined;
  readonly limit?: number | undefined;
  /** Seconds, as all times below. */
  readonly warmUp?: number | undefined;
  readonly duration?: number | undefined;
  readonly settle?: number | undefined;
  readonly stormEvery?: number | undefined;
  readonly threads?: number | undefined;
  readonly spin?: boolean | undefined;

  readonly killAfter?: number | undefined;
  readonly restartCommand?: string | undefined;
  readonly assertions?: readonly string[] | undefined;

  readonly publisherGroups?: readonly PublisherSettings[] | undefined;
  readonly subscriberGroups?: readonly SubscriberSettings[] | undefined;
}

/** What was said cannot be done: a usage error. */
export class SettingsError extends Error {}
