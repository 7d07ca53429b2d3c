// npm run bench:spool: durable messages in, and out. QoS 1 publishes to persistent sessions that are away (fill), then the sessions come back
// and take what they are owed (drain); a fan-out that is stored once for a hundred sessions; and sessions that keep up, for which next to
// nothing should be written. Lethe acknowledges what would survive a power cut; Mosquitto beside it what it has in memory, saved once a second.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { askOwner } from '../engine/spool/folder-lock.ts';
import { chosen, keysOf, runProgram } from './choice.ts';
import type { Contestant, RunningBroker } from './contestants/contestant.ts';
import { LETHE_MAIN, lethe } from './contestants/lethe.ts';
import { mosquitto } from './contestants/mosquitto.ts';
import { canPin, pinSelf } from './contestants/pinned-process.ts';
import { median } from './median.ts';
import { localPlan, publisherGroup, subscriberGroup } from './plan/local-plan.ts';
import { Course, type Plan } from './plan/plan.ts';
import { type Account, settleAccounts } from './result/accounts.ts';
import { describeMachine, thisMachine } from './result/machine.ts';
import { run } from './run.ts';

const LOAD_CORE = 1;
const WINDOW = 8_192;
/** A drain that rests for so long is over, whatever is missing. */
const SETTLE_S = 15;
const PAYLOAD_BYTES = 32;

interface SpoolPlan {
  readonly publishers: number;
  readonly sessions: number;
  /** Every session takes everything; otherwise session i what publisher i sends. */
  readonly shared: boolean;
  /** Of all publishers together. */
  readonly messages: number;
  /** The sessions are connected while the publishers send. */
  readonly online: boolean;
  /** Messages a second of all publishers together; 0: as fast as the window lets them. */
  readonly rate: number;
}

interface Row {
  readonly key: string;
  readonly title: string;
  readonly plan: SpoolPlan;
}

const rows: readonly Row[] = [
  {
    key: 'one',
    title: '1 publisher, 1 session',
    plan: { publishers: 1, sessions: 1, shared: false, messages: 400_000, online: false, rate: 0 },
  },
  {
    key: 'twenty',
    title: '20 publishers, 20 sessions',
    plan: { publishers: 20, sessions: 20, shared: false, messages: 400_000, online: false, rate: 0 },
  },
  {
    key: 'fanout',
    title: '1 publisher, 100 sessions',
    plan: { publishers: 1, sessions: 100, shared: true, messages: 10_000, online: false, rate: 0 },
  },
  {
    key: 'pair',
    title: '1 pair, 100 k/s, keeps up',
    plan: { publishers: 1, sessions: 1, shared: false, messages: 400_000, online: true, rate: 100_000 },
  },
  {
    key: 'online',
    title: '20 pairs, 100 k/s, keep up',
    plan: { publishers: 20, sessions: 20, shared: false, messages: 400_000, online: true, rate: 100_000 },
  },
];

const help = `usage: npm run bench:spool -- [options]
  --rows KEYS      of ${keysOf(rows)} (default all)
  --rounds N       rounds of each row (default 3)
  --messages N     messages of each row instead of its own number
  --cores LIST     cores of the broker, for example 0 or 0,1 (default 0)
  --data DIR       where the data directories are made (default the system's folder for temporary files)
  --restart        stop Lethe in order and start it again between fill and drain, and tell how long the start took
  --no-mosquitto   leave Mosquitto out`;

interface Sample {
  readonly fillS: number;
  /** Null when the sessions were connected all the time. */
  readonly drainS: number | null;
  readonly account: Account;
  readonly cpuS: readonly [fill: number, drain: number];
  /** CPU of the broker's main thread and of the busiest other one over the whole round. */
  readonly threadsS: readonly [main: number, storage: number];
  readonly anonymousMiB: number;
  readonly fileMiB: number;
  /** Milliseconds from spawning the process to its ready line, with everything held; null when it was not restarted. */
  readonly restartMs: number | null;
  /** Anonymous memory after the fill, or after the restart, before the drain. */
  readonly heldMiB: number;
  readonly figures: Readonly<Record<string, number>> | null;
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      rows: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      messages: { type: 'string' },
      cores: { type: 'string', default: '0' },
      data: { type: 'string', default: tmpdir() },
      restart: { type: 'boolean', default: false },
      'no-mosquitto': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help) {
    console.log(help);
    return;
  }
  const wanted = chosen(rows, flags.rows, 'row');
  const pinned = availableParallelism() > 1 && canPin();
  const machine = thisMachine();
  console.log(`${describeMachine(machine)}, load average ${machine.loadAverage.toFixed(2)}`);
  console.log(
    `${pinned ? `broker on core ${flags.cores}, load on core ${LOAD_CORE}` : 'nothing is pinned'}; QoS 1, 32 bytes; data in ${flags.data}`,
  );
  console.log(
    'thousand messages a second in (acknowledged) and out (deliveries); CPU of the broker in µs a message and a delivery; medians\n',
  );
  console.log(head);
  if (pinned) pinSelf(LOAD_CORE);
  for (const row of wanted) {
    const plan = flags.messages === undefined ? row.plan : { ...row.plan, messages: Number(flags.messages) };
    const samples = new Map<string, Sample[]>();
    for (let round = 0; round < Number(flags.rounds); round++) {
      for (const name of flags['no-mosquitto'] ? ['lethe'] : ['lethe', 'mosquitto']) {
        const sample = await measure(name, plan, pinned ? flags.cores : null, flags.data, flags.restart && name === 'lethe');
        if (sample !== null) samples.set(name, [...(samples.get(name) ?? []), sample]);
      }
    }
    for (const [name, own] of samples) {
      console.log(line(row.title, name, plan, own));
      const starts = own.map(({ restartMs }) => restartMs).filter((ms) => ms !== null);
      const held = median(own.map(({ heldMiB }) => heldMiB)).toFixed(0);
      if (starts.length > 0)
        console.log(
          `${' '.repeat(28)}${name} started again in ${(median(starts) / 1_000).toFixed(2)} s; ${held} MiB anonymous before the drain`,
        );
    }
    const figures = samples.get('lethe')?.at(-1)?.figures;
    // A broker that was started again has counted from there.
    if (figures != null && figures['written']! + figures['elided']! > 0) console.log(stages(figures, plan));
  }
}

async function measure(
  name: string,
  plan: SpoolPlan,
  cores: string | null,
  folder: string,
  restart: boolean,
): Promise<Sample | null> {
  const data = mkdtempSync(join(folder, 'lethe-bench-spool-'));
  const contestant = contestantOf(name, data);
  if (contestant === null) return null;
  let broker: RunningBroker | null = null;
  try {
    const first = await contestant.start({ cores });
    broker = first;
    const usage: Usage[] = [];
    let fileMiB = 0;
    let restartMs: number | null = null;
    const warm = plan.online && name === 'lethe' ? figuresAfter(WARM_UP_MS, data) : null;
    const outcome = await run(planOf(plan, first.places.tcp!.port), {
      stage: (name) => {
        if (name === 'fill' || name === 'drain' || name === 'measured') usage.push(usageOf(broker!.pid!));
      },
      whileAway: async () => {
        fileMiB = sizeOf(data);
        if (!restart) return;
        await broker!.stop();
        const startedMs = performance.now();
        broker = await contestant.start({ cores, ports: { stream: first.places.tcp!.port, ws: first.places.ws!.port } });
        restartMs = performance.now() - startedMs;
      },
    });
    const figures = name === 'lethe' ? since(await warm, (await askOwner(data, 'figures')) as Record<string, number>) : null;
    // Begin and end of the fill; of the drain, unless there is none.
    const [before, filled, away, after] = usage;
    const last = after ?? filled!;
    const secondsOf = (stage: string) => outcome.stages.find((own) => own.stage.name === stage)?.seconds ?? null;
    return {
      fillS: secondsOf('fill') ?? secondsOf('measured')!,
      drainS: secondsOf('drain'),
      account: settleAccounts(outcome),
      cpuS: [filled!.total - before!.total, after === undefined ? 0 : after.total - away!.total],
      threadsS: restart ? [last.main, last.other] : [last.main - before!.main, last.other - before!.other],
      anonymousMiB: last.anonymousMiB,
      fileMiB: away === undefined ? sizeOf(data) : fileMiB,
      restartMs,
      heldMiB: (away ?? last).anonymousMiB,
      figures,
    };
  } finally {
    await broker?.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

function planOf({ publishers, sessions, shared, messages, online, rate }: SpoolPlan, port: number): Plan {
  return localPlan({
    port,
    course: online ? Course.TRAFFIC : Course.PERSISTENT,
    clients: { clean: false },
    settleS: SETTLE_S,
    publishers: [
      publisherGroup({
        count: publishers,
        topic: 'spool/%i',
        qos: 1,
        payloadBytes: PAYLOAD_BYTES,
        rate,
        window: WINDOW,
        limit: messages,
      }),
    ],
    subscribers: [subscriberGroup({ count: sessions, filter: shared ? 'spool/+' : 'spool/%i', qos: 1, away: !online })],
  });
}

/** A process that has just started compiles while it works, and its acknowledgements are late: what it does then is not what it does. */
const WARM_UP_MS = 1_500;
const COUNTS = ['batches', 'elided', 'written', 'written_bytes', 'keys_destroyed', 'commits_ms'] as const;

async function figuresAfter(ms: number, data: string): Promise<Record<string, number>> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return (await askOwner(data, 'figures')) as Record<string, number>;
}

/** Figures of the time since `before`, where they are counts. */
function since(before: Readonly<Record<string, number>> | null, now: Readonly<Record<string, number>>): Record<string, number> {
  return { ...now, ...(before === null ? {} : Object.fromEntries(COUNTS.map((name) => [name, now[name]! - before[name]!]))) };
}

function contestantOf(name: string, data: string): Contestant | null {
  if (name === 'mosquitto') return mosquitto(data);
  const unlimited = [
    'queued_messages_per_client_max=20000000',
    'queued_messages_max=40000000',
    'queued_bytes_per_client_max=64GiB',
    'queued_bytes_max=64GiB',
  ];
  const flags = ['--data', data, ...unlimited.flatMap((limit) => ['--set', `limits.${limit}`])];
  return lethe(LETHE_MAIN, 'lethe', flags);
}

/** CPU seconds of a process: all threads, the main one, the busiest other one; and its memory. */
interface Usage {
  readonly total: number;
  readonly main: number;
  readonly other: number;
  readonly anonymousMiB: number;
}

function usageOf(pid: number): Usage {
  let total = 0;
  let main = 0;
  let other = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const seconds = (Number(fields[11]) + Number(fields[12])) / 100;
    total += seconds;
    if (Number(thread) === pid) main = seconds;
    else other = Math.max(other, seconds);
  }
  return { total, main, other, anonymousMiB: anonymousMiB(pid) };
}

/** Memory that belongs to the process alone; pages of the data file are the system's to take back. */
function anonymousMiB(pid: number): number {
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1_024;
}

function sizeOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0) / 1_048_576;
}

const head = `${'row'.padEnd(28)}${'broker'.padEnd(11)}${'in k/s'.padStart(9)}${'out k/s'.padStart(9)}${'CPU in'.padStart(8)}${'out'.padStart(7)}${'main s'.padStart(8)}${'storage s'.padStart(11)}${'anon MiB'.padStart(10)}${'file MiB'.padStart(10)}${'lost'.padStart(6)}${'behind'.padStart(8)}`;

function line(title: string, name: string, plan: SpoolPlan, samples: readonly Sample[]): string {
  const of = (figure: (sample: Sample) => number) => median(samples.map(figure));
  const deliveries = plan.shared ? plan.messages * plan.sessions : plan.messages;
  const cells = [
    title.padEnd(28),
    name.padEnd(11),
    of(({ fillS }) => plan.messages / fillS / 1_000)
      .toFixed(0)
      .padStart(9),
    (plan.online ? '-' : of(({ drainS }) => deliveries / drainS! / 1_000).toFixed(0)).padStart(9),
    of(({ cpuS }) => (cpuS[0] / plan.messages) * 1e6)
      .toFixed(2)
      .padStart(8),
    (plan.online ? '-' : of(({ cpuS }) => (cpuS[1] / deliveries) * 1e6).toFixed(2)).padStart(7),
    of(({ threadsS }) => threadsS[0])
      .toFixed(2)
      .padStart(8),
    of(({ threadsS }) => threadsS[1])
      .toFixed(2)
      .padStart(11),
    of((sample) => sample.anonymousMiB)
      .toFixed(0)
      .padStart(10),
    of((sample) => sample.fileMiB)
      .toFixed(0)
      .padStart(10),
    String(samples.reduce((sum, { account }) => sum + account.lost, 0)).padStart(6),
    String(samples.reduce((sum, { account }) => sum + account.duplicated + account.outOfOrder, 0)).padStart(8),
  ];
  return cells.join('');
}

/** Where the spool's time and bytes went in the last round. */
function stages(figures: Readonly<Record<string, number>>, plan: SpoolPlan): string {
  const deliveries = figures['written']! + figures['elided']!;
  const messages = plan.shared ? deliveries / plan.sessions : deliveries;
  const share = (count: number) => `${((count / deliveries) * 100).toFixed(1)} %`;
  return (
    `${' '.repeat(28)}batches ${figures['batches']}, in LMDB ${(figures['commits_ms']! / 1_000).toFixed(2)} s; deliveries written ${share(figures['written']!)}, ` +
    `never written ${share(figures['elided']!)}${plan.online ? ' (after a warm-up)' : ''}; ${(figures['written_bytes']! / messages).toFixed(1)} bytes written a message; ` +
    `keys destroyed ${figures['keys_destroyed']}, erasure lag at most ${figures['erasure_lag_max_ms']!.toFixed(0)} ms`
  );
}

await runProgram(main);
