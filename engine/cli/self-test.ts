// `lethe self-test`: whether this machine can run the broker, in some seconds and in words. It works in a folder of its own, on loopback ports, with a broker that it starts as a second process of this program,
// and leaves nothing behind, whether it comes to its end or is interrupted.
import { rmSync } from 'node:fs';
import { Command } from 'commander';
import { version } from '../version.ts';
import { whole } from './client-options.ts';
import { ExitCode, exitCodesHelp, interruptedBy } from './exit-code.ts';
import { type Check, type CheckReport, Outcome, runChecks } from './self-test/check.ts';
import { ChildBroker } from './self-test/child-broker.ts';
import { claim, removeLeftovers } from './self-test/leftovers.ts';
import { FOLDER, machineChecks, makeWorkFolder, nearestFolder } from './self-test/machine.ts';
import { promiseChecks } from './self-test/promises.ts';

interface SelfTestFlags {
  readonly data?: string;
  readonly port?: number;
  readonly wsPort?: number;
  readonly json?: true;
}

const PORT_MAX = 65_535;
const NAME_WIDTH = 22;
const INDENT = ' '.repeat(NAME_WIDTH + 7);

export function selfTestCommand(): Command {
  return new Command('self-test')
    .description('check that this machine can run the broker: listens, publishes, spools, is killed, recovers, forgets')
    .option(
      '--data <dir>',
      'test the disk of this data directory; what is in it is not touched (default: the folder for temporary files)',
    )
    .option('--port <port>', 'listen for TCP on this port of 127.0.0.1 (default: a free one)', whole(1, PORT_MAX))
    .option('--ws-port <port>', 'listen for WebSocket on this port (default: a free one)', whole(1, PORT_MAX))
    .option('--json', 'print one JSON object instead of lines')
    .addHelpText(
      'after',
      `
Takes some seconds. Works in a folder of its own inside the data directory (or beside it, while there is none), which is removed in the end,
and starts a broker of its own there with default settings: a broker that runs, its ports and its configuration are left alone.

Each line is a check: pass, FAIL with what to do, or not run because an earlier one failed. Exit code 0: everything passed; 1: something failed.

Examples:
  lethe self-test                            the program, the machine and its loopback interface
  lethe self-test --data /var/lib/lethe      the disk that the broker is to use, as the user that it is to run as
  lethe self-test --port 1883 --json         whether port 1883 can be had; for machines`,
    )
    .addHelpText('after', exitCodesHelp)
    .action(selfTest);
}

async function selfTest({ data, port = 0, wsPort = 0, json }: SelfTestFlags): Promise<void> {
  const near = nearestFolder(data);
  let folder = '';
  let broker: ChildBroker | null = null;
  const removeFolder = () => {
    if (folder !== '') rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  };
  const cleanUp = async () => {
    await broker?.end();
    removeFolder();
  };
  cleanUpOnSignals(cleanUp);
  // For ends that nobody has foreseen.
  process.once('exit', () => {
    broker?.endNow();
    removeFolder();
  });
  const place: Check = {
    name: FOLDER,
    async run() {
      await removeLeftovers(near);
      folder = makeWorkFolder(near);
      await claim(folder);
      broker = new ChildBroker(folder, { tcp: port, ws: wsPort });
      return near;
    },
  };
  const inFolder = [
    ...machineChecks(() => folder),
    ...promiseChecks(
      () => folder,
      () => broker!,
    ),
  ];
  const tell = (report: CheckReport) => {
    if (json !== true) process.stdout.write(line(report));
  };
  const startMs = performance.now();
  if (json !== true) process.stdout.write(`lethe ${version} self-test\n`);
  let reports: readonly CheckReport[] = [];
  try {
    reports = await runChecks([place, ...inFolder], tell);
  } finally {
    await cleanUp();
  }
  const failed = reports.filter(({ outcome }) => outcome === Outcome.FAIL);
  const tookMs = Math.round(performance.now() - startMs);
  process.stdout.write(
    json === true
      ? `${JSON.stringify({ ok: failed.length === 0, version, tookMs, checks: reports })}\n`
      : verdict(reports, tookMs),
  );
  process.exitCode = failed.length === 0 ? ExitCode.OK : ExitCode.FAILURE;
}

function line({ name, outcome, detail, advice }: CheckReport): string {
  const todo = advice === null ? '' : `${INDENT} -> ${advice}\n`;
  return `${outcome.padEnd(7)} ${name.padEnd(NAME_WIDTH)}${detail}\n${todo}`;
}

function verdict(reports: readonly CheckReport[], tookMs: number): string {
  const failed = reports.filter(({ outcome }) => outcome === Outcome.FAIL).map(({ name }) => name);
  const took = `${(tookMs / 1_000).toFixed(1)} s`;
  return failed.length === 0
    ? `PASS: this machine runs Lethe (${reports.length} checks in ${took})\n`
    : `FAIL: ${failed.join(', ')} (${failed.length} of ${reports.length} checks in ${took}); what to do stands behind each\n`;
}

/** The first signal ends the test and takes away what it has made; a second one does not wait for that. */
function cleanUpOnSignals(cleanUp: () => Promise<void>): void {
  let isEnding = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    const code = interruptedBy[signal === 'SIGINT' ? signal : 'SIGTERM'];
    process.on(signal, () => {
      if (isEnding) process.exit(code);
      isEnding = true;
      cleanUp().then(
        () => process.exit(code),
        () => process.exit(code),
      );
    });
  }
}
