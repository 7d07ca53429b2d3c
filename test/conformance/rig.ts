// What every conformance file shares: one broker per file, raw clients that are cut when their test ends, and names that no other test uses.

import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { type RunningBroker, shards, startBroker } from '../broker.ts';
import {
  type ConnectFields,
  connect,
  type Level,
  type PublishFields,
  publish,
  pubrel,
  type SubscribeFields,
  subscribe,
  u16,
} from './bytes.ts';
import { type Connack, type Publish, readCodes, readConnack, readPublish } from './decode.ts';
import { RawClient } from './raw-client.ts';

/** MQTT 3.1.1 and 5.0, for cases whose bytes differ by the version only. */
export const bothLevels: readonly (readonly [version: string, level: Level])[] = [
  ['3.1.1', 4],
  ['5.0', 5],
];

export interface Rig {
  readonly broker: RunningBroker;
  /** A TCP connection on which nothing has been sent. */
  open(level: Level): Promise<RawClient>;
  /** An accepted connection; without a client identifier it gets a name of its own. */
  connect(level: Level, fields?: ConnectFields): Promise<RawClient>;
  /** As `connect`, with the CONNACK. */
  greet(level: Level, fields?: ConnectFields): Promise<{ client: RawClient; connack: Connack }>;
  /** A name of letters and digits that is used nowhere else in this file. */
  name(prefix: string): string;
}

/** Call once, at the top of a test file. */
export function useRig(overrides: readonly string[] = [], options: Parameters<typeof startBroker>[1] = {}): Rig {
  let broker: RunningBroker | null = null;
  let names = 0;
  const clients: RawClient[] = [];

  beforeAll(async () => {
    broker = await startBroker(overrides, options);
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.drop();
  });
  afterAll(() => broker?.stop());

  const rig: Rig = {
    get broker() {
      if (!broker) throw new Error('the broker runs only inside tests');
      return broker;
    },
    name(prefix) {
      names += 1;
      return `${prefix}${names}`;
    },
    async open(level) {
      const client = await RawClient.connect(rig.broker.tcp, level);
      clients.push(client);
      return client;
    },
    async greet(level, fields = {}) {
      const client = await rig.open(level);
      client.send(connect(level, { clientId: rig.name('c'), ...fields }));
      const packet = await client.nextPacket();
      expect(packet.firstByte, 'first packet is CONNACK').toBe(0x20);
      const connack = readConnack(packet, level);
      expect(connack.reason, 'CONNACK accepts').toBe(0);
      return { client, connack };
    },
    async connect(level, fields) {
      return (await rig.greet(level, fields)).client;
    },
  };
  return rig;
}

/** What a shard knows of the others is a moment old: with several of them the answer becomes right, with one it is right at once. */
export async function comesTo<Answer>(ask: () => Answer | Promise<Answer>, expected: Answer): Promise<void> {
  if (shards === 1) expect(await ask()).toEqual(expected);
  else await expect.poll(ask, { interval: 5, timeout: 10_000 }).toEqual(expected);
}

/** An answer to compare later ones with: with several shards, what is known of the others must have come. They tell it every 50 ms. */
export async function settled<Answer>(ask: () => Answer): Promise<Answer> {
  let answer = ask();
  for (let same = 0; same < 4; ) {
    await setTimeout(50);
    const later = ask();
    same = isDeepStrictEqual(later, answer) ? same + 1 : 0;
    answer = later;
  }
  return answer;
}

/** Subscribes and returns the codes of SUBACK; the SUBACK must be the next packet. */
export async function subscribed(client: RawClient, fields: SubscribeFields): Promise<number[]> {
  client.send(subscribe(client.level, fields));
  const packet = await client.nextPacket();
  expect(packet.firstByte, 'SUBACK').toBe(0x90);
  const { packetId, codes } = readCodes(packet, client.level);
  expect(packetId).toBe(fields.packetId ?? 1);
  return codes;
}

/**
 * Publishes and returns once the broker has acknowledged: after PUBACK or PUBCOMP, or at QoS 0 after a barrier. A broker may pass a
 * QoS 2 message on at PUBLISH or only at PUBREL (MQTT 5.0 §4.3.3), so a test that waits for one lets the exchange finish first.
 */
export async function published(client: RawClient, fields: PublishFields): Promise<void> {
  const packetId = u16(fields.packetId ?? 1).toString('hex');
  client.send(publish(client.level, fields));
  if (fields.qos === 1) await client.expect(`40 .. ${packetId} *`);
  else if (fields.qos === 2) {
    await client.expect(`50 .. ${packetId} *`);
    client.send(pubrel(fields.packetId ?? 1));
    await client.expect(`70 .. ${packetId} *`);
  } else await client.expectSilence();
}

/**
 * The broker refuses the connection: CONNACK with `reason` on MQTT 5; before that CONNACK with `returnCode`, or no CONNACK where
 * none is given. Then it closes.
 */
export async function expectRefused(client: RawClient, reason: number, returnCode?: number): Promise<void> {
  const code = client.level === 5 ? reason : returnCode;
  if (code !== undefined) {
    const packet = await client.nextPacket();
    expect(packet.firstByte, `CONNACK expected, received ${packet.bytes.toString('hex')}`).toBe(0x20);
    const { flags, reason: actual } = readConnack(packet, client.level);
    expect({ flags, reason: actual }).toEqual({ flags: 0, reason: code });
  }
  await client.expectClosed();
}

/** The next packet, which must be a PUBLISH. */
export async function delivered(client: RawClient, timeoutMs?: number): Promise<Publish> {
  const packet = await client.nextPacket(timeoutMs);
  expect(packet.type, `PUBLISH expected, received ${packet.bytes.toString('hex')}`).toBe(3);
  return readPublish(packet, client.level);
}
