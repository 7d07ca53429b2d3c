// Drop (DESIGN §6): with its last acknowledgement a message leaves the books in the next batch, and its record the file with the eraser's
// next turn. What the spool says that it holds is what lies in its rows.
import { randomBytes } from 'node:crypto';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Inventory } from '../../engine/lethe.ts';
import { askOwner } from '../../engine/spool/folder-lock.ts';
import { Figure } from '../../storage/figures.ts';
import { KEYS_FILE, openFolder } from '../../storage/folder.ts';
import { takeInventory } from '../../storage/inventory.ts';
import { DATA_FILE } from '../../storage/lmdb-disk.ts';
import type { Held } from '../../storage/store.ts';
import { ONE_SHARD, startBroker } from '../broker.ts';
import { BareSpool } from './bare-spool.ts';
import { Client } from './client.ts';
import { heldRows } from './held-rows.ts';
import { temporaryFolder } from './place.ts';

const TURN_MS = 250;

describe('the spool', () => {
  test('drops a message in the batch after its last acknowledgement, and its row with the next turn of the eraser', () => {
    const bare = new BareSpool(temporaryFolder());
    const { spool, figures, ground } = bare;
    for (const session of [1, 2, 3]) spool.putSession(session, Buffer.of(session), false);
    bare.put({ topic: 'own', payload: 'for one' }, [1, 0]);
    bare.put({ topic: 'own', payload: 'for one, too' }, [1, 1]);
    bare.put({ topic: 'shared', payload: 'for three' }, [1, 2], [2, 0], [3, 0]);
    spool.commit();
    const all = spool.held();
    expect(all).toMatchObject({ sessions: 3, messages: 3, messageBytes: 10 + 15 + 15 });
    expect(heldRows(ground)).toEqual(all);

    // Each of these is the last acknowledgement of one message, but the first two of the shared one.
    const acknowledgements: readonly (readonly [session: number, position: number, left: number])[] = [
      [1, 0, 2],
      [1, 2, 2],
      [3, 0, 2],
      [2, 0, 1],
      [1, 1, 0],
    ];
    for (const [session, position, left] of acknowledgements) {
      const batches = figures.get(Figure.BATCHES);
      spool.dropDelivery(session, position);
      expect(spool.commit()).toBe(true);
      expect(figures.get(Figure.BATCHES)).toBe(batches + 1);
      expect(figures.get(Figure.MESSAGES)).toBe(left);
      expect(takeInventory(spool).messages.count).toBe(left);
      bare.pass(TURN_MS);
      expect(heldRows(ground)).toEqual(spool.held());
      expect(spool.held().messages).toBe(left);
    }
    expect(takeInventory(spool).messages).toEqual({ count: 0, bytes: 0, oldestMs: null });
    bare.stop();
  });

  test('never writes what is consumed within its batch', () => {
    const bare = new BareSpool(temporaryFolder());
    const { spool, figures } = bare;
    for (const session of [1, 2]) spool.putSession(session, Buffer.of(session), false);
    spool.commit();
    const [batches, bytes] = [figures.get(Figure.BATCHES), figures.get(Figure.WRITTEN_BYTES)];
    for (let i = 0; i < 100; i++) {
      bare.put({ topic: 'own', payload: 'x' }, [1, 2 * i]);
      bare.put({ topic: 'shared', payload: 'x' }, [1, 2 * i + 1], [2, i]);
      spool.dropDelivery(1, 2 * i);
      spool.dropDelivery(2, i);
      spool.dropDelivery(1, 2 * i + 1);
    }
    expect(spool.publishIfClean()).toBe(true);
    expect([figures.get(Figure.BATCHES), figures.get(Figure.WRITTEN_BYTES)]).toEqual([batches, bytes]);
    expect(spool.held().messages).toBe(0);
    bare.stop();
  });

  test('tells the age of the oldest message that is held, not of one that went', () => {
    const bare = new BareSpool(temporaryFolder());
    const { spool } = bare;
    spool.putSession(1, Buffer.of(1), false);
    const putAt: number[] = [];
    for (let i = 0; i < 3; i++) {
      putAt.push(bare.nowMs);
      bare.put({ topic: 'aged', payload: String(i) }, [1, i]);
      spool.commit();
      bare.pass(10_000);
    }
    for (let i = 0; i < 3; i++) {
      expect(takeInventory(spool).messages.oldestMs).toBe(putAt[i]);
      spool.dropDelivery(1, i);
      spool.commit();
      bare.pass(TURN_MS);
    }
    expect(takeInventory(spool).messages.oldestMs).toBeNull();
    bare.stop();
  });
});

/** What the rows of a running broker's directory hold, read from a copy of it. */
function rowsOf(folder: string): Held {
  const copy = temporaryFolder();
  for (const name of [DATA_FILE, KEYS_FILE]) copyFileSync(join(folder, name), join(copy, name));
  const { ground } = openFolder(copy, null, randomBytes);
  const held = heldRows(ground);
  ground.disk.close();
  ground.vault.close();
  return held;
}

/** The inventory once it says so; the time that a commit takes is not ours. */
async function until(inventory: () => Promise<Inventory>, holds: (inventory: Inventory) => boolean): Promise<Inventory> {
  for (const startedMs = performance.now(); performance.now() - startedMs < 10_000; ) {
    const now = await inventory();
    if (holds(now)) return now;
  }
  throw new Error(`waited in vain; the inventory says ${JSON.stringify(await inventory())}`);
}

test('the inventory of a broker shows every class before and after, as its directory does', async () => {
  const folder = temporaryFolder();
  // Each shard keeps a message that it owes once: how many there are in all hangs on where the clients come in.
  const broker = await startBroker([ONE_SHARD, `server.data_dir=${folder}`, 'server.sys_interval_s=0']);
  const port = broker.tcp;
  const startedMs = Date.now();
  const inventory = () => broker.inventory();

  const offline = await Client.connect(port, { clientId: 'offline' });
  await offline.subscribe('both/#');
  await offline.subscribe('one/#');
  await offline.leave();
  const online = await Client.connect(port, { clientId: 'online', holds: true });
  await online.subscribe('both/#');
  const dying = await Client.connect(port, { clientId: 'dying', will: { topic: 'will', payload: 'will' } });
  const publisher = await Client.connect(port, { clientId: '', clean: true, expiryS: 0 });
  await publisher.publish({ topic: 'both/x', payload: '0123456789', qos: 1 });
  await publisher.publish({ topic: 'one/x', payload: '0123456789', qos: 2 });
  await publisher.publish({ topic: 'kept', payload: '01234', retain: true });
  await online.got(1);
  const before = await until(inventory, ({ messages, retained }) => messages.oldestMs !== null && retained.count > 0);
  expect(before).toMatchObject({
    messages: { count: 2, bytes: 16 + 15 },
    queued: { deliveries: 3, bytes: 16 + 16 + 15 },
    inFlight: { deliveries: 1 },
    retained: { count: 1, bytes: 9 },
    sessions: { count: 3 },
    wills: { count: 1 },
    quarantined: { count: 0 },
  });
  for (const { oldestMs } of [before.messages, before.retained, before.sessions, before.wills]) {
    expect(oldestMs).toBeGreaterThanOrEqual(startedMs);
    expect(oldestMs).toBeLessThanOrEqual(Date.now());
  }
  expect(await askOwner(folder, 'inventory')).toEqual(before);
  expect(rowsOf(folder)).toEqual({ sessions: 3, messages: 2, messageBytes: 31, retained: 1, retainedBytes: 9 });

  // One of two has the shared message: it stays.
  online.acknowledge();
  const between = await until(inventory, ({ queued }) => queued.deliveries === 2);
  expect(between).toMatchObject({ messages: { count: 2 }, inFlight: { deliveries: 0 } });
  const back = await Client.connect(port, { clientId: 'offline', holds: true });
  await back.got(2);
  expect(await inventory()).toMatchObject({ messages: { count: 2 }, queued: { deliveries: 2 }, inFlight: { deliveries: 2 } });
  back.acknowledge(1);
  await until(inventory, ({ messages }) => messages.count === 1);
  back.acknowledge();
  await publisher.publish({ topic: 'kept', retain: true });
  await dying.leave(0);
  const after = await until(inventory, ({ messages, wills, retained }) => messages.count + wills.count + retained.count === 0);
  expect(after).toMatchObject({
    messages: { count: 0, bytes: 0, oldestMs: null },
    queued: { deliveries: 0, bytes: 0 },
    inFlight: { deliveries: 0 },
    retained: { count: 0, bytes: 0, oldestMs: null },
    sessions: { count: 2 },
    wills: { count: 0, bytes: 0, oldestMs: null },
  });
  for (const client of [online, back]) await client.leave(0);
  await until(inventory, ({ sessions }) => sessions.count === 0);
  await broker.stop();
  expect(rowsOf(folder)).toEqual({ sessions: 0, messages: 0, messageBytes: 0, retained: 0, retainedBytes: 0 });
});
