// The cells of the comparison, in the order of the tables, with the aims of the speed issue.
//
// Windows are the same for every broker, and small enough that none of them drops a message or drowns in what waits: 16,384 messages of QoS 0
// on their way in all (aedes with 262,144 fell to 4,000 a second). A pair of QoS 1 or 2 has 100: of 20, 100 and 500 it was the best or within
// a tenth of it for every peer, while with 500 aedes and NATS fell behind.
import type { Transport } from '../contestants/contestant.ts';
import type { QoS } from '../plan/plan.ts';
import { showCount } from '../plan/quantity.ts';
import type { Aim, Cell, Figure } from './cell.ts';
import { idleCell } from './idle.ts';
import { insideCell } from './inside.ts';
import { restCell } from './rest.ts';
import { showGigabytes, showLatency, showRate } from './show.ts';
import { type Shape, trafficCell } from './traffic.ts';

const IN_FLIGHT = 16_384;
/** Of messages that each go to many. */
const DELIVERIES_IN_FLIGHT = 131_072;
const BYTES_IN_FLIGHT = 4_194_304;
const PAIR_WINDOW = 100;
const SMALL = 32;
const OF_CAPACITY = 0.5;

const SIZES: Readonly<Record<number, readonly [key: string, title: string]>> = {
  256: ['256b', '256 B'],
  4096: ['4k', '4 KiB'],
  65536: ['64k', '64 KiB'],
};
/** Of the wildcards: publishers, and topics of each. */
const SITES = 25;
const DEVICES = 1_000;

const STREAMS = ['tcp', 'ws'] as const;
const twice: Aim = { timesBest: 2 };
const equal: Aim = { timesBest: 1 };

export const cells: readonly Cell[] = [
  ...flood('flood', '1 to 1', 1, 1, { atLeast: 3e6 }),
  ...overBoth('topics', 'Small messages, QoS 0', '1 to 1 over 100 topics', [rate(twice)], {
    publishers: 1,
    topics: 100,
    topic: 'flood/%i/%t',
    subscribers: [{ count: 1, filter: 'flood/+/+' }],
    qos: 0,
    payloadBytes: SMALL,
    window: IN_FLIGHT,
  }),
  ...flood('fan-in', '10 to 1', 10, 1, { atLeast: 3e6 }),
  ...overBoth('pairs', 'Small messages, QoS 0', '100 pairs', [rate(twice, { atLeast: 3e6 })], pairs(100, 0, IN_FLIGHT / 100)),
  ...flood('out10', '1 to 10', 1, 10, { atLeast: 6e6 }),
  ...flood('out1000', '1 to 1,000', 1, 1_000, { atLeast: 6e6 }),
  ...overBoth('qos1', 'QoS 1 and 2', 'QoS 1, 50 pairs', [rate(twice, { atLeast: 1.5e6 })], pairs(50, 1, PAIR_WINDOW)),
  ...overBoth('qos2', 'QoS 1 and 2', 'QoS 2, 50 pairs', [rate(twice, { atLeast: 0.7e6 })], pairs(50, 2, PAIR_WINDOW)),
  ...overBoth('one', 'One message a write', 'QoS 0, 1,000 clients, window 1', [rate(equal)], pairs(500, 0, 1)),
  ...overBoth('one-qos1', 'One message a write', 'QoS 1, 1,000 clients, window 1', [rate(equal)], pairs(500, 1, 1)),
  ...latency('tcp', 0),
  ...latency('ws', 0),
  ...latency('tcp', 1),
  ...[256, 4_096, 65_536].flatMap((bytes) => payload(bytes, STREAMS)),
  ...secure(),
  ...overBoth('shared', 'Shared subscription', 'QoS 0, 100 members', [rate(twice)], shared(0, IN_FLIGHT)),
  ...overBoth('shared-qos1', 'Shared subscription', 'QoS 1, 100 members', [rate(twice)], shared(1, 1_000)),
  wildcards(),
  insideCell(),
  idleCell('tcp', { atMost: 8_000 }),
  idleCell('ws', { atMost: 5_000 }),
  restCell(),
];

function rate(...aims: readonly Aim[]): Figure {
  return { key: 'rate', title: '', better: 'more', show: showRate, aims };
}

/** The same over tcp and ws. */
function overBoth(key: string, group: string, title: string, figures: readonly Figure[], shape: Shape): Cell[] {
  return STREAMS.map((transport) => {
    const own = { key: keyOver(key, transport), group, title: `${title}, ${transport}`, figures };
    return trafficCell({ ...own, ...(isRelayed(shape, transport) ? { hasLimit: true } : {}) }, transport, () => shape);
  });
}

/**
 * The relay speaks TCP, looks at nothing behind the first topic of a publisher, sends answers back where one subscriber gives them, and would mix
 * the halves of packets of several publishers.
 */
function isRelayed({ publishers, qos, topics = 1, subscribers: [group, ...more] }: Shape, transport: Transport): boolean {
  const isPaired = group!.filter.includes('%i');
  return (
    transport === 'tcp' &&
    topics === 1 &&
    more.length === 0 &&
    group!.shared === undefined &&
    (isPaired || (qos === 0 && publishers === 1))
  );
}

function keyOver(key: string, transport: Transport): string {
  return transport === 'tcp' ? key : `${key}-${transport}`;
}

function flood(key: string, title: string, publishers: number, receivers: number, aim: Aim): Cell[] {
  const window = Math.floor(Math.min(IN_FLIGHT / publishers, DELIVERIES_IN_FLIGHT / receivers));
  const group = receivers > 1 ? 'Fan-out, deliveries' : 'Small messages, QoS 0';
  return overBoth(key, group, title, [rate(twice, aim)], {
    publishers,
    topic: 'flood/%i',
    subscribers: [{ count: receivers, filter: 'flood/+' }],
    qos: 0,
    payloadBytes: SMALL,
    window,
  });
}

function pairs(count: number, qos: QoS, window: number): Shape {
  const subscribers = [{ count, filter: 'pair/%i' }];
  return { publishers: count, topic: 'pair/%i', subscribers, qos, payloadBytes: SMALL, window: Math.floor(window) };
}

/**
 * Capacity is what 100 pairs carry with one message on its way each: as in the open loop, every message is a write and a read of its own. Of a
 * flood, where one write carries hundreds, half would be more than any broker reads in single messages.
 */
function latency(transport: Transport, qos: QoS): Cell[] {
  const suffix = `${qos === 0 ? '' : `-qos${qos}`}${transport === 'tcp' ? '' : `-${transport}`}`;
  const group = 'Latency in an open loop';
  const capacity = `capacity${suffix}`;
  const where = `QoS ${qos}, ${transport}`;
  const percentile = (key: string, title: string, ...aims: Aim[]): Figure => {
    return { key, title, better: 'less', show: showLatency, aims };
  };
  return [
    trafficCell({ key: capacity, group, title: `capacity of 100 pairs, ${where}`, figures: [rate()] }, transport, () =>
      pairs(100, qos, 1),
    ),
    trafficCell(
      {
        key: `latency${suffix}`,
        group,
        title: `at half of the best peer's, ${where}`,
        figures: [percentile('p50', 'p50'), percentile('p99', 'p99', equal), percentile('p99_9', 'p99.9')],
        needs: capacity,
      },
      transport,
      // In an open loop the window bounds what waits for acknowledgement.
      ({ needed }) => ({ ...pairs(100, qos, 1_000), rate: Math.round(needed * OF_CAPACITY) }),
    ),
  ];
}

function payload(bytes: number, transports: readonly Transport[], group = 'Payloads, 1 to 1, GB/s'): Cell[] {
  const figures: readonly Figure[] = [
    { key: 'bytes', title: '', better: 'more', show: (value) => `${showGigabytes(value)} GB/s`, aims: [equal] },
  ];
  const [key, title] = SIZES[bytes]!;
  return transports.map((transport) => {
    const own = { key: keyOver(key, transport), group, title: `${title}, ${transport}`, figures };
    const limit = transport === 'tcp' ? ({ hasLimit: true } as const) : {};
    return trafficCell({ ...own, ...limit }, transport, () => ({
      publishers: 1,
      topic: 'payload/%i',
      subscribers: [{ count: 1, filter: 'payload/%i' }],
      qos: 0,
      payloadBytes: bytes,
      window: Math.min(IN_FLIGHT, BYTES_IN_FLIGHT / bytes),
    }));
  });
}

function secure(): Cell[] {
  return [256, 65_536].flatMap((bytes) => payload(bytes, ['tls', 'wss'], 'TLS, 1 to 1, GB/s'));
}

function shared(qos: QoS, window: number): Shape {
  const subscribers = [{ count: 100, filter: 'shared/+', shared: 'bench' }];
  return { publishers: 1, topic: 'shared/%i', subscribers, qos, payloadBytes: SMALL, window };
}

/** A hundred clients with a thousand filters each; every message goes to four of them, by four kinds of filter. */
function wildcards(): Cell {
  const filters = ['site/%i/device/%t/value', 'site/%i/device/%t/#', 'site/%i/+/%t/value', '+/%i/device/%t/+'];
  return trafficCell(
    {
      key: 'wildcards',
      group: 'Wildcards',
      title: `${showCount(SITES * filters.length * DEVICES)} filters of 100 clients, ${showCount(SITES * DEVICES)} topics, tcp`,
      figures: [rate()],
      limitS: 60,
    },
    'tcp',
    () => ({
      publishers: SITES,
      topics: DEVICES,
      topic: 'site/%i/device/%t/value',
      subscribers: filters.map((filter) => ({ count: SITES, filter, filters: DEVICES })),
      qos: 0,
      payloadBytes: SMALL,
      window: Math.floor(IN_FLIGHT / SITES),
    }),
  );
}
