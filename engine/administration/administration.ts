// What an operator can see and do in a running broker, for whoever asks: the admin API (api.ts) and the program that embeds the broker.
import type { Figures } from '../../storage/figures.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/load.ts';
import type { Log } from '../log.ts';
import type { Inventory } from './inventory.ts';
import type { AskAll } from './questions.ts';

export interface Administration {
  readonly version: string;
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  /** When the broker came up, in wall-clock ms. */
  readonly startedMs: number;
  /** Asks every shard. */
  readonly askAll: AskAll;
  inventory(): Promise<Inventory>;
  /** What the spool tells of itself; null without a data directory. */
  readonly figures: Figures | null;
  /** Of client identifiers (pseudonym.ts). */
  readonly pseudonymKey: Uint8Array;
  /** Whether the broker is on its way down. */
  isStopping(): boolean;
}
