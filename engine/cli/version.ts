// `lethe version`.
import { Command } from 'commander';
import { version } from '../lethe.ts';

export function versionCommand(): Command {
  return new Command('version').description('print the version').action(() => {
    process.stdout.write(`lethe ${version}\n`);
  });
}
