// $SYS: the broker's figures as retained messages, under Mosquitto's names so that existing dashboards work. Cold: made from counters
// once in an interval. Names that Lethe adds stand under $SYS/broker/lethe/.
import { getHeapStatistics } from 'node:v8';
import { MessageView } from '../../protocol/publish.ts';
import { Counters, DropReason } from '../counters.ts';
import { Gauge } from '../peers/gauges.ts';
import { deliverMessage } from '../routing/deliver.ts';
import { Retention, retainMessage } from '../routing/retain.ts';
import type { Shard } from '../routing/shard.ts';
import { Timer } from '../timers.ts';

/** Load averages as Mosquitto gives them: per minute, over 1, 5 and 15 minutes. */
const LOAD_MINUTES = [1, 5, 15] as const;

interface Load {
  readonly topic: string;
  readonly read: () => number;
  last: number;
  readonly averages: number[];
}

/** Publishes the figures every `intervalS` seconds until the returned function is called. */
export function publishSys(shard: Shard, version: string, intervalS: number): () => void {
  const { clock } = shard;
  let counters = totals(shard);
  const startedMs = clock.monotonicMs();
  const loads: Load[] = [
    load('messages/received', () => counters.packetsReceived),
    load('messages/sent', () => counters.packetsSent),
    load('publish/received', () => counters.publishReceived),
    load('publish/sent', () => counters.publishSent),
    load('publish/dropped', () => counters.droppedTotal),
    load('bytes/received', () => counters.bytesReceived),
    load('bytes/sent', () => counters.bytesSent),
    load('connections', () => counters.connectionsTotal),
    load('sockets', () => counters.socketsTotal),
  ];
  let heapMaximum = 0;
  publishRetained(shard, '$SYS/broker/version', `lethe version ${version}`);
  const timer = new Timer(() => {
    counters = totals(shard);
    // process.memoryUsage() opens a file: where descriptors have run out it throws, and the broker would end.
    const heap = getHeapStatistics().used_heap_size;
    heapMaximum = Math.max(heapMaximum, heap);
    publishRetained(shard, '$SYS/broker/heap/current', String(heap));
    publishRetained(shard, '$SYS/broker/heap/maximum', String(heapMaximum));
    for (const [topic, value] of figures(shard, counters, Math.floor((clock.monotonicMs() - startedMs) / 1_000)))
      publishRetained(shard, topic, value);
    for (const own of loads) sayLoad(shard, own, intervalS);
    shard.timers.set(timer, intervalS * 1_000);
  });
  shard.timers.set(timer, 0);
  return () => shard.timers.cancel(timer);
}

/** The counters of all shards together. */
function totals(shard: Shard): Counters {
  const { peers } = shard;
  if (peers === null) return shard.counters;
  shard.showGauges();
  shard.learnGauges();
  const sum = Float64Array.from(peers.gauges.own, (figure, gauge) => figure + shard.elsewhere[gauge]!);
  const counters = Counters.from(sum, Gauge.COUNTERS);
  // Each shard knows the most that it has seen of all.
  const at = Gauge.COUNTERS + Counters.indexOf('connectionsMaximum');
  counters.connectionsMaximum = 0;
  for (let index = 0; index < peers.count; index++)
    counters.connectionsMaximum = Math.max(counters.connectionsMaximum, peers.gauges.of(index, at));
  return counters;
}

function figures(shard: Shard, counters: Counters, uptimeS: number): [string, string][] {
  const { elsewhere } = shard;
  const connected = shard.openConnections + elsewhere[Gauge.CONNECTED]!;
  const sessions = shard.sessions.count + elsewhere[Gauge.SESSIONS]!;
  const shared = shard.sharedSubscriptions + elsewhere[Gauge.SHARED_SUBSCRIPTIONS]!;
  const held = shard.store.held();
  const messages = held.messages + elsewhere[Gauge.STORED_MESSAGES]! + shard.retained.count;
  const bytes = held.messageBytes + elsewhere[Gauge.STORED_BYTES]! + shard.retainedBytes;
  const rows: [string, number | string][] = [
    ['uptime', `${uptimeS} seconds`],
    ['clients/total', sessions],
    ['clients/connected', connected],
    ['clients/active', connected],
    ['clients/disconnected', sessions - connected],
    ['clients/inactive', sessions - connected],
    ['clients/maximum', counters.connectionsMaximum],
    ['clients/expired', counters.expiredSessions],
    ['messages/received', counters.packetsReceived],
    ['messages/sent', counters.packetsSent],
    ['messages/stored', messages],
    ['store/messages/count', messages],
    ['store/messages/bytes', bytes],
    ['publish/messages/received', counters.publishReceived],
    ['publish/messages/sent', counters.publishSent],
    ['publish/messages/dropped', counters.droppedTotal],
    ['publish/bytes/received', counters.publishBytesReceived],
    ['publish/bytes/sent', counters.publishBytesSent],
    ['bytes/received', counters.bytesReceived],
    ['bytes/sent', counters.bytesSent],
    ['subscriptions/count', shard.trie.subscriptions - shared],
    ['shared_subscriptions/count', shared],
    ['retained messages/count', shard.retained.count],
    ['lethe/queued/messages', shard.queuedMessages + elsewhere[Gauge.QUEUED_MESSAGES]!],
    ['lethe/queued/bytes', shard.queuedBytes + elsewhere[Gauge.QUEUED_BYTES]!],
    ['lethe/takeovers', counters.takeovers],
    ['lethe/connects/refused', counters.connectRefused],
    ['lethe/pauses', counters.pauses],
    ['lethe/receivers/slow', counters.slowReceivers],
    ['lethe/refused/quota', counters.refusedQuota],
    ['lethe/refused/rights', counters.refusedRights],
    ['lethe/refused/connect rate', counters.refusedConnectRate],
    ['lethe/connects/uncounted', counters.connectsUncounted],
    ['lethe/refused/user quota', counters.refusedUserQuota],
    ['lethe/refused/banned', counters.refusedBanned],
    ['lethe/refused/overload', counters.refusedOverload],
    ['lethe/overloads', counters.overloads],
    ['lethe/rate holds', counters.rateHolds],
    ['lethe/topic cache/hits', shard.routes.cache.hits + elsewhere[Gauge.CACHE_HITS]!],
    ['lethe/topic cache/misses', shard.routes.cache.misses + elsewhere[Gauge.CACHE_MISSES]!],
  ];
  for (const reason of Object.values(DropReason)) rows.push([`lethe/dropped/${reason}`, counters.dropped[reason]]);
  return rows.map(([name, value]) => [`$SYS/broker/${name}`, String(value)]);
}

function load(topic: string, read: () => number): Load {
  return { topic, read, last: read(), averages: LOAD_MINUTES.map(() => 0) };
}

function sayLoad(shard: Shard, own: Load, intervalS: number): void {
  const now = own.read();
  const perMinute = ((now - own.last) * 60) / intervalS;
  own.last = now;
  LOAD_MINUTES.forEach((minutes, index) => {
    const weight = Math.exp(-intervalS / (minutes * 60));
    own.averages[index] = own.averages[index]! * weight + perMinute * (1 - weight);
    publishRetained(shard, `$SYS/broker/load/${own.topic}/${minutes}min`, own.averages[index]!.toFixed(2));
  });
}

/** Publishes a text of the broker's own as a retained message that no disk keeps. */
export function publishRetained(shard: Shard, topic: string, value: string): void {
  const view = new MessageView();
  view.topic = Buffer.from(topic);
  view.topicTo = view.topic.length;
  view.payload = Buffer.from(value);
  view.payloadTo = view.payload.length;
  view.retain = 1;
  if (shard.routes.find(view.topic, 0, view.topicTo) < 0) return;
  deliverMessage(shard, null, view, shard.routes.found);
  retainMessage(shard, null, view, Retention.VOLATILE);
}
