// 18. Data that outlives its session: on the disk, in the next session of the same name, in the next connection. Deeper: test/forgetting/, test/conformance/07-session.test.ts.
// Red when: ending a session leaves a message, filter, will, alias or identifier of it behind, or its bytes can be read from the data directory past the erasure bound.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningBroker, startBroker } from '../../broker.ts';
import { property, publish } from '../../conformance/bytes.ts';
import { comesTo, delivered, published, subscribed, useRig } from '../../conformance/rig.ts';
import { Client } from '../../forgetting/client.ts';
import { Place } from '../../forgetting/place.ts';

describe('on the disk', () => {
  const place = new Place();
  let broker: RunningBroker;
  beforeAll(async () => {
    broker = await startBroker([`server.data_dir=${place.folder}`, 'spool.erase_within_ms=200', 'server.sys_interval_s=0']);
  });
  afterAll(() => broker.stop());

  const PARTS = ['client', 'topic', 'payload', 'will-topic', 'will-payload'];

  /** A session with a filter, a will and a message that waits, its client away. */
  async function leave(name: string, expiryS: number): Promise<void> {
    const text = (part: string) => place.text(`${name}.${part}`);
    const will = {
      topic: text('will-topic'),
      payload: place.canaries.bytes(`${name}.will-payload`),
      properties: { willDelayInterval: 3_600 },
    };
    const client = await Client.connect(broker.tcp, { clientId: text('client'), expiryS, will });
    await client.subscribe(`${text('topic')}/#`, 1);
    client.cut();
    const publisher = await Client.connect(broker.tcp, { clientId: 'publisher', clean: true, expiryS: 0 });
    await publisher.publish({ topic: `${text('topic')}/x`, payload: text('payload'), qos: 1 });
    publisher.cut();
    await place.isThere(...PARTS.map((part) => `${name}.${part}`));
  }

  test('Clean Start takes everything of the session before with it', async () => {
    await leave('clean', 3_600);
    const again = await Client.connect(broker.tcp, { clientId: place.text('clean.client'), clean: true, expiryS: 0 });
    expect(again.connack?.sessionPresent).toBe(false);
    again.cut();
    await place.isGone('clean');
  });

  test('so does its expiry, with nobody there to ask for it', async () => {
    await leave('expired', 2);
    await place.isGone('expired');
  });

  test('a session that lives keeps what is its own meanwhile', async () => {
    await leave('kept', 3_600);
    await leave('other', 3_600);
    (await Client.connect(broker.tcp, { clientId: place.text('other.client'), clean: true, expiryS: 0 })).cut();
    await place.isGone('other');
    await place.isThere(...PARTS.map((part) => `kept.${part}`));
  });
});

describe('in the next session', () => {
  const rig = useRig();

  test('of the same client identifier there is no subscription, message, identifier or will of the one before', async () => {
    const clientId = rig.name('again');
    const lasting = [property.sessionExpiryS(3_600)];
    const will = { topic: 'will', payload: 'old', properties: [property.willDelayS(3_600)] };
    const first = await rig.connect(5, { clientId, properties: lasting, will });
    await subscribed(first, { filters: [[clientId, 2]] });
    first.send(publish(5, { topic: 'x', qos: 2, packetId: 5 }));
    await first.expect('50 *');
    const publisher = await rig.connect(5);
    await published(publisher, { topic: clientId, payload: 'in flight', qos: 2 });
    await delivered(first);
    first.drop();
    await published(publisher, { topic: clientId, payload: 'queued', qos: 1, packetId: 2 });

    const witness = await rig.connect(5);
    await subscribed(witness, { filters: [['will', 0]] });
    const { client, connack } = await rig.greet(5, { clientId, clean: true });
    expect(connack.flags).toBe(0);
    // The session has ended, and with it the delay of its will.
    expect((await delivered(witness)).payload).toBe('old');
    await published(publisher, { topic: clientId, payload: 'new', qos: 1, packetId: 3 });
    await client.expectSilence();
    client.send('62 02 00 05');
    await client.expect('70 03 00 05 92');
    client.drop();
    await witness.expectSilence();
    await comesTo(() => rig.broker.counts().queuedMessages, 0);
  });

  test('a topic alias does not outlive its connection', async () => {
    const clientId = rig.name('alias');
    const fields = { clientId, properties: [property.sessionExpiryS(3_600)] };
    const first = await rig.connect(5, fields);
    await published(first, { topic: 'secret', properties: [property.topicAlias(1)] });
    first.drop();
    const second = await rig.connect(5, { ...fields, clean: false });
    second.send(publish(5, { topic: '', payload: 'x', properties: [property.topicAlias(1)] }));
    await second.expectFault(0x82);
  });
});
