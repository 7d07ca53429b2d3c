// What an operator can see and do in a running broker, for whoever asks: the admin API (api.ts) and the program that embeds the broker.
import type { Figures } from '../../storage/figures.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/load.ts';
import type { Log } from '../log.ts';
import type { Random } from '../random.ts';
import type { Audit } from './audit.ts';
import type { BridgeFigures } from './bridge-figures.ts';
import type { Inventory } from './inventory.ts';
import type { AskAll } from './questions.ts';
import type { ReloadReport } from './reload.ts';
import type { Standstill } from './standstill.ts';
import type { Traces } from './traces.ts';

export interface Administration {
  readonly version: string;
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  /** When the broker came up, in wall-clock ms. */
  readonly startedMs: number;
  readonly random: Random;
  /** Asks every shard. */
  readonly askAll: AskAll;
  inventory(): Promise<Inventory>;
  /** Reads the configuration and its files anew. @throws Error in words for the operator; everything is as it was then */
  reload(): Promise<ReloadReport>;
  /** Where everything that somebody does here is recorded: `audit.record(AuditEvent.KICK, { client: pseudonym(clientId) })`. */
  readonly audit: Audit;
  /** The name of a client outside of the broker, and what it is made with (pseudonym.ts). */
  pseudonym(clientId: string): string;
  readonly pseudonymKey: Uint8Array;
  /** Does something while no session, or not that of one client, is on its way from one shard to another; one such thing at a time. */
  readonly whileNothingMoves: Standstill;
  /** Traces of clients that run now. */
  readonly traces: Traces;
  /** What the spool tells of itself; null without a data directory. */
  readonly figures: Figures | null;
  /** What the bridges of this broker have counted. */
  bridges(): readonly BridgeFigures[];
  /** Whether the broker is on its way down. */
  isStopping(): boolean;
}
