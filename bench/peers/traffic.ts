// Cells with messages: publishers and subscribers as a shape says, for the time that counts, every delivery accounted for.
import { Failure } from '../../engine/cli/failure.ts';
import type { RunningBroker, Transport } from '../contestants/contestant.ts';
import { localPlan, publisherGroup, subscriberGroup } from '../plan/local-plan.ts';
import type { Plan, QoS } from '../plan/plan.ts';
import type { Cell, Figure, Sample, Stand } from './cell.ts';
import { cpuPerMillion, sampleTraffic, type TrafficSample } from './traffic-sample.ts';

export interface Shape {
  readonly publishers: number;
  /** Topics that each publisher takes in turn. */
  readonly topics?: number;
  readonly topic: string;
  readonly subscribers: readonly {
    readonly count: number;
    readonly filter: string;
    readonly filters?: number;
    readonly shared?: string;
  }[];
  readonly qos: QoS;
  readonly payloadBytes: number;
  /** Messages that each publisher is ahead at most. */
  readonly window: number;
  /** Messages a second of all publishers together, in an open loop; absent: as fast as the window lets them. */
  readonly rate?: number;
}

/** A load that is this busy may be the limit itself. */
const BUSY = 0.95;
/** An open loop that sends less than this of what it should. */
const KEPT_UP = 0.98;
const LIMIT_S = 40;

export function trafficCell(
  own: Pick<Cell, 'key' | 'group' | 'title' | 'figures'> & Partial<Pick<Cell, 'needs' | 'limitS' | 'hasLimit'>>,
  transport: Transport,
  shape: (stand: Stand) => Shape,
): Cell {
  return {
    limitS: LIMIT_S,
    ...own,
    async measure(stand) {
      const isSecure = transport === 'tls' || transport === 'wss';
      const broker = await stand.start(isSecure ? 'secure' : 'plain');
      const wanted = shape(stand);
      const plan = planOf(stand, broker, transport, wanted);
      const traffic = await sampleTraffic(broker.pid, plan, stand.giveUp);
      const ended = broker.ended();
      if (ended !== null) throw new Failure(ended);
      if (traffic.received === 0) throw new Failure('accepts it all and delivers nothing');
      if (traffic.deliveries === 0) throw new Failure(`delivers nothing within ${stand.times.measureS} s`);
      return sampleOf(traffic, own.figures, wanted);
    },
  };
}

function planOf(stand: Stand, { places, login }: RunningBroker, transport: Transport, shape: Shape): Plan {
  const place = places[transport];
  if (place === undefined) throw new Failure(`is not there over ${transport}`);
  const { publishers, topic, topics = 1, subscribers, qos, payloadBytes, window, rate = 0 } = shape;
  const { warmUpS, measureS } = stand.times;
  const isSecure = transport === 'tls' || transport === 'wss';
  return localPlan({
    broker: { transport, ...place, ca: isSecure ? stand.certificate().pem : null, ...login },
    publishers: [publisherGroup({ count: publishers, topic, topics, qos, payloadBytes, window, rate })],
    subscribers: subscribers.map((group) => subscriberGroup({ qos, ...group })),
    warmUpS,
    durationS: measureS,
  });
}

function sampleOf(traffic: TrafficSample, figures: readonly Figure[], shape: Shape): Sample {
  const { latencyMs, lost, duplicated, outOfOrder, corrupt, unanswered, connectionsLost } = traffic;
  const known: Readonly<Record<string, number>> = {
    rate: traffic.perSecond,
    bytes: traffic.bytesPerSecond,
    p50: latencyMs?.p50 ?? Number.NaN,
    p99: latencyMs?.p99 ?? Number.NaN,
    p99_9: latencyMs?.p99_9 ?? Number.NaN,
  };
  const wrongs = { lost, duplicated, 'out of order': outOfOrder, corrupt, unanswered, 'connections lost': connectionsLost };
  return {
    figures: Object.fromEntries(figures.map(({ key }) => [key, known[key]!])),
    cpuPerMillionS: cpuPerMillion(traffic),
    residentBytes: traffic.residentBytes === 0 ? null : traffic.residentBytes,
    wrongs: Object.fromEntries(Object.entries(wrongs).filter(([, count]) => count > 0)),
    bound: boundOf(traffic, shape),
  };
}

function boundOf({ loadBusy, sentPerSecond }: TrafficSample, { rate }: Shape): string | null {
  if (rate === undefined) return loadBusy > BUSY ? `the load's core was ${Math.round(loadBusy * 100)} % busy` : null;
  // What waits awake for its time is busy by design.
  return sentPerSecond < rate * KEPT_UP ? `only ${Math.round((sentPerSecond / rate) * 100)} % of the rate were sent` : null;
}
