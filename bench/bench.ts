// `lethe bench`: load for any MQTT broker, with an account of every message.
import { Command } from 'commander';
import { endWith } from '../engine/cli/failure.ts';
import { addBenchOptions, type BenchFlags, Kind, type OutputFlags, settingsOf } from './bench-options.ts';
import { execute } from './execution.ts';
import { readScenario } from './plan/scenario-file.ts';
import { scenarios } from './plan/scenarios.ts';
import { type Settings, SettingsError } from './plan/settings.ts';
import { METRICS } from './result/assertion.ts';

const exitCodesHelp = `
Exit codes:
  0  fine
  1  an assertion failed, or deliveries were lost, duplicated, corrupt or out of order that should not be; or a failure while running
  2  wrong arguments or scenario file
  3  the broker was not reachable, or refused the clients
  130, 143  ended by SIGINT or SIGTERM before its time (the result so far is given)`;

const assertHelp = `
Assertions: METRIC OPERATOR NUMBER, with commas between; operators < <= = != >= >, times in us, ms or s, memory in MiB, counts with k or M.
  Metrics: ${Object.keys(METRICS).join(', ')}.
  Without an assertion on them, lost, duplicated, out_of_order, corrupt, misdelivered, refused, unacknowledged and failed must be 0.`;

const examples: Readonly<Record<Kind, string>> = {
  pub: `
Examples:
  lethe bench pub -c 100 -I 10 -t bench/%i -s 256             100 publishers, each a message every 10 ms
  lethe bench pub -c 10 -q 1 -w 100 --duration 30s            as fast as 100 unacknowledged messages each let them
  lethe bench pub -c 1000 -R 200 -L 100000 -V 5 --ws -h host  100,000 messages in all, over WebSocket`,
  sub: `
Examples:
  lethe bench sub -c 500 -t 'bench/%i' -q 1                   until Ctrl-C
  lethe bench sub -c 10 -t 'bench/#' --shared workers         ten members of one shared subscription
Messages of 'lethe bench pub' on the same machine are accounted for: gaps, duplicates, order, payload, latency.`,
  conn: `
Examples:
  lethe bench conn -c 20000 -R 2000 --duration 60s --pid 4711 20,000 connections, and what they cost the broker
  lethe bench conn -c 50000 --ifaddr 127.0.0.2,127.0.0.3      more than one address has ports for`,
  run: `
Examples:
  lethe bench run point-to-point                              one publisher, one subscriber, as fast as they can
  lethe bench run fan-out -c 1000 -s 64                       one publisher, 1,000 subscribers
  lethe bench run fan-in -c 100 -q 1 --rate 20000 --assert 'p99<5ms,lost=0'
  lethe bench run persistent -c 50 -L 1000000 --json fill.json --report fill.html
  lethe bench run point-to-point -c 20 -q 2 --kill-after 5s --start 'mosquitto -c durable.conf -p 2883' -p 2883
  lethe bench run greenhouse.toml -h broker.example --duration 60s   flags win over the file

A scenario file (TOML) has the flags' long names; beside a scenario's name it may describe any groups of clients:
  name = "greenhouse"
  duration = "30s"
  assert = ["p99<20ms", "lost=0"]
  [[publishers]]
  count = 200
  topic = "greenhouse/%i/temperature"
  qos = 1
  rate = 2000
  [[subscribers]]
  count = 3
  filter = "greenhouse/+/temperature"
  qos = 1
  shared = "writers"`,
};

export function benchCommand(): Command {
  const bench = new Command('bench')
    .description('put load on any MQTT broker, and account for every message')
    .helpOption('--help', 'print this help')
    .enablePositionalOptions()
    .addHelpText('after', exitCodesHelp);
  for (const [kind, description] of Object.entries(DESCRIPTIONS) as [Kind, string][]) {
    const command = new Command(kind).description(description).helpOption('--help', 'print this help');
    if (kind === Kind.RUN) command.argument('<scenario>', 'one of those below, or a file that ends in .toml');
    addBenchOptions(command, kind);
    if (kind === Kind.RUN) command.addHelpText('after', scenarioHelp());
    command.addHelpText('after', examples[kind]).addHelpText('after', assertHelp).addHelpText('after', exitCodesHelp);
    command.exitOverride().action(async (...args: unknown[]) => {
      const flags = (kind === Kind.RUN ? args[1] : args[0]) as BenchFlags & OutputFlags;
      await perform(command, kind === Kind.RUN ? String(args[0]) : kind, flags);
    });
    bench.addCommand(command);
  }
  return bench;
}

const DESCRIPTIONS: Readonly<Record<Kind, string>> = {
  [Kind.PUB]: 'publish; QoS 1 and 2 are timed to their acknowledgement',
  [Kind.SUB]: 'subscribe, and judge what comes',
  [Kind.CONN]: 'open connections and hold them',
  [Kind.RUN]: 'run a scenario with publishers and subscribers',
};

function scenarioHelp(): string {
  const lines = Object.entries(scenarios)
    .filter(([name]) => name !== 'custom')
    .map(([name, { about }]) => `  ${name.padEnd(17)}${about}`);
  return `\nScenarios:\n${lines.join('\n')}`;
}

async function perform(command: Command, scenario: string, flags: BenchFlags & OutputFlags): Promise<void> {
  try {
    process.exitCode = await execute(readSettings(scenario, flags), flags);
  } catch (error) {
    if (error instanceof SettingsError) command.error(`error: ${error.message}`);
    endWith('bench', error);
  }
}

/** What a file says, and over it what the flags say. */
function readSettings(scenario: string, flags: BenchFlags): Settings {
  if (!scenario.endsWith('.toml')) return settingsOf(flags, scenario);
  const file = readScenario(scenario);
  const { scenario: _, ...said } = settingsOf(flags, scenario);
  const assertions = [...(file.assertions ?? []), ...(said.assertions ?? [])];
  return { ...file, ...said, assertions };
}
