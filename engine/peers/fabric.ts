// What the shards of one broker share besides the trie, as plain memory that can be posted to a thread: rings from each to each, a bell for each, and
// three tables of words. Nothing of it is touched by anybody but the two shards that it stands between, but for the roster and the gauges, which one writes and all read.
//
//   rings     count × count  ring from shard a to shard b at a * count + b; none from a shard to itself
//   bells     count          wakes the shard
//   settled   Int32          at a * count + b: messages of shard a that shard b has settled, modulo 2^32 (tickets.ts)
//   waiting   Int32          at a * count + b: 1 while shard a waits for room in its ring to b
//   gauges    Float64        a row for each shard (gauges.ts)
//   roster    Int32          two words for each session index (roster.ts)
//   users, connects          counts by name (tallies.ts), under a lock
import { allocateDoorbell } from '../../storage/doorbell.ts';
import { allocateRing } from '../../storage/ring.ts';
import { systemRandom } from '../random.ts';
import { allocateGauges } from './gauges.ts';
import { rosterBytes } from './roster.ts';
import { allocateTallies } from './tallies.ts';

export interface Fabric {
  readonly count: number;
  readonly rings: readonly (SharedArrayBuffer | null)[];
  readonly bells: readonly SharedArrayBuffer[];
  readonly settled: SharedArrayBuffer;
  readonly waiting: SharedArrayBuffer;
  readonly gauges: SharedArrayBuffer;
  readonly roster: SharedArrayBuffer;
  readonly users: SharedArrayBuffer;
  readonly connects: SharedArrayBuffer;
}

const RING_BYTES_MAX = 2_097_152;
const RING_BYTES_MIN = 262_144;
/** What all rings into one shard may take, as far as `RING_BYTES_MIN` allows. */
const RINGS_BYTES = 8_388_608;

/** @param sessionsMax sessions of all shards together, and `connectionsMax` connections */
export function allocateFabric(count: number, sessionsMax: number, connectionsMax: number): Fabric {
  const ringBytes = ringCapacity(count);
  return {
    count,
    rings: Array.from({ length: count * count }, (_, at) =>
      Math.floor(at / count) === at % count ? null : allocateRing(ringBytes),
    ),
    bells: Array.from({ length: count }, allocateDoorbell),
    settled: new SharedArrayBuffer(count * count * 4),
    waiting: new SharedArrayBuffer(count * count * 4),
    gauges: allocateGauges(count),
    roster: new SharedArrayBuffer(rosterBytes(sessionsMax)),
    users: allocateTallies(connectionsMax, systemRandom),
    connects: allocateTallies(sessionsMax, systemRandom),
  };
}

function ringCapacity(count: number): number {
  let bytes = RING_BYTES_MAX;
  while (bytes > RING_BYTES_MIN && bytes * (count - 1) > RINGS_BYTES) bytes /= 2;
  return bytes;
}
