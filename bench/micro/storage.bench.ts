// Micro-benchmarks of the hot storage files. What goes to a disk goes to a new directory in the system's temporary one (TMPDIR): use the
// disk that is meant.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
import { Nature, type Suite, Tasks } from './suite.ts';

const MESSAGES = 1_000;
const MESSAGE_BYTES = 100;
const TOPIC_BYTES = 20;
const NO_IDS = new Uint8Array(0);
/** Sealed values, rows and keys that one call handles. */
const VALUES = 64;
const VALUE_BYTES = 16_000;
const FAN_OUT = 100;
/** Sessions of the spool that the tasks share among them. */
const Owner = { KEEPS_UP: 1, AWAY: 2, LONG_AWAY: 3, READ: 4, CONSUMES: 5 } as const;
/** The sessions of the fan-out come behind these. */
const FAN_FIRST = 6;
/** What a session that only takes may have on the disk before it is emptied. */
const OWED_MAX = 200_000;
const FAN_OWED_MAX = 20_000;

export const storageSuite: Suite = { key: 'storage', build };

type Ground = ReturnType<typeof openFolder>['ground'];

function build(): Tasks {
  const tasks = new Tasks('storage');
  const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'));
  const { ground, started } = openFolder(folder, null, (bytes) => systemRandom.bytes(bytes));
  const message = systemRandom.bytes(MESSAGE_BYTES);
  addRing(tasks, message);
  addRanges(tasks);
  addRecords(tasks, ground, message);
  addVault(tasks, ground);
  const events = {
    gone() {},
    retainedGone() {},
    trouble(said: string) {
      throw new Error(said);
    },
  };
  const settings = { retentionMs: 3_600_000, eraseWithinMs: 1_000, diskFloorBytes: 0 };
  addSpool(tasks, new Spool(ground, settings, systemClock, new Figures(allocateFigures()), events, started), message);
  tasks.end = () => {
    ground.disk.close();
    ground.vault.close();
    rmSync(folder, { recursive: true });
  };
  return tasks;
}

/** A record of one message, written, published with others, read and released. */
function addRing(tasks: Tasks, message: Uint8Array): void {
  const memory = allocateRing(1_048_576);
  const producer = new RingProducer(memory);
  const consumer = new RingConsumer(memory);
  const bell = new Doorbell(allocateDoorbell());
  tasks.add('ring', 'ring: write, publish, read and release 100 bytes', MESSAGES, () => {
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
}

/** Positions that are finished in order, and from both ends. */
function addRanges(tasks: Tasks): void {
  tasks.add('ranges', 'ranges: add in order, and remove below', MESSAGES, () => {
    const ranges = new Ranges();
    for (let i = 0; i < MESSAGES; i++) {
      ranges.add(i);
      if (i % 16 === 15) ranges.removeBelow(i - 8);
    }
  });
  tasks.add('ranges-unordered', 'ranges: add out of order', MESSAGES, () => {
    const ranges = new Ranges();
    for (let i = 0; i < MESSAGES; i++) ranges.add(i % 2 === 0 ? i : MESSAGES - i);
  });
}

/** What a delivery becomes: a record, and with others a sealed value. */
function addRecords(tasks: Tasks, { vault, random }: Ground, message: Uint8Array): void {
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
  const fill = (): void => {
    records.clear();
    for (let i = 0; i < MESSAGES; i++) records.append(i, 1, NO_IDS, 0, 0, content);
  };
  fill();
  tasks.add('record', 'records: append', MESSAGES, fill);
  const check = (): void => {
    for (let at = 0; at < records.end; at += records.length(at)) records.finish(at, vault.checkSeed);
  };
  check();
  tasks.add('record-check', 'records: write the check', MESSAGES, check);

  const perValue = Math.floor(VALUE_BYTES / records.length(0));
  const plain = records.bytes.slice(0, perValue * records.length(0));
  const facts = { flags: 0, count: perValue, last: perValue - 1, sinceMs: 1, untilMs: 2 };
  const sealed = seal(vault, random, plain, facts);
  const slots: number[] = [];
  tasks.add(
    'seal',
    `sealed: seal a value of ${plain.length} bytes`,
    VALUES,
    () => {
      for (let i = 0; i < VALUES; i++) slots.push(seal(vault, random, plain, facts).slot);
      if (slots.length >= 4_096) vault.destroy(slots.splice(0));
    },
    Nature.DISK,
  );
  tasks.add('unseal', 'sealed: unseal it', VALUES, () => {
    for (let i = 0; i < VALUES; i++) unseal(vault, sealed.value);
  });
  tasks.add('salvage', 'salvage: open a whole value', VALUES, () => {
    for (let i = 0; i < VALUES; i++) openValue(vault, sealed.value);
  });
  const opened = openValue(vault, sealed.value)!.records;
  const list = (): void => {
    for (let i = 0; i < VALUES; i++) new Directory(opened);
  };
  // It allocates, and what that costs is for the collector to say.
  tasks.add('directory', 'directory: make one, for each message', VALUES * perValue, list, { isFar: false, tolerance: 1 });
  const sealer = new RowSealer(vault, random);
  const row = new Uint8Array(120);
  tasks.add('seal-row', 'sealed: seal a row of numbers', VALUES, () => {
    for (let i = 0; i < VALUES; i++) sealer.seal(row);
  });
}

/** Keys that are unwrapped from the file, and slots that are overwritten and flushed. */
function addVault(tasks: Tasks, { vault }: Ground): void {
  for (const count of [1, 64, 1_024]) {
    const doomed = Array.from({ length: count }, () => vault.take());
    const once = (): void => {
      vault.destroy(doomed);
      for (let i = 0; i < count; i++) doomed[i] = vault.take();
    };
    tasks.add(`destroy-${count}`, `vault: destroy ${count} keys, flushed`, count, once, Nature.DISK);
  }
  const cold = Array.from({ length: 8_192 }, () => vault.take());
  let next = 0;
  tasks.add('key', 'vault: unwrap keys from the file, side by side', VALUES, () => {
    for (let i = 0; i < VALUES; i++) vault.keyOf(cold[next++ % cold.length]!);
  });
}

/** The spool without its thread: a session that keeps up, some that are away, and their return. */
function addSpool(tasks: Tasks, spool: Spool, message: Uint8Array): void {
  for (let session = 1; session < FAN_FIRST + FAN_OUT; session++) spool.putSession(session, Buffer.from('record'), false);
  spool.commit();
  /** Of each session: the position after its last delivery, and the first one that it is owed. */
  const ends = new Float64Array(FAN_FIRST + FAN_OUT);
  const firsts = new Float64Array(FAN_FIRST + FAN_OUT);
  const putMessage = (): void => {
    spool.putMessage(message, 0, TOPIC_BYTES, 0, MESSAGE_BYTES - TOPIC_BYTES, Infinity);
  };
  const put = (session: number, count: number): void => {
    for (let i = 0; i < count; i++) {
      putMessage();
      spool.addDelivery(session, ends[session]!++, 1, NO_IDS);
    }
  };
  const drop = (session: number, count: number): void => {
    for (let i = 0; i < count; i++) spool.dropDelivery(session, firsts[session]!++);
  };
  const mustBeDone = (done: boolean): void => {
    if (!done) throw new Error('bench: the disk took nothing');
  };
  /** Now and then, so that it is in few of the calls. */
  const putAway = (session: number, count: number): void => {
    if (ends[session]! - firsts[session]! > OWED_MAX) drop(session, ends[session]! - firsts[session]!);
    put(session, count);
    mustBeDone(spool.commit());
  };
  put(Owner.READ, 20 * MESSAGES);
  spool.commit();

  tasks.add('spool-elide', 'spool: put and drop within a batch', MESSAGES, () => {
    put(Owner.KEEPS_UP, 50);
    for (let i = 50; i < MESSAGES; i++) {
      put(Owner.KEEPS_UP, 1);
      drop(Owner.KEEPS_UP, 1);
    }
    drop(Owner.KEEPS_UP, 50);
    // A reserve of positions that runs out is written, now and then.
    if (!spool.publishIfClean()) mustBeDone(spool.commit());
  });
  const onDisk = (name: string, title: string, items: number, once: () => void): void =>
    tasks.add(name, title, items, once, Nature.DISK);
  onDisk('spool-1000', 'spool: put, and commit 1,000 at a time', MESSAGES, () => putAway(Owner.AWAY, MESSAGES));
  onDisk('spool-5000', 'spool: put, and commit 5,000 at a time', 5 * MESSAGES, () => putAway(Owner.LONG_AWAY, 5 * MESSAGES));
  onDisk('spool-fan-out', 'spool: put for 100 sessions, for each delivery', MESSAGES * FAN_OUT, () => {
    for (let i = 0; i < MESSAGES; i++) {
      putMessage();
      for (let session = FAN_FIRST; session < ends.length; session++) spool.addDelivery(session, ends[session]!++, 1, NO_IDS);
    }
    mustBeDone(spool.commit());
    const owed = ends[FAN_FIRST]! - firsts[FAN_FIRST]!;
    if (owed >= FAN_OWED_MAX) for (let session = FAN_FIRST; session < ends.length; session++) drop(session, owed);
  });
  let cursor = 0;
  onDisk('spool-read', 'spool: read', MESSAGES, () => {
    cursor = spool.read(Owner.READ, cursor, MESSAGES, () => true);
    if (cursor > ends[Owner.READ]! - MESSAGES) cursor = 0;
  });
  onDisk('spool-consume', 'spool: consume what is on the disk, commit and erase', MESSAGES, () => {
    if (ends[Owner.CONSUMES]! - firsts[Owner.CONSUMES]! < MESSAGES) putAway(Owner.CONSUMES, 20 * MESSAGES);
    drop(Owner.CONSUMES, MESSAGES);
    mustBeDone(spool.commit());
    spool.eraser.run(true);
  });
}
