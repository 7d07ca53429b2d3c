// The audit log as a configuration has it: where it is, what seals it, and what a broker records of itself.
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/load.ts';
import { printConfig } from '../config/print.ts';
import { Counters, refusedLogins } from '../counters.ts';
import type { Log } from '../log.ts';
import { Gauge } from '../peers/gauges.ts';
import type { Shard } from '../routing/shard.ts';
import { type Audit, AuditEvent, noAudit, openAudit } from './audit.ts';
import { hashOf } from './audit-chain.ts';

/** What the key of the seals is derived for (storage/folder.ts, `folderKey`). */
export const AUDIT_KEY_PURPOSE = 'lethe audit log';

const REFUSALS_INTERVAL_MS = 60_000;

/** Where the audit log is; empty: none is kept. */
export function auditFile({ audit, server }: Pick<Config, 'audit' | 'server'>): string {
  if (audit.file !== '') return audit.file;
  return server.dataDir === '' ? '' : join(server.dataDir, 'audit.log');
}

/**
 * Opens the audit log of a configuration.
 * @param key seals its lines; null: they are chained only
 * @throws Error in one line that names the file
 */
export function keepAudit(config: Config, key: Uint8Array | null, clock: Clock, log: Log): Audit {
  const file = auditFile(config);
  if (file === '') return noAudit;
  const { rotateBytes, keepFiles } = config.audit;
  return openAudit({ file, rotateBytes, keepFiles, key }, clock, log);
}

/** The broker serves from now on, under this configuration. Of the configuration stands its hash: of what `lethe print-config` prints. */
export function recordStart(audit: Audit, config: Config, version: string): void {
  audit.record(AuditEvent.START, { version, threads: config.server.threads });
  audit.record(AuditEvent.CONFIGURATION, { sha256: hashOf(printConfig(config)) });
}

/** Logins that all shards have refused since the start. */
export function loginsRefused({ counters, elsewhere, peers }: Shard): number {
  peers?.gauges.gather();
  let sum = 0;
  for (const name of refusedLogins) sum += counters[name] + elsewhere[Gauge.COUNTERS + Counters.indexOf(name)]!;
  return sum;
}

/** Records once a minute how many logins were refused in it, when any were. The function that it returns records the rest and ends it. */
export function recordRefusals(audit: Audit, loginsRefused: () => number, clock: Clock): () => void {
  let told = 0;
  let cancel = () => {};
  const tell = () => {
    const count = loginsRefused() - told;
    if (count > 0) audit.record(AuditEvent.LOGINS_REFUSED, { count });
    told += Math.max(0, count);
  };
  const again = () => {
    cancel = clock.after(REFUSALS_INTERVAL_MS, () => {
      tell();
      again();
    });
  };
  again();
  return () => {
    cancel();
    tell();
  };
}
