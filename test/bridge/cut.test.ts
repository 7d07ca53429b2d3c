// The link is cut in the midst of load both ways, again and again: what was acknowledged arrives, QoS 2 once, and QoS 1 in order.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Broker } from '../../engine/lethe.ts';
import { type MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';
import { directory } from '../security/temporary.ts';
import { cuttable } from './cuttable.ts';
import { bridgedBroker, bridgeSays } from './rig.ts';

const CUTS = 3;
/** Messages of each way that come through between two cuts, at the least. */
const BETWEEN_CUTS = 60;
const AHEAD_MAX = 400;

/** Publishes at QoS 1 and 2 in turn until it is told to end, not too far ahead of a receiver; the numbers that were acknowledged by then. */
function publishing(client: MqttJs, topic: string, receiver: MqttJs): { end(): Promise<number> } {
  let isEnding = false;
  const sent = (async () => {
    let count = 0;
    for (; !isEnding; count++) {
      await receiver.until('the receiver follows', () => isEnding || receiver.messages.length >= count - AHEAD_MAX);
      await client.publish(`${topic}/${1 + (count % 2)}`, String(count), { qos: count % 2 === 0 ? 1 : 2 });
    }
    return count;
  })();
  return {
    end() {
      isEnding = true;
      return sent;
    },
  };
}

function expectAll(receiver: MqttJs, count: number): void {
  const of = (qos: number) =>
    receiver.messages.filter(({ topic }) => topic.endsWith(`/${qos}`)).map(({ payload }) => Number(payload));
  const numbers = Array.from({ length: count }, (_, number) => number);
  expect(of(2)).toEqual(numbers.filter((number) => number % 2 === 1));
  expect([...new Set(of(1))]).toEqual(numbers.filter((number) => number % 2 === 0));
}

async function receiving(broker: Broker, filter: string): Promise<MqttJs> {
  const client = await mqttJs({ port: broker.tcp, level: 5 });
  await client.subscribe(filter, 2);
  return client;
}

test.each(['mqttv50', 'mqttv311'] as const)('%s: nothing is lost, and QoS 2 comes once [MQTT3-7.0.0-1]', async (version) => {
  const remote = await bridgedBroker();
  const link = await cuttable(() => remote.tcp);
  const edge = await bridgedBroker({
    bridge: [
      `addresses = ["127.0.0.1:${link.port}"]`,
      'topics = ["up/# out 2", "down/# in 2"]',
      `protocol_version = "${version}"`,
    ],
    set: [`server.data_dir=${join(directory, version)}`],
  });
  await bridgeSays(edge, '1');
  const [far, near] = [await receiving(remote, 'up/#'), await receiving(edge, 'down/#')];
  const out = publishing(await mqttJs({ port: edge.tcp, level: 5 }), 'up', far);
  const into = publishing(await mqttJs({ port: remote.tcp, level: 5 }), 'down', near);
  for (let cut = 0; cut < CUTS; cut++) {
    const before = [far.messages.length, near.messages.length] as const;
    await far.until('more goes out', () => far.messages.length >= before[0] + BETWEEN_CUTS);
    await near.until('more comes in', () => near.messages.length >= before[1] + BETWEEN_CUTS);
    link.cut('open');
  }
  const [sentOut, sentIn] = [await out.end(), await into.end()];
  await far.until('everything has gone out', () => new Set(far.payloads).size === sentOut);
  await near.until('everything has come in', () => new Set(near.payloads).size === sentIn);
  await bridgeSays(edge, '1');
  expectAll(far, sentOut);
  expectAll(near, sentIn);
  expect(link.connections).toBeGreaterThan(CUTS);
  await expect.poll(() => edge.counts().queuedMessages, { timeout: 10_000 }).toBe(0);
  await link.close();
});
