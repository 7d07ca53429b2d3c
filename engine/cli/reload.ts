// `lethe reload`: has the broker that runs on a data directory read its configuration and files anew, and says what came of it.
import { Command } from 'commander';
import type { ReloadReport } from '../lethe.ts';
import { callOwner } from '../spool/folder-lock.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

const EXAMPLES = `
Examples:
  lethe reload --data /var/lib/lethe
  lethe reload --config /etc/lethe.toml

The broker reads what it was started with: the same file, environment and flags. Passwords, rights, certificates, authorities and most
options are put in force without disconnecting a client (docs/RELOAD.md). When anything is wrong, everything stays as it was, and
the answer says what is wrong. A broker without a data directory takes SIGHUP instead, and answers in its log.`;

export function reloadCommand(): Command {
  return withFolderOptions(new Command('reload'))
    .description('have a running broker read its configuration, passwords, rights and certificates anew')
    .option('--json', 'print the answer as JSON')
    .addHelpText('after', EXAMPLES)
    .addHelpText('after', exitCodesHelp)
    .action(async (flags: FolderFlags & { readonly json?: boolean }) => {
      try {
        const { dataDir } = folderConfig(flags).server;
        const answer = await callOwner(dataDir, 'POST', '/v1/reload');
        if (answer === null) throw new Failure(`${dataDir}: no broker runs on this data directory`);
        if (answer.status !== 200) throw new Failure((answer.body as { readonly error: string }).error);
        process.stdout.write(flags.json === true ? `${JSON.stringify(answer.body)}\n` : words(answer.body as ReloadReport));
      } catch (error) {
        endWith('reload', error instanceof Failure ? error : new Failure((error as Error).message, ExitCode.FAILURE));
      }
    });
}

function words({ changed, restart, ended, dropped }: ReloadReport): string {
  const lines = [`reloaded; ${changed.length === 0 ? 'no option has changed' : `changed: ${changed.join(', ')}`}`];
  if (ended > 0) lines.push(`connections ended, because their certificate or address does not hold any more: ${ended}`);
  if (dropped > 0) lines.push(`queued messages dropped, because their receivers may not have them any more: ${dropped}`);
  if (restart.length > 0) lines.push(`these need a restart, and stay as they were: ${restart.join(', ')}`);
  return `${lines.join('\n')}\n`;
}
