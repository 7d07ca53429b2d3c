// Which options of a configuration can be put in force while the broker runs, and which wait for a restart.
import { isDeepStrictEqual } from 'node:util';
import { type Limits, limitsConflict } from '../../protocol/limits.ts';
import { isIdentified, judgeDoors } from './judge-doors.ts';
import { judgeRetention } from './judge-retention.ts';
import type { Config, ListenerConfig } from './load.ts';
import { snakeCase } from './schema.ts';

export interface ReloadPlan {
  /** What the broker is to run with: the new configuration, but for what needs a restart. */
  readonly config: Config;
  /** Options that differ and are put in force, as the file names them. */
  readonly changed: readonly string[];
  /** Options that differ and need a restart. */
  readonly restart: readonly string[];
}

type Section = Exclude<keyof Config, 'listeners' | 'bridges'>;

/** Sections that are taken as a whole. */
const WHOLE: readonly Section[] = ['auth', 'roles', 'retention', 'bannedNetworks'];

/** Options of other sections. */
const OPTIONS: Partial<Record<Section, readonly string[]>> = {
  server: ['logLevel'],
  session: ['v3ExpiryS', 'responseInformation', 'serverReference', 'messageExpiryMaxS'],
  retained: ['maxAgeS'],
};

/** Limits that tables were made for, that a listener was opened with, or that clients were told by CONNACK. All others can change. */
const LIMITS_OF_START: readonly (keyof Limits)[] = [
  'connectionsMax',
  'sessionsMax',
  'retainedMessagesMax',
  'trieNodesMax',
  'trieSubscriptionsMax',
  'topicCacheEntries',
  'packetBytesMax',
  'connectTimeoutMs',
  'receiveMaximum',
];

const OF_LISTENER: readonly (keyof ListenerConfig)[] = [
  'certFile',
  'keyFile',
  'caFile',
  'origins',
  'anonymous',
  'queueOverflow',
  'sessionExpiryMaxS',
  'messageExpiryMaxS',
];

/** What the default of an option of a listener, and its meaning, rest on. Where one of these waits for a restart, the option waits with it. */
const RESTS_ON: Partial<Record<keyof ListenerConfig, readonly (keyof ListenerConfig)[]>> = {
  anonymous: ['host', 'transport', 'clientCertificate', 'certificateUser'],
  origins: ['transport'],
  certFile: ['transport', 'clientCertificate'],
  keyFile: ['transport', 'clientCertificate'],
  caFile: ['transport', 'clientCertificate'],
};

/** Follows from other options. */
const DERIVED = ['session.retainAvailable'];

/** @throws Error where what can change does not go together with what cannot */
export function planReload(running: Config, next: Config): ReloadPlan {
  const changed: string[] = [];
  const restart: string[] = [];
  const config: Record<string, unknown> = { ...running };
  // What is kept in the store is not kept longer than the store was opened for.
  const limits = { ...next.limits, sessionExpiryMaxS: Math.min(next.limits.sessionExpiryMaxS, running.spool.maxRetentionS) };
  for (const section of Object.keys(next) as (Section | 'listeners' | 'bridges')[]) {
    if (section === 'listeners' || section === 'bridges') continue;
    if (WHOLE.includes(section)) {
      config[section] = next[section];
      compareWhole(section, running[section], next[section], changed);
      continue;
    }
    const merged: Record<string, unknown> = { ...(running[section] as object) };
    for (const [name, value] of Object.entries(section === 'limits' ? limits : next[section])) {
      if (isDeepStrictEqual(merged[name], value)) continue;
      const option = `${snakeCase(section)}.${snakeCase(name)}`;
      const isReloaded =
        section === 'limits' ? !LIMITS_OF_START.includes(name as keyof Limits) : OPTIONS[section]?.includes(name) === true;
      if (isReloaded) merged[name] = value;
      if (!DERIVED.includes(`${section}.${name}`)) (isReloaded ? changed : restart).push(option);
    }
    config[section] = merged;
  }
  config['listeners'] = planListeners(running, next, changed, restart);
  planBridges(running, next, restart);
  const plan = { config: config as unknown as Config, changed, restart };
  judgeMerged(plan, next);
  return plan;
}

/** What is good as a file, and was good before, need not be good as a mixture. @throws Error that says what is wrong with it and which options wait for a restart */
function judgeMerged({ config, restart }: ReloadPlan, next: Config): void {
  const conflict = limitsConflict(config.limits);
  const problems = conflict === null ? [] : [`limits: ${conflict}`];
  const say = (_path: readonly string[], message: string) => problems.push(message);
  judgeRetention(config, say);
  judgeDoors(config, say);
  // Nobody could come in any more, which is not what the new file says.
  for (const own of config.listeners) {
    const wanted = next.listeners.find(({ name }) => name === own.name);
    const isShut = !own.anonymous && !isIdentified(config, own);
    if (isShut && wanted !== undefined && (wanted.anonymous || isIdentified(next, wanted)))
      problems.push(`listener '${own.name}': would let nobody in`);
  }
  if (problems.length === 0) return;
  const waiting = restart.length === 0 ? '' : `; these options wait for a restart: ${restart.join(', ')}`;
  throw new Error(`${problems.join('; ')}, as long as the broker has not been started anew${waiting}`);
}

function compareWhole(section: Section, before: unknown, after: unknown, changed: string[]): void {
  if (isDeepStrictEqual(before, after)) return;
  if (section === 'bannedNetworks') changed.push('limits.banned_networks');
  else if (Array.isArray(after)) changed.push(section);
  else
    for (const [name, value] of Object.entries(after as object))
      if (!isDeepStrictEqual((before as Record<string, unknown>)[name], value)) changed.push(`${section}.${snakeCase(name)}`);
}

/** Whether an option of a listener that differs is put in force. */
function isReloadedOn(running: ListenerConfig, after: ListenerConfig, name: keyof ListenerConfig): boolean {
  if (!OF_LISTENER.includes(name)) return false;
  // To let in fewer rests on nothing.
  if (name === 'anonymous' && !after.anonymous) return true;
  return (RESTS_ON[name] ?? []).every((other) => running[other] === after[other]);
}

/** A bridge stays as it is until a restart; the files that it names are read each time that it connects. */
function planBridges(running: Config, next: Config, restart: string[]): void {
  const wanted = new Map(next.bridges.map((bridge) => [bridge.name, bridge]));
  for (const bridge of running.bridges) {
    if (!isDeepStrictEqual(wanted.get(bridge.name), bridge)) restart.push(`bridge.${bridge.name}`);
    wanted.delete(bridge.name);
  }
  for (const name of wanted.keys()) restart.push(`bridge.${name}`);
}

/** Listeners go by their names. One that is new, or gone, needs a restart. */
function planListeners(running: Config, next: Config, changed: string[], restart: string[]): ListenerConfig[] {
  const wanted = new Map(next.listeners.map((listener) => [listener.name, listener]));
  const planned = running.listeners.map((listener) => {
    const after = wanted.get(listener.name);
    wanted.delete(listener.name);
    if (after === undefined) {
      restart.push(`listener.${listener.name}`);
      return listener;
    }
    const merged: Record<string, unknown> = { ...listener };
    for (const [name, value] of Object.entries(after)) {
      if (isDeepStrictEqual(merged[name], value)) continue;
      const isReloaded = isReloadedOn(listener, after, name as keyof ListenerConfig);
      if (isReloaded) merged[name] = value;
      (isReloaded ? changed : restart).push(`listener.${listener.name}.${snakeCase(name)}`);
    }
    return merged as unknown as ListenerConfig;
  });
  for (const name of wanted.keys()) restart.push(`listener.${name}`);
  return planned;
}
