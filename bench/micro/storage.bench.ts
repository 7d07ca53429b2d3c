// Micro-benchmarks of the hot storage files: npx tsc && node dist/bench/micro/storage.bench.js [FOLDER]
// Each task handles a batch; the table gives the time for one item, and millions or thousands of them a second. What goes to a disk goes to
// a new directory in FOLDER, the system's temporary one unless given: use the disk that is meant.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench } from 'tinybench';
import { systemClock } from '../../engine/clock.ts';
import { systemRandom } from '../../engine/random.ts';
import { Directory } from '../../storage/directory.ts';
import { allocateDoorbell, Doorbell } from '../../storage/doorbell.ts';
import { allocateFigures, Figures } from '../../storage/figures.ts';
import { openFolder } from '../../storage/folder.ts';
import { Ranges } from '../../storage/ranges.ts';
import { RecordBuffer } from '../../storage/records.ts';
import { allocateRing, RingConsumer, RingProducer } from '../../storage/ring.ts';
import { openValue } from '../../storage/salvage.ts';
import { RowSealer, seal, unseal } from '../../storage/sealed.ts';
import { Spool } from '../../storage/spool.ts';

const MESSAGES = 1_000;
const MESSAGE_BYTES = 100;
const TOPIC_BYTES = 20;
const NO_IDS = new Uint8Array(0);

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'lethe-bench-'));
const { ground, started } = openFolder(folder, null, (bytes) => systemRandom.bytes(bytes));
const { vault, random, disk } = ground;
const bench = new Bench({ time: 500, warmupTime: 100, warmupIterations: 4, iterations: 8 });
/** Items that one call of a task handles. */
const items = new Map<string, number>();

function add(name: string, count: number, once: () => void, options: Parameters<Bench['add']>[2] = {}): void {
  items.set(name, count);
  bench.add(name, once, options);
}

// The ring: a record of one message, written, published with others, read and released.
const memory = allocateRing(1_048_576);
const producer = new RingProducer(memory);
const consumer = new RingConsumer(memory);
const bell = new Doorbell(allocateDoorbell());
const message = systemRandom.bytes(MESSAGE_BYTES);
add('ring: write, publish, read and release', MESSAGES, () => {
  for (let i = 0; i < MESSAGES; i++) {
    const at = producer.reserve(MESSAGE_BYTES);
    producer.bytes.set(message, at);
  }
  producer.publish();
  bell.ring();
  consumer.look();
  while (consumer.next());
  consumer.release();
});

// Ranges: positions that are finished in order, and in the order of a window of 100 that is answered from both ends.
add('ranges: add in order, and remove below', MESSAGES, () => {
  const ranges = new Ranges();
  for (let i = 0; i < MESSAGES; i++) {
    ranges.add(i);
    if (i % 16 === 15) ranges.removeBelow(i - 8);
  }
});
add('ranges: add out of order', MESSAGES, () => {
  const ranges = new Ranges();
  for (let i = 0; i < MESSAGES; i++) ranges.add(i % 2 === 0 ? i : MESSAGES - i);
});

// Records: what a delivery becomes.
const content = {
  bytes: message,
  from: 0,
  topicBytes: TOPIC_BYTES,
  propertyBytes: 0,
  payloadBytes: MESSAGE_BYTES - TOPIC_BYTES,
  sinceMs: 1,
  untilMs: 2,
  expires: false,
};
const records = new RecordBuffer(262_144);
add('records: append', MESSAGES, () => {
  records.clear();
  for (let i = 0; i < MESSAGES; i++) records.append(i, 1, NO_IDS, 0, 0, content);
});
add('records: write the check', MESSAGES, () => {
  for (let at = 0; at < records.end; at += records.length(at)) records.finish(at, vault.checkSeed);
});

// A sealed value of 16 KB, and what that is for each message in it.
const perValue = Math.floor(16_000 / records.length(0));
const plain = records.bytes.slice(0, perValue * records.length(0));
const facts = { flags: 0, count: perValue, last: perValue - 1, sinceMs: 1, untilMs: 2 };
const sealed = seal(vault, random, plain, facts);
const slots: number[] = [];
const VALUES = 64;
add(`sealed: seal a value of ${plain.length} bytes`, VALUES, () => {
  for (let i = 0; i < VALUES; i++) slots.push(seal(vault, random, plain, facts).slot);
  if (slots.length >= 4_096) vault.destroy(slots.splice(0));
});
add('sealed: unseal it', VALUES, () => {
  for (let i = 0; i < VALUES; i++) unseal(vault, sealed.value);
});
add('sealed: unseal it, for each message', VALUES * perValue, () => {
  for (let i = 0; i < VALUES; i++) unseal(vault, sealed.value);
});
add('salvage: open a whole value', VALUES, () => {
  for (let i = 0; i < VALUES; i++) openValue(vault, sealed.value);
});
const opened = openValue(vault, sealed.value)!.records;
add('directory: make one, for each message', perValue, () => {
  new Directory(opened);
});
const sealer = new RowSealer(vault, random);
const row = new Uint8Array(120);
add('sealed: seal a row of numbers', VALUES, () => {
  for (let i = 0; i < VALUES; i++) sealer.seal(row);
});

// The vault: keys that are unwrapped from the file, and slots that are overwritten and flushed.
for (const count of [1, 64, 1_024]) {
  const doomed = Array.from({ length: count }, () => vault.take());
  add(`vault: destroy ${count} keys, flushed`, count, () => {
    vault.destroy(doomed);
    for (let i = 0; i < count; i++) doomed[i] = vault.take();
  });
}
const cold = Array.from({ length: 8_192 }, () => vault.take());
let next = 0;
add('vault: unwrap keys from the file, side by side', VALUES, () => {
  for (let i = 0; i < VALUES; i++) vault.keyOf(cold[next++ % cold.length]!);
});

// The spool, without its thread: a session that keeps up, one that is away, and its return.
const events = {
  gone() {},
  retainedGone() {},
  trouble(said: string) {
    throw new Error(said);
  },
};
const settings = { retentionMs: 3_600_000, eraseWithinMs: 1_000, diskFloorBytes: 0 };
const spool = new Spool(ground, settings, systemClock, new Figures(allocateFigures()), events, started);
const SESSION = 1;
const FAN_OUT = 100;
for (let session = 1; session <= FAN_OUT; session++) spool.putSession(session, Buffer.from('record'), false);
spool.commit();
const ends = new Float64Array(FAN_OUT + 1);

function put(session: number): void {
  spool.putMessage(message, 0, TOPIC_BYTES, 0, MESSAGE_BYTES - TOPIC_BYTES, Infinity);
  spool.addDelivery(session, ends[session]!++, 1, NO_IDS);
}

function mustBeDone(done: boolean): void {
  if (!done) throw new Error('bench: the disk took nothing');
}

add('spool: put and drop within a batch', MESSAGES, () => {
  const from = ends[SESSION]!;
  for (let i = 0; i < MESSAGES; i++) {
    put(SESSION);
    if (i >= 50) spool.dropDelivery(SESSION, from + i - 50);
  }
  for (let i = MESSAGES - 50; i < MESSAGES; i++) spool.dropDelivery(SESSION, from + i);
  mustBeDone(spool.publishIfClean());
});
add('spool: put, and commit 1,000 at a time', MESSAGES, () => {
  for (let i = 0; i < MESSAGES; i++) put(2);
  mustBeDone(spool.commit());
});
add('spool: put, and commit 20,000 at a time', 20 * MESSAGES, () => {
  for (let i = 0; i < 20 * MESSAGES; i++) put(3);
  mustBeDone(spool.commit());
});
add('spool: put for 100 sessions, for each delivery', MESSAGES * FAN_OUT, () => {
  for (let i = 0; i < MESSAGES; i++) {
    spool.putMessage(message, 0, TOPIC_BYTES, 0, MESSAGE_BYTES - TOPIC_BYTES, Infinity);
    for (let session = 1; session <= FAN_OUT; session++) spool.addDelivery(session, ends[session]!++, 1, NO_IDS);
  }
  mustBeDone(spool.commit());
});
let cursor = 0;
add('spool: read', MESSAGES, () => {
  const to = spool.read(3, cursor, MESSAGES, () => true);
  cursor = to - cursor < MESSAGES ? 0 : to;
});
let consumed = 0;
add('spool: consume what is on the disk, commit and erase', MESSAGES, () => {
  for (let i = 0; i < MESSAGES; i++) spool.dropDelivery(3, consumed++);
  mustBeDone(spool.commit());
  spool.eraser.run(true);
});

await bench.run();
for (const task of bench.tasks) {
  const { result } = task;
  if (result.state !== 'completed') throw new Error(`bench: ${task.name} did not complete`);
  const oneMs = result.latency.p50 / items.get(task.name)!;
  const rate = oneMs < 0.001 ? `${(1e-3 / oneMs).toFixed(1)} M/s` : `${(1 / oneMs).toFixed(1)} k/s`;
  const time = oneMs < 0.001 ? `${(oneMs * 1e6).toFixed(0)} ns` : `${(oneMs * 1e3).toFixed(1)} µs`;
  console.log(`${task.name.padEnd(56)} ${time.padStart(10)} ${rate.padStart(12)}`);
}
disk.close();
vault.close();
rmSync(folder, { recursive: true });
