// `lethe pseudonym`: the name under which a client stands in lists, metrics and the audit log.
import { Command } from 'commander';
import { pseudonymOf } from '../administration/pseudonym.ts';
import { pseudonymKeyOf } from '../shards/stopped-directory.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

const EXAMPLES = `
The key is that of admin.pseudonym_key_file, or pseudonym.key in the data directory, or, with a master key (--config, or --set spool.key_file=…), one that is derived from it. A broker makes
it when it first starts on a directory.

Examples:
  lethe pseudonym sensor-17 --data /var/lib/lethe
  lethe inventory --by-client --data /var/lib/lethe | grep "$(lethe pseudonym sensor-17 --data /var/lib/lethe)"`;

export function pseudonymCommand(): Command {
  return withFolderOptions(new Command('pseudonym'))
    .description('print the pseudonym of a client: how it is named in lists and in the audit log')
    .argument('<client-id>', 'client identifier')
    .addHelpText('after', EXAMPLES)
    .addHelpText('after', exitCodesHelp)
    .action(async (clientId: string, flags: FolderFlags) => {
      try {
        const config = folderConfig(flags);
        const key = await pseudonymKeyOf(config);
        if (key === null) {
          throw new Failure(
            `${config.server.dataDir}: there is no key of pseudonyms here; the broker makes it when it first starts, and a master key gives it where the configuration names one`,
          );
        }
        process.stdout.write(`${pseudonymOf(key, clientId)}\n`);
      } catch (error) {
        endWith('pseudonym', error instanceof Failure ? error : new Failure((error as Error).message, ExitCode.FAILURE));
      }
    });
}
