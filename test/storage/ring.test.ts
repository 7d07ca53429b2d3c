// The ring against a queue of records, alone and between two threads.
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allocateDoorbell, Doorbell, Sleep } from '../../storage/doorbell.ts';
import { allocateRing, RECORD_HEADER_BYTES, RingConsumer, RingProducer } from '../../storage/ring.ts';
import { check } from '../check.ts';
import { SeededRandom } from '../seeded-random.ts';
import { fillRecord, lengthOf, recordNumber } from './ring-record.ts';
import { SLEEP_MS, type WriteJob } from './ring-worker.ts';

const CAPACITY = 4_096;
const LARGEST = CAPACITY / 2 - RECORD_HEADER_BYTES;

function ring(capacity = CAPACITY) {
  const memory = allocateRing(capacity);
  return { memory, producer: new RingProducer(memory), consumer: new RingConsumer(memory) };
}

test.each([0, 1, 2_048, 4_095, 4_097, 12_288])('a capacity of %i bytes is refused', (capacity) => {
  expect(() => allocateRing(capacity)).toThrow(/power of two/);
});

describe('against a queue', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const), bytes: fc.integer({ min: 8, max: 300 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('write' as const), bytes: fc.integer({ min: 300, max: LARGEST }) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('publish' as const), bytes: fc.constant(0) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('look' as const), bytes: fc.constant(0) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('read' as const), bytes: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), bytes: fc.constant(0) }) },
  );

  test('records come in order, whole, once, after they were published, and never over one that is still looked at', () => {
    check(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { producer, consumer } = ring();
        const written: number[] = [];
        let published = 0;
        let seen = 0;
        let read = 0;
        let released = 0;
        const held: { from: number; to: number; number: number }[] = [];
        for (const { kind, bytes } of steps) {
          if (kind === 'write') {
            const at = producer.reserve(bytes);
            if (at >= 0) {
              expect(at % 8).toBe(0);
              fillRecord(producer.bytes, at, bytes, written.length);
              written.push(bytes);
            } else {
              // It is full indeed: what is held and this record do not fit, whatever is left over at the end.
              const owed = written.slice(released).reduce((sum, one) => sum + padded(one), 0);
              expect(owed + padded(bytes) * 2).toBeGreaterThan(CAPACITY);
            }
          } else if (kind === 'publish') {
            producer.publish();
            published = written.length;
          } else if (kind === 'look') {
            expect(consumer.hasRecords).toBe(published > read);
            consumer.look();
            seen = published;
          } else if (kind === 'read') {
            for (let left = bytes; left > 0; left--) {
              // A record begins with its number: 0 stands for the first one, and for none.
              expect(consumer.nextWord).toBe(read < seen ? read : 0);
              const found = consumer.next();
              expect(found).toBe(read < seen);
              if (!found) break;
              held.push({ from: consumer.from, to: consumer.to, number: read++ });
            }
          } else {
            consumer.release();
            held.length = 0;
            released = read;
          }
          for (const { from, to, number } of held) expect(recordNumber(consumer.bytes, from, to, written[number]!)).toBe(number);
          expect(producer.hasUnpublished).toBe(published < written.length);
          expect(producer.usedBytes === 0).toBe(released === written.length);
        }
      }),
      1_000,
    );
  });
});

function padded(bytes: number): number {
  return (bytes + RECORD_HEADER_BYTES + 7) & ~7;
}

test('the largest record fits into an empty ring wherever its end stands', () => {
  const { producer, consumer } = ring();
  for (let lap = 0; lap < 2_000; lap++) {
    const bytes = lap % 2 === 0 ? LARGEST : 8 + (lap % 1_000);
    const at = producer.reserve(bytes);
    expect(at).toBeGreaterThanOrEqual(0);
    fillRecord(producer.bytes, at, bytes, lap);
    producer.publish();
    consumer.look();
    expect(consumer.nextWord).toBe(lap);
    expect(consumer.next()).toBe(true);
    expect(recordNumber(consumer.bytes, consumer.from, consumer.to, bytes)).toBe(lap);
    consumer.release();
  }
});

test('a full ring takes what fits once something was released', () => {
  const { producer, consumer } = ring();
  let records = 0;
  while (producer.reserve(120) >= 0) records++;
  expect(records).toBe(CAPACITY / 128);
  expect(producer.usedBytes).toBe(CAPACITY);
  producer.publish();
  consumer.look();
  consumer.next();
  expect(producer.reserve(8)).toBe(-1);
  consumer.release();
  expect(producer.reserve(121)).toBe(-1);
  expect(producer.reserve(120)).toBeGreaterThanOrEqual(0);
  expect(producer.reserve(0)).toBe(-1);
});

test('the counters pass 2^32', () => {
  const memory = allocateRing(CAPACITY);
  const control = new Int32Array(memory);
  control[0] = control[16] = -CAPACITY; // 2^32 less one lap
  const producer = new RingProducer(memory);
  const consumer = new RingConsumer(memory);
  const random = new SeededRandom(3);
  for (let number = 0; number < 1_000; number++) {
    const bytes = lengthOf(random, CAPACITY);
    const at = producer.reserve(bytes);
    fillRecord(producer.bytes, at, bytes, number);
    producer.publish();
    consumer.look();
    expect(consumer.next()).toBe(true);
    expect(recordNumber(consumer.bytes, consumer.from, consumer.to, bytes)).toBe(number);
    consumer.release();
    expect(producer.usedBytes).toBe(0);
  }
});

test('a million records between two threads, in order and undamaged', async () => {
  const records = 1_000_000;
  const job: WriteJob = {
    kind: 'write',
    ring: allocateRing(65_536),
    records,
    seed: 11,
    readerBell: allocateDoorbell(),
    writerBell: allocateDoorbell(),
  };
  const consumer = new RingConsumer(job.ring);
  const readerBell = new Doorbell(job.readerBell);
  const writerBell = new Doorbell(job.writerBell);
  const lengths = new SeededRandom(job.seed);
  const worker = new Worker(new URL('../../dist/test/storage/ring-worker.js', import.meta.url), { workerData: job });
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  const laps = { looks: 0, idle: 0 };
  try {
    for (let number = 0; number < records; ) {
      consumer.look();
      laps.looks++;
      const before = number;
      while (consumer.next()) {
        const bytes = lengthOf(lengths, 65_536);
        const found = recordNumber(consumer.bytes, consumer.from, consumer.to, bytes);
        if (found !== number) throw new Error(`record ${number} of ${bytes} bytes came as ${found} (seed ${job.seed})`);
        number++;
        lengths.below(16);
      }
      consumer.release();
      writerBell.ring();
      laps.idle = number === before ? laps.idle + 1 : 0;
      if (laps.idle > 5) throw new Error(`nothing has come for ${5 * SLEEP_MS} ms behind record ${number}`);
      if (number < records) readerBell.sleep(Sleep.LIGHT, () => consumer.hasRecords, SLEEP_MS);
    }
    expect(consumer.hasRecords).toBe(false);
    expect(await ended).toBe(0);
  } finally {
    await worker.terminate();
  }
});
