// Erasure that is asked for: done at once, told when it is done and not before, and told to have failed when the disk has failed.
import { beforeEach, expect, test } from 'vitest';
import { Figure } from '../../storage/figures.ts';
import { RowKind, rowSession } from '../../storage/rows.ts';
import { SetAside } from '../../storage/store.ts';
import { Outcome } from './memory-disk.ts';
import { FileOutcome } from './memory-key-file.ts';
import { messageOf } from './message.ts';
import { SteppedSpool } from './stepped-spool.ts';

const NO_IDS = new Uint8Array(0);
const nowhere = { session() {}, subscription() {}, deliveries() {}, inbound() {}, retained() {} };

let spool: SteppedSpool;
let answers: number[];

/** Sessions 1 and 2 of client 0 have messages, 3 has one of the last client's. */
async function start(clients = 1): Promise<void> {
  spool = new SteppedSpool({ clients });
  answers = [];
  void spool.store.recover(nowhere);
  await spool.pass(0);
  const last = spool.stores[clients - 1]!;
  spool.store.putSession(1, Buffer.from('one'), false);
  spool.store.putSession(2, Buffer.from('two'), false);
  last.putSession(3, Buffer.from('three'), false);
  for (let position = 0; position < 4; position++) {
    const message = spool.store.putMessage(messageOf({ payload: `payload ${position}` }));
    spool.store.addDelivery(1, position, message, 1, NO_IDS);
    spool.store.addDelivery(2, position, message, 1, NO_IDS);
    last.addDelivery(3, position, last.putMessage(messageOf({ payload: 'alone' })), 1, NO_IDS);
  }
  for (const store of spool.stores) store.flush();
  await spool.pass(100);
  for (const store of spool.stores) expect(store.durable).toBe(store.sequence);
}

function erase(client = 0, setAside: SetAside = SetAside.STAYS): void {
  void spool.stores[client]!.erase(setAside).then((count) => answers.push(count));
}

const destroyed = () => spool.figures.get(Figure.KEYS_DESTROYED);

beforeEach(() => start());

test('is done at once, without waiting for the bound, and so is what stands between survivors', async () => {
  spool.store.dropDelivery(1, 1);
  spool.store.dropDelivery(2, 1);
  spool.store.dropSession(3);
  const before = destroyed();
  erase();
  await spool.pass(0);
  expect(answers).toEqual([0]);
  expect(destroyed()).toBeGreaterThan(before);
  const after = destroyed();
  // Nothing was left for the eraser's own time.
  await spool.pass(5_000);
  expect(destroyed()).toBe(after);
});

test('a record that was replaced goes with it', async () => {
  const before = destroyed();
  spool.store.putSession(1, Buffer.from('another'), false);
  erase();
  await spool.pass(0);
  expect(answers).toEqual([0]);
  expect(destroyed()).toBe(before + 1);
});

test('of nothing is done', async () => {
  erase();
  await spool.pass(0);
  expect(answers).toEqual([0]);
});

test('waits for a disk without room, and for a key file that does not take it', async () => {
  spool.disk.outcome = () => Outcome.FULL;
  spool.store.dropSession(1);
  erase();
  await spool.pass(1_000);
  expect(answers).toEqual([]);
  spool.disk.outcome = () => Outcome.DONE;
  spool.file.outcome = () => FileOutcome.FULL;
  await spool.pass(1_000);
  expect(answers).toEqual([]);
  spool.file.outcome = () => FileOutcome.DONE;
  await spool.pass(1_000);
  expect(answers).toEqual([0]);
});

test('is tried again after a while, and not in each step of a thread that has much to do', async () => {
  let tries = 0;
  spool.file.outcome = () => {
    tries++;
    return FileOutcome.FULL;
  };
  spool.store.dropSession(1);
  erase();
  await spool.pass(0);
  expect(tries).toBeGreaterThan(0);
  const first = tries;
  for (let i = 0; i < 20; i++) spool.step();
  expect(tries).toBe(first);
  await spool.pass(100);
  expect(tries).toBeGreaterThan(first);
  spool.file.outcome = () => FileOutcome.DONE;
  await spool.pass(100);
  expect(answers).toEqual([0]);
});

test('is told to have failed when the disk stays full, and when it has failed', async () => {
  spool.disk.outcome = () => Outcome.FULL;
  spool.store.dropSession(1);
  erase();
  await spool.pass(15_000);
  expect(answers).toEqual([-1]);
  spool.disk.outcome = () => Outcome.BROKEN;
  spool.store.dropSession(2);
  erase();
  await spool.pass(1_000);
  expect(answers).toEqual([-1, -1]);
});

test('each client is told for itself', async () => {
  await start(3);
  spool.store.dropSession(1);
  spool.stores[2]!.dropSession(3);
  erase(0);
  await spool.pass(0);
  erase(2);
  erase(2);
  await spool.pass(0);
  expect(answers).toEqual([0, 0, 0]);
});

/** Damages the first value of a kind, and reads what session `reader` is owed. */
async function damage(kind: RowKind, session: number, reader: number): Promise<void> {
  const { key } = spool.disk.entries.find((entry) => entry.key[0] === kind && rowSession(entry.key) === session)!;
  spool.disk.damage(key, (value) => {
    value[value.length - 1]! ^= 1;
  });
  spool.store.read(reader, 0, 100, { delivery() {}, end() {} });
  spool.store.flush();
  await spool.pass(0);
}

const setAside = () => spool.disk.entries.filter(({ key }) => key[0] === RowKind.QUARANTINE).map(({ key }) => rowSession(key));

test('what was set aside goes as far as it is asked for, with its keys, and is counted once', async () => {
  await start(2);
  await damage(RowKind.SHARED, 0, 1);
  await damage(RowKind.QUEUE, 3, 3);
  expect(setAside()).toEqual([0, 3]);
  erase();
  await spool.pass(0);
  expect(setAside()).toEqual([0, 3]);
  const before = destroyed();
  erase(0, SetAside.UNOWNED);
  erase(0, SetAside.STAYS);
  erase(1);
  await spool.pass(0);
  expect(setAside()).toEqual([3]);
  expect(destroyed()).toBe(before + 1);
  erase(1, SetAside.ALL);
  await spool.pass(0);
  expect(setAside()).toEqual([]);
  expect(destroyed()).toBe(before + 2);
  expect(answers).toEqual([0, 1, 0, 0, 1]);
  await spool.pass(200_000); // their times come, and name nothing
  erase(0, SetAside.ALL);
  await spool.pass(0);
  expect(answers.at(-1)).toBe(0);
});

test('what was set aside waits for a disk without room', async () => {
  await damage(RowKind.SHARED, 0, 1);
  spool.disk.outcome = () => Outcome.FULL;
  erase(0, SetAside.UNOWNED);
  await spool.pass(1_000);
  expect(answers).toEqual([]);
  spool.disk.outcome = () => Outcome.DONE;
  await spool.pass(1_000);
  expect(answers).toEqual([1]);
  expect(setAside()).toEqual([]);
});
