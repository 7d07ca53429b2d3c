// What must not leave the broker before the store is durable, one case at a time: the crash test finds it broken only when the kill falls
// into the right few milliseconds.
import { afterEach, expect, test } from 'vitest';
import type { Broker } from '../../engine/lethe.ts';
import { ONE_SHARD, startBroker } from '../broker.ts';
import { connect, puback, pubcomp, publish, pubrec, pubrel, subscribe, unsubscribe } from '../conformance/bytes.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { LaggingStore } from '../storage/lagging-store.ts';

let broker: Broker | null = null;
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.drop();
  await broker?.stop();
  broker = null;
});

async function over(store: LaggingStore): Promise<Broker> {
  broker = await startBroker([ONE_SHARD, 'server.sys_interval_s=0'], { store }); // for the store, which is an object
  return broker;
}

/** A client with a session that outlives its connection. */
async function join(clientId: string, present: 0 | 1 = 0): Promise<RawClient> {
  const client = await RawClient.connect(broker!.tcp, 4);
  clients.push(client);
  client.send(connect(4, { clientId, clean: false }));
  await client.expect(`20 02 0${present} 00`);
  return client;
}

/** One that has subscribed to `t` at QoS 2, durably. */
async function subscriber(store: LaggingStore): Promise<RawClient> {
  const client = await join('subscriber');
  client.send(subscribe(4, { filters: [['t', 2]] }));
  await client.expectSilence();
  store.commit();
  await client.expect('90 03 00 01 02');
  return client;
}

test('SUBACK and UNSUBACK of a session that outlives its connection', async () => {
  const store = new LaggingStore();
  await over(store);
  const client = await subscriber(store);
  client.send(unsubscribe(4, 2, ['t']));
  await client.expectSilence();
  store.commit();
  await client.expect('b0 02 00 02');
});

test('PUBACK and PUBREC', async () => {
  const store = new LaggingStore();
  await over(store);
  await subscriber(store);
  const publisher = await join('publisher');
  publisher.send(publish(4, { topic: 't', qos: 1, packetId: 1 }), publish(4, { topic: 't', qos: 2, packetId: 2 }));
  await publisher.expectSilence();
  store.commit();
  await publisher.expect('40 02 00 01');
  await publisher.expect('50 02 00 02');
});

test('a QoS 2 message, which its publisher would send again; one of QoS 1 goes out at once', async () => {
  const store = new LaggingStore();
  await over(store);
  const client = await subscriber(store);
  const publisher = await join('publisher');
  publisher.send(publish(4, { topic: 't', payload: 'one', qos: 1, packetId: 1 }));
  await client.expect('32 08 00 01 74 00 01 6f 6e 65');
  publisher.send(publish(4, { topic: 't', payload: 'two', qos: 2, packetId: 2 }));
  await publisher.expectSilence();
  await client.expectSilence();
  store.commit();
  await client.expect('34 08 00 01 74 00 02 74 77 6f');
  // Added while a commit was on its way: the next one brings it.
  publisher.send(publish(4, { topic: 't', payload: 'abc', qos: 2, packetId: 3 }));
  await client.expectSilence();
  store.commit();
  await client.expect('34 08 00 01 74 00 03 61 62 63');
});

test('PUBREL, also on the next connection, and PUBCOMP', async () => {
  const store = new LaggingStore();
  await over(store);
  const client = await subscriber(store);
  const publisher = await join('publisher');
  publisher.send(publish(4, { topic: 't', qos: 2, packetId: 7 }));
  await publisher.expectSilence();
  store.commit();
  await publisher.expect('50 02 00 07');
  publisher.send(pubrel(7));
  await publisher.expectSilence();
  await client.expect('34 05 00 01 74 00 01');
  client.send(pubrec(1));
  await client.expectSilence();
  client.drop();
  const again = await join('subscriber', 1);
  await again.expectSilence();
  store.commit();
  await publisher.expect('70 02 00 07');
  await again.expect('62 02 00 01');
  again.send(pubcomp(1));
  await again.expectSilence();
});

test('what a session was owed while it was away, until the store knows that it is back', async () => {
  const store = new LaggingStore();
  await over(store);
  const client = await subscriber(store);
  client.drop();
  const publisher = await join('publisher');
  publisher.send(publish(4, { topic: 't', qos: 1, packetId: 1 }));
  await publisher.expectSilence();
  store.commit();
  await publisher.expect('40 02 00 01');
  const again = await join('subscriber', 1);
  await again.expectSilence();
  store.commit();
  await again.expect('32 05 00 01 74 00 01');
  // Had it gone out before, nobody would know that it has to carry DUP now.
  const survivor = store.crash();
  await broker!.stop();
  await over(survivor);
  const third = await join('subscriber', 1);
  await third.expectSilence();
  survivor.commit();
  await third.expect('3a 05 00 01 74 00 01');
  third.send(puback(1));
  await third.expectSilence();
  expect(broker!.counts().queuedMessages).toBe(0);
});
