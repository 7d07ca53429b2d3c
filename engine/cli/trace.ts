// `lethe trace`: topics and sizes of one client's messages as they pass, for a reason and for a time. Never a payload.
import { Command } from 'commander';
import type { TraceBegun, TraceTaken } from '../administration/traces.ts';
import { systemClock } from '../clock.ts';
import type { TracedMessage } from '../sessions/tracer.ts';
import { askRunning } from './ask.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

interface TraceFlags extends FolderFlags {
  readonly client: string;
  readonly reason: string;
  readonly for: string;
  readonly json?: boolean;
}

const LOOK_MS = 500;
const UNITS_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

const HELP = `
Works on the broker that runs on the data directory, for those who may enter it. Beginning and end stand in the audit log, with the reason
in your own words (name nobody in it) and the client's pseudonym. Ends by itself, at most after an hour; Ctrl-C ends it early.

Example:
  lethe trace --client sensor-17 --reason 'ticket 4711: readings are missing' --for 10m --data /var/lib/lethe`;

export function traceCommand(): Command {
  return withFolderOptions(new Command('trace'))
    .description("show topics and sizes of one client's messages, never payloads, for a reason and for a time")
    .requiredOption('--client <id>', 'client identifier')
    .requiredOption('--reason <text>', 'why, for the audit log: one line of at most 200 characters')
    .requiredOption('--for <time>', 'when it ends: 30s, 10m, 1h')
    .option('--json', 'print a line of JSON for each message')
    .addHelpText('after', HELP)
    .addHelpText('after', exitCodesHelp)
    .action(async (flags: TraceFlags) => {
      try {
        await trace(flags);
      } catch (error) {
        endWith('trace', error instanceof Failure ? error : new Failure(messageOf(error)));
      }
    });
}

async function trace(flags: TraceFlags): Promise<void> {
  const [, count, unit] = /^(\d{1,6})([smh])$/.exec(flags.for) ?? [];
  if (unit === undefined) throw new Failure('--for takes a number with s, m or h: 30s, 10m, 1h', ExitCode.USAGE);
  const config = folderConfig(flags);
  const body = { client: flags.client, reason: flags.reason, forS: Number(count) * UNITS_S[unit]! };
  const begun = (await askRunning(config, 'POST', '/v1/traces', body)) as TraceBegun;
  if (flags.json !== true) process.stderr.write(`tracing ${begun.subject} until ${begun.until}; Ctrl-C ends it\n`);
  let isInterrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      isInterrupted = true;
    });
  const show = flags.json === true ? (message: TracedMessage) => JSON.stringify(message) : describe;
  for (let isOver = false; !isOver; ) {
    const method = isInterrupted ? 'DELETE' : 'GET';
    const taken = (await askRunning(config, method, `/v1/traces/${begun.trace}`)) as TraceTaken;
    for (const message of taken.messages) process.stdout.write(`${show(message)}\n`);
    if (taken.lost > 0) process.stderr.write(`lethe trace: ${taken.lost} messages more were not kept\n`);
    ({ isOver } = taken);
    if (!isOver && !isInterrupted) await systemClock.sleep(LOOK_MS);
  }
}

function describe({ atMs, direction, topic, qos, retain, dup, payloadBytes, propertyBytes }: TracedMessage): string {
  const marks = `${retain ? ' retain' : ''}${dup ? ' dup' : ''}`;
  // As JSON, so that no topic can write to the terminal what it likes.
  return `${new Date(atMs).toISOString()} ${direction.padEnd(11)} qos ${qos}${marks} payload ${payloadBytes} B, properties ${propertyBytes} B ${JSON.stringify(topic)}`;
}
