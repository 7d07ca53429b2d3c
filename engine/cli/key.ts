// `lethe key`: makes a master key, and wraps the keys of a spool under another one.
import { Command } from 'commander';
import { systemRandom } from '../random.ts';
import { rotateMasterKey } from '../shards/stopped-directory.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

interface RotateFlags extends FolderFlags {
  readonly newKeyFile?: string;
  readonly newKeyEnv?: string;
  readonly newKeyCommand?: readonly string[];
  readonly noKey?: boolean;
}

const KEY_BYTES = 32;
const ROTATE_HELP = `
The key of now comes from the configuration (spool.key_file, spool.key_env or spool.key_command; none of them: the spool has no master key).
A broker that runs on the directory goes on undisturbed; change its configuration before it starts the next time.

Examples:
  lethe key new > /etc/lethe/master.key
  lethe key rotate --config /etc/lethe.toml --new-key-file /etc/lethe/master.key
  lethe key rotate --data /var/lib/lethe --set spool.key_env=LETHE_KEY --new-key-command pass show lethe`;

export function keyCommand(): Command {
  const command = new Command('key').description('make a master key, or wrap the keys of a spool under another one');
  command
    .command('new')
    .description('print a new master key: 64 hex digits')
    .action(() => {
      process.stdout.write(`${Buffer.from(systemRandom.bytes(KEY_BYTES)).toString('hex')}\n`);
    });
  withFolderOptions(command.command('rotate'))
    .description('wrap the keys of a spool under another master key, also while a broker runs on it')
    .option('--new-key-file <file>', 'file with the new master key')
    .option('--new-key-env <name>', 'environment variable with the new master key')
    .option('--new-key-command <program...>', 'program and arguments that print the new master key')
    .option('--no-key', 'from now on no master key: the mode of the files alone protects the keys')
    .addHelpText('after', ROTATE_HELP)
    .addHelpText('after', exitCodesHelp)
    .action((flags: RotateFlags & { readonly key: boolean }) => rotate(flags));
  return command;
}

async function rotate(flags: RotateFlags & { readonly key: boolean }): Promise<void> {
  try {
    const next = { file: flags.newKeyFile ?? '', env: flags.newKeyEnv ?? '', command: flags.newKeyCommand ?? [] };
    const given = [next.file !== '', next.env !== '', next.command.length > 0, !flags.key].filter(Boolean).length;
    if (given !== 1) {
      throw new Failure('give exactly one of --new-key-file, --new-key-env, --new-key-command and --no-key', ExitCode.USAGE);
    }
    const config = folderConfig(flags);
    await rotateMasterKey(config, next);
    process.stdout.write(
      `${config.server.dataDir}: the keys are wrapped ${flags.key ? 'under the new master key' : 'without a master key'}\n`,
    );
  } catch (error) {
    endWith('key rotate', error instanceof Failure ? error : new Failure((error as Error).message, ExitCode.FAILURE));
  }
}
