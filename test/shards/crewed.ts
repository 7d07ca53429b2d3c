// A broker of several shards whose first one the test can look into: what each shard counts stands in its row of the gauges. Put together as lethe.ts does it.
import { allocateKeptTime, systemClock } from '../../engine/clock.ts';
import { loadConfig } from '../../engine/config/load.ts';
import { Counters } from '../../engine/counters.ts';
import { silentLog } from '../../engine/log.ts';
import { Gauge } from '../../engine/peers/gauges.ts';
import { systemRandom } from '../../engine/random.ts';
import { gather } from '../../engine/shards/company.ts';
import { loadSecurity } from '../../engine/shards/gatekeeper.ts';
import { MemoryStore } from '../../storage/memory.ts';

export const SHARDS = 3;
const WAIT_MS_MAX = 20_000;
const LOOK_MS = 5;

export interface Crewed {
  readonly tcp: number;
  readonly ws: number;
  /** One figure of each shard. */
  each(gauge: number): number[];
  /** One counter of each shard. */
  counted(name: Parameters<typeof Counters.indexOf>[0]): number[];
  /** What was dropped for a reason, by all shards. */
  dropped(reason: keyof Counters['dropped']): number;
  stop(): Promise<void>;
}

/** @param set options as `lethe serve --set` takes them */
export async function crewed(set: readonly string[] = []): Promise<Crewed> {
  const config = loadConfig({ set: ['listener.tcp.port=0', 'listener.ws.port=0', `server.threads=${SHARDS}`, ...set] });
  const store = new MemoryStore(config.spool.maxRetentionS * 1_000);
  const seams = { config, clock: systemClock, random: systemRandom, log: silentLog, store };
  const company = await gather({ ...seams, ...(await loadSecurity(config, silentLog)) }, null, '');
  const { host } = company;
  const crew = await company.hire(allocateKeptTime());
  await host.open(company.place, null);
  await crew.open(new Map(host.listeners.map(({ name, port }) => [name, port])), 1);
  const { gauges } = host.shard.peers!;
  const portOf = (transport: string) => host.listeners.find((listener) => listener.transport === transport)!.port;
  const each = (gauge: number) => Array.from({ length: SHARDS }, (_, shard) => gauges.of(shard, gauge));
  return {
    tcp: portOf('tcp'),
    ws: portOf('ws'),
    each,
    counted: (name) => each(Gauge.COUNTERS + Counters.indexOf(name)),
    dropped(reason) {
      gauges.gather();
      return Counters.from(gauges.elsewhere, Gauge.COUNTERS).dropped[reason] + host.shard.counters.dropped[reason];
    },
    async stop() {
      await Promise.all([host.endConnections(), crew.endConnections()]);
      await company.settle();
      await crew.close();
      host.close();
      await company.handOut?.close();
      await store.close();
    },
  };
}

/** Waits for what no event tells of: figures that shards show each other. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (const endMs = Date.now() + WAIT_MS_MAX; !holds(); ) {
    if (Date.now() > endMs) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
