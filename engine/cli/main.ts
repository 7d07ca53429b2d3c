#!/usr/bin/env node
// The command line: `lethe`, `lethe serve`, and the small tools around it. Each command's code is loaded when it is used.
import { Command, CommanderError } from 'commander';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { outliveTerminal } from './terminal.ts';

const SUPPORTED_NODE = [20, 22];

const major = Number(process.versions.node.split('.')[0]);
if (!SUPPORTED_NODE.includes(major)) {
  process.stderr.write(`lethe runs on Node ${SUPPORTED_NODE.join(' and ')}; this is Node ${process.versions.node}\n`);
  process.exit(ExitCode.FAILURE);
}

/** Commands by name, with how each is made. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve.ts')).serveCommand(),
  pub: async () => (await import('./pub.ts')).pubCommand(),
  sub: async () => (await import('./sub.ts')).subCommand(),
  inventory: async () => (await import('./inventory.ts')).inventoryCommand(),
  reload: async () => (await import('./reload.ts')).reloadCommand(),
  report: async () => (await import('./report.ts')).reportCommand(),
  erase: async () => (await import('./erase.ts')).eraseCommand(),
  export: async () => (await import('./export.ts')).exportCommand(),
  trace: async () => (await import('./trace.ts')).traceCommand(),
  audit: async () => (await import('./audit.ts')).auditCommand(),
  key: async () => (await import('./key.ts')).keyCommand(),
  pseudonym: async () => (await import('./pseudonym.ts')).pseudonymCommand(),
  // Imports point down only; this one, made when the command is used, is the one seam by which the program below reaches the load above it.
  bench: async () => (await import('../../bench/bench.ts')).benchCommand(),
  passwd: async () => (await import('./passwd.ts')).passwdCommand(),
  'check-config': async () => (await import('./config.ts')).checkConfigCommand(),
  'print-config': async () => (await import('./config.ts')).printConfigCommand(),
  'self-test': async () => (await import('./self-test.ts')).selfTestCommand(),
  version: async () => (await import('./version.ts')).versionCommand(),
};

async function main(args: readonly string[]): Promise<void> {
  const argv = args[0] === '--version' ? ['version'] : args;
  const [first] = argv;
  const takesDefault = first === undefined || (first.startsWith('-') && first !== '--help');
  const program = new Command('lethe')
    .description('An MQTT broker that forgets. Without a command it serves, as `lethe serve` does.')
    .enablePositionalOptions()
    .addHelpText('after', exitCodesHelp)
    .exitOverride();
  // All of them for help, and for a name that is none of them: commander suggests the nearest.
  const wanted = takesDefault ? ['serve'] : Object.hasOwn(commands, first) ? [first] : Object.keys(commands);
  for (const name of wanted) program.addCommand((await commands[name]!()).exitOverride());
  try {
    await program.parseAsync([...(takesDefault ? ['serve'] : []), ...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  }
}

outliveTerminal();

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`lethe: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(ExitCode.FAILURE);
});
