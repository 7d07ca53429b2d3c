// `lethe export`: what is held for a client, into a file that this command makes, for the one who asked and nobody else.
import { closeSync, fchownSync, openSync, rmSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { ExportReceipt } from '../administration/export.ts';
import { ask } from './ask.ts';
import { exitCodesHelp } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

interface ExportFlags extends FolderFlags {
  readonly client: string;
  readonly output: string;
  readonly json?: boolean;
}

const HELP = `
The file is made with mode 0600 and never overwritten: lines of JSON with the session, its subscriptions, and the messages that wait for
the client, payloads in base64; the last line says "end". Nothing is changed, and nothing is erased. A running broker writes the file
itself, so its user must be able to enter the folder.

Example:
  lethe export --client sensor-17 --output /var/lib/lethe-exports/17.jsonl --data /var/lib/lethe`;

export function exportCommand(): Command {
  return withFolderOptions(new Command('export'))
    .description('write what is held for a client into a file, for the data subject')
    .requiredOption('--client <id>', 'client identifier')
    .requiredOption('--output <file>', 'file to make')
    .option('--json', 'print the receipt as JSON')
    .addHelpText('after', HELP)
    .addHelpText('after', exitCodesHelp)
    .action(async (flags: ExportFlags) => {
      try {
        const receipt = await exportInto(flags);
        process.stdout.write(flags.json === true ? `${JSON.stringify(receipt)}\n` : describe(receipt));
      } catch (error) {
        endWith('export', error instanceof Failure ? error : new Failure(messageOf(error)));
      }
    });
}

async function exportInto(flags: ExportFlags): Promise<ExportReceipt> {
  const config = folderConfig(flags);
  const path = resolve(flags.output);
  const file = makeFile(path);
  const isRoot = process.geteuid?.() === 0;
  try {
    // For the time of the export it belongs to the user whose broker writes it.
    const owner = statSync(config.server.dataDir, { throwIfNoEntry: false });
    if (isRoot && owner !== undefined) fchownSync(file, owner.uid, owner.gid);
    return (await ask(config, 'POST', '/v1/export', { client: flags.client, path })) as ExportReceipt;
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    if (isRoot) fchownSync(file, 0, 0);
    closeSync(file);
  }
}

/** The descriptor of a new file. */
function makeFile(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    throw new Failure(`${path}: cannot be made (${(error as NodeJS.ErrnoException).code}); give a file that is not there yet`);
  }
}

function describe({ subject, time, subscriptions, messages, bytes }: ExportReceipt): string {
  return `exported at ${time}\nsubject       client ${subject}\nsubscriptions ${subscriptions}\nmessages      ${messages}\nbytes         ${bytes}\n`;
}
