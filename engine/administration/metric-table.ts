// The metrics by name, each with its type, its line of help and where its value comes from. Names follow Prometheus' conventions: base units, `_total` for what only grows. No label
// can hold what a client has chosen: labels are reason codes of the standard, constant words of this file and numbers of shards.
import { Reason } from '../../protocol/packet.ts';
import type { BridgeFigures } from './bridge-figures.ts';
import type { ByReason } from './shard-figures.ts';
import type { Snapshot } from './snapshot.ts';

/** A value under labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricRow {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** Names of its labels. */
  readonly labels: readonly string[];
  /** Null: there is no such thing in this broker. */
  read(snapshot: Snapshot): readonly Sample[] | null;
}

/** Publish to deliver: the only histogram, read apart (metrics.ts). */
export const latencyMetric = {
  name: 'lethe_publish_to_deliver_seconds',
  help: 'Time from reading a PUBLISH to handing what it led to to the kernel, of one sample a turn of each shard',
} as const;

type Read = (snapshot: Snapshot) => number | null;

function counter(name: string, help: string, read: Read): MetricRow {
  return single('counter', name, help, read);
}

function gauge(name: string, help: string, read: Read): MetricRow {
  return single('gauge', name, help, read);
}

function single(type: MetricRow['type'], name: string, help: string, read: Read): MetricRow {
  return {
    name: `lethe_${name}`,
    type,
    help,
    labels: [],
    read(snapshot) {
      const value = read(snapshot);
      return value === null ? null : [{ labels: {}, value }];
    },
  };
}

function spoolCounter(name: string, figure: string, help: string, perUnit = 1): MetricRow {
  return counter(name, help, ({ spool }) => (spool === null ? null : spool[figure]! / perUnit));
}

function spoolGauge(name: string, figure: string, help: string, perUnit = 1): MetricRow {
  return gauge(name, help, ({ spool }) => (spool === null ? null : spool[figure]! / perUnit));
}

/** One value under each label; null leaves one out. */
function labelled(
  type: MetricRow['type'],
  name: string,
  label: string,
  help: string,
  read: (snapshot: Snapshot) => readonly (readonly [string, number | null])[],
): MetricRow {
  return {
    name: `lethe_${name}`,
    type,
    help,
    labels: [label],
    read: (snapshot) => read(snapshot).flatMap(([text, value]) => (value === null ? [] : [{ labels: { [label]: text }, value }])),
  };
}

const REASON_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Reason).map(([name, code]) => [code, name.toLowerCase()]),
);

/** A reason code in words, as labels have it. */
export function reasonName(code: number): string {
  return REASON_NAMES.get(code) ?? String(code);
}

function byReason(counts: ByReason): [string, number][] {
  return [...counts].map(([code, count]) => [reasonName(code), count]);
}

export const metricTable: readonly MetricRow[] = [
  labelled('gauge', 'build_info', 'version', 'Always 1; the version of the broker as a label', ({ version }) => [[version, 1]]),
  gauge('ready', '1 while clients are let in and the store takes messages, else 0', ({ isReady }) => (isReady ? 1 : 0)),
  gauge('start_time_seconds', 'When the broker came up, in seconds since 1970', ({ startedMs }) => startedMs / 1_000),
  gauge('shards', 'Threads that serve clients', ({ loops }) => loops.length),

  gauge('connections', 'Open connections, those of clients that are not let in yet included', ({ gauges }) => gauges.sockets),
  gauge('connections_limit', 'limits.connections_max', ({ limits }) => limits.connections),
  gauge('connections_maximum', 'Most connections that there were at one time', ({ counters }) => counters.connectionsMaximum),
  gauge('clients_connected', 'Clients that are connected', ({ gauges }) => gauges.clients),
  counter('connections_accepted_total', 'Connections that a listener has accepted', ({ counters }) => counters.socketsTotal),
  counter('connects_received_total', 'CONNECT packets received', ({ counters }) => counters.connectReceived),
  counter('connects_accepted_total', 'Clients let in', ({ counters }) => counters.connectionsTotal),
  labelled('counter', 'connects_refused_total', 'reason', 'CONNECTs refused, by reason code', ({ refusedBy }) =>
    byReason(refusedBy),
  ),
  labelled(
    'counter',
    'connections_ended_total',
    'reason',
    'Connections that the broker has ended, by reason code',
    ({ endedBy }) => byReason(endedBy),
  ),
  labelled('counter', 'logins_refused_total', 'cause', 'Clients that showed no right to come in, by cause', ({ counters }) => [
    ['credentials', counters.authRefusedCredentials],
    ['not_authorized', counters.authRefusedNotAuthorized],
    ['busy', counters.authRefusedBusy],
    ['unavailable', counters.authRefusedUnavailable],
    ['blocked', counters.authRefusedBlocked],
    ['other', counters.authRefusedOther],
  ]),
  counter(
    'logins_expired_total',
    'Connections ended because what let them in had run out',
    ({ counters }) => counters.authExpired,
  ),
  labelled('counter', 'clients_turned_away_total', 'cause', 'Clients turned away by a limit, by cause', ({ counters }) => [
    ['connect_rate', counters.refusedConnectRate],
    ['user_quota', counters.refusedUserQuota],
    ['banned', counters.refusedBanned],
    ['overload', counters.refusedOverload],
  ]),
  counter(
    'connects_uncounted_total',
    'Clients let in whose connections of the minute could not be counted for lack of room',
    ({ counters }) => counters.connectsUncounted,
  ),
  gauge('shards_overloaded', 'Shards that take no new connections because they are late', ({ gauges }) => gauges.overloaded),
  counter('overloads_total', 'Times that a shard was overloaded', ({ counters }) => counters.overloads),
  counter(
    'session_takeovers_total',
    'Sessions taken over by a newer connection of the same client',
    ({ counters }) => counters.takeovers,
  ),

  gauge('sessions', 'Sessions, connected or not', ({ gauges }) => gauges.sessions),
  gauge('sessions_limit', 'limits.sessions_max', ({ limits }) => limits.sessions),
  counter('sessions_expired_total', 'Sessions ended because their time was over', ({ counters }) => counters.expiredSessions),
  gauge(
    'session_bytes',
    'Bytes of topic filters, wills, and roles and grants of their own, that sessions hold',
    ({ gauges }) => gauges.sessionBytes,
  ),
  gauge('subscriptions', 'Subscriptions that are not shared', ({ gauges }) => gauges.subscriptions - gauges.sharedSubscriptions),
  gauge('shared_subscriptions', 'Shared subscriptions', ({ gauges }) => gauges.sharedSubscriptions),

  counter('network_received_bytes_total', 'Bytes of MQTT received', ({ counters }) => counters.bytesReceived),
  counter('network_sent_bytes_total', 'Bytes of MQTT sent', ({ counters }) => counters.bytesSent),
  counter('packets_received_total', 'Packets received, of every kind', ({ counters }) => counters.packetsReceived),
  counter('packets_sent_total', 'Packets sent, of every kind', ({ counters }) => counters.packetsSent),
  counter('messages_received_total', 'PUBLISH packets received', ({ counters }) => counters.publishReceived),
  counter('messages_sent_total', 'PUBLISH packets sent', ({ counters }) => counters.publishSent),
  counter('messages_received_bytes_total', 'Bytes of payload received', ({ counters }) => counters.publishBytesReceived),
  counter('messages_sent_bytes_total', 'Bytes of payload sent', ({ counters }) => counters.publishBytesSent),
  labelled('counter', 'messages_dropped_total', 'reason', 'Messages that did not reach a receiver, by reason', ({ dropped }) =>
    Object.entries(dropped).map(([reason, count]) => [reason.replaceAll(' ', '_'), count]),
  ),
  labelled('counter', 'messages_refused_total', 'reason', 'PUBLISH packets refused by a reason code', ({ counters }) => [
    [reasonName(Reason.QUOTA_EXCEEDED), counters.refusedQuota],
    [reasonName(Reason.NOT_AUTHORIZED), counters.refusedRights],
  ]),

  gauge('receivers_slow', 'Connections that do not keep up: QoS 0 to them is dropped', ({ gauges }) => gauges.slowConnections),
  counter('receivers_marked_slow_total', 'Times that a connection did not keep up', ({ counters }) => counters.slowReceivers),
  counter(
    'publishers_paused_total',
    'Times that a publisher was not read from because a receiver was behind',
    ({ counters }) => counters.pauses,
  ),
  counter(
    'publishers_rate_limited_total',
    'Times that a publisher was not read from because it had sent as much as it may in a second',
    ({ counters }) => counters.rateHolds,
  ),
  gauge(
    'publishers_waiting_for_store',
    'Publishers that are not read from because the store is behind',
    ({ gauges }) => gauges.waitingForStore,
  ),
  counter('topic_cache_hits_total', 'Topics found in the cache of routes', ({ gauges }) => gauges.cacheHits),
  counter('topic_cache_misses_total', 'Topics that were not in the cache of routes', ({ gauges }) => gauges.cacheMisses),

  gauge(
    'queued_messages',
    'Deliveries that wait to be sent, as often as sessions wait for them',
    ({ gauges }) => gauges.queuedMessages,
  ),
  gauge('queued_messages_limit', 'limits.queued_messages_max', ({ limits }) => limits.queuedMessages),
  gauge('queued_bytes', 'Bytes of these deliveries', ({ gauges }) => gauges.queuedBytes),
  gauge('queued_bytes_limit', 'limits.queued_bytes_max', ({ limits }) => limits.queuedBytes),
  gauge('held_messages', 'Distinct messages that the store holds for sessions', ({ gauges }) => gauges.heldMessages),
  gauge('held_bytes', 'Bytes of these messages', ({ gauges }) => gauges.heldBytes),
  gauge('retained_messages', 'Retained messages', ({ gauges }) => gauges.retained),
  gauge('retained_bytes', 'Bytes of retained messages', ({ gauges }) => gauges.retainedBytes),
  labelled(
    'gauge',
    'held_oldest_age_seconds',
    'class',
    'Age of the oldest that the store holds, by class; absent where it holds none',
    ({ oldest, nowMs }) =>
      Object.entries(oldest).map(([name, sinceMs]: [string, number | null]) => [
        name,
        sinceMs === null ? null : Math.max(0, nowMs - sinceMs) / 1_000,
      ]),
  ),

  spoolGauge(
    'erasure_lag_seconds',
    'erasure_lag_ms',
    'Age of the oldest consumed message when the last erasure destroyed its key, or failed to',
    1_000,
  ),
  spoolGauge('erasure_lag_maximum_seconds', 'erasure_lag_max_ms', 'The largest such age since the start', 1_000),
  gauge('erasure_bound_seconds', 'spool.erase_within_ms: what the erasure lag stays below', ({ spool, limits }) =>
    spool === null ? null : limits.eraseWithinMs / 1_000,
  ),
  spoolCounter('spool_keys_destroyed_total', 'keys_destroyed', 'Keys destroyed, each with all that it had sealed'),
  spoolGauge('spool_state', 'state', '0 good; 1 full: new messages are refused; 2 broken: nothing more is acknowledged'),
  spoolGauge('spool_file_bytes', 'file_bytes', 'Size of the database file'),
  spoolGauge('spool_quarantined_records', 'quarantined', 'Records found damaged and put aside since the start'),
  spoolCounter('spool_deliveries_written_total', 'written', 'Deliveries written to the disk'),
  spoolCounter('spool_deliveries_elided_total', 'elided', 'Deliveries consumed before they had to be written'),
  spoolCounter('spool_written_bytes_total', 'written_bytes', 'Bytes written to the database'),
  spoolCounter('spool_evacuated_bytes_total', 'evacuated_bytes', 'Bytes sealed anew so that their neighbours could be forgotten'),
  spoolCounter('spool_reads_total', 'reads', 'Reads of queued deliveries from the disk'),
  spoolCounter('spool_commits_total', 'batches', 'Commits'),
  spoolCounter('spool_commit_seconds_total', 'commits_ms', 'Time that all commits took', 1_000),
  spoolGauge('spool_last_commit_seconds', 'commit_ms', 'Time that the last commit took', 1_000),
  spoolCounter('spool_compactions_total', 'compactions', 'Compactions of the database file'),
  spoolGauge('spool_key_slots', 'key_slots', 'Slots of the key file'),
  spoolGauge('spool_key_slots_free', 'key_slots_free', 'Slots whose key seals nothing'),

  {
    name: 'lethe_event_loop_delay_seconds',
    type: 'gauge',
    help: 'How late the event loop of a shard came to a timer, over the last 10 to 20 seconds',
    labels: ['shard', 'statistic'],
    read: ({ loops }) =>
      loops.flatMap(({ delayP50Ms, delayP99Ms, delayMaxMs }, shard) =>
        [['p50', delayP50Ms] as const, ['p99', delayP99Ms] as const, ['max', delayMaxMs] as const].map(([statistic, ms]) => ({
          labels: { shard: String(shard), statistic },
          value: ms / 1_000,
        })),
      ),
  },
  labelled(
    'counter',
    'event_loop_busy_seconds_total',
    'shard',
    'Time in which the event loop of a shard was not idle',
    ({ loops }) => loops.map(({ busyMs }, shard) => [String(shard), busyMs / 1_000]),
  ),
  labelled('gauge', 'bridge_connected', 'bridge', '1 while the link of a bridge stands, else 0', ({ bridges }) =>
    bridges.map(({ name, isConnected }) => [name, isConnected ? 1 : 0]),
  ),
  byDirection(
    'bridge_messages_total',
    'Messages that a bridge has passed on, those that were sent again included',
    ({ messagesOut, messagesIn }) => [messagesOut, messagesIn],
  ),
  byDirection(
    'bridge_refused_total',
    'Messages of a bridge that the other side did not take, or that no topic line means',
    ({ refusedOut, refusedIn }) => [refusedOut, refusedIn],
  ),
  labelled(
    'counter',
    'bridge_looped_total',
    'bridge',
    'Messages that had been in this broker before, or had passed too many, and went no further',
    ({ bridges }) => bridges.map(({ name, looped }) => [name, looped]),
  ),
  labelled('counter', 'bridge_reconnects_total', 'bridge', 'Links of a bridge after its first one', ({ bridges }) =>
    bridges.map(({ name, reconnects }) => [name, reconnects]),
  ),
  processRow('counter', 'cpu_seconds_total', 'CPU time of the process, all of its threads', ({ process }) => process.cpuS),
  processRow('gauge', 'resident_memory_bytes', 'Memory of the process that is in RAM', ({ process }) => process.residentBytes),
  processRow('gauge', 'heap_used_bytes', "Heap of the first shard's JavaScript", ({ process }) => process.heapUsedBytes),
  processRow('gauge', 'start_time_seconds', 'When the process began, in seconds since 1970', ({ process, nowMs }) =>
    Math.round(nowMs / 1_000 - process.uptimeS),
  ),
];

/** What each bridge has counted, out and in. */
function byDirection(
  name: string,
  help: string,
  read: (bridge: BridgeFigures) => readonly [out: number, into: number],
): MetricRow {
  return {
    name: `lethe_${name}`,
    type: 'counter',
    help,
    labels: ['bridge', 'direction'],
    read: ({ bridges }) =>
      bridges.flatMap((bridge) =>
        read(bridge).map((value, at) => ({ labels: { bridge: bridge.name, direction: at === 0 ? 'out' : 'in' }, value })),
      ),
  };
}

/** Under the names that Prometheus' clients give them. */
function processRow(type: MetricRow['type'], name: string, help: string, read: (snapshot: Snapshot) => number): MetricRow {
  return { name: `process_${name}`, type, help, labels: [], read: (snapshot) => [{ labels: {}, value: read(snapshot) }] };
}
