// A client that is there before the broker has looked at its clock for the first time: what is promised to it holds like any other promise.
import { expect, test } from 'vitest';
import { type Clock, systemClock } from '../../engine/clock.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { ONE_SHARD, startBroker } from '../broker.ts';
import { connect, property, publish, subscribe } from '../conformance/bytes.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { delivered } from '../conformance/rig.ts';
import { until } from '../network/temporary.ts';

/** Passes fifty times as fast: a round of expiry, once a second, comes every 20 ms. */
const HASTE = 50;

/** A clock whose alarms are held back until the first moment is over. */
function hastyClock(): Clock & { letGo(): void } {
  let held: (() => void)[] | null = [];
  return {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() * HASTE,
    after: (delayMs, wake) =>
      systemClock.after(delayMs / HASTE, () => {
        if (held === null) wake();
        else held.push(wake);
      }),
    letGo() {
      const wakes = held ?? [];
      held = null;
      for (const wake of wakes) wake();
    },
  };
}

class WatchedStore extends MemoryStore {
  rounds = 0;

  override expire(wallMs: number): void {
    this.rounds++;
    super.expire(wallMs);
  }
}

test('a message that is stored in the first moment waits for its receiver', async () => {
  const store = new WatchedStore(31 * 86_400_000);
  const clock = hastyClock();
  const broker = await startBroker([ONE_SHARD], { store, clock }); // for the clock and the store, which are objects
  const [sleeper, publisher] = [await RawClient.connect(broker.tcp, 5), await RawClient.connect(broker.tcp, 5)];
  const fields = { clientId: 'sleeper', properties: [property.sessionExpiryS(86_400)] };
  sleeper.send(connect(5, fields), subscribe(5, { filters: [['t', 1]] }));
  publisher.send(connect(5));
  await sleeper.expect('20 .. 00 00 *');
  await sleeper.expect('90 04 00 01 00 01');
  await publisher.expect('20 .. 00 00 *');
  publisher.send(publish(5, { topic: 't', payload: 'early', qos: 1 }));
  await publisher.expect('40 02 00 01');
  sleeper.drop();
  clock.letGo();
  const { rounds } = store;
  await until('two more rounds of expiry are over', () => store.rounds > rounds + 2);
  const back = await RawClient.connect(broker.tcp, 5);
  back.send(connect(5, { ...fields, clean: false }));
  await back.expect('20 .. 01 00 *');
  expect((await delivered(back)).payload).toBe('early');
  await broker.stop();
});
