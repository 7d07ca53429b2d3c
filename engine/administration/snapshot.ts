// Everything that is counted, at one moment, of all shards together: what the metrics and the live page are made of.
import { getHeapStatistics } from 'node:v8';
import type { Administration } from './administration.ts';
import type { BridgeFigures } from './bridge-figures.ts';
import { type Oldest, oldestHeld } from './held-ages.ts';
import { Readiness, readinessOf } from './readiness.ts';
import { type BrokerFigures, sumFigures } from './shard-figures.ts';

export interface Snapshot extends BrokerFigures {
  readonly version: string;
  readonly nowMs: number;
  readonly startedMs: number;
  readonly isReady: boolean;
  readonly oldest: Oldest;
  readonly bridges: readonly BridgeFigures[];
  /** Figures of the spool by name (storage/figures.ts); null without a data directory. */
  readonly spool: Readonly<Record<string, number>> | null;
  readonly process: {
    readonly residentBytes: number;
    readonly heapUsedBytes: number;
    readonly cpuS: number;
    readonly uptimeS: number;
  };
  readonly limits: {
    readonly connections: number;
    readonly sessions: number;
    readonly queuedMessages: number;
    readonly queuedBytes: number;
    readonly eraseWithinMs: number;
  };
}

export async function takeSnapshot(administration: Administration): Promise<Snapshot> {
  const { version, config, clock, startedMs, askAll, figures } = administration;
  const [shards, oldest, readiness] = await Promise.all([
    askAll({ kind: 'figures' }),
    oldestHeld(administration),
    readinessOf(administration),
  ]);
  const { user, system } = process.cpuUsage();
  const { connectionsMax, sessionsMax, queuedMessagesMax, queuedBytesMax } = config.limits;
  return {
    ...sumFigures(shards),
    version,
    nowMs: clock.wallMs(),
    startedMs,
    isReady: readiness === Readiness.READY,
    oldest,
    bridges: administration.bridges(),
    spool: figures?.named() ?? null,
    process: {
      residentBytes: residentBytes(),
      heapUsedBytes: getHeapStatistics().used_heap_size,
      cpuS: (user + system) / 1e6,
      uptimeS: process.uptime(),
    },
    limits: {
      connections: connectionsMax,
      sessions: sessionsMax,
      queuedMessages: queuedMessagesMax,
      queuedBytes: queuedBytesMax,
      eraseWithinMs: config.spool.eraseWithinMs,
    },
  };
}

/** Node opens a file to tell it; 0: there is no descriptor left for that. */
function residentBytes(): number {
  try {
    return process.memoryUsage.rss();
  } catch {
    return 0;
  }
}
