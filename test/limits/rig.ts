// Brokers from a configuration in TOML, in the test process, whose clients are whoever they say; and raw clients of them. All are ended with their test.
import { afterEach, expect } from 'vitest';
import { builtFile } from '../../bench/contestants/built-file.ts';
import { type BrokerOptions, createBroker, loadConfig } from '../../engine/lethe.ts';
import { type RunningBroker, shards } from '../broker.ts';
import { type ConnectFields, connect, type Level } from '../conformance/bytes.ts';
import { type Connack, readConnack } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { temporaryFile } from '../security/temporary.ts';

const brokers: RunningBroker[] = [];
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.drop();
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()));
});

/** For brokers that ask no password: every user name counts as checked. */
export const trusting = { gate: builtFile('test/forgetting/trusting-gate.js') };

/** Starts a broker; without listeners in `toml` it has those of the default configuration, on free ports. */
export async function brokerOf(
  toml: string,
  options: Omit<BrokerOptions, 'config' | 'set'> = trusting,
  threads = shards,
): Promise<RunningBroker> {
  const set = settings(threads, toml.includes('[[listener]]') ? [] : ['listener.tcp.port=0', 'listener.ws.port=0']);
  const broker = await createBroker({ ...options, config: loadConfig({ file: temporaryFile(toml), set }) });
  brokers.push(broker);
  return broker;
}

/** What `brokerOf` sets besides, for a configuration of it to be loaded anew. */
export function settings(threads = shards, ports: readonly string[] = ['listener.tcp.port=0', 'listener.ws.port=0']): string[] {
  return [`server.threads=${threads}`, 'server.sys_interval_s=0', ...ports];
}

/** Stops a broker before its test ends. */
export async function stopped(broker: RunningBroker): Promise<void> {
  brokers.splice(brokers.indexOf(broker), 1);
  await broker.stop();
}

/** A connection on which nothing has been sent. */
export async function opened(port: number, level: Level = 5): Promise<RawClient> {
  const client = await RawClient.connect(port, level);
  clients.push(client);
  return client;
}

/** Sends CONNECT and returns the answer, which may be a refusal. */
export async function greeted(
  port: number,
  fields: ConnectFields,
  level: Level = 5,
): Promise<{ client: RawClient; connack: Connack }> {
  const client = await opened(port, level);
  client.send(connect(level, fields));
  const packet = await client.nextPacket();
  expect(packet.firstByte, 'CONNACK').toBe(0x20);
  return { client, connack: readConnack(packet, level) };
}

/** A client that was let in. */
export async function joined(port: number, fields: ConnectFields, level: Level = 5): Promise<RawClient> {
  const { client, connack } = await greeted(port, fields, level);
  expect(connack.reason).toBe(0);
  return client;
}
