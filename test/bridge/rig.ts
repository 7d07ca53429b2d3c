// Brokers in the test process with bridges between them. A bridge is a table of the configuration, so each broker has a file of its own.
import { afterEach } from 'vitest';
import { type Broker, type BrokerOptions, createBroker, createLog, loadConfig } from '../../engine/lethe.ts';
import { shards } from '../broker.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { judgeLine } from '../log-lines.ts';
import { temporaryFile } from '../security/temporary.ts';

const open = new Set<Broker>();

afterEach(async () => {
  await Promise.all([...open].map((broker) => broker.stop()));
  open.clear();
});

export interface BridgedOptions extends Omit<BrokerOptions, 'set' | 'config'> {
  /** Lines of one [[bridge]] table besides its name, `cloud`, and what makes it quick; none: a broker without a bridge. */
  readonly bridge?: readonly string[];
  readonly transport?: 'tcp' | 'tls';
  /** Other tables of the configuration. */
  readonly tables?: readonly string[];
  readonly set?: readonly string[];
  /** Takes the lines of the log. */
  readonly onLine?: (line: string) => void;
}

/** Starts a broker on free ports, at the log's lowest level, with every line judged. */
export async function bridgedBroker({
  bridge,
  transport = 'tcp',
  tables = [],
  set = [],
  onLine,
  ...options
}: BridgedOptions = {}): Promise<Broker> {
  const quick = ['restart_timeout_s = 1', 'restart_timeout_max_s = 1'];
  const table =
    bridge === undefined ? '' : ['[[bridge]]', 'name = "cloud"', `transport = "${transport}"`, ...quick, ...bridge].join('\n');
  const log = createLog(
    'debug',
    (line) => {
      judgeLine(line);
      onLine?.(line);
    },
    Date.now,
  );
  const ports = tables.includes('[[listener]]') ? [] : ['listener.tcp.port=0', 'listener.ws.port=0'];
  const free = [...ports, 'limits.overload_delay_ms=0', `server.threads=${shards}`];
  const config = loadConfig({ file: temporaryFile([table, ...tables].join('\n')), set: [...free, ...set] });
  const broker = await createBroker({ log, ...options, config });
  open.add(broker);
  return broker;
}

/** Stops one that a test has started before it ends. */
export async function stopBroker(broker: Broker): Promise<void> {
  open.delete(broker);
  await broker.stop();
}

/** Resolves when the bridge of a broker says that its link stands, or does not. */
export async function bridgeSays(broker: Broker, state: '1' | '0', name = 'cloud'): Promise<void> {
  const client = await mqttJs({ port: broker.tcp, level: 5 });
  await client.subscribe(`$SYS/broker/connection/${name}/state`, 1);
  await client.until(`the bridge says ${state}`, () => client.payloads.at(-1) === state);
  await client.end();
}
