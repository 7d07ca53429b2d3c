// How old the oldest message of a session is, as the spool and the store in memory tell it.
import { expect, test } from 'vitest';
import { MemoryStore } from '../../storage/memory.ts';
import type { Store } from '../../storage/store.ts';
import { messageOf } from './message.ts';
import { SteppedSpool } from './stepped-spool.ts';

const NO_IDS = new Uint8Array(0);
const BASE_MS = 1_767_225_600_000;
const nowhere = { session() {}, subscription() {}, deliveries() {}, inbound() {}, retained() {} };

interface Rig {
  readonly store: Store;
  /** Time goes on, and what was taken is durable. */
  pass(ms: number): Promise<void>;
}

async function spoolRig(): Promise<Rig> {
  const spool = new SteppedSpool();
  void spool.store.recover(nowhere);
  await spool.pass(0);
  return { store: spool.store, pass: (ms) => spool.pass(ms) };
}

async function memoryRig(): Promise<Rig> {
  const store = new MemoryStore(1e9);
  let nowMs = BASE_MS;
  store.expire(nowMs);
  return {
    store,
    async pass(ms) {
      nowMs += ms;
      store.expire(nowMs);
    },
  };
}

test.each([
  ['spool', spoolRig],
  ['memory', memoryRig],
] as const)('%s: written, not written yet, and after the older ones are gone', async (_, rig) => {
  const { store, pass } = await rig();
  const oldest = async () => {
    const answer = store.oldest(1);
    await pass(0);
    return answer;
  };
  const put = (position: number) =>
    store.addDelivery(1, position, store.putMessage(messageOf({ payload: `${position}` })), 1, NO_IDS);
  store.putSession(1, Buffer.from('one'), false);
  expect(await oldest()).toBeNull();
  put(0);
  const first = await oldest();
  expect(Math.abs(first! - BASE_MS)).toBeLessThanOrEqual(100);
  for (let position = 1; position <= 3; position++) {
    await pass(20_000);
    put(position);
    store.flush();
    await pass(2_000);
    expect(await oldest()).toBe(first);
  }
  store.dropDelivery(1, 0);
  store.dropDelivery(1, 1);
  store.flush();
  await pass(2_000);
  expect(Math.abs((await oldest())! - first! - 42_000)).toBeLessThanOrEqual(1_000);
  store.dropSession(1);
  expect(await oldest()).toBeNull();
});
