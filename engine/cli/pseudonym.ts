// `lethe pseudonym`: the name under which a client stands in lists, metrics and the audit log.
import { Command } from 'commander';
import { findPseudonymKey, pseudonymOf } from '../administration/pseudonym.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

const EXAMPLES = `
The key is the one in the data directory, or that of admin.pseudonym_key_file. A broker makes it when it first starts on a directory.

Examples:
  lethe pseudonym sensor-17 --data /var/lib/lethe
  lethe inventory --by-client --data /var/lib/lethe | grep "$(lethe pseudonym sensor-17 --data /var/lib/lethe)"`;

export function pseudonymCommand(): Command {
  return withFolderOptions(new Command('pseudonym'))
    .description('print the pseudonym of a client: how it is named in lists and in the audit log')
    .argument('<client-id>', 'client identifier')
    .addHelpText('after', EXAMPLES)
    .addHelpText('after', exitCodesHelp)
    .action((clientId: string, flags: FolderFlags) => {
      try {
        const { admin, server } = folderConfig(flags);
        const key = findPseudonymKey({ file: admin.pseudonymKeyFile, folder: server.dataDir });
        if (key === null)
          throw new Failure(`${server.dataDir}: there is no pseudonym.key here; the broker makes it when it first starts`);
        process.stdout.write(`${pseudonymOf(key, clientId)}\n`);
      } catch (error) {
        endWith('pseudonym', error instanceof Failure ? error : new Failure((error as Error).message, ExitCode.FAILURE));
      }
    });
}
