// `lethe report`: the record of processing, of the broker that runs on a data directory or of a configuration.
import { Command } from 'commander';
import { type ProcessingRecord, processingRecord, recordPage } from '../administration/report.ts';
import { systemClock } from '../clock.ts';
import { version } from '../version.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure } from './failure.ts';
import { anyConfig, type FolderFlags, withFolderOptions } from './folder-options.ts';

const EXAMPLES = `
Examples:
  lethe report --config /etc/lethe/lethe.toml > record-of-processing.md
  lethe report --data /var/lib/lethe --json

With a broker that runs on the data directory it is its configuration that is described, as it is in force, with what is held now; otherwise the
configuration that is given. The page is a record of processing under GDPR Art. 30(2); what this program cannot know stands in brackets.
It names no user, topic or path.`;

export function reportCommand(): Command {
  return withFolderOptions(new Command('report'))
    .description('write a record of processing: what is stored, where, how long, and which measures are in force')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLES)
    .addHelpText('after', exitCodesHelp)
    .action(async (flags: FolderFlags & { readonly json?: boolean }) => {
      try {
        const record = await find(flags);
        process.stdout.write(flags.json === true ? `${JSON.stringify(record)}\n` : recordPage(record));
      } catch (error) {
        endWith('report', error instanceof Failure ? error : new Failure((error as Error).message, ExitCode.FAILURE));
      }
    });
}

async function find(flags: FolderFlags): Promise<ProcessingRecord> {
  const config = anyConfig(flags);
  if (config.server.dataDir !== '') {
    const { callOwner } = await import('../spool/folder-lock.ts');
    const answer = await callOwner(config.server.dataDir, 'GET', '/v1/report');
    if (answer?.status === 200) return answer.body as ProcessingRecord;
    if (answer !== null) throw new Failure(`the broker answers with status ${answer.status}`);
  }
  return processingRecord(config, version, systemClock.wallMs(), null);
}
