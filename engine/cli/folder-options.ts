// Options of the commands that work on a data directory: which one, and where its master key is.
import type { Command } from 'commander';
import { type Config, ConfigError, loadConfig } from '../lethe.ts';
import { ExitCode } from './exit-code.ts';
import { Failure } from './failure.ts';

export interface FolderFlags {
  readonly data?: string;
  readonly config?: string;
  readonly set: readonly string[];
}

export function withFolderOptions(command: Command): Command {
  return command
    .option('--data <dir>', 'data directory, as lethe serve has it')
    .option('--config <file>', 'configuration file, TOML: names the directory and the master key')
    .option(
      '--set <key=value>',
      'any option, for example spool.key_file=/run/keys/lethe',
      (value: string, before: string[]) => [...before, value],
      [],
    );
}

/** The configuration that the flags describe. @throws Failure when it is wrong, or names no directory */
export function folderConfig(flags: FolderFlags): Config {
  const config = anyConfig(flags);
  if (config.server.dataDir === '')
    throw new Failure('no data directory; give --data DIR, or --config FILE with server.data_dir', ExitCode.USAGE);
  return config;
}

/** The same, whether it names a directory or not. @throws Failure when it is wrong */
export function anyConfig(flags: FolderFlags): Config {
  try {
    return loadConfig({
      ...(flags.config === undefined ? {} : { file: flags.config }),
      env: process.env,
      set: flags.set,
      flags: flags.data === undefined ? [] : [{ flag: '--data', key: 'server.data_dir', value: flags.data }],
    });
  } catch (error) {
    throw error instanceof ConfigError ? new Failure(error.message, ExitCode.USAGE) : error;
  }
}
