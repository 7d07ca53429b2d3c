// What an operator can see and do in a running broker, for whoever asks: the admin API (api.ts) and the program that embeds the broker.
import type { Figures } from '../../storage/figures.ts';
import type { Config } from '../config/load.ts';
import type { Log } from '../log.ts';
import type { Inventory } from './inventory.ts';
import type { AskAll } from './questions.ts';
import type { ReloadReport } from './reload.ts';

export interface Administration {
  readonly version: string;
  readonly config: Config;
  readonly log: Log;
  /** Asks every shard. */
  readonly askAll: AskAll;
  inventory(): Promise<Inventory>;
  /** Reads the configuration and its files anew. @throws Error in words for the operator; everything is as it was then */
  reload(): Promise<ReloadReport>;
  /** What the spool tells of itself; null without a data directory. */
  readonly figures: Figures | null;
}
