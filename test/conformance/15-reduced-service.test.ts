// A broker whose operator took something out of its offer: MQTT 5.0 §3.2.2.3, MQTT 3.1.1 §3.8.3.

import { expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { propertyOf } from './decode.ts';
import { bothLevels, expectRefused, subscribed, useRig } from './rig.ts';

const rig = useRig([
  'session.maximum_qos=1',
  'session.retain_available=false',
  'session.wildcard_subscriptions=false',
  'session.shared_subscriptions=false',
]);

test('CONNACK says what is missing [MQTT-3.2.2-9]', async () => {
  const { properties } = (await rig.greet(5)).connack;
  expect(propertyOf(properties, 0x24)).toBe(1);
  expect(propertyOf(properties, 0x25)).toBe(0);
  expect(propertyOf(properties, 0x28)).toBe(0);
  expect(propertyOf(properties, 0x2a)).toBe(0);
});

test('subscriptions at any QoS are still taken [MQTT-3.2.2-10]', async () => {
  const client = await rig.connect(5);
  const codes = await subscribed(client, {
    filters: [
      ['a', 0],
      ['b', 1],
      ['c', 2],
    ],
  });
  for (const code of codes) expect(code).toBeLessThanOrEqual(2);
});

test('a PUBLISH above the maximum QoS is 0x9B, a retained one 0x9A [MQTT-3.2.2-11] [MQTT-3.2.2-14]', async () => {
  const above = await rig.connect(5);
  above.send(wire.publish(5, { topic: 't', qos: 2 }));
  await above.expectFault(0x9b);
  const retained = await rig.connect(5);
  retained.send(wire.publish(5, { topic: 't', retain: true }));
  await retained.expectFault(0x9a);
});

test('a will above the maximum QoS is 0x9B, a retained one 0x9A [MQTT-3.2.2-12] [MQTT-3.2.2-13]', async () => {
  for (const [fields, reason] of [
    [{ qos: 2 }, 0x9b],
    [{ retain: true }, 0x9a],
  ] as const) {
    const client = await rig.open(5);
    client.send(wire.connect(5, { clientId: rig.name('c'), will: { topic: 't', payload: 'x', ...fields } }));
    await expectRefused(client, reason);
  }
});

test.each(bothLevels)(
  'wildcard filters are refused by their code on MQTT %s [MQTT-3.8.4-7] [MQTT3-3.8.3-2]',
  async (_version, level) => {
    const client = await rig.connect(level);
    const refused = level === 5 ? 0xa2 : 0x80;
    expect(
      await subscribed(client, {
        filters: [
          ['a/#', 0],
          ['+', 0],
          ['a', 0],
        ],
      }),
    ).toEqual([refused, refused, 0]);
  },
);

test('shared filters are refused by their code [MQTT-3.8.4-7]', async () => {
  const client = await rig.connect(5);
  expect(await subscribed(client, { filters: [['$share/g/t', 0]] })).toEqual([0x9e]);
});
