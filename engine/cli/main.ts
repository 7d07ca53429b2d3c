#!/usr/bin/env node
// The command line: `lethe`, `lethe serve`, and the small tools around it. Each command's code is loaded when it is used.
import { Command, CommanderError } from 'commander';
import { ExitCode, exitCodesHelp } from './exit-code.ts';

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
  passwd: async () => (await import('./passwd.ts')).passwdCommand(),
  'check-config': async () => (await import('./config.ts')).checkConfigCommand(),
  'print-config': async () => (await import('./config.ts')).printConfigCommand(),
  version: async () => (await import('./version.ts')).versionCommand(),
};

async function main(argv: readonly string[]): Promise<void> {
  const [first] = argv;
  const asksHelp = first === '--help' || first === 'help';
  const program = new Command('lethe')
    .description('An MQTT broker that forgets. Without a command it serves, as `lethe serve` does.')
    .enablePositionalOptions()
    .addHelpText('after', exitCodesHelp)
    .exitOverride();
  const wanted = first !== undefined && first in commands ? [first] : asksHelp ? Object.keys(commands) : ['serve'];
  for (const name of wanted) program.addCommand((await commands[name]!()).exitOverride());
  const takesDefault = !asksHelp && (first === undefined || (first.startsWith('-') && first !== '--help'));
  try {
    await program.parseAsync([...(takesDefault ? ['serve'] : []), ...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`lethe: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(ExitCode.FAILURE);
});
