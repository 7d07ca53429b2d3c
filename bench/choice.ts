// What the benches have in common at their command line: rows or cells are chosen by key, and numbers are numbers.
import { ExitCode } from '../engine/cli/exit-code.ts';
import { Failure } from '../engine/cli/failure.ts';

/**
 * Those that are named by a list such as `tcp,ws`, in the order of the table; all of them where nothing is named.
 * @param what one of them is called, for the complaint about a key that is none of theirs
 */
export function chosen<Item extends { readonly key: string }>(
  all: readonly Item[],
  keys: string | undefined,
  what: string,
): readonly Item[] {
  if (keys === undefined) return all;
  const wanted = keys.split(',').map((key) => key.trim());
  const unknown = wanted.filter((key) => !all.some((item) => item.key === key));
  if (unknown.length > 0)
    throw new Failure(`there is no ${what} '${unknown.join("', '")}'; there are: ${keysOf(all)}`, ExitCode.USAGE);
  return all.filter(({ key }) => wanted.includes(key));
}

export function keysOf(all: readonly { readonly key: string }[]): string {
  return all.map(({ key }) => key).join(', ');
}

export function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new Failure(`${flag}: '${text}' is not a positive number`, ExitCode.USAGE);
  return value;
}

/** Runs the program of a bench; what a person has to know about a failure is one line, without a stack. */
export async function runProgram(program: () => Promise<void>): Promise<void> {
  try {
    await program();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}
