// One shard as a thread runs it: the shard, its listeners, what it does every second, and the order in which it stops. The first shard is hosted by the thread that
// made the broker (lethe.ts), the others by threads of their own (shard-thread.ts).
import { Reason } from '../../protocol/packet.ts';
import { MemoryStore } from '../../storage/memory.ts';
import type { Store } from '../../storage/store.ts';
import type { Reloadable, ReloadedShard } from '../administration/reload.ts';
import type { Addresses } from '../admission.ts';
import type { Clock } from '../clock.ts';
import { localClientIdOf, localListenerOf } from '../config/bridges.ts';
import { type Config, OVERFLOWS } from '../config/load.ts';
import { Counters } from '../counters.ts';
import { descriptorLimit, SpareDescriptors } from '../descriptors.ts';
import type { Link } from '../link.ts';
import type { Log } from '../log.ts';
import { networks } from '../network/address.ts';
import type { ShardPlace } from '../network/bind.ts';
import type { PreparedListener, ReloadableListener } from '../network/reloadable.ts';
import type { Peers } from '../peers/peers.ts';
import type { Random } from '../random.ts';
import { onControl } from '../routing/administer.ts';
import { exchange, poll } from '../routing/arrive.ts';
import { type Ceiling, Ceilings } from '../routing/ceilings.ts';
import { endConnection } from '../routing/close.ts';
import { countTimeAway } from '../routing/lifecycle.ts';
import { applySettings, dropForbidden, endLinks, refitAll } from '../routing/reload.ts';
import { Shard } from '../routing/shard.ts';
import { acceptLink } from '../routing/sink.ts';
import { storeListener } from '../routing/stored.ts';
import type { QueueOverflow } from '../sessions/session.ts';
import { Timer } from '../timers.ts';
import type { TrieMemory } from '../topics/trie.ts';
import type { Gatekeeper } from './gatekeeper.ts';
import { changeOf, listenAll } from './listen.ts';
import { OverloadWatch } from './overload.ts';

export interface HostParts extends Gatekeeper {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly store: Store;
  readonly peers?: Peers;
  readonly trie?: TrieMemory;
  /** Builds anew what decides who may do what; absent: that stays as it is. @throws Error in one line with file and line */
  readonly keeperOf?: (config: Config) => Promise<Gatekeeper>;
}

/** What a reload has read and found good. */
interface Prepared {
  readonly config: Config;
  /** Null: nobody builds one anew. */
  readonly keeper: Gatekeeper | null;
  readonly banned: Addresses | null;
  readonly listeners: readonly PreparedListener[];
}

function overflowsOf({ listeners, bridges }: Config): ReadonlyMap<string, QueueOverflow> {
  return new Map([
    ...listeners.map(({ name, queueOverflow }) => [name, queueOverflow] as const),
    ...bridges.map((bridge) => [localListenerOf(bridge), OVERFLOWS[bridge.queueOverflow]] as const),
  ]);
}

/** The ban list of a configuration; null: nobody is on it. */
export function bannedBy({ bannedNetworks }: Config): Addresses | null {
  return bannedNetworks.length === 0 ? null : networks('limits.banned_networks', bannedNetworks);
}

/** The ceilings of a configuration. */
export function ceilingsOf({ session, retained, listeners, retention }: Config): Ceilings {
  const orNone = (seconds: number) => (seconds === 0 ? Infinity : seconds);
  const byUser = new Map<string, Ceiling>();
  for (const ceiling of retention) for (const user of ceiling.users) byUser.set(user, ceiling);
  const byListener = new Map(listeners.map((listener) => [listener.name, listener]));
  return new Ceilings(orNone(session.messageExpiryMaxS), orNone(retained.maxAgeS), byListener, byUser);
}

function guardsAlike({ auth: a }: Config, { auth: b }: Config): boolean {
  return a.failuresPerMinute === b.failuresPerMinute && a.failuresBlockS === b.failuresBlockS;
}

const EXPIRY_INTERVAL_MS = 1_000;
const GAUGES_INTERVAL_MS = 50;
const EMPTIED_POLL_MS = 5;
/** By how much kept time is set ahead when a clock is believed after all (spool/kept-time.ts); less is how two clocks are read. */
const AHEAD_MS_MIN = 1_000;

export class Host implements Reloadable {
  readonly shard: Shard;
  listeners: readonly ReloadableListener[] = [];
  readonly #keeperOf: HostParts['keeperOf'];
  #config: Config;
  #prepared: Prepared | null = null;
  /** Lets go of what the gatekeeper of now has open. */
  #keeper: Pick<Gatekeeper, 'close' | 'destroy'>;
  readonly #everySecond: Timer;
  readonly #gauges: Timer;
  /** Kept time when it began, and how far that was ahead of the monotonic clock when it was looked at last. */
  readonly #sinceMs: number;
  #aheadMs: number;
  readonly #overload: OverloadWatch;

  constructor({ config, keeperOf, close, destroy, ...parts }: HostParts) {
    this.#config = config;
    this.#keeper = { close, destroy };
    this.#keeperOf = keeperOf;
    // Retained messages of which no trace may be on a disk are in a store of their own.
    const inMemory = config.retained.policy === 'memory' && !(parts.store instanceof MemoryStore);
    const shard = new Shard({
      ...parts,
      ...(inMemory ? { retainedStore: new MemoryStore() } : {}),
      ceilings: ceilingsOf(config),
      ownClientIds: new Set(config.bridges.map(localClientIdOf)),
      limits: config.limits,
      offers: config.session,
      counters: new Counters(),
      overflows: overflowsOf(config),
    });
    this.shard = shard;
    this.#sinceMs = shard.clock.keptMs();
    this.#aheadMs = this.#sinceMs - shard.clock.monotonicMs();
    this.#overload = new OverloadWatch(shard);
    shard.admission.banned = bannedBy(config);
    shard.admission.descriptors = new SpareDescriptors(
      descriptorLimit() ?? Infinity,
      config.server.threads,
      shard.clock,
      shard.log,
    );
    shard.store.listener = storeListener(shard);
    shard.retainedStore.listener = shard.store.listener;
    this.#expire(); // sets its clock: what is stored before the first interval is over must have a time too
    // Tells the store the time, so that what has expired goes also while nobody asks for it.
    this.#everySecond = new Timer(() => {
      this.#expire();
      shard.timers.set(this.#everySecond, EXPIRY_INTERVAL_MS);
    });
    this.#gauges = new Timer(() => {
      exchange(shard);
      shard.learnGauges();
      shard.timers.set(this.#gauges, GAUGES_INTERVAL_MS);
    });
  }

  /** Begins to listen to the other shards. */
  join(): void {
    const { shard } = this;
    if (shard.peers === null) return;
    // What the other shards are told rests on intents of this turn: they are shown first, at its end (routing/transfer.ts).
    for (const sender of shard.peers.senders) if (sender !== null) sender.isEager = !shard.store.isShared;
    shard.ownControl.handle = (control) => onControl(shard, control);
    shard.turn.after = () => exchange(shard);
    shard.peers.start(() => poll(shard));
    shard.timers.set(this.#gauges, 0);
  }

  /** Opens every listener, or none. `ports`: those of the first shard by name; absent in the first shard. */
  async open(place: ShardPlace | null, ports: ReadonlyMap<string, number> | null): Promise<void> {
    const { shard } = this;
    const accept = (link: Link) => acceptLink(shard, link);
    this.listeners = await listenAll(this.#config, shard.clock, place, ports, accept, shard.admission);
    this.#overload.start();
    shard.timers.set(this.#everySecond, 0);
  }

  async prepare(config: Config): Promise<void> {
    const banned = bannedBy(config);
    const byName = new Map(config.listeners.map((listener) => [listener.name, listener]));
    const listeners = await Promise.all(this.listeners.map((listener) => listener.prepare(changeOf(byName.get(listener.name)!))));
    const keeper = (await this.#keeperOf?.(config)) ?? null;
    this.discard();
    this.#prepared = { config, keeper, banned, listeners };
    // What a reload that is refused would leave behind comes last.
    for (const listener of listeners) listener.build?.();
  }

  async apply(): Promise<ReloadedShard> {
    const { shard } = this;
    const prepared = this.#prepared;
    if (prepared === null) throw new Error('a shard has nothing prepared');
    this.#prepared = null;
    const { config, keeper, banned } = prepared;
    const { authenticator, exchanges, givenRights } = keeper ?? shard;
    // Who came with roles or grants is held to them, also when what gave them has gone.
    const rights = (keeper ?? shard).rights ?? (shard.rights === null ? null : givenRights);
    // Who has guessed is still known, unless it is counted otherwise from now on.
    const guard = keeper === null || guardsAlike(config, this.#config) ? shard.guard : keeper.guard;
    this.#config = config;
    if (keeper !== null) {
      this.#keeper.close();
      this.#keeper = keeper;
    }
    applySettings(shard, {
      ...{ authenticator, rights, givenRights, exchanges, guard },
      limits: config.limits,
      offers: config.session,
      overflows: overflowsOf(config),
      ceilings: ceilingsOf(config),
    });
    shard.admission.banned = banned;
    const renewed = prepared.listeners.map((listener) => listener.apply());
    await refitAll(shard);
    const unvouched = new Set((await Promise.all(renewed)).flat());
    const unwelcome = new Set<Link>();
    for (const { link } of shard.connections) if (banned?.has(link.peer.address)) unwelcome.add(link);
    const ended = endLinks(shard, unvouched, Reason.NOT_AUTHORIZED) + endLinks(shard, unwelcome, Reason.ADMINISTRATIVE_ACTION);
    return { ended, dropped: await dropForbidden(shard) };
  }

  discard(): void {
    this.#prepared?.keeper?.destroy();
    this.#prepared = null;
  }

  /** Stops accepting, tells MQTT 5 clients (0x8B), and resolves when all connections are closed or the stop timeout has passed. */
  async endConnections(): Promise<void> {
    const { shard, listeners } = this;
    shard.stopping = true;
    shard.timers.cancel(this.#everySecond);
    this.#overload.stop();
    const closed = listeners.map((listener) => listener.close());
    for (const connection of [...shard.connections]) endConnection(shard, connection, Reason.SERVER_SHUTTING_DOWN);
    await this.#emptied();
    for (const connection of [...shard.connections]) connection.link.destroy();
    await Promise.all(closed);
    for (const listener of listeners) listener.destroy();
    if (shard.peers === null) return;
    // The last that the others learn of what this one has counted.
    shard.showGauges();
    shard.learnGauges();
  }

  /** Closes every socket at once: the process is about to end. */
  abandon(): void {
    const { shard, listeners } = this;
    shard.stopping = true;
    for (const listener of listeners) void listener.close();
    for (const connection of [...shard.connections]) connection.link.destroy();
    for (const listener of listeners) listener.destroy();
    this.close();
  }

  /** The last call but for the store's: nothing is looked at and no timer fires any more. */
  close(): void {
    this.shard.turn.after = null;
    this.shard.peers?.stop();
    this.shard.timers.stop();
    this.discard();
    this.#keeper.destroy();
  }

  #expire(): void {
    const { clock, store, retainedStore } = this.shard;
    const aheadMs = clock.keptMs() - clock.monotonicMs();
    const stepMs = aheadMs - this.#aheadMs;
    if (stepMs >= AHEAD_MS_MIN) {
      this.#aheadMs = aheadMs;
      countTimeAway(this.shard, this.#sinceMs, stepMs);
    }
    store.expire(clock.keptMs());
    if (retainedStore !== store) retainedStore.expire(clock.keptMs());
  }

  /** Resolves when the last connection is gone, or after the stop timeout. */
  async #emptied(): Promise<void> {
    const { clock, connections } = this.shard;
    const startedMs = clock.monotonicMs();
    const { stopTimeoutMs } = this.#config.server;
    while (connections.size > 0 && clock.monotonicMs() - startedMs < stopTimeoutMs) await clock.sleep(EMPTIED_POLL_MS);
  }
}
