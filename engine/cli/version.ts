// `lethe version`.
import { Command } from 'commander';
import { version } from '../lethe.ts';
import { exitCodesHelp } from './exit-code.ts';

export function versionCommand(): Command {
  return new Command('version')
    .description('print the version')
    .addHelpText('after', exitCodesHelp)
    .action(() => {
      process.stdout.write(`lethe ${version}\n`);
    });
}
