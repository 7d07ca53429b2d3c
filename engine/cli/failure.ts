// How a command ends early: a message for the person who typed it, and an exit code.
import { ExitCode } from './exit-code.ts';

export class Failure extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = ExitCode.FAILURE) {
    super(message);
    this.name = 'Failure';
    this.exitCode = exitCode;
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Tells `error` on standard error under the command's name, unless told to be quiet, and sets the exit code. */
export function endWith(command: string, error: unknown, quiet = false): void {
  if (!quiet) process.stderr.write(`lethe ${command}: ${messageOf(error)}\n`);
  process.exitCode = error instanceof Failure ? error.exitCode : ExitCode.FAILURE;
}
