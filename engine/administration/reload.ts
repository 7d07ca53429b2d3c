// Reading the configuration and the files that it names anew, in two steps over all shards: each prepares, and only when all have, each puts it in force. One file that is broken for one of them leaves all of them as they
// were. One reload at a time; who asks meanwhile waits for the next.
import type { Config } from '../config/load.ts';
import { planReload } from '../config/plan-reload.ts';
import { printConfig } from '../config/print.ts';
import type { Log } from '../log.ts';
import { type Audit, AuditEvent } from './audit.ts';
import { hashOf } from './audit-chain.ts';
import type { AskAll } from './questions.ts';

/** A shard with its listeners, as far as a reload is concerned. */
export interface Reloadable {
  /** Reads and builds everything, and changes nothing. @throws Error in one line that names file and line, or listener and option */
  prepare(config: Config): Promise<void>;
  /** Puts in force what was prepared last. */
  apply(): Promise<ReloadedShard>;
  /** Drops what was prepared. */
  discard(): void;
}

export interface ReloadedShard {
  /** Connections that were ended: nobody vouches for their certificate any more, or their address is banned. */
  readonly ended: number;
  /** Queued messages that were dropped, because their receivers may not have them any more. */
  readonly dropped: number;
}

export interface ReloadReport extends ReloadedShard {
  /** Options that have changed. The files that they name were read anew in any case. */
  readonly changed: readonly string[];
  /** Options that differ and wait for a restart. */
  readonly restart: readonly string[];
}

export interface ReloadParts {
  readonly config: Config;
  readonly log: Log;
  readonly audit: Audit;
  readonly askAll: AskAll;
  /** Reads the token and the certificate of the admin port; what comes back puts them in force. @throws Error in one line */
  readonly prepareAdmin: () => Promise<() => void>;
  /** Something went wrong half way: shards may differ. */
  readonly onFatal: (error: Error) => void;
}

export class Reloads {
  /** What the broker runs with. */
  config: Config;
  readonly #parts: ReloadParts;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: ReloadParts) {
    this.config = parts.config;
    this.#parts = parts;
  }

  /**
   * @param read gives the configuration as it is to be now
   * @throws Error that says what is wrong with which file; everything is as it was then
   */
  reload(read: () => Config): Promise<ReloadReport> {
    const mine = this.#last.then(() => this.#run(read));
    this.#last = mine.catch(() => {});
    return mine;
  }

  async #run(read: () => Config): Promise<ReloadReport> {
    const { log, audit, askAll, prepareAdmin, onFatal } = this.#parts;
    let plan: ReturnType<typeof planReload>;
    let applyAdmin: () => void;
    try {
      plan = planReload(this.config, read());
      applyAdmin = await prepareAdmin();
      await askAll({ kind: 'prepare', config: plan.config });
    } catch (error) {
      // A shard that has died is told of elsewhere.
      await askAll({ kind: 'discard' }).catch(() => {});
      const message = error instanceof Error ? error.message : String(error);
      log.error(`reload refused, everything is as it was: ${message.replaceAll('\n', '; ')}`);
      throw error;
    }
    const { config, changed, restart } = plan;
    let shards: readonly ReloadedShard[];
    try {
      shards = await askAll({ kind: 'apply' });
      applyAdmin();
    } catch (error) {
      onFatal(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    this.config = config;
    if (log.level !== undefined) log.level = config.server.logLevel;
    const sum = (figure: keyof ReloadedShard) => shards.reduce((total, shard) => total + shard[figure], 0);
    const report = { changed, restart, ended: sum('ended'), dropped: sum('dropped') };
    audit.record(AuditEvent.RELOAD, { changed: changed.length, ended: report.ended, dropped: report.dropped });
    audit.record(AuditEvent.CONFIGURATION, { sha256: hashOf(printConfig(config)) });
    log.info('reloaded', { changed: changed.length, ended: report.ended, dropped: report.dropped });
    if (restart.length > 0) log.warn(`options that need a restart have changed: ${restart.join(', ')}`);
    return report;
  }
}
