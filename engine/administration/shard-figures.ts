// What a shard counts, as plain data, and the sum over all shards: for the metrics and the live page.
import { type CounterName, counterNames, type DropReason } from '../counters.ts';
import { LATENCY_BOUNDS_MS } from '../latency.ts';
import type { Shard } from '../routing/shard.ts';
import { type LoopFigures, takeLoopFigures } from './loop-figures.ts';

/** What stands now. */
export interface Gauges {
  /** Sockets, and clients that have come in. */
  readonly sockets: number;
  readonly clients: number;
  readonly sessions: number;
  readonly subscriptions: number;
  readonly sharedSubscriptions: number;
  readonly retained: number;
  readonly retainedBytes: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Distinct messages that a store keeps for sessions. */
  readonly heldMessages: number;
  readonly heldBytes: number;
  readonly sessionBytes: number;
  readonly slowConnections: number;
  /** Shards that take no new connections because they are late. */
  readonly overloaded: number;
  /** Publishers that are not read from because the store is behind. */
  readonly waitingForStore: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
}

export interface Latency {
  /** By upper bound of LATENCY_BOUNDS_MS, and one for the rest; not cumulative. */
  readonly counts: readonly number[];
  readonly sumMs: number;
}

/** By reason code of MQTT 5.0 §2.4. */
export type ByReason = ReadonlyMap<number, number>;

export interface ShardFigures {
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly dropped: Readonly<Record<DropReason, number>>;
  readonly refusedBy: ByReason;
  readonly endedBy: ByReason;
  readonly gauges: Gauges;
  readonly latency: Latency;
  readonly loop: LoopFigures;
}

/** Of the broker. */
export interface BrokerFigures extends Omit<ShardFigures, 'loop'> {
  readonly loops: readonly LoopFigures[];
}

export async function takeFigures(shard: Shard): Promise<ShardFigures> {
  const { counters, turn } = shard;
  return {
    counters: Object.fromEntries(counterNames.map((name) => [name, counters[name]])) as Record<CounterName, number>,
    dropped: { ...counters.dropped },
    refusedBy: new Map(counters.refusedBy),
    endedBy: new Map(counters.endedBy),
    gauges: gaugesOf(shard),
    latency: { counts: Array.from(turn.latency.counts), sumMs: turn.latency.sumMs },
    loop: takeLoopFigures(shard.clock.monotonicMs()),
  };
}

function gaugesOf(shard: Shard): Gauges {
  const { store, peers, retained, trie, routes } = shard;
  // What all shards have together is told by the first.
  const isFirst = peers === null || peers.index === 0;
  const held = isFirst || !store.isShared ? store.held() : { messages: 0, messageBytes: 0 };
  return {
    sockets: shard.connections.size,
    clients: shard.openConnections,
    sessions: shard.sessions.count,
    subscriptions: isFirst ? trie.subscriptions : 0,
    sharedSubscriptions: shard.sharedSubscriptions,
    retained: isFirst ? retained.count : 0,
    retainedBytes: isFirst ? shard.retainedBytes : 0,
    queuedMessages: shard.queuedMessages,
    queuedBytes: shard.queuedBytes,
    heldMessages: held.messages,
    heldBytes: held.messageBytes,
    sessionBytes: shard.sessionBytes,
    slowConnections: shard.slowConnections,
    overloaded: shard.admission.isOverloaded ? 1 : 0,
    waitingForStore: shard.waitingForStore.size,
    cacheHits: routes.cache.hits,
    cacheMisses: routes.cache.misses,
  };
}

export function sumFigures(shards: readonly ShardFigures[]): BrokerFigures {
  const counters = sumRecords(shards.map((shard) => shard.counters));
  return {
    // Each shard knows the most that it has seen of all.
    counters: { ...counters, connectionsMaximum: Math.max(...shards.map((shard) => shard.counters.connectionsMaximum)) },
    dropped: sumRecords(shards.map(({ dropped }) => dropped)),
    refusedBy: sumMaps(shards.map(({ refusedBy }) => refusedBy)),
    endedBy: sumMaps(shards.map(({ endedBy }) => endedBy)),
    gauges: sumRecords(shards.map(({ gauges }) => ({ ...gauges }))),
    latency: {
      counts: Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, (_, at) =>
        sumOf(shards.map(({ latency }) => latency.counts[at]!)),
      ),
      sumMs: sumOf(shards.map(({ latency }) => latency.sumMs)),
    },
    loops: shards.map(({ loop }) => loop),
  };
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function sumRecords<Name extends string>(records: readonly Readonly<Record<Name, number>>[]): Record<Name, number> {
  const sum: Record<Name, number> = { ...records[0]! };
  for (const record of records.slice(1)) for (const name of Object.keys(record) as Name[]) sum[name] += record[name];
  return sum;
}

function sumMaps(maps: readonly ByReason[]): ByReason {
  const sum = new Map<number, number>();
  for (const map of maps) for (const [reason, count] of map) sum.set(reason, (sum.get(reason) ?? 0) + count);
  return sum;
}
