// The other thread of the ring's and the doorbell's tests, run from the build: started with what it is to do.
import { workerData } from 'node:worker_threads';
import { Doorbell, Sleep } from '../../storage/doorbell.ts';
import { RingProducer } from '../../storage/ring.ts';
import { SeededRandom } from '../seeded-random.ts';
import { fillRecord, lengthOf } from './ring-record.ts';

export interface WriteJob {
  readonly kind: 'write';
  readonly ring: SharedArrayBuffer;
  readonly records: number;
  readonly seed: number;
  readonly readerBell: SharedArrayBuffer;
  readonly writerBell: SharedArrayBuffer;
}

export interface EchoJob {
  readonly kind: 'echo';
  readonly rounds: number;
  /** Words: 0 asked, 1 answered. */
  readonly words: SharedArrayBuffer;
  readonly ownBell: SharedArrayBuffer;
  readonly callerBell: SharedArrayBuffer;
  /** The caller rings urgently, and this thread sleeps deeply. */
  readonly deep: boolean;
}

/** Longest sleep: what a lost wake-up costs, so that the test ends and says so. */
export const SLEEP_MS = 3_000;

function write(job: WriteJob): void {
  const producer = new RingProducer(job.ring);
  const readerBell = new Doorbell(job.readerBell);
  const writerBell = new Doorbell(job.writerBell);
  const random = new SeededRandom(job.seed);
  const show = () => {
    producer.publish();
    readerBell.ring();
  };
  for (let index = 0; index < job.records; index++) {
    const bytes = lengthOf(random, producer.capacityBytes);
    let at = producer.reserve(bytes);
    while (at < 0) {
      show();
      const used = producer.usedBytes;
      writerBell.sleep(Sleep.LIGHT, () => producer.usedBytes < used || used === 0, SLEEP_MS);
      at = producer.reserve(bytes);
    }
    fillRecord(producer.bytes, at, bytes, index);
    // In pieces of all sizes: one record, or many at once.
    if (random.below(16) === 0) show();
  }
  show();
}

function echo(job: EchoJob): void {
  const words = new Int32Array(job.words);
  const ownBell = new Doorbell(job.ownBell);
  const callerBell = new Doorbell(job.callerBell);
  for (let round = 1; round <= job.rounds; round++) {
    while (Atomics.load(words, 0) < round) {
      ownBell.sleep(job.deep ? Sleep.DEEP : Sleep.LIGHT, () => Atomics.load(words, 0) >= round, SLEEP_MS);
    }
    Atomics.store(words, 1, round);
    callerBell.ring();
  }
}

const job = workerData as WriteJob | EchoJob | undefined;
if (job?.kind === 'write') write(job);
else if (job?.kind === 'echo') echo(job);
