// What connected clients see when the broker stops: MQTT 5.0 §4.13 and reason 0x8B.

import { expect, test } from 'vitest';
import { startBroker } from '../broker.ts';
import type { Level } from './bytes.ts';
import * as wire from './bytes.ts';
import { RawClient } from './raw-client.ts';

test('a graceful stop says DISCONNECT 0x8B to MQTT 5 and closes to all [MQTT-4.13.2-1] [MQTT-3.14.4-2]', async () => {
  const broker = await startBroker();
  const clients = await Promise.all(([3, 4, 5] as const).map((level: Level) => RawClient.connect(broker.tcp, level)));
  for (const client of clients) {
    client.send(wire.connect(client.level, { clientId: `c${client.level}` }));
    expect((await client.nextPacket()).firstByte).toBe(0x20);
  }
  const stopped = broker.stop();
  for (const client of clients) await client.expectFault(0x8b);
  await stopped;
  await expect(RawClient.connect(broker.tcp)).rejects.toThrow();
});
