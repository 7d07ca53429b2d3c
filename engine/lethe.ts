// The composition root and the library's one public entry: a configuration in, a running broker out.
import type { Figures } from '../storage/figures.ts';
import { MemoryStore } from '../storage/memory.ts';
import type { Store } from '../storage/store.ts';
import type { AdminPort } from './administration/admin-port.ts';
import type { Administration } from './administration/administration.ts';
import { AuditEvent } from './administration/audit.ts';
import { type Inventory, sumInventory } from './administration/inventory.ts';
import { loginsRefused, recordRefusals, recordStart } from './administration/keep-audit.ts';
import { findNames } from './administration/names.ts';
import { type AnswerOf, answerQuestion, type Question } from './administration/questions.ts';
import { type ReloadReport, Reloads } from './administration/reload.ts';
import { standstillOf } from './administration/standstill.ts';
import { publishSys } from './administration/sys.ts';
import { Traces } from './administration/traces.ts';
import { within } from './administration/within.ts';
import type { Bridges } from './bridge/bridges.ts';
import { allocateKeptTime, type Clock, clockWith } from './clock.ts';
import { fitToMemory, memoryBytes } from './config/fit-memory.ts';
import { type Config, loadConfig } from './config/load.ts';
import { type Log, silentLog } from './log.ts';
import { Gauge } from './peers/gauges.ts';
import { type Random, systemRandom } from './random.ts';
import { recover } from './routing/recover.ts';
import { dropForbidden } from './routing/reload.ts';
import type { Shard } from './routing/shard.ts';
import type { Crew } from './shards/crew.ts';
import { type Gate, loadSecurity } from './shards/gatekeeper.ts';
import { Host } from './shards/host.ts';
import { openSpoolOf } from './spool/configured.ts';
import type { RunningSpool } from './spool/open.ts';
import { version } from './version.ts';

export type { Inventory } from './administration/inventory.ts';
export type { ReloadReport } from './administration/reload.ts';
export { type Config, ConfigError, type ListenerConfig, loadConfig } from './config/load.ts';
export type { Authenticator, AuthOutcome, Credentials, Exchange, ExchangeMethods, ExchangeOutcome, Rights } from './gate.ts';
export { createLog, type Log } from './log.ts';
export type { Identity, Principal, TopicGrants } from './principal.ts';
export { type Gate, loadSecurity } from './shards/gatekeeper.ts';
export { version } from './version.ts';

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
  /** Gives the configuration as it is to be after a reload; without it the one of the start, whose files are read anew. @throws ConfigError */
  readonly reread?: () => Config;
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
  /** The admin port, 0 when there is none. */
  readonly admin: number;
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
  /**
   * Reads the configuration (`reread`, or the one that is given) and the files that it names anew, without losing a client.
   * @throws Error that says what is wrong with which file; everything is as it was then
   */
  reload(next?: Config): Promise<ReloadReport>;
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

/**
 * Starts a broker.
 * @throws ConfigError for a wrong option; Error in one line for a port, certificate, password or ACL file that cannot be used
 */
export async function createBroker(options: BrokerOptions = {}): Promise<Broker> {
  const asked = options.config ?? loadConfig({ set: ['listener.tcp.port=0', 'listener.ws.port=0', ...(options.set ?? [])] });
  const config = fitToMemory(asked);
  const { threads } = config.server;
  if (threads > 1) refuseObjects(options);
  const log = options.log ?? silentLog;
  if (config !== asked)
    log.info('limits that were left at their defaults are lowered to fit the memory', {
      mebibytes: Math.floor(memoryBytes() / 1_048_576),
    });
  const keptTime = allocateKeptTime();
  const time = { clock: options.clock ?? clockWith(keptTime), random: options.random ?? systemRandom };
  const gate = await gateOf(options);
  const security = { ...time, kept: { last: null } };
  const keeperOf = (of: Config) => loadSecurity(of, log, security, gate);
  const gatekeeper = await keeperOf(config);
  const spool = options.store === undefined && config.server.dataDir !== '' ? await openSpoolOf(config, log, keptTime) : null;
  const { clock, random } = time;
  const store = options.store ?? spool?.store ?? new MemoryStore(config.spool.maxRetentionS * 1_000);
  const closeStore = async () => {
    await store.close();
    await spool?.unlock();
  };
  const names = await findNames(config, spool, clock, random, log).catch(async (error: unknown) => {
    if (options.store === undefined) await closeStore();
    throw error;
  });
  const { audit } = names;
  const seams = {
    config,
    ...time,
    log,
    store,
    ...gatekeeper,
    keeperOf,
  };
  // Several shards are loaded only for those who have them.
  const company =
    threads === 1 ? null : await (await import('./shards/company.ts')).gather(seams, spool, String(options.gate ?? ''));
  const host = company?.host ?? new Host(seams);
  const { shard } = host;
  let crew: Crew | null = null;
  let bridges: Bridges | null = null;
  let admin: AdminPort | null = null;
  let stopped: Promise<void> | null = null;
  const askAll = async <Q extends Question>(question: Q): Promise<readonly AnswerOf<Q>[]> => {
    // A failure is told when all have answered: nothing is under way any more then.
    const [own, others] = await Promise.allSettled([answerQuestion(shard, question, host), crew?.ask(question) ?? []]);
    if (own.status === 'rejected') throw own.reason;
    if (others.status === 'rejected') throw others.reason;
    return [own.value, ...others.value];
  };
  const inventory = async () => sumInventory(await askAll({ kind: 'held' }), spool?.hasMasterKey ?? false);
  const fatal = (what: string) => (error: Error) => {
    log.error(`${what}: ${error.message}`);
    (options.onFatal ?? (() => void stopOnce()))(error);
  };
  const reloads = new Reloads({
    config,
    log,
    audit,
    askAll,
    prepareAdmin: async () => (admin === null ? () => {} : admin.prepare()),
    onFatal: fatal('a reload has failed half way, and shards may differ'),
  });
  const reread = options.reread ?? (() => asked);
  const reload = (next?: Config) => reloads.reload(() => fitToMemory(next ?? reread()));
  const traces = new Traces({ askAll, clock, random, ...names });
  const administration: Administration = {
    version,
    get config() {
      return reloads.config;
    },
    log,
    clock,
    random,
    startedMs: clock.wallMs(),
    askAll,
    inventory,
    reload,
    ...names,
    traces,
    whileNothingMoves: standstillOf(shard),
    figures: spool?.figures ?? null,
    bridges: () => bridges?.figures ?? [],
    isStopping: () => stopped !== null,
  };
  try {
    await (spool === null ? recover(shard) : Promise.race([recover(shard), spool.died]));
    crew = company === null ? null : await company.hire(keptTime);
    bridges = await openBridges(shard, config);
    await host.open(company?.place ?? null, null);
    await crew?.open(portsOf(host), shard.nextStored);
    admin = await openAdmin(administration, spool);
  } catch (error) {
    await bridges?.stop();
    await host.endConnections();
    if (crew !== null) await crew.close().catch(() => {});
    host.close();
    await company?.handOut?.close();
    await audit.close();
    if (options.store === undefined) await closeStore();
    throw error;
  }
  recordStart(audit, config, version);
  bridges?.start();
  // Rights may be narrower than when the broker stopped. What is sent meanwhile is judged when it is.
  dropForbidden(shard).then(
    (dropped) => {
      if (dropped > 0) log.info('dropped what may not be received any more', { dropped });
    },
    () => log.error('what was queued could not be looked through for the rights of now'),
  );
  const stopRefusals = recordRefusals(audit, () => loginsRefused(shard), clock);
  async function abandon(): Promise<boolean> {
    bridges?.abandon();
    host.abandon();
    return crew === null || crew.abandon();
  }
  spool?.died.catch(fatal('the storage thread has died and nothing more can be acknowledged'));
  crew?.died.catch(fatal('the broker cannot go on without all of its shards'));
  const stopSys = config.server.sysIntervalS === 0 ? () => {} : publishSys(shard, version, config.server.sysIntervalS);

  function stopOnce(): Promise<void> {
    stopped ??= stop();
    return stopped;
  }
  async function stop(): Promise<void> {
    stopSys();
    // A shard that has died answers nothing.
    await (crew === null ? traces.close() : Promise.race([traces.close(), crew.died])).catch(() => {});
    // An erasure or an export that is under way comes to its end and into the audit log; nothing new begins (administration/api.ts).
    const lastAct = administration.whileNothingMoves(async () => {});
    const acted = within(clock, config.server.stopTimeoutMs, lastAct).catch(() => {});
    await bridges?.stop();
    await Promise.all([host.endConnections(), crew?.endConnections().catch(() => {}), acted]);
    if (company !== null && crew !== null) await Promise.race([company.settle(), crew.died]).catch(() => {});
    await admin?.close();
    await crew?.close().catch(() => {});
    host.close();
    await company?.handOut?.close();
    stopRefusals();
    audit.record(AuditEvent.STOP);
    await audit.close();
    await closeStore();
  }

  const portOf = (transport: string) => host.listeners.find((listener) => listener.transport === transport)?.port ?? 0;
  return {
    ports: portsOf(host),
    tcp: portOf('tcp'),
    ws: portOf('ws'),
    tls: portOf('tls'),
    wss: portOf('wss'),
    admin: admin?.port ?? 0,
    insecure: config.listeners.filter(({ insecure }) => insecure).map(({ name }) => name),
    counts: () => ({
      connections: shard.connections.size + elsewhere(Gauge.CONNECTIONS),
      sessions: shard.sessions.count + elsewhere(Gauge.SESSIONS),
      subscriptions: shard.trie.subscriptions,
      queuedMessages: shard.queuedMessages + elsewhere(Gauge.QUEUED_MESSAGES),
      retained: shard.retained.count,
    }),
    inventory,
    reload,
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

/** Bridges are loaded only for those who have them, or had. @throws Error */
async function openBridges(shard: Shard, config: Config): Promise<Bridges | null> {
  let hasSession = false;
  for (const { principal } of shard.sessions) if (principal.isBroker === true) hasSession = true;
  if (config.bridges.length === 0 && !hasSession) return null;
  const { Bridges } = await import('./bridge/bridges.ts');
  const bridges = new Bridges(shard, config);
  await bridges.prepare();
  return bridges;
}

/** What serves HTTP is loaded only for those who have a data directory, an admin port or an admin socket. */
async function openAdmin(administration: Administration, spool: RunningSpool | null): Promise<AdminPort | null> {
  const { port, socket } = administration.config.admin;
  if (spool !== null) {
    const [{ apiListener }, { folderRoutes }] = await Promise.all([
      import('./administration/api.ts'),
      import('./administration/routes-folder.ts'),
    ]);
    spool.answer(apiListener(administration, undefined, folderRoutes));
  }
  if (port === null && socket === '') return null;
  const { openAdminPort } = await import('./administration/admin-port.ts');
  return openAdminPort(administration);
}

async function gateOf(options: BrokerOptions): Promise<Gate> {
  if (options.gate === undefined) return options;
  const { loadGate } = await import('./shards/gatekeeper.ts');
  return { ...options, ...(await loadGate(String(options.gate))) };
}
