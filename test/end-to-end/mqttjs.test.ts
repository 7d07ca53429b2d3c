// MQTT.js against the started process: over tcp, tls, ws and wss, as MQTT 3.1, 3.1.1 and 5.0.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { certificates, everyTransport } from './listeners.ts';
import type { Level } from './mosquitto.ts';
import { type ClientOptions, type MqttJs, mqttJs } from './mqttjs.ts';
import { type Transport, useServed } from './served.ts';

const served = useServed(everyTransport);
const authority = readFileSync(certificates.ca);

const transports = ['tcp', 'tls', 'ws', 'wss'] as const satisfies readonly Transport[];
const versions: readonly (readonly [version: string, level: Level])[] = [
  ['3.1', 3],
  ['3.1.1', 4],
  ['5.0', 5],
];
const qualities = [0, 1, 2] as const;

let names = 0;

function name(prefix: string): string {
  names += 1;
  return `${prefix}-${names}`;
}

function connect(transport: Transport, level: Level, options: Partial<ClientOptions> = {}): Promise<MqttJs> {
  return mqttJs({ transport, level, port: served.port(transport), ca: authority, ...options });
}

describe.each(transports)('over %s', (transport) => {
  describe.each(versions)('MQTT %s', (_version, level) => {
    test.each(qualities)('messages arrive at QoS %i, once and in order', async (qos) => {
      const topic = name('order');
      const sub = await connect(transport, level);
      expect(await sub.subscribe(`${topic}/#`, qos)).toEqual([qos]);
      const pub = await connect(transport, level);
      const payloads = Array.from({ length: 50 }, (_, index) => `message ${index}`);
      await Promise.all(payloads.map((payload) => pub.publish(`${topic}/a/b`, payload, { qos })));
      // Whatever came twice would stand before this one.
      await pub.publish(`${topic}/end`, '', { qos });
      await sub.received(payloads.length + 1);
      expect(sub.payloads).toEqual([...payloads, '']);
      expect(sub.messages[0]).toMatchObject({ topic: `${topic}/a/b`, qos, retain: false, dup: false });
    });

    test('a message goes out at the lower of both QoS', async () => {
      const topic = name('lower');
      const client = await connect(transport, level);
      await client.subscribe(topic, 1);
      for (const qos of qualities) await client.publish(topic, String(qos), { qos });
      await client.received(3);
      expect(client.messages.map(({ qos }) => qos)).toEqual([0, 1, 1]);
    });

    test('a retained message is set, replaced and cleared', async () => {
      const topic = name('retained');
      const client = await connect(transport, level);
      await client.publish(topic, 'first', { qos: 1, retain: true });
      await client.subscribe(topic, 1);
      await client.received(1);
      await client.publish(topic, 'second', { qos: 1, retain: true });
      await client.received(2);
      await client.client.unsubscribeAsync(topic);
      await client.subscribe(topic, 1);
      await client.received(3);
      expect(client.messages.map(({ payload, retain }) => [String(payload), retain])).toEqual([
        ['first', true],
        ['second', false],
        ['second', true],
      ]);
      await client.client.unsubscribeAsync(topic);
      await client.publish(topic, '', { qos: 1, retain: true });
      await client.subscribe(topic, 1);
      await client.publish(topic, 'live', { qos: 1 });
      await client.received(4);
      expect(client.payloads[3]).toBe('live');
    });

    test.each(qualities)('a will goes out at QoS %i when the connection breaks', async (qos) => {
      const topic = name('will');
      const watch = await connect(transport, level);
      await watch.subscribe(topic, 2);
      const doomed = await connect(transport, level, { will: { topic, payload: Buffer.from('gone'), qos, retain: true } });
      doomed.cut();
      await watch.received(1);
      expect(watch.messages[0]).toMatchObject({ payload: Buffer.from('gone'), qos, retain: false });
      const late = await connect(transport, level);
      await late.subscribe(topic);
      await late.received(1);
      expect(late.messages[0]).toMatchObject({ payload: Buffer.from('gone'), retain: true });
    });

    test('a will does not go out after DISCONNECT', async () => {
      const topic = name('will');
      const watch = await connect(transport, level);
      await watch.subscribe(topic);
      const polite = await connect(transport, level, { will: { topic, payload: Buffer.from('gone'), qos: 0, retain: false } });
      await polite.end();
      await watch.publish(topic, 'after');
      await watch.received(1);
      expect(watch.payloads).toEqual(['after']);
    });

    test.each([1, 2] as const)('a persistent session is given at QoS %i what came while it was away', async (qos) => {
      const topic = name('away');
      const expiry = level === 5 ? { properties: { sessionExpiryInterval: 600 } } : {};
      const identity = { clientId: name('session'), clean: false, ...expiry };
      const first = await connect(transport, level, identity);
      expect(first.connack).toMatchObject({ sessionPresent: false });
      await first.subscribe(topic, qos);
      await first.end();
      const pub = await connect(transport, level);
      const missed = Array.from({ length: 30 }, (_, index) => `missed ${index}`);
      for (const payload of missed) await pub.publish(topic, payload, { qos });
      const second = await connect(transport, level, identity);
      // MQTT 3.1 has no session present flag.
      expect(second.connack).toMatchObject({ sessionPresent: level !== 3 });
      await second.received(missed.length);
      await pub.publish(topic, 'live', { qos });
      await second.received(missed.length + 1);
      expect(second.payloads).toEqual([...missed, 'live']);
      await second.end();
      const clean = await connect(transport, level, { clientId: identity.clientId, clean: true });
      expect(clean.connack).toMatchObject({ sessionPresent: false });
      await pub.publish(topic, 'unheard', { qos });
      await clean.subscribe(topic, qos);
      await pub.publish(topic, 'heard', { qos });
      await clean.received(1);
      expect(clean.payloads).toEqual(['heard']);
    });
  });

  test('what was not acknowledged before the connection broke comes again, marked as a duplicate', async () => {
    const topic = name('again');
    const identity = { clientId: name('session'), clean: false, properties: { sessionExpiryInterval: 600 } };
    // It never acknowledges, and takes nothing more until it has.
    const first = await connect(transport, 5, { ...identity, customHandleAcks: () => {} });
    await first.subscribe(topic, 1);
    const pub = await connect(transport, 5);
    await pub.publish(topic, 'held', { qos: 1 });
    await pub.publish(topic, 'behind', { qos: 1 });
    await first.until('the first message is there', () => first.arrived.length > 0);
    first.cut();
    const second = await connect(transport, 5, identity);
    await second.received(2);
    expect(second.messages.map(({ payload, dup }) => [String(payload), dup])).toEqual([
      ['held', true],
      ['behind', true],
    ]);
    expect(second.messages[0]!.messageId).toBe(first.arrived[0]!.messageId);
  });

  test('payloads of every size pass unchanged', async () => {
    const topic = name('sizes');
    const client = await connect(transport, 5);
    await client.subscribe(topic, 1);
    const payloads = [0, 1, 125, 126, 127, 16_383, 65_535, 65_536, 1_048_576, 5_000_000].map((bytes) => randomBytes(bytes));
    for (const payload of payloads) await client.publish(topic, payload, { qos: 1 });
    await client.received(payloads.length);
    const received = client.messages.map(({ payload }) => payload as Buffer);
    expect(received.map((payload, index) => payload.equals(payloads[index]!))).toEqual(payloads.map(() => true));
  });

  test('a second connection with the same client identifier takes over', async () => {
    const clientId = name('twin');
    const first = await connect(transport, 5, { clientId });
    const second = await connect(transport, 5, { clientId });
    await first.until('the first is told', () => first.disconnectReason !== null && first.closed);
    expect(first.disconnectReason).toBe(0x8e);
    await second.subscribe('still/there', 1);
  });
});

test('messages cross protocol levels and transports', async () => {
  const topic = name('cross');
  const clients = await Promise.all(
    transports.flatMap((transport) => versions.map(([version, level]) => connect(transport, level, { username: version }))),
  );
  for (const client of clients) await client.subscribe(topic, 2);
  const payloads = clients.map((_, index) => `from ${index}`);
  for (const [index, client] of clients.entries()) await client.publish(topic, payloads[index]!, { qos: 2 });
  await Promise.all(clients.map((client) => client.received(clients.length)));
  for (const client of clients) expect(client.payloads).toEqual(payloads);
});
