// `lethe check-config` and `lethe print-config`.
import { Command } from 'commander';
import { printConfig } from '../config/print.ts';
import { type Config, ConfigError, loadConfig, loadSecurity } from '../lethe.ts';
import { silentLog } from '../log.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';

export function checkConfigCommand(): Command {
  return new Command('check-config')
    .description('judge a configuration file and the password, ACL and key files that it names, without serving')
    .argument('<file>', 'configuration file, TOML')
    .addHelpText('after', '\nExample:\n  lethe check-config lethe.toml && systemctl restart lethe')
    .addHelpText('after', exitCodesHelp)
    .action(async (file: string) => {
      const config = load({ file });
      if (config === null) return;
      try {
        (await loadSecurity(config, silentLog)).close();
      } catch (error) {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
        process.exitCode = ExitCode.USAGE;
        return;
      }
      process.stdout.write(`${file}: fine\n`);
      for (const { name, transport, host, port } of config.listeners)
        process.stdout.write(`  ${name}: ${transport} ${host}:${port}\n`);
    });
}

export function printConfigCommand(): Command {
  return new Command('print-config')
    .description('print every option as it would hold, as a complete configuration file')
    .option('--config <file>', 'start from this file instead of the defaults')
    .addHelpText(
      'after',
      '\nExamples:\n  lethe print-config > lethe.toml\n  LETHE_LIMITS__INFLIGHT_MAX=16 lethe print-config --config lethe.toml',
    )
    .addHelpText('after', exitCodesHelp)
    .action((flags: { readonly config?: string }) => {
      const config = load({ ...(flags.config === undefined ? {} : { file: flags.config }), env: process.env });
      if (config !== null) process.stdout.write(printConfig(config));
    });
}

function load(sources: Parameters<typeof loadConfig>[0]): Config | null {
  try {
    return loadConfig(sources);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = ExitCode.USAGE;
    return null;
  }
}
