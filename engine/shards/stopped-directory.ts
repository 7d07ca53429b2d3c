// What can be done with a data directory whether a broker runs on it or not: asked of the broker, or done here by a shard without listeners.
import { existsSync } from 'node:fs';
import { Reason } from '../../protocol/packet.ts';
import type { Administration } from '../administration/administration.ts';
import { type ApiAnswer, callApi } from '../administration/api.ts';
import { ApiError } from '../administration/api-error.ts';
import { type Audit, AuditEvent } from '../administration/audit.ts';
import { type Inventory, shownInventory, sumInventory } from '../administration/inventory.ts';
import { AUDIT_KEY_PURPOSE, keepAudit } from '../administration/keep-audit.ts';
import { findNames } from '../administration/names.ts';
import {
  findPseudonymKey,
  keepPseudonymKey,
  PSEUDONYM_KEY_PURPOSE,
  type PseudonymKeySource,
} from '../administration/pseudonym.ts';
import { answerQuestion, type Question } from '../administration/questions.ts';
import { type KeyRotated, Sealing } from '../administration/routes-folder.ts';
import { standstillOf } from '../administration/standstill.ts';
import { Traces } from '../administration/traces.ts';
import { allocateKeptTime, clockWith, systemClock } from '../clock.ts';
import type { Config } from '../config/load.ts';
import { createLog, silentLog } from '../log.ts';
import { systemRandom } from '../random.ts';
import { unpackSession } from '../routing/record.ts';
import { Ageing, recover } from '../routing/recover.ts';
import { HiddenSessions } from '../routing/resume.ts';
import { masterKeySource, openSpoolOf } from '../spool/configured.ts';
import { askOwner, callOwner, lockFolder } from '../spool/folder-lock.ts';
import type { MasterKeySource } from '../spool/master-key.ts';
import { version } from '../version.ts';
import { Host } from './host.ts';

/** What the data directory of a configuration holds: asked of the broker that runs on it, or read from it. @throws Error in one line */
export async function inventoryOf(config: Config): Promise<Inventory> {
  const answer = await askOwner(config.server.dataDir, 'inventory');
  if (answer !== null) return answer as Inventory;
  if (!existsSync(config.server.dataDir)) throw new Error(`${config.server.dataDir}: there is no such directory`);
  const keptTime = allocateKeptTime();
  const spool = await openSpoolOf(config, silentLog, keptTime);
  try {
    let deliveries = 0;
    let bytes = 0;
    const hidden = new HiddenSessions();
    await spool.store.recover({
      session(number, record) {
        hidden.took(number, unpackSession(record)?.clientId ?? '');
      },
      subscription() {},
      deliveries(session, _base, end, messages, messageBytes) {
        if (hidden.tookDeliveries(session, end)) return;
        deliveries += messages;
        bytes += messageBytes;
      },
      inbound() {},
      retained() {},
    });
    const stored = shownInventory(clockWith(keptTime), await spool.store.inventory());
    const sessions = { ...stored.sessions, count: stored.sessions.count - hidden.count };
    return { ...stored, sessions, queued: { deliveries, bytes }, inFlight: { deliveries: 0 }, hasMasterKey: spool.hasMasterKey };
  } finally {
    await spool.store.close();
    await spool.unlock();
  }
}

/**
 * A request to the admin API of a data directory: served by the broker that runs on it, or by this process when none does.
 * @throws Error in one line
 */
export async function administer(config: Config, method: string, path: string, body?: unknown): Promise<ApiAnswer> {
  const { dataDir } = config.server;
  const answer = await callOwner(dataDir, method, path, body);
  if (answer !== null) return answer;
  if (!existsSync(dataDir)) throw new Error(`${dataDir}: there is no such directory`);
  return withStopped(config, async (administration) => {
    try {
      return await callApi(administration, method, path, body);
    } catch (error) {
      if (error instanceof ApiError) return { status: error.status, body: { error: error.message } };
      throw error;
    }
  });
}

/** Does something with what a data directory holds that no broker runs on: a shard without listeners, in which nothing grows older. */
async function withStopped<T>(config: Config, act: (administration: Administration) => Promise<T>): Promise<T> {
  const one = { ...config, server: { ...config.server, threads: 1 } };
  const log = createLog('warn', (line) => process.stderr.write(`${line}\n`), systemClock.wallMs);
  const keptTime = allocateKeptTime();
  const clock = clockWith(keptTime);
  const spool = await openSpoolOf(one, log, keptTime);
  const { store } = spool;
  let host: Host | null = null;
  let audit: Audit | null = null;
  try {
    const names = await findNames(one, spool, clock, systemRandom, log);
    audit = names.audit;
    const nobody = { authenticate: () => ({ ok: false, reason: Reason.SERVER_UNAVAILABLE }) as const };
    host = new Host({
      config: one,
      clock,
      random: systemRandom,
      log,
      store,
      authenticator: nobody,
      exchanges: null,
      rights: null,
      givenRights: null,
      guard: null,
      close: () => {},
      destroy: () => {},
    });
    const running = host;
    const { shard } = running;
    await Promise.race([recover(shard, Ageing.OFF), spool.died]);
    const askAll = async <Q extends Question>(question: Q) => [await answerQuestion(shard, question, running)];
    const work = act({
      version,
      config: one,
      log,
      clock,
      random: systemRandom,
      askAll,
      inventory: async () => sumInventory(await askAll({ kind: 'held' }), spool.hasMasterKey),
      reload: () => Promise.reject(new Error('no broker runs on this data directory')),
      ...names,
      traces: new Traces({ askAll, clock, random: systemRandom, ...names }),
      whileNothingMoves: standstillOf(shard),
      figures: spool.figures,
      startedMs: clock.wallMs(),
      bridges: () => [],
      isStopping: () => false,
    });
    return await Promise.race([work, spool.died]);
  } finally {
    host?.close();
    await audit?.close();
    await store.close();
    await spool.unlock();
  }
}

/**
 * Wraps the keys of a data directory under another master key, and has it recorded.
 * @throws Error in one line
 */
export async function rotateMasterKey(config: Config, next: MasterKeySource): Promise<void> {
  const { findMasterKey } = await import('../spool/master-key.ts');
  const { folderKey, rotateMaster } = await import('../../storage/folder.ts');
  const { dataDir } = config.server;
  const [master, nextMaster] = [findMasterKey(masterKeySource(config)), findMasterKey(next)];
  const sealedUntilNow = folderKey(dataDir, master, AUDIT_KEY_PURPOSE);
  const names = folderKey(dataDir, master, PSEUDONYM_KEY_PURPOSE);
  rotateMaster(dataDir, master, nextMaster, (bytes) => systemRandom.bytes(bytes));
  const key = folderKey(dataDir, nextMaster, AUDIT_KEY_PURPOSE);
  const sealing = key === null ? Sealing.ENDS : Sealing.BEGINS;
  const word: KeyRotated =
    (sealedUntilNow === null) === (key === null)
      ? { sealing: Sealing.STAYS }
      : { sealing, ...(key === null ? {} : { key: Buffer.from(key).toString('hex') }) };
  const answer = await callOwner(dataDir, 'POST', '/v1/audit/key-rotated', word);
  if (answer !== null) {
    if (answer.status === 200) return;
    const says = (answer.body as { readonly error?: string } | null)?.error ?? answer.status;
    throw new Error(
      `${dataDir}: the keys are wrapped anew, but the audit log does not say so: the broker that runs here says ${says}`,
    );
  }
  const lock = await lockFolder(dataDir);
  try {
    if (key === null && names !== null) keepPseudonymKey(pseudonymKeySource(config), names);
    const audit = keepAudit(config, key ?? sealedUntilNow, systemClock, silentLog);
    audit.record(AuditEvent.KEY_ROTATED);
    if (word.sealing === Sealing.ENDS) audit.record(AuditEvent.SEALING_ENDS);
    await audit.close();
  } finally {
    await lock.unlock();
  }
}

/** What the lines of an audit log are sealed with; null without a master key, or without a spool. @throws Error in one line */
export function auditKeyOf(config: Config): Promise<Uint8Array | null> {
  return derivedKey(config, AUDIT_KEY_PURPOSE);
}

/** The key of pseudonyms of a configuration; null where there is none yet. @throws Error in one line */
export async function pseudonymKeyOf(config: Config): Promise<Uint8Array | null> {
  return findPseudonymKey(pseudonymKeySource(config)) ?? (await derivedKey(config, PSEUDONYM_KEY_PURPOSE));
}

function pseudonymKeySource({ admin, server }: Config): PseudonymKeySource {
  return { file: admin.pseudonymKeyFile, folder: server.dataDir };
}

async function derivedKey(config: Config, purpose: string): Promise<Uint8Array | null> {
  const { findMasterKey } = await import('../spool/master-key.ts');
  const master = findMasterKey(masterKeySource(config));
  if (master === null) return null;
  const { folderKey } = await import('../../storage/folder.ts');
  return folderKey(config.server.dataDir, master, purpose);
}
