// The spool as a configuration has it. It is loaded only for those who have a data directory.
import type { Config } from '../config/load.ts';
import type { Log } from '../log.ts';
import type { MasterKeySource } from './master-key.ts';
import type { RunningSpool } from './open.ts';

/** @param keptTime of the broker (clock.ts); it goes on from where the directory left it. @throws Error in one line */
export async function openSpoolOf(config: Config, log: Log, keptTime: SharedArrayBuffer): Promise<RunningSpool> {
  const { openSpool } = await import('./open.ts');
  const { spool, server } = config;
  const options = {
    folder: server.dataDir,
    masterKey: masterKeySource(config),
    retentionMs: spool.maxRetentionS * 1_000,
    eraseWithinMs: spool.eraseWithinMs,
    diskFloorBytes: spool.diskFloorBytes,
    commitWindowMs: spool.commitWindowMs,
    relaxed: spool.durability === 'relaxed',
    clients: server.threads,
    keptTime,
  };
  return openSpool(options, log);
}

export function masterKeySource({ spool }: Config): MasterKeySource {
  return { file: spool.keyFile, env: spool.keyEnv, command: spool.keyCommand };
}
