// From what a person has said to a plan in which nothing is left open, or to one clear sentence about what does not go together.
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isTopicFilter, isTopicName, NOT_A_FILTER, NOT_A_NAME } from '../../engine/cli/client-options.ts';
import { messageOf } from '../../engine/cli/failure.ts';
import { HEADER_BYTES, PAYLOAD_BYTES_MAX, STREAMS_MAX } from '../raw/message.ts';
import { fillPattern } from './pattern.ts';
import { type BrokerAddress, Course, type Plan, type PublisherGroup, type SubscriberGroup } from './plan.ts';
import { type Casting, scenarios, soloists } from './scenarios.ts';
import { type Settings, SettingsError } from './settings.ts';

const SIZE_DEFAULT = 256;
const KEEP_ALIVE_S = 300;
const DURATION_S = 10;
const WARM_UP_S = 1;
const SETTLE_S = 1;
/** After a kill messages may wait for timers of the broker, and in a drain for its disk. */
const SETTLE_STORED_S = 5;
const SESSION_EXPIRY_S = 3_600;
/** Messages on their way to one subscriber, and of all of them together: under every mark at which a broker holds back or drops. */
const WINDOW_QOS_0 = 16_384;
const WINDOW_QOS_1 = 1_000;
const WINDOW_DELIVERIES = 262_144;
const WINDOW_BYTES = 4_194_304;
const PORTS = { tcp: 1883, tls: 8883, ws: 8083, wss: 443 } as const;

export function makePlan(settings: Settings): Plan {
  const run = randomInt(2 ** 32);
  const name = run.toString(16).padStart(8, '0');
  const casting = cast(settings, `bench/${name}`);
  const { defaults, course } = casting;
  const limit = settings.limit ?? defaults.limit ?? 0;
  // It ends by itself, so that all of it counts.
  const hasEnd = limit > 0 || (casting.publishers.length > 0 && casting.publishers.every((group) => group.limit !== undefined));
  const kills = settings.killAfter !== undefined;
  const isPersistent = course !== Course.TRAFFIC && course !== Course.CONNECTIONS;
  const keeps = settings.clean === false || kills || isPersistent;
  const plan: Plan = {
    scenario: settings.name ?? settings.scenario,
    course,
    run,
    broker: brokerOf(settings),
    clients: {
      prefix: settings.prefix ?? `bench-${name}`,
      firstNumber: settings.startNumber ?? 0,
      keepAliveS: settings.keepalive ?? KEEP_ALIVE_S,
      connectPerSecond: connectRateOf(settings),
      localAddresses: settings.ifaddr ?? [],
      clean: !keeps,
      sessionExpiryS: settings.sessionExpiry ?? (keeps ? SESSION_EXPIRY_S : 0),
    },
    publishers: publishersOf(settings, casting, limit),
    subscribers: subscribersOf(settings, casting),
    idle: casting.idle,
    closed: casting.closed,
    warmUpS: settings.warmUp ?? (hasEnd ? 0 : (defaults.warmUp ?? WARM_UP_S)),
    durationS: settings.duration ?? (hasEnd ? 0 : (defaults.duration ?? DURATION_S)),
    settleS: settings.settle ?? (kills || isPersistent ? SETTLE_STORED_S : SETTLE_S),
    stormEveryS: settings.stormEvery ?? defaults.stormEvery ?? 0,
    kill: killOf(settings),
    // What the run made, it takes away; what it was asked for by -C false stays.
    cleansUp: keeps && settings.clean !== false,
    threads: settings.threads ?? 1,
    spins: settings.spin ?? true,
  };
  judge(plan, settings);
  return plan;
}

function cast(settings: Settings, base: string): Casting {
  const { scenario } = settings;
  if (scenario === 'pub' || scenario === 'sub' || scenario === 'conn') return soloists[scenario](settings, base);
  const known = Object.hasOwn(scenarios, scenario) ? scenarios[scenario]! : null;
  if (known === null)
    throw new SettingsError(
      `no scenario '${scenario}'; there are: ${Object.keys(scenarios).join(', ')}, and files that end in .toml`,
    );
  return known.cast(settings, base);
}

function brokerOf(settings: Settings): BrokerAddress {
  const { ws = false, cafile, certfile, keyfile, insecure = false } = settings;
  const asksForTls = settings.ssl ?? (cafile !== undefined || certfile !== undefined || insecure || settings.port === PORTS.tls);
  const transport = ws ? (asksForTls ? 'wss' : 'ws') : asksForTls ? 'tls' : 'tcp';
  if (settings.ssl === false && (cafile ?? certfile) !== undefined)
    throw new SettingsError('certificates are for TLS: leave out --ssl false');
  if ((certfile === undefined) !== (keyfile === undefined)) throw new SettingsError('--certfile and --keyfile go together');
  if (settings.path !== undefined && !ws) throw new SettingsError('--path is for WebSocket: give --ws');
  if (settings.path !== undefined && !settings.path.startsWith('/')) throw new SettingsError('--path must begin with /');
  const password = settings.password ?? (settings.username === undefined ? undefined : process.env['LETHE_PASSWORD']);
  const level = settings.version ?? 4;
  if (password !== undefined && settings.username === undefined && level !== 5)
    throw new SettingsError('a password needs a user name: give -u');
  return {
    transport,
    host: settings.host ?? '127.0.0.1',
    port: settings.port ?? PORTS[transport],
    path: settings.path ?? '/mqtt',
    ca: readPem('--cafile', cafile),
    cert: readPem('--certfile', certfile),
    key: readPem('--keyfile', keyfile),
    checksName: !insecure,
    level,
    userName: settings.username ?? null,
    password: password ?? null,
  };
}

function readPem(option: string, file: string | undefined): string | null {
  if (file === undefined) return null;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new SettingsError(`${option} ${file} cannot be read: ${messageOf(error)}`);
  }
}

function connectRateOf({ connectRate, connectInterval }: Settings): number {
  if (connectRate !== undefined && connectInterval !== undefined)
    throw new SettingsError('-R and -i both say how fast to connect; keep one');
  if (connectRate !== undefined) return connectRate;
  return connectInterval === undefined || connectInterval === 0 ? 0 : 1_000 / connectInterval;
}

function publishersOf(settings: Settings, { publishers, subscribers, defaults }: Casting, limit: number): PublisherGroup[] {
  if (settings.rate !== undefined && settings.interval !== undefined)
    throw new SettingsError('--rate and -I both say how fast to publish; keep one');
  const all = publishers.reduce((sum, { count }) => sum + count, 0);
  const audience = subscribers.reduce((sum, { count, shared }) => sum + (shared === undefined ? count : 1), 0);
  const isPaired = subscribers.every(({ filter }) => filter.includes('%i'));
  return publishers.map((group): PublisherGroup => {
    const { count } = group;
    const qos = group.qos ?? settings.qos ?? defaults.qos ?? 0;
    const payloadBytes = group.size ?? settings.size ?? SIZE_DEFAULT;
    const share = count / all;
    const rate = group.rate ?? rateOf(settings, count, share) ?? (defaults.rate ?? 0) * share;
    const fanIn = isPaired ? 1 : all;
    const fanOut = isPaired ? 1 : Math.max(1, audience);
    const window = Math.min(
      (qos === 0 ? WINDOW_QOS_0 : WINDOW_QOS_1) / fanIn,
      WINDOW_DELIVERIES / fanOut / fanIn,
      WINDOW_BYTES / payloadBytes,
    );
    return {
      count,
      topic: group.topic,
      topics: group.topics ?? 1,
      qos,
      retain: group.retain ?? settings.retain ?? false,
      payloadBytes,
      rate,
      // In an open loop it bounds what waits for acknowledgements, not the rate.
      window: group.window ?? settings.window ?? (rate > 0 ? WINDOW_QOS_1 : Math.max(1, Math.floor(window))),
      limit: group.limit ?? Math.ceil(limit * share),
    };
  });
}

function rateOf({ rate, interval }: Settings, count: number, share: number): number | undefined {
  if (rate !== undefined) return rate * share;
  if (interval === undefined) return undefined;
  return interval === 0 ? 0 : (count * 1_000) / interval;
}

function subscribersOf(settings: Settings, { subscribers, defaults, course }: Casting): SubscriberGroup[] {
  return subscribers.map(({ count, filter, qos, shared }) => ({
    count,
    filter,
    filters: 1,
    qos: qos ?? settings.qos ?? defaults.qos ?? 0,
    shared: shared ?? null,
    away: course === Course.PERSISTENT,
  }));
}

function killOf(settings: Settings): Plan['kill'] {
  const { killAfter, restartCommand, start, pid } = settings;
  if (pid !== undefined && start !== undefined) throw new SettingsError('--pid and --start both name the broker; keep one');
  if (killAfter === undefined) {
    if (restartCommand !== undefined) throw new SettingsError('--restart-command needs --kill-after');
    return null;
  }
  const command = restartCommand ?? start;
  if (pid === undefined && start === undefined)
    throw new SettingsError('--kill-after needs the broker: its --pid, or --start with the command that starts it');
  if (command === undefined) throw new SettingsError('--kill-after needs --restart-command: how to start the broker again');
  return { afterS: killAfter, restartCommand: command };
}

/** What no single setting shows. */
function judge(plan: Plan, settings: Settings): void {
  const { publishers, subscribers, clients, course } = plan;
  const sample = { number: 0, clientId: clients.prefix, userName: plan.broker.userName, topic: 0 };
  const streams = publishers.reduce((sum, { count, topics }) => sum + count * topics, 0);
  if (streams > STREAMS_MAX) throw new SettingsError(`publishers times topics must be at most ${STREAMS_MAX}`);
  for (const group of publishers) {
    if (group.payloadBytes < HEADER_BYTES || group.payloadBytes > PAYLOAD_BYTES_MAX)
      throw new SettingsError(
        `-s must be from ${HEADER_BYTES} to ${PAYLOAD_BYTES_MAX} bytes: the first ${HEADER_BYTES} of a payload carry its account`,
      );
    if (!isTopicName(fillPattern(group.topic, sample))) throw new SettingsError(`-t '${group.topic}' ${NOT_A_NAME}`);
    if (group.topics > 1 && !group.topic.includes('%t'))
      throw new SettingsError(`'${group.topic}' needs %t, the number of the topic: a publisher has ${group.topics} of them`);
  }
  for (const { filter } of subscribers)
    if (!isTopicFilter(fillPattern(filter, sample))) throw new SettingsError(`-t '${filter}' ${NOT_A_FILTER}`);
  const least = Math.min(...publishers.map(({ qos }) => qos), ...subscribers.map(({ qos }) => qos));
  if (plan.kill !== null && least === 0)
    throw new SettingsError('--kill-after needs -q 1 or -q 2: nobody keeps messages of QoS 0 over a restart');
  if (course === Course.PERSISTENT && least === 0)
    throw new SettingsError('persistent needs -q 1 or -q 2: messages of QoS 0 are not kept for who is away');
  if (settings.clean === true && !clients.clean)
    throw new SettingsError(
      `-C true does not go with ${plan.kill === null ? settings.scenario : '--kill-after'}: its sessions outlive their connections`,
    );
  if (course === Course.CONNECTIONS && plan.kill !== null) throw new SettingsError('--kill-after does not go with conn');
}
