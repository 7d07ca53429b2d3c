// `lethe audit verify`: whether the audit log is whole and unchanged.
import { Command } from 'commander';
import { type AuditVerdict, verifyAudit } from '../administration/audit-verify.ts';
import { auditFile } from '../administration/keep-audit.ts';
import { auditKeyOf } from '../shards/stopped-directory.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

const HELP = `
Without FILE the log is the one of the data directory or of audit.file, and its seals are checked where the master key is at hand.
Exit code 0: whole; 1: broken, and the line says where, or it cannot be read.

Examples:
  lethe audit verify --data /var/lib/lethe
  lethe audit verify /backup/audit.log`;

export function auditCommand(): Command {
  const command = new Command('audit').description('verify the audit log');
  withFolderOptions(command.command('verify'))
    .description('verify that no line of the audit log was changed, dropped, moved or made up')
    .argument('[file]', 'audit log; files put aside are found beside it')
    .option('--json', 'print the verdict as JSON')
    .addHelpText('after', HELP)
    .addHelpText('after', exitCodesHelp)
    .action(async (file: string | undefined, flags: FolderFlags & { readonly json?: boolean }) => {
      try {
        const verdict =
          file === undefined || flags.data !== undefined || flags.config !== undefined
            ? await ofFolder(file, flags)
            : verifyAudit(file, null);
        process.stdout.write(flags.json === true ? `${JSON.stringify(verdict)}\n` : describe(verdict));
        if (verdict.broken !== null) process.exitCode = ExitCode.FAILURE;
      } catch (error) {
        endWith('audit verify', error instanceof Failure ? error : new Failure(messageOf(error)));
      }
    });
  return command;
}

async function ofFolder(file: string | undefined, flags: FolderFlags): Promise<AuditVerdict> {
  const config = folderConfig(flags);
  return verifyAudit(file ?? auditFile(config), await auditKeyOf(config));
}

function describe({ files, entries, first, last, sealed, notes, broken }: AuditVerdict): string {
  const span =
    first === null || last === null ? 'no entry' : `entries ${first.sequence} to ${last.sequence}, ${first.time} to ${last.time}`;
  const found = `${span}; ${entries} in ${files} ${files === 1 ? 'file' : 'files'}, ${sealed} seals checked`;
  const lines = broken === null ? [`whole: ${found}`] : [`BROKEN: ${broken}`, `before that: ${found}`];
  return `${[...lines, ...notes.map((note) => `note: ${note}`)].join('\n')}\n`;
}
