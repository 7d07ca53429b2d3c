// The composition root and the library's one public entry: a configuration in, a running broker out.
import { existsSync, readFileSync } from 'node:fs';
import type { Figures } from '../storage/figures.ts';
import { MemoryStore } from '../storage/memory.ts';
import type { Store } from '../storage/store.ts';
import type { Administration } from './administration/administration.ts';
import { apiListener } from './administration/api.ts';
import { type Inventory, sumInventory } from './administration/inventory.ts';
import { type AnswerOf, answerQuestion, type Question } from './administration/questions.ts';
import { publishSys } from './administration/sys.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Config, loadConfig } from './config/load.ts';
import { type Log, silentLog } from './log.ts';
import { Gauge } from './peers/gauges.ts';
import { type Random, systemRandom } from './random.ts';
import { unpackSession } from './routing/record.ts';
import { recover } from './routing/recover.ts';
import { HiddenSessions } from './routing/resume.ts';
import type { Crew } from './shards/crew.ts';
import { type Gate, loadSecurity } from './shards/gatekeeper.ts';
import { Host } from './shards/host.ts';
import type { MasterKeySource } from './spool/master-key.ts';
import type { RunningSpool } from './spool/open.ts';

export type { Inventory } from './administration/inventory.ts';
export { type Config, ConfigError, type ListenerConfig, loadConfig } from './config/load.ts';
export type { Authenticator, AuthOutcome, Credentials, Exchange, ExchangeMethods, ExchangeOutcome, Rights } from './gate.ts';
export { createLog, type Log } from './log.ts';
export type { Identity, Principal, TopicGrants } from './principal.ts';
export { type Gate, loadSecurity } from './shards/gatekeeper.ts';

/**
 * How `createBroker` may be told what to do. Everything has a default; ports default to free ones. With `server.threads` above 1 each shard has a thread of its own, which no object
 * can be given: `gate` then names a module, and `authenticator`, `rights`, `exchanges`, `store`, `clock` and `random` are refused.
 */
export interface BrokerOptions extends Gate {
  /** A finished configuration; `set` is ignored then. */
  readonly config?: Config;
  /** Options as `lethe serve --set` takes them: `limits.packet_bytes_max=1MiB`, `listener.tcp.port=1883`. */
  readonly set?: readonly string[];
  readonly log?: Log;
  /** URL or absolute path of a module that exports `authenticator`, `rights` or `exchanges`: each shard loads it. */
  readonly gate?: string | URL;
  /** Holds what outlives a connection; a store that is handed to a second broker gives it the sessions of the first. */
  readonly store?: Store;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The storage thread or a shard has died: the broker cannot go on. By default it stops. */
  readonly onFatal?: (error: Error) => void;
}

export interface Broker {
  /** Bound port of each listener, by name. */
  readonly ports: ReadonlyMap<string, number>;
  /** Port of the first TCP listener, 0 when there is none; `ws`, `tls` and `wss` likewise. */
  readonly tcp: number;
  readonly ws: number;
  readonly tls: number;
  readonly wss: number;
  /** Listeners that carry what should be encrypted, by name: to be told at every start. */
  readonly insecure: readonly string[];
  /** Sessions and connections now, for those who embed it. */
  readonly counts: () => {
    connections: number;
    sessions: number;
    subscriptions: number;
    queuedMessages: number;
    retained: number;
  };
  /** What is held, for whom it may concern: counts, bytes and ages by class. */
  inventory(): Promise<Inventory>;
  /** What the spool tells of itself; null without a data directory. */
  readonly spool: { readonly figures: Figures; readonly hasMasterKey: boolean } | null;
  /** Stops accepting, tells MQTT 5 clients (0x8B), flushes, and resolves when all is closed or the stop timeout has passed. */
  stop(): Promise<void>;
  /**
   * Closes every socket at once, without a word to anybody and without a last write to the store: for a process that ends now, which must call this first where there are several shards (a thread with
   * open sockets aborts the process). False when a shard does not answer.
   */
  abandon(): Promise<boolean>;
}

export const version: string = readVersion();

/**
 * Starts a broker.
 * @throws ConfigError for a wrong option; Error in one line for a port, certificate, password or ACL file that cannot be used
 */
export async function createBroker(options: BrokerOptions = {}): Promise<Broker> {
  const config = options.config ?? loadConfig({ set: ['listener.tcp.port=0', 'listener.ws.port=0', ...(options.set ?? [])] });
  const { threads } = config.server;
  if (threads > 1) refuseObjects(options);
  const log = options.log ?? silentLog;
  const time = { clock: options.clock ?? systemClock, random: options.random ?? systemRandom };
  const gatekeeper = await loadSecurity(config, log, time, await gateOf(options));
  const spool = options.store === undefined && config.server.dataDir !== '' ? await openSpoolOf(config) : null;
  const seams = {
    config,
    ...time,
    log,
    store: options.store ?? spool?.store ?? new MemoryStore(config.spool.maxRetentionS * 1_000),
    ...gatekeeper,
  };
  // Several shards are loaded only for those who have them.
  const company =
    threads === 1 ? null : await (await import('./shards/company.ts')).gather(seams, spool, String(options.gate ?? ''));
  const host = company?.host ?? new Host(seams);
  const { shard } = host;
  let crew: Crew | null = null;
  try {
    await (spool === null ? recover(shard) : Promise.race([recover(shard), spool.died]));
    crew = company === null ? null : await company.hire();
    await host.open(company?.place ?? null, null);
    await crew?.open(portsOf(host), shard.nextStored);
  } catch (error) {
    await host.endConnections();
    if (crew !== null) await crew.close().catch(() => {});
    host.close();
    await company?.handOut?.close();
    if (options.store === undefined) await closeStore();
    throw error;
  }
  const askAll = async <Q extends Question>(question: Q): Promise<readonly AnswerOf<Q>[]> => {
    const [own, others] = await Promise.all([answerQuestion(shard, question), crew === null ? [] : crew.ask(question)]);
    return [own, ...others];
  };
  const inventory = async () => sumInventory(await askAll({ kind: 'held' }), spool?.hasMasterKey ?? false);
  const administration: Administration = { version, config, log, askAll, inventory, figures: spool?.figures ?? null };
  spool?.answer(apiListener(administration));
  const fatal = (what: string) => (error: Error) => {
    log.error(`${what}: ${error.message}`);
    (options.onFatal ?? (() => void stopOnce()))(error);
  };
  async function abandon(): Promise<boolean> {
    host.abandon();
    return crew === null || crew.abandon();
  }
  spool?.died.catch(fatal('the storage thread has died and nothing more can be acknowledged'));
  crew?.died.catch(fatal('the broker cannot go on without all of its shards'));
  const stopSys = config.server.sysIntervalS === 0 ? () => {} : publishSys(shard, version, config.server.sysIntervalS);

  let stopped: Promise<void> | null = null;
  function stopOnce(): Promise<void> {
    stopped ??= stop();
    return stopped;
  }
  async function stop(): Promise<void> {
    stopSys();
    await Promise.all([host.endConnections(), crew?.endConnections().catch(() => {})]);
    if (company !== null && crew !== null) await Promise.race([company.settle(), crew.died]).catch(() => {});
    await crew?.close().catch(() => {});
    host.close();
    gatekeeper.destroy();
    await company?.handOut?.close();
    await closeStore();
  }
  async function closeStore(): Promise<void> {
    await seams.store.close();
    await spool?.unlock();
  }

  const portOf = (transport: string) => host.listeners.find((listener) => listener.transport === transport)?.port ?? 0;
  return {
    ports: portsOf(host),
    tcp: portOf('tcp'),
    ws: portOf('ws'),
    tls: portOf('tls'),
    wss: portOf('wss'),
    insecure: config.listeners.filter(({ insecure }) => insecure).map(({ name }) => name),
    counts: () => ({
      connections: shard.connections.size + elsewhere(Gauge.CONNECTIONS),
      sessions: shard.sessions.count + elsewhere(Gauge.SESSIONS),
      subscriptions: shard.trie.subscriptions,
      queuedMessages: shard.queuedMessages + elsewhere(Gauge.QUEUED_MESSAGES),
      retained: shard.retained.count,
    }),
    inventory,
    spool: spool === null ? null : { figures: spool.figures, hasMasterKey: spool.hasMasterKey },
    stop: stopOnce,
    abandon,
  };

  function elsewhere(gauge: Gauge): number {
    shard.peers?.gauges.gather();
    return shard.elsewhere[gauge]!;
  }
}

function portsOf({ listeners }: Host): ReadonlyMap<string, number> {
  return new Map(listeners.map(({ name, port }) => [name, port]));
}

/** @throws Error that names the option which only a broker of one thread can take */
function refuseObjects(options: BrokerOptions): void {
  const given = (['authenticator', 'rights', 'exchanges', 'store', 'clock', 'random'] as const).filter(
    (name) => options[name] !== undefined,
  );
  if (given.length === 0) return;
  throw new Error(
    `${given.join(', ')}: an object belongs to one thread; set server.threads to 1, or name a module by "gate" that exports authenticator, rights or exchanges`,
  );
}

async function gateOf(options: BrokerOptions): Promise<Gate> {
  if (options.gate === undefined) return options;
  const { loadGate } = await import('./shards/gatekeeper.ts');
  return { ...options, ...(await loadGate(String(options.gate))) };
}

/** The spool is loaded only for those who have a data directory. */
async function openSpoolOf(config: Config): Promise<RunningSpool> {
  const { openSpool } = await import('./spool/open.ts');
  const { spool, server } = config;
  return openSpool({
    folder: server.dataDir,
    masterKey: masterKeySource(config),
    retentionMs: spool.maxRetentionS * 1_000,
    eraseWithinMs: spool.eraseWithinMs,
    diskFloorBytes: spool.diskFloorBytes,
    commitWindowMs: spool.commitWindowMs,
    relaxed: spool.durability === 'relaxed',
    clients: server.threads,
  });
}

/** What the data directory of a configuration holds: asked of the broker that runs on it, or read from it. @throws Error in one line */
export async function inventoryOf(config: Config): Promise<Inventory> {
  const { askOwner } = await import('./spool/folder-lock.ts');
  const answer = await askOwner(config.server.dataDir, 'inventory');
  if (answer !== null) return answer as Inventory;
  if (!existsSync(config.server.dataDir)) throw new Error(`${config.server.dataDir}: there is no such directory`);
  const spool = await openSpoolOf(config);
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
    const stored = await spool.store.inventory();
    const sessions = { ...stored.sessions, count: stored.sessions.count - hidden.count };
    return { ...stored, sessions, queued: { deliveries, bytes }, inFlight: { deliveries: 0 }, hasMasterKey: spool.hasMasterKey };
  } finally {
    await spool.store.close();
    await spool.unlock();
  }
}

/** Wraps the keys of a data directory under another master key. @throws Error in one line */
export async function rotateMasterKey(config: Config, next: MasterKeySource): Promise<void> {
  const { findMasterKey } = await import('./spool/master-key.ts');
  const { rotateMaster } = await import('../storage/folder.ts');
  rotateMaster(config.server.dataDir, findMasterKey(masterKeySource(config)), findMasterKey(next), (bytes) =>
    systemRandom.bytes(bytes),
  );
}

function masterKeySource({ spool }: Config): MasterKeySource {
  return { file: spool.keyFile, env: spool.keyEnv, command: spool.keyCommand };
}

function readVersion(): string {
  // The sources lie one folder below package.json, the build two.
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { name, version: found } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as {
        name: string;
        version: string;
      };
      if (name === 'lethe') return found;
    } catch {
      // the other one has it
    }
  }
  return 'unknown';
}
