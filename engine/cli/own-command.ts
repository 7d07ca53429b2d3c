// How this program is started once more, as a process of its own: by Node with the file that it was started with, or, where both are one file (Node's single-executable format), by that file alone, which takes
// the command's arguments directly.
import { isSea } from 'node:sea';

/** The program and its first arguments; those of a command come behind them. */
export function ownCommand(): readonly string[] {
  return isSea() ? [process.execPath] : [process.execPath, ...process.execArgv, process.argv[1]!];
}
