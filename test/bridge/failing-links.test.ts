// The link of a bridge is cut, in every way in which networks fail, under QoS 1 and 2 load in both directions: nothing is lost, QoS 2 arrives once, order holds, and at the end nothing is held and nothing can be found any more.
import { afterAll, expect, test } from 'vitest';
import { type RunningBroker as Broker, startBroker } from '../broker.ts';
import { Watched } from '../end-to-end/watched.ts';
import { Place } from '../forgetting/place.ts';
import { temporaryCertificates } from '../network/temporary.ts';
import { SeededRandom } from '../seeded-random.ts';
import { Flow } from './flow.ts';
import { Cut, Line } from './line.ts';
import { mosquittoBroker } from './mosquitto-broker.ts';
import { bridgedBroker } from './rig.ts';

const { files, remove } = temporaryCertificates();
afterAll(remove);

const MESSAGES = 600;
/** Of the bytes of the load, when a cut comes. */
const CUT_AFTER_BYTES_MAX = 12_000;

interface Remote {
  readonly name: string;
  readonly version: 'mqttv50' | 'mqttv311';
  readonly transport: 'tcp' | 'tls';
  /** Starts it; the port of its listener for clients, and the one for the bridge. */
  start(): Promise<{ readonly clients: number; readonly bridge: number }>;
}

const tls = [`cert_file = '${files.serverCert}'`, `key_file = '${files.serverKey}'`];

async function lethe(): Promise<{ clients: number; bridge: number }> {
  const listeners = [
    '[[listener]]',
    'name = "tcp"',
    'transport = "tcp"',
    'port = 0',
    '[[listener]]',
    'name = "tls"',
    'transport = "tls"',
    'port = 0',
    ...tls,
  ];
  const broker = await bridgedBroker({ tables: listeners });
  return { clients: broker.ports.get('tcp')!, bridge: broker.ports.get('tls')! };
}

async function plainLethe(): Promise<{ clients: number; bridge: number }> {
  const { tcp } = await bridgedBroker();
  return { clients: tcp, bridge: tcp };
}

async function mosquitto(): Promise<{ clients: number; bridge: number }> {
  const { port } = await mosquittoBroker();
  return { clients: port, bridge: port };
}

const remotes: readonly Remote[] = [
  { name: 'lethe by TLS', version: 'mqttv50', transport: 'tls', start: lethe },
  { name: 'lethe of MQTT 3.1.1', version: 'mqttv311', transport: 'tcp', start: plainLethe },
  { name: 'mosquitto', version: 'mqttv50', transport: 'tcp', start: mosquitto },
  { name: 'mosquitto of MQTT 3.1.1', version: 'mqttv311', transport: 'tcp', start: mosquitto },
];

/** Waits until the broker holds nothing for anybody. */
async function isEmpty(broker: Broker): Promise<void> {
  const held = async () => {
    const { queued, inFlight, messages, retained } = await broker.inventory();
    return [queued.deliveries, inFlight.deliveries, messages.count, retained.count];
  };
  await expect.poll(held, { interval: 5, timeout: 10_000 }).toEqual([0, 0, 0, 0]);
}

/** Plays the load with one remote broker; returns what was wrong. */
async function underLoad(
  { name, version, transport, start }: Remote,
  cuts: readonly Cut[],
  random: SeededRandom,
): Promise<readonly string[]> {
  const place = new Place();
  const remote = await start();
  const line = await Line.to(remote.bridge);
  const standing = new Standing();
  const edge = await bridgedBroker({
    transport,
    bridge: [
      `addresses = ["127.0.0.1:${line.port}"]`,
      'topics = ["up/# out 2 near/ far/", "down/# in 2 near/ far/"]',
      `protocol_version = "${version}"`,
      'keepalive_interval_s = 1',
      ...(transport === 'tls' ? [`ca_file = "${files.ca}"`] : []),
    ],
    set: [`server.data_dir=${place.folder}`, 'spool.erase_within_ms=100', 'server.sys_interval_s=0'],
    onLine: (text) => standing.take(text),
  });
  await standing.times(1);
  const mark = place.text('payload');
  const isShuffled = name.startsWith('mosquitto');
  const flows = ([1, 2] as const).flatMap((qos) => {
    const plan = { qos, count: MESSAGES, mark };
    const up = new Flow({ ...plan, name: `up ${qos}`, topic: `near/up/${qos}`, arrivesAs: `far/up/${qos}` });
    const down = new Flow({ ...plan, name: `down ${qos}`, topic: `far/down/${qos}`, arrivesAs: `near/down/${qos}`, isShuffled });
    return [
      { flow: up, from: edge.tcp, to: remote.clients },
      { flow: down, from: remote.clients, to: edge.tcp },
    ];
  });
  for (const { flow, from, to } of flows) {
    flow.allowed = 0;
    await flow.begin(from, to);
  }
  let stood = 1;
  for (const how of cuts) {
    const due = line.bytesOut + line.bytesIn + random.below(CUT_AFTER_BYTES_MAX);
    for (const { flow } of flows) flow.allow(Math.ceil(MESSAGES / cuts.length));
    await line.until('some of the load is under way', () => line.bytesOut + line.bytesIn >= due);
    line.cut(how);
    await standing.times(++stood);
  }
  for (const { flow } of flows) await flow.arrived();
  const faults = flows.flatMap(({ flow }) => flow.judge(true));
  if (line.cuts < cuts.length) faults.push(`the link was cut ${line.cuts} times`);
  if (faults.length === 0) {
    await isEmpty(edge);
    await place.isGone('payload');
  }
  for (const { flow } of flows) flow.cut();
  return faults.map((fault) => `${name}: ${fault}`);
}

/** How often the link of a bridge has stood, by the log. */
class Standing extends Watched {
  #count = 0;

  take(line: string): void {
    if (line.includes('a bridge stands')) this.#count++;
    this.changed();
  }

  times(count: number): Promise<void> {
    return this.until(`the bridge stands for the ${count}th time`, () => this.#count >= count);
  }
}

test('under load, with the link cut: all arrives, once and in order, and is forgotten [MQTT3-7.0.0-1]', async () => {
  const seed = Number(process.env['LETHE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const random = new SeededRandom(seed);
  const faults = await Promise.all(
    remotes.map((remote, index) =>
      underLoad(remote, [Cut.RESET, Cut.TORN, index % 2 === 0 ? Cut.SILENCE : Cut.HALF_OPEN], random),
    ),
  );
  expect(faults.flat(), `again: LETHE_SEED=${seed}`).toEqual([]);
});

test('the remote broker is away from the start, and what waits for it lies encrypted; once it is there, nothing is left', async () => {
  const place = new Place();
  const later = await startBroker();
  const line = await Line.to(later.tcp);
  line.down();
  const edge = await bridgedBroker({
    bridge: [`addresses = ["127.0.0.1:${line.port}"]`, 'topics = ["up/# out 2"]'],
    set: [`server.data_dir=${place.folder}`, 'spool.erase_within_ms=100', 'server.sys_interval_s=0'],
  });
  const flows = ([1, 2] as const).map(
    (qos) => new Flow({ name: `up ${qos}`, topic: `up/${qos}`, qos, count: 5_000, mark: place.text('payload'), window: 500 }),
  );
  for (const flow of flows) await flow.begin(edge.tcp, later.tcp);
  for (const { sender } of flows) await sender.untilIdle();
  await expect.poll(() => edge.counts().queuedMessages, { timeout: 10_000 }).toBe(10_000);
  await place.isThere('payload');
  line.up();
  for (const flow of flows) await flow.arrived();
  expect(flows.flatMap((flow) => flow.judge(false))).toEqual([]);
  await isEmpty(edge);
  await place.isGone('payload');
  for (const flow of flows) flow.cut();
  await later.stop();
});
