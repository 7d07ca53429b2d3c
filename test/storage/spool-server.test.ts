// The two ends of the rings, with the thread's work done by hand: what the engine is told when the disk is full or fails, what it is not
// told too early, and what passes through rings that are too small.
import { beforeEach, describe, expect, test } from 'vitest';
import { fault, Reason } from '../../protocol/packet.ts';
import { SpoolState } from '../../storage/figures.ts';
import { GoneReason, type StoreListener } from '../../storage/store.ts';
import { Outcome } from './memory-disk.ts';
import { FileOutcome } from './memory-key-file.ts';
import { messageOf, payloadOf } from './message.ts';
import { heard, type SteppedOptions, SteppedSpool } from './stepped-spool.ts';

const NO_IDS = new Uint8Array(0);
const REFUSED = fault(Reason.QUOTA_EXCEEDED);

class Heard implements StoreListener {
  durables = 0;
  readonly gone_: { session: number; position: number; bytes: number; reason: GoneReason }[] = [];
  readonly troubles: string[] = [];

  taken(): void {}

  durable(): void {
    this.durables++;
  }

  gone(session: number, position: number, bytes: number, reason: GoneReason): void {
    this.gone_.push({ session, position, bytes, reason });
  }

  retainedGone(): void {}

  trouble(message: string): void {
    this.troubles.push(message);
  }
}

let spool: SteppedSpool;
let told: Heard;

async function start(options: SteppedOptions = {}): Promise<void> {
  spool = new SteppedSpool(options);
  told = new Heard();
  spool.store.listener = told;
  await recovered();
}

/** What the store gives when it is opened, by session: the position of the end. */
async function recovered(): Promise<Map<number, number>> {
  const ends = new Map<number, number>();
  let done = false;
  const recovery = spool.store.recover({
    session: () => {},
    subscription: () => {},
    deliveries: (session, _base, end) => void ends.set(session, end),
    inbound: () => {},
    retained: () => {},
  });
  recovery.then(
    () => {
      done = true;
    },
    () => {},
  );
  while (!done) await spool.pass(0);
  return ends;
}

/** Reads a whole queue, in as many reads as it takes. */
async function payloads(session: number): Promise<string[]> {
  const found: string[] = [];
  for (let from = 0, end = -1; ; from = end) {
    let ended = false;
    const before = found.length;
    spool.store.read(session, from, 1_000, {
      delivery: (_position, _bits, _ids, _received, message) => void found.push(message === null ? '' : payloadOf(message)),
      end: (next) => {
        ended = true;
        end = next;
      },
    });
    spool.store.flush();
    while (!ended) await spool.pass(0);
    if (found.length === before) return found;
  }
}

function owe(session: number, position: number, payload: string): number {
  const { store } = spool;
  const number = store.putMessage(messageOf({ payload }));
  if (number > 0) store.addDelivery(session, position, number, 1, NO_IDS);
  return number;
}

beforeEach(() => start());

describe('a full disk', () => {
  beforeEach(async () => {
    spool.store.putSession(1, Buffer.from('one'), false);
    expect(owe(1, 0, 'before')).toBeGreaterThan(0);
    spool.store.flush();
    await spool.pass(0);
    expect(spool.store.durable).toBe(spool.store.sequence);
    spool.disk.outcome = () => Outcome.FULL;
  });

  test('refuses new messages from then on, keeps what it took, and makes it durable when there is room', async () => {
    const { store } = spool;
    const { durable } = store;
    expect(owe(1, 1, 'taken')).toBeGreaterThan(0);
    store.flush();
    await spool.pass(0);
    expect(store.durable).toBe(durable);
    expect(store.isRefusing).toBe(true);
    expect(told.durables).toBeGreaterThan(0); // told of the change, so that the engine looks
    expect(told.troubles).toEqual([expect.stringMatching(/^the disk is full/)]);
    expect(owe(1, 2, 'refused')).toBe(REFUSED);
    expect(store.putRetained(1, messageOf({ payload: 'refused' }))).toBe(REFUSED);
    // What is there is given, and what else happens is taken.
    expect(await payloads(1)).toEqual(['before', 'taken']);
    store.addInbound(1, 7);
    store.dropDelivery(1, 0);
    store.flush();
    await spool.pass(3_000);
    expect(store.durable).toBe(durable);
    expect(told.troubles).toHaveLength(1);

    spool.disk.outcome = () => Outcome.DONE;
    const { durables } = told;
    await spool.pass(1_000);
    expect(store.isRefusing).toBe(false);
    expect(store.durable).toBe(store.sequence);
    expect(told.durables).toBeGreaterThan(durables);
    expect(told.troubles).toEqual([expect.stringMatching(/^the disk is full/), 'the spool has room again']);
    expect(owe(1, 2, 'after')).toBeGreaterThan(0);
    store.flush();
    await spool.pass(0);
    expect(await payloads(1)).toEqual(['taken', 'after']);
    await start({ remains: spool.remains() });
    expect(await payloads(1)).toEqual(['taken', 'after']);
  });

  test('has room again also when everything that it took was consumed meanwhile', async () => {
    const { store } = spool;
    owe(1, 1, 'taken');
    store.flush();
    await spool.pass(0);
    expect(store.isRefusing).toBe(true);
    store.dropDelivery(1, 1);
    store.flush();
    await spool.pass(0);
    expect(store.durable).toBe(store.sequence); // nothing of it needs the disk
    expect(store.isRefusing).toBe(true);
    spool.disk.outcome = () => Outcome.DONE;
    await spool.pass(2_000);
    expect(store.isRefusing).toBe(false);
    expect(spool.figures.state).toBe(SpoolState.GOOD);
  });

  test('a crash before there is room costs what was not durable, and nothing else', async () => {
    const { store } = spool;
    owe(1, 1, 'taken');
    store.flush();
    await spool.pass(0);
    await start({ remains: spool.remains() });
    expect(await payloads(1)).toEqual(['before']);
    expect(owe(1, 20_000, 'after')).toBeGreaterThan(0);
    spool.store.flush();
    await spool.pass(0);
    expect(spool.store.durable).toBe(spool.store.sequence);
  });
});

test('a disk at its floor refuses new messages, and everything that was taken becomes durable', async () => {
  const { store } = spool;
  store.putSession(1, Buffer.from('one'), false);
  spool.disk.roomBytes = 999;
  spool.nowMs += 1_000;
  expect(owe(1, 0, 'taken')).toBeGreaterThan(0);
  store.flush();
  await spool.pass(0);
  expect(store.isRefusing).toBe(true);
  expect(store.durable).toBe(store.sequence);
  expect(owe(1, 1, 'refused')).toBe(REFUSED);
  spool.disk.roomBytes = 1_000_000;
  await spool.pass(2_000);
  expect(store.isRefusing).toBe(false);
  expect(told.troubles).toEqual([expect.stringMatching(/down to its floor/), 'the disk has room again']);
});

describe('a disk that fails', () => {
  test.each([
    ['in the data file', () => (spool.disk.outcome = () => Outcome.BROKEN)],
    ['in the key file', () => (spool.file.outcome = () => FileOutcome.BROKEN)],
  ])('%s: nothing more becomes durable, whatever it does afterwards', async (_name, fail) => {
    const { store } = spool;
    store.putSession(1, Buffer.from('one'), false);
    store.flush();
    await spool.pass(0);
    fail();
    for (let position = 0; position < 10; position++) owe(1, position, 'x'.repeat(20_000)); // more slots than there are
    store.flush();
    await spool.pass(0);
    const { durable } = store;
    expect(durable).toBeLessThan(store.sequence);
    expect(store.isRefusing).toBe(true);
    expect(told.troubles).toEqual([expect.stringMatching(/^the spool failed and acknowledges nothing more; check the disk/)]);
    spool.disk.outcome = () => Outcome.DONE;
    spool.file.outcome = () => FileOutcome.DONE;
    store.dropDelivery(1, 0);
    store.flush();
    await spool.pass(5_000);
    expect(store.durable).toBe(durable);
    expect(owe(1, 10, 'refused')).toBe(REFUSED);
    expect(told.troubles).toHaveLength(1);
    expect(await payloads(1)).toHaveLength(9); // it still reads what it has
    await store.close();
    await start({ remains: spool.remains() });
    expect(await payloads(1)).toEqual([]);
  });
});

test('a damaged message is told by its place, and its neighbours are read', async () => {
  const { store } = spool;
  store.putSession(1, Buffer.from('one'), false);
  for (let position = 0; position < 5; position++) owe(1, position, `payload ${position}`);
  store.flush();
  await spool.pass(0);
  const value = spool.disk.entries.find(({ key }) => key[0] === 3)!;
  spool.disk.damage(value.key, (bytes) => {
    bytes[72 + 64 * 2 + 60]! ^= 1;
  });
  const found = await payloads(1);
  expect(found).toHaveLength(4);
  expect(told.gone_).toEqual([{ session: 1, position: expect.any(Number), bytes: 10, reason: GoneReason.DAMAGED }]);
  expect(told.troubles).toEqual([
    expect.stringMatching(/^a value of \d+ bytes in the spool is damaged: 1 messages in it are lost$/),
  ]);
  expect((await inventory()).quarantined.count).toBe(1);
});

async function inventory() {
  let answer: Awaited<ReturnType<typeof spool.store.inventory>> | null = null;
  spool.store.inventory().then(
    (found) => {
      answer = found;
    },
    () => {},
  );
  while (answer === null) await spool.pass(0);
  return answer as Awaited<ReturnType<typeof spool.store.inventory>>;
}

describe('a message and its deliveries', () => {
  test('may be seen in two batches: the ring is used again in between, and the second delivery has the same message', async () => {
    await start({ intentBytes: 4_096 });
    const { store } = spool;
    for (const session of [1, 2]) store.putSession(session, Buffer.from('record'), false);
    store.flush();
    await spool.pass(0);
    for (let round = 0; round < 20; round++) {
      const number = store.putMessage(messageOf({ payload: `message ${round} ${'x'.repeat(300)}` }));
      store.addDelivery(1, round, number, 1, NO_IDS);
      store.flush(); // as when the ring is full
      spool.step();
      for (let noise = 0; noise < 30; noise++) store.addInbound(1, noise + 1);
      store.flush();
      spool.step();
      store.addDelivery(2, round, number, 1, NO_IDS);
      store.flush();
      await spool.pass(0);
    }
    const expected = Array.from({ length: 20 }, (_, round) => `message ${round} ${'x'.repeat(300)}`);
    expect(await payloads(1)).toEqual(expected);
    expect(await payloads(2)).toEqual(expected);
  });

  test('are not parted by a read in their midst', async () => {
    const { store } = spool;
    for (const session of [1, 2]) store.putSession(session, Buffer.from('record'), false);
    store.flush();
    await spool.pass(0);
    const { durable } = store;
    const number = store.putMessage(messageOf({ payload: 'whole' }));
    store.addDelivery(1, 0, number, 1, NO_IDS);
    let ended = -1;
    store.read(2, 0, 10, { delivery: () => {}, end: (next) => (ended = next) });
    await spool.pass(0);
    expect([store.durable, ended]).toEqual([durable, -1]);
    store.addDelivery(2, 0, number, 1, NO_IDS);
    store.flush();
    await spool.pass(0);
    expect(ended).toBe(1);
    expect(store.held().messages).toBe(1); // stored once
  });

  test('wait for the thread when the ring is full, however many there are', async () => {
    await start({ intentBytes: 4_096, reportBytes: 1_048_576 });
    const { store } = spool;
    for (let session = 1; session <= 200; session++) store.putSession(session, Buffer.from(`record ${session}`), false);
    const number = store.putMessage(messageOf({ payload: 'to everybody' }));
    expect(number).toBeGreaterThan(0);
    for (let session = 1; session <= 200; session++) store.addDelivery(session, 0, number, 1, NO_IDS);
    store.flush();
    await spool.pass(0);
    expect(store.durable).toBe(store.sequence);
    for (let session = 1; session <= 200; session += 20) expect(await payloads(session)).toEqual(['to everybody']);
  });

  test('are refused when the thread is hopelessly behind, and not before it says that it is behind', () => {
    const { store } = spool;
    store.putSession(1, Buffer.from('one'), false);
    let position = 0;
    let behindAt = -1;
    for (; owe(1, position, 'x'.repeat(2_000)) > 0; position++) if (behindAt < 0 && store.isBehind) behindAt = position;
    expect(behindAt).toBeGreaterThan(100);
    expect(position).toBeGreaterThan(behindAt + 50);
    expect(owe(1, position, 'x')).toBe(REFUSED);
  });
});

test('a read that finds no room in the reports is answered as they are taken out, and the thread does not sleep over it', async () => {
  await start({ reportBytes: 262_144 });
  const { store } = spool;
  store.putSession(1, Buffer.from('one'), false);
  for (let position = 0; position < 200; position++) owe(1, position, `${position} ${'x'.repeat(2_000)}`);
  store.flush();
  await spool.pass(0);
  const next: number[] = [];
  let given = 0;
  for (let read = 0; read < 3; read++) {
    store.read(1, 0, 1_000, {
      delivery: () => void given++,
      end: (position) => void next.push(position),
    });
  }
  store.flush();
  expect(spool.step()).toBeLessThanOrEqual(1); // two of them wait
  await heard();
  while (next.length < 3) await spool.pass(0);
  expect(given).toBe(next.reduce((sum, position) => sum + position, 0));
  for (const position of next) expect(position).toBeGreaterThan(50);
});

test('positions are reserved before they are used, however long the window and whatever is consumed in it', async () => {
  await start({ commitWindowMs: 1_000_000 });
  const { store } = spool;
  store.putSession(1, Buffer.from('one'), false);
  store.putSession(2, Buffer.from('two'), false);
  owe(2, 0, 'it stays, and keeps the batch open');
  let used = 0;
  for (let crash = 0; crash < 2; crash++) {
    for (let round = 0; round < 400; round++) {
      for (let i = 0; i < 50; i++, used++) {
        owe(1, used, 'x');
        spool.store.dropDelivery(1, used);
      }
      spool.store.flush();
      spool.step();
    }
    const found = await restarted();
    expect(found.get(1)).toBeGreaterThanOrEqual(used);
    used = found.get(1)!;
    owe(2, found.get(2)!, 'another');
  }
});

/** Starts anew on what a crash leaves; returns the ends of the queues. */
async function restarted(): Promise<Map<number, number>> {
  spool = new SteppedSpool({ remains: spool.remains(), commitWindowMs: 1_000_000 });
  spool.store.listener = new Heard();
  return recovered();
}

test('what is too large for the rings goes beside them, in its place', async () => {
  const { store } = spool;
  store.putSession(1, Buffer.from('one'), false);
  const large = 'large '.repeat(250_000);
  owe(1, 0, 'small before');
  owe(1, 1, large);
  owe(1, 2, 'small after');
  store.flush();
  await spool.pass(0);
  const found = await payloads(1);
  expect(found.map(({ length }) => length)).toEqual([12, 1_500_000, 11]);
  expect(found[1]).toBe(large);
});
