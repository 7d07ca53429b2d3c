// `lethe serve`: from flags to a running broker, and from a signal to a clean end.
import { Command } from 'commander';
import { defaultLimits } from '../../protocol/limits.ts';
import { systemClock } from '../clock.ts';
import { descriptorLimit, reservedDescriptors } from '../descriptors.ts';
import { type Broker, type Config, ConfigError, createBroker, createLog, loadConfig, version } from '../lethe.ts';
import type { Log } from '../log.ts';
import { BindError } from '../network/bind.ts';
import { FolderBusyError } from '../spool/folder-busy.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { guardMemory } from './memory-guard.ts';
import { tellServiceManager } from './service-manager.ts';

interface ServeFlags {
  readonly host?: string;
  readonly port?: string;
  readonly wsPort?: string;
  readonly threads?: string;
  readonly data?: string;
  readonly ephemeral?: boolean;
  readonly config?: string;
  readonly set: readonly string[];
  readonly logLevel?: string;
  readonly readyJson?: boolean;
}

export function serveCommand(): Command {
  return new Command('serve')
    .description('run the broker (the default command)')
    .option('--host <address>', 'address of the listeners named tcp and ws (default 127.0.0.1)')
    .option('--port <port>', 'port of the listener named tcp; 0 takes a free one (default 1883)')
    .option('--ws-port <port>', 'port of the listener named ws; 0 takes a free one (default 8083)')
    .option('--threads <n>', 'shards, each a thread that listens on every port (default 1)')
    .option('--data <dir>', 'directory of the spool: sessions and messages survive a restart (default: memory only)')
    .option('--ephemeral', 'no disk at all, whatever the configuration says')
    .option('--config <file>', 'configuration file, TOML')
    .option('--set <key=value>', 'any option: limits.packet_bytes_max=1MiB, listener.tcp.port=1884', collect, [])
    .option('--log-level <level>', 'error, warn, info or debug')
    .option('--ready-json', 'print one line of JSON when ready, and nothing else, on standard output')
    .addHelpText('after', '\nEnvironment: LETHE_SECTION__KEY sets an option, for example LETHE_LIMITS__PACKET_BYTES_MAX=1MiB.')
    .addHelpText(
      'after',
      'Signals: SIGHUP reads the configuration and its files anew (lethe reload); SIGTERM and SIGINT stop, a second one at once. So does the end of a channel to the program that has started it (child_process.fork).',
    )
    .addHelpText('after', exitCodesHelp)
    .action(serve);
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

async function serve(flags: ServeFlags): Promise<void> {
  const config = configure(flags);
  if (config === null) return;
  // One that comes too early must not end the process.
  process.on('SIGHUP', () => void broker?.reload().catch(() => {}));
  process.once('disconnect', () => {
    if (broker === null) process.exit(ExitCode.FAILURE);
  });
  // Who listens for its end would wait for it.
  process.channel?.unref();
  const log = createLog(config.server.logLevel, (line) => process.stderr.write(`${line}\n`), systemClock.wallMs);
  if (!config.server.coreDumps) guardMemory(log);
  let broker: Broker | null = null;
  try {
    broker = await createBroker({ config, log, reread: () => load(flags), onFatal: () => exitNow(broker, ExitCode.FAILURE) });
  } catch (error) {
    process.stderr.write(`lethe: ${error instanceof Error ? error.message : String(error)}\n`);
    // What else goes wrong here stands in the configuration or in the files that it names: the operator's to mend.
    process.exitCode = error instanceof BindError || error instanceof FolderBusyError ? ExitCode.FAILURE : ExitCode.USAGE;
    return;
  }
  stopOnSignals(broker, log);
  void tellServiceManager('READY=1', log);
  if (flags.readyJson === true) process.stdout.write(`${readyLine(broker)}\n`);
  else announce(config, broker);
  tellOfDescriptors(config, log, flags.readyJson === true);
  for (const name of broker.insecure)
    log.warn('a listener is insecure by configuration: what it carries can be read on the way', { listener: name });
}

function configure(flags: ServeFlags): Config | null {
  try {
    return load(flags);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = ExitCode.USAGE;
    return null;
  }
}

/** @throws ConfigError */
function load(flags: ServeFlags): Config {
  const named: readonly (readonly [flag: string, key: string, value: string | undefined])[] = [
    ['--host', 'listener.tcp.host', flags.host],
    ['--host', 'listener.ws.host', flags.host],
    ['--port', 'listener.tcp.port', flags.port],
    ['--ws-port', 'listener.ws.port', flags.wsPort],
    ['--threads', 'server.threads', flags.threads],
    ['--data', 'server.data_dir', flags.data],
    ['--ephemeral', 'server.data_dir', flags.ephemeral === true ? '' : undefined],
    ['--log-level', 'server.log_level', flags.logLevel],
  ];
  return loadConfig({
    ...(flags.config === undefined ? {} : { file: flags.config }),
    env: process.env,
    set: flags.set,
    flags: named.flatMap(([flag, key, value]) => (value === undefined ? [] : [{ flag, key, value }])),
  });
}

function readyLine(broker: Broker): string {
  const { tcp, ws, tls, wss, admin } = broker;
  const ports = { tcp, ws, tls, wss, admin };
  const open = Object.fromEntries(Object.entries(ports).filter(([, port]) => port !== 0));
  return JSON.stringify({ ready: true, pid: process.pid, ...open });
}

function announce(config: Config, broker: Broker): void {
  for (const { name, transport, host, path } of config.listeners) {
    const shown = host.includes(':') ? `[${host}]` : host;
    const suffix = transport === 'ws' || transport === 'wss' ? path : '';
    process.stdout.write(`lethe ${version} listens: ${transport}://${shown}:${broker.ports.get(name)}${suffix}\n`);
  }
  const { host, certFile } = config.admin;
  if (broker.admin !== 0) {
    const shown = host.includes(':') ? `[${host}]` : host;
    process.stdout.write(`Live page and admin API: ${certFile === '' ? 'http' : 'https'}://${shown}:${broker.admin}/\n`);
  }
  const { dataDir } = config.server;
  const where = dataDir === '' ? 'in memory only (--data DIR keeps them on disk)' : `in ${dataDir}, encrypted${keyNote(broker)}`;
  process.stdout.write(`Sessions and queued messages are held ${where}. Stop with Ctrl-C.\n`);
}

/** Each connection takes a file descriptor. Who has asked for more than there are is warned. */
function tellOfDescriptors({ limits: { connectionsMax }, server: { threads } }: Config, log: Log, isQuiet: boolean): void {
  const room = (descriptorLimit() ?? Infinity) - reservedDescriptors(threads);
  if (connectionsMax <= room) return;
  if (connectionsMax !== defaultLimits.connectionsMax)
    log.warn('limits.connections_max is more than the file descriptors allow: raise LimitNOFILE= of the unit, or ulimit -n', {
      connections: Math.max(0, room),
    });
  else if (!isQuiet)
    process.stdout.write(`File descriptors allow about ${Math.max(0, room)} connections (LimitNOFILE=, ulimit -n).\n`);
}

/** A spool whose keys nothing but the mode of a file protects says so at every start. */
function keyNote(broker: Broker): string {
  return broker.spool?.hasMasterKey === true
    ? ' under your master key'
    : '; its keys are protected by file mode only (spool.key_file)';
}

/** Ends the process without waiting for anybody. A shard that does not answer must not make it linger, nor end in an abort. */
function exitNow(broker: Broker | null, code: number): void {
  if (broker === null) process.exit(code);
  broker.abandon().then(
    (isClean) => (isClean ? process.exit(code) : process.kill(process.pid, 'SIGKILL')),
    () => process.exit(code),
  );
}

/** The first signal stops in order, a second one at once. So does the end of the channel to a program that has started this one with one (child_process.fork): that program has ended, however it did. */
function stopOnSignals(broker: Broker, log: Log): void {
  const events = { SIGTERM: 143, SIGINT: 130, disconnect: ExitCode.FAILURE } as const;
  let stopping = false;
  for (const [event, code] of Object.entries(events)) {
    process.on(event, () => {
      if (stopping) return exitNow(broker, code);
      stopping = true;
      void tellServiceManager('STOPPING=1', log);
      broker.stop().then(
        () => process.exit(ExitCode.OK),
        (error: unknown) => {
          process.stderr.write(`lethe: stopping failed: ${error instanceof Error ? error.message : String(error)}\n`);
          process.exit(ExitCode.FAILURE);
        },
      );
    });
  }
}
