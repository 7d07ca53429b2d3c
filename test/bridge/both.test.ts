// `# both`: between two brokers, and over two bridges that point at each other. Each message reaches each broker, and then it is quiet.
import { expect, test } from 'vitest';
import type { Broker } from '../../engine/lethe.ts';
import { type MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';
import { freePort } from './mosquitto-broker.ts';
import { bridgedBroker, bridgeSays } from './rig.ts';

const to = (port: number, ...rest: readonly string[]) => [`addresses = ["127.0.0.1:${port}"]`, 'topics = ["# both 2"]', ...rest];

async function watchers(brokers: readonly Broker[]): Promise<MqttJs[]> {
  const clients = await Promise.all(brokers.map(({ tcp }) => mqttJs({ port: tcp, level: 5 })));
  await Promise.all(clients.map((client) => client.subscribe('t/#', 2)));
  return clients;
}

/** Has each broker's client publish at each QoS; returns what must arrive everywhere. */
async function publishAll(clients: readonly MqttJs[]): Promise<string[]> {
  const sent: string[] = [];
  for (const qos of [0, 1, 2] as const) {
    for (const [index, client] of clients.entries()) {
      sent.push(`${index} at QoS ${qos}`);
      await client.publish('t/a', sent.at(-1)!, { qos });
    }
  }
  return sent.toSorted();
}

let marks = 0;

/** What went before has arrived everywhere once this has, on the same ways: there is nothing behind it. */
async function settle(clients: readonly MqttJs[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const [index, client] of clients.entries()) {
      const mark = `settled ${++marks} ${index}`;
      await client.publish('t/settled', mark, { qos: 2 });
      await Promise.all(clients.map((other) => other.until(`it has '${mark}'`, () => other.payloads.includes(mark))));
    }
  }
}

const messagesOf = (client: MqttJs) => client.payloads.filter((payload) => !payload.startsWith('settled')).toSorted();

test.each(['mqttv50', 'mqttv311'])('%s: `# both` between two brokers passes each message on once', async (version) => {
  const remote = await bridgedBroker();
  const edge = await bridgedBroker({ bridge: to(remote.tcp, `protocol_version = "${version}"`) });
  await bridgeSays(edge, '1');
  const clients = await watchers([edge, remote]);
  const sent = await publishAll(clients);
  await settle(clients, 2);
  for (const client of clients) expect(messagesOf(client)).toEqual(sent);
});

test('two bridges that point at each other: a message reaches both, by either way, and then it is quiet', async () => {
  const ports = [await freePort(), await freePort()];
  const brokers: Broker[] = [];
  for (const [index, port] of ports.entries()) {
    const next = ports[(index + 1) % ports.length]!;
    brokers.push(
      await bridgedBroker({ set: [`listener.tcp.port=${port}`], bridge: to(next, `remote_clientid = "from-${index}"`) }),
    );
  }
  for (const broker of brokers) await bridgeSays(broker, '1');
  const clients = await watchers(brokers);
  const sent = await publishAll(clients);
  await settle(clients, 3);
  const counts = clients.map((client) => messagesOf(client).length);
  for (const [index, client] of clients.entries()) {
    const got = messagesOf(client);
    expect([...new Set(got)]).toEqual(sent);
    for (const payload of sent) {
      // Once by each way round; and where it began, it was before it went.
      const most = payload.startsWith(`${index} `) ? 3 : 2;
      expect(got.filter((one) => one === payload).length, payload).toBeLessThanOrEqual(most);
    }
  }
  await settle(clients, 1);
  expect(clients.map((client) => messagesOf(client).length)).toEqual(counts);
});
