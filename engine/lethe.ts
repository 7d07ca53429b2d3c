// The composition root and the library's one public entry: a configuration in, a running broker out.
import { existsSync, readFileSync } from 'node:fs';
import { Reason } from '../protocol/packet.ts';
import type { Figures } from '../storage/figures.ts';
import { MemoryStore } from '../storage/memory.ts';
import type { Store } from '../storage/store.ts';
import { type Inventory, takeInventory } from './administration/inventory.ts';
import { publishSys } from './administration/sys.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Config, type ListenerConfig, loadConfig } from './config/load.ts';
import { Counters } from './counters.ts';
import type { Authenticator, ExchangeMethods, Rights } from './gate.ts';
import type { Accept, Listener } from './link.ts';
import { type Log, silentLog } from './log.ts';
import type { TlsOptions } from './network/certificate.ts';
import { listenTcp } from './network/tcp.ts';
import { type Random, systemRandom } from './random.ts';
import { endConnection } from './routing/close.ts';
import { recover } from './routing/recover.ts';
import { Shard } from './routing/shard.ts';
import { acceptLink } from './routing/sink.ts';
import { storeListener } from './routing/stored.ts';
import { loadAclFile } from './security/acl.ts';
import { createAuthenticator } from './security/authenticator.ts';
import { loadPasswordFile } from './security/password-file.ts';
import { askOwner } from './spool/folder-lock.ts';
import type { MasterKeySource } from './spool/master-key.ts';
import type { RunningSpool } from './spool/open.ts';
import { Timer } from './timers.ts';

export type { Inventory } from './administration/inventory.ts';
export { type Config, ConfigError, type ListenerConfig, loadConfig } from './config/load.ts';
export type { Authenticator, AuthOutcome, Credentials, Exchange, ExchangeMethods, ExchangeOutcome, Rights } from './gate.ts';
export { createLog, type Log } from './log.ts';

/** How `createBroker` may be told what to do. Everything has a default; ports default to free ones. */
export interface BrokerOptions {
  /** A finished configuration; `set` is ignored then. */
  readonly config?: Config;
  /** Options as `lethe serve --set` takes them: `limits.packet_bytes_max=1MiB`, `listener.tcp.port=1883`. */
  readonly set?: readonly string[];
  readonly log?: Log;
  /** Replaces the password file and the anonymous policy of the configuration. */
  readonly authenticator?: Authenticator;
  /** Replaces the ACL file of the configuration. */
  readonly rights?: Rights;
  /** Methods of enhanced authentication (MQTT 5.0 §4.12). */
  readonly exchanges?: ExchangeMethods;
  /** Holds what outlives a connection; a store that is handed to a second broker gives it the sessions of the first. */
  readonly store?: Store;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The storage thread has died: the broker cannot go on. By default it stops. */
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
}

export const version: string = readVersion();

/**
 * Starts a broker.
 * @throws ConfigError for a wrong option; Error in one line for a port, certificate, password or ACL file that cannot be used
 */
export async function createBroker(options: BrokerOptions = {}): Promise<Broker> {
  const config = options.config ?? loadConfig({ set: ['listener.tcp.port=0', 'listener.ws.port=0', ...(options.set ?? [])] });
  const log = options.log ?? silentLog;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const { authenticator, rights } = loadSecurity(config, log);
  const retentionMs = config.spool.maxRetentionS * 1_000;
  const spool = options.store === undefined && config.server.dataDir !== '' ? await openSpoolOf(config) : null;
  const store = options.store ?? spool?.store ?? new MemoryStore(retentionMs);
  const shard = new Shard({
    limits: config.limits,
    offers: config.session,
    clock,
    random,
    log,
    counters: new Counters(),
    store,
    authenticator: options.authenticator ?? authenticator,
    exchanges: options.exchanges ?? null,
    rights: options.rights ?? rights,
    overflows: new Map(config.listeners.map(({ name, queueOverflow }) => [name, queueOverflow])),
  });
  store.listener = storeListener(shard);
  store.expire(clock.wallMs()); // sets its clock: what is stored before the first interval is over must have a time too
  let listeners: readonly Listener[];
  try {
    await (spool === null ? recover(shard) : Promise.race([recover(shard), spool.died]));
    listeners = await listenAll(config, clock, (link) => acceptLink(shard, link));
  } catch (error) {
    shard.timers.stop();
    if (options.store === undefined) await closeStore();
    throw error;
  }
  spool?.answer(async (request) => {
    if (request === 'inventory') return takeInventory(shard, spool.hasMasterKey);
    return request === 'figures' ? spool.figures.named() : { error: 'unknown request' };
  });
  spool?.died.catch((error: Error) => {
    log.error(`the storage thread has died and nothing more can be acknowledged: ${error.message}`);
    (options.onFatal ?? (() => void stop()))(error);
  });
  const stopExpiry = expireEverySecond(shard);
  const stopSys = config.server.sysIntervalS === 0 ? () => {} : publishSys(shard, version, config.server.sysIntervalS);

  let stopped: Promise<void> | null = null;
  async function stop(): Promise<void> {
    shard.stopping = true;
    stopSys();
    stopExpiry();
    const closed = listeners.map((listener) => listener.close());
    for (const connection of [...shard.connections]) endConnection(shard, connection, Reason.SERVER_SHUTTING_DOWN);
    await emptied(shard, config.server.stopTimeoutMs);
    for (const connection of [...shard.connections]) connection.link.destroy();
    await Promise.all(closed);
    for (const listener of listeners) listener.destroy();
    shard.timers.stop();
    await closeStore();
  }
  async function closeStore(): Promise<void> {
    await store.close();
    await spool?.unlock();
  }

  const portOf = (transport: string) => listeners.find((listener) => listener.transport === transport)?.port ?? 0;
  return {
    ports: new Map(listeners.map(({ name, port }) => [name, port])),
    tcp: portOf('tcp'),
    ws: portOf('ws'),
    tls: portOf('tls'),
    wss: portOf('wss'),
    insecure: config.listeners.filter(({ insecure }) => insecure).map(({ name }) => name),
    counts: () => ({
      connections: shard.connections.size,
      sessions: shard.sessions.count,
      subscriptions: shard.trie.subscriptions,
      queuedMessages: shard.queuedMessages,
      retained: shard.retained.count,
    }),
    inventory: () => takeInventory(shard, spool?.hasMasterKey ?? false),
    spool: spool === null ? null : { figures: spool.figures, hasMasterKey: spool.hasMasterKey },
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
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
  });
}

/** What the data directory of a configuration holds: asked of the broker that runs on it, or read from it. @throws Error in one line */
export async function inventoryOf(config: Config): Promise<Inventory> {
  const answer = await askOwner(config.server.dataDir, 'inventory');
  if (answer !== null) {
    if (typeof answer === 'object' && 'error' in answer) throw new Error(`the broker says: ${String(answer.error)}`);
    return answer as Inventory;
  }
  if (!existsSync(config.server.dataDir)) throw new Error(`${config.server.dataDir}: there is no such directory`);
  const spool = await openSpoolOf(config);
  try {
    let deliveries = 0;
    let bytes = 0;
    await spool.store.recover({
      session() {},
      subscription() {},
      deliveries(_session, _base, _end, messages, messageBytes) {
        deliveries += messages;
        bytes += messageBytes;
      },
      inbound() {},
      retained() {},
    });
    const stored = await spool.store.inventory();
    return { ...stored, queued: { deliveries, bytes }, inFlight: { deliveries: 0 }, hasMasterKey: spool.hasMasterKey };
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

/** Reads the files that decide who may do what. @throws Error in one line with file and line */
export function loadSecurity(config: Config, log: Log): { authenticator: Authenticator; rights: Rights | null } {
  const passwordFile = config.auth.passwordFile === '' ? null : loadPasswordFile(config.auth.passwordFile);
  for (const warning of passwordFile?.warnings ?? []) log.warn(warning);
  const authenticator = createAuthenticator({
    passwordFile,
    listeners: new Map(config.listeners.map((listener) => [listener.name, listener])),
  });
  return { authenticator, rights: config.auth.aclFile === '' ? null : loadAclFile(config.auth.aclFile) };
}

/** Opens every listener, or none: one that fails closes those that are open. */
async function listenAll(config: Config, clock: Clock, accept: Accept): Promise<Listener[]> {
  const open: Listener[] = [];
  try {
    for (const listener of config.listeners) open.push(await listen(listener, config, clock, accept));
    return open;
  } catch (error) {
    await Promise.all(open.map((listener) => listener.close()));
    throw error;
  }
}

async function listen(listener: ListenerConfig, config: Config, clock: Clock, accept: Accept): Promise<Listener> {
  const { name, host, port } = listener;
  const { limits, server } = config;
  const encrypted = listener.transport === 'tls' || listener.transport === 'wss';
  const base = {
    name,
    host,
    port,
    accept,
    clock,
    endTimeoutMs: server.stopTimeoutMs,
    ...(encrypted ? { tls: tlsOptions(listener) } : {}),
  };
  if (listener.transport === 'tcp' || listener.transport === 'tls') {
    const timeoutMs = limits.connectTimeoutMs;
    const proxyProtocol = { trusted: [...listener.proxyTrusted], timeoutMs };
    return listenTcp({ ...base, handshakeTimeoutMs: timeoutMs, ...(listener.proxyProtocol ? { proxyProtocol } : {}) });
  }
  // uWebSockets is loaded only for those who listen with it.
  const { listenWebSocket } = await import('./network/websocket.ts');
  return listenWebSocket({
    ...base,
    path: listener.path,
    origins: listener.origins,
    compression: listener.compression,
    payloadBytesMax: limits.packetBytesMax + FRAME_MARGIN_BYTES,
  });
}

/** A WebSocket message may carry several packets: the largest one and some small ones. */
const FRAME_MARGIN_BYTES = 65_536;

function tlsOptions(listener: ListenerConfig): TlsOptions {
  return {
    certFile: listener.certFile,
    keyFile: listener.keyFile,
    ...(listener.caFile === '' ? {} : { caFile: listener.caFile }),
    minVersion: listener.tlsMinVersion,
    clientCertificate: listener.clientCertificate,
  };
}

/** Tells the store the time, so that what has expired goes also while nobody asks for it. */
function expireEverySecond(shard: Shard): () => void {
  const timer = new Timer(() => {
    shard.store.expire(shard.clock.wallMs());
    shard.timers.set(timer, EXPIRY_INTERVAL_MS);
  });
  shard.timers.set(timer, 0);
  return () => shard.timers.cancel(timer);
}

const EXPIRY_INTERVAL_MS = 1_000;

/** Resolves when the last connection is gone, or after `timeoutMs`. */
async function emptied(shard: Shard, timeoutMs: number): Promise<void> {
  const { clock } = shard;
  const startedMs = clock.monotonicMs();
  while (shard.connections.size > 0 && clock.monotonicMs() - startedMs < timeoutMs) await clock.sleep(EMPTIED_POLL_MS);
}

const EMPTIED_POLL_MS = 5;

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
