// Where is recorded what is done to a broker, and how its clients are named there.
import type { Clock } from '../clock.ts';
import type { Config } from '../config/load.ts';
import type { Log } from '../log.ts';
import type { Random } from '../random.ts';
import type { RunningSpool } from '../spool/open.ts';
import type { Administration } from './administration.ts';
import { AUDIT_KEY_PURPOSE, keepAudit } from './keep-audit.ts';
import { PSEUDONYM_KEY_PURPOSE, pseudonymKey, pseudonymOf } from './pseudonym.ts';

/** @throws Error in one line that names a file */
export async function findNames(
  config: Config,
  spool: RunningSpool | null,
  clock: Clock,
  random: Random,
  log: Log,
): Promise<Pick<Administration, 'audit' | 'pseudonym' | 'pseudonymKey'>> {
  const source = { file: config.admin.pseudonymKeyFile, folder: config.server.dataDir };
  const key = pseudonymKey(source, random, (await spool?.keyFor(PSEUDONYM_KEY_PURPOSE)) ?? null);
  const audit = keepAudit(config, (await spool?.keyFor(AUDIT_KEY_PURPOSE)) ?? null, clock, log);
  return { audit, pseudonym: (clientId) => pseudonymOf(key, clientId), pseudonymKey: key };
}
