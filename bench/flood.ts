// npm run bench:flood: how many small messages a second pass through the broker, beside Mosquitto in the same run.
//
// The broker has core 0 to itself and the load core 1. Each round starts every broker anew, one after the other, so that what
// disturbs the machine disturbs all of them; the table gives medians over the rounds. The loop is closed (raw/publisher.ts) and every message
// is accounted for (raw/subscriber.ts): a row with losses says so.

import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Failure } from '../engine/cli/failure.ts';
import { chosen, keysOf, positive, runProgram } from './choice.ts';
import type { Contestant, RunningBroker } from './contestants/contestant.ts';
import { LETHE_MAIN, lethe } from './contestants/lethe.ts';
import { mosquitto } from './contestants/mosquitto.ts';
import { canPin, pinSelf } from './contestants/pinned-process.ts';
import { median } from './median.ts';
import { localPlan, publisherGroup, subscriberGroup } from './plan/local-plan.ts';
import type { Plan } from './plan/plan.ts';
import { describeMachine, thisMachine } from './result/machine.ts';
import { cpuPerMillion, sampleTraffic, type TrafficSample } from './traffic-sample.ts';

const BROKER_CORE = 0;
const LOAD_CORE = 1;
const PAYLOAD_BYTES = 32;
const MiB = 1_048_576;

interface Row {
  readonly key: string;
  readonly title: string;
  readonly transport: 'tcp' | 'ws';
  readonly qos: 0 | 1;
  readonly publishers: number;
  /** Topics that each publisher takes in turn, message by message. */
  readonly topics: number;
  /** Subscribers of each publisher's topics. */
  readonly receivers: number;
  /** Messages that each publisher is ahead at most. */
  readonly window: number;
}

interface Times {
  readonly warmUpS: number;
  readonly measureS: number;
}

/** 16,384 packets of 48 bytes are under every mark at which a broker holds back or drops. */
const FLOOD = { qos: 0, publishers: 1, topics: 1, receivers: 1, window: 16_384 } as const;
/** Mosquitto sends 20 unacknowledged messages to a client, so a pair has no more on its way. */
const PAIRS = { ...FLOOD, qos: 1, publishers: 50, window: 20 } as const;

const rows: readonly Row[] = [
  { key: 'tcp', title: 'QoS 0, tcp, 1 to 1', ...FLOOD, transport: 'tcp' },
  { key: 'topics', title: 'the same, 100 topics', ...FLOOD, transport: 'tcp', topics: 100 },
  { key: 'tcp10', title: 'QoS 0, tcp, 1 to 10', ...FLOOD, transport: 'tcp', receivers: 10 },
  { key: 'ws', title: 'QoS 0, ws, 1 to 1', ...FLOOD, transport: 'ws' },
  { key: 'ws10', title: 'QoS 0, ws, 1 to 10', ...FLOOD, transport: 'ws', receivers: 10 },
  { key: 'qos1', title: 'QoS 1, tcp, 50 pairs', ...PAIRS, transport: 'tcp' },
];

const help = `usage: npm run bench:flood -- [options]
  --rows KEYS      of ${keysOf(rows)} (default all)
  --rounds N       rounds of each row (default 3)
  --seconds S      time that counts in each round (default 1.5)
  --warm-up S      time before it (default 1)
  --also MAIN      another build of Lethe to run beside: its dist/engine/cli/main.js (repeatable)
  --no-mosquitto   leave Mosquitto out
  --json           one line of JSON for each sample instead of the table`;

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      rows: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '1.5' },
      'warm-up': { type: 'string', default: '1' },
      also: { type: 'string', multiple: true, default: [] },
      'no-mosquitto': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help) {
    console.log(help);
    return;
  }
  const wanted = chosen(rows, flags.rows, 'row');
  const times = { warmUpS: positive('--warm-up', flags['warm-up']), measureS: positive('--seconds', flags.seconds) };
  const rounds = positive('--rounds', flags.rounds);
  const peer = flags['no-mosquitto'] ? null : mosquitto();
  const contestants = [
    lethe(LETHE_MAIN, 'lethe'),
    ...flags.also.map((path, i) => lethe(path, `lethe also ${i + 1}`)),
    ...(peer === null ? [] : [peer]),
  ];
  const pinned = availableParallelism() > 1 && canPin();
  const say = flags.json ? () => {} : (line: string) => console.log(line);
  describe(contestants, pinned, times, say);
  if (pinned) pinSelf(LOAD_CORE);

  say(tableHead);
  for (const row of wanted) {
    const samples = new Map<Contestant, TrafficSample[]>(contestants.map((contestant) => [contestant, []]));
    for (let round = 0; round < rounds; round++) {
      // Every other round in the opposite order, so that nobody always has the same neighbour.
      for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
        const sample = await measure(contestant, row, times, pinned);
        samples.get(contestant)!.push(sample);
        if (flags.json) console.log(JSON.stringify({ row: row.key, broker: contestant.name, round, ...sample }));
      }
    }
    const last = median(samples.get(contestants.at(-1)!)!.map(({ perSecond }) => perSecond));
    for (const [contestant, own] of samples) say(tableLine(row, contestant, own, last));
  }
}

async function measure(contestant: Contestant, row: Row, times: Times, pinned: boolean): Promise<TrafficSample> {
  const broker = await contestant.start({ cores: pinned ? String(BROKER_CORE) : null });
  try {
    const sample = await sampleTraffic(broker.pid, planOf(broker, row, times));
    if (sample.corrupt > 0) throw new Failure(`${sample.corrupt} messages came corrupt`);
    return sample;
  } finally {
    await broker.stop();
  }
}

function planOf({ places }: RunningBroker, row: Row, { warmUpS, measureS }: Times): Plan {
  const { transport, qos, publishers, topics, receivers, window } = row;
  const [topic, filter] = topics === 1 ? ['flood/%i', 'flood/%i'] : ['flood/%i/%t', 'flood/%i/+'];
  return localPlan({
    broker: { transport, ...places[transport]! },
    publishers: [publisherGroup({ count: publishers, topic, topics, qos, window, payloadBytes: PAYLOAD_BYTES })],
    subscribers: Array.from({ length: receivers }, () => subscriberGroup({ count: publishers, filter, qos })),
    warmUpS,
    durationS: measureS,
  });
}

function describe(
  contestants: readonly Contestant[],
  pinned: boolean,
  { warmUpS, measureS }: Times,
  say: (line: string) => void,
): void {
  const machine = thisMachine();
  const where = pinned
    ? `broker on core ${BROKER_CORE}, load on core ${LOAD_CORE}`
    : 'nothing is pinned (no taskset, or one core)';
  say(`${contestants.map(({ name, version }) => (version.startsWith(name) ? version : `${name}: ${version}`)).join('; ')}`);
  say(describeMachine(machine));
  say(`${where}; load average at the start ${machine.loadAverage.toFixed(2)}`);
  say(
    `payload ${PAYLOAD_BYTES} bytes; QoS 0 window ${FLOOD.window} messages, QoS 1 window ${PAIRS.window} a pair; warm-up ${warmUpS} s, measured ${measureS} s a round`,
  );
  say(
    `deliveries a second as medians with the range, and as multiples of the last broker's; CPU of the broker for a million deliveries\n`,
  );
}

const tableHead = `${'row'.padEnd(22)}${'broker'.padEnd(14)}${'deliveries/s'.padStart(13)}${'range'.padStart(24)}${'ratio'.padStart(8)}${'CPU s/M'.padStart(9)}${'kernel'.padStart(8)}${'broker busy'.padStart(13)}${'load busy'.padStart(11)}${'RSS MiB'.padStart(9)}${'lost'.padStart(6)}${'behind'.padStart(8)}`;

function tableLine(row: Row, contestant: Contestant, samples: readonly TrafficSample[], last: number): string {
  const rates = samples.map(({ perSecond }) => perSecond);
  const rate = median(rates);
  const known = samples.filter(({ cpu }) => cpu !== null);
  const of = (figure: (sample: TrafficSample) => number, from = samples) => median(from.map(figure));
  const cpuS = (sample: TrafficSample) => sample.cpu!.userS + sample.cpu!.systemS;
  const share = (value: number) => `${Math.round(value * 100)} %`;
  const cells = [
    row.title.padEnd(22),
    contestant.name.padEnd(14),
    grouped(rate).padStart(13),
    `${grouped(Math.min(...rates))} - ${grouped(Math.max(...rates))}`.padStart(24),
    `${(rate / last).toFixed(2)}`.padStart(8),
    (known.length === 0 ? '-' : of((sample) => cpuPerMillion(sample)!, known).toFixed(3)).padStart(9),
    (known.length === 0 ? '-' : share(of((sample) => sample.cpu!.systemS / cpuS(sample), known))).padStart(8),
    (known.length === 0 ? '-' : share(of((sample) => cpuS(sample) / sample.seconds, known))).padStart(13),
    share(of(({ loadBusy }) => loadBusy)).padStart(11),
    (known.length === 0 ? '-' : (of(({ residentBytes }) => residentBytes) / MiB).toFixed(0)).padStart(9),
    String(samples.reduce((sum, { lost }) => sum + lost, 0)).padStart(6),
    String(samples.reduce((sum, { duplicated, outOfOrder }) => sum + duplicated + outOfOrder, 0)).padStart(8),
  ];
  return cells.join('');
}

function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

await runProgram(main);
