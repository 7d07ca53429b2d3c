// The one-file program of this machine, made from the build unless it is newer than that: once, whoever of the tests asks first.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Child, type ChildOptions } from '../end-to-end/child.ts';

const root = new URL('../..', import.meta.url).pathname;

/** What the machine's processor is called in names of the file. */
export const PLATFORM = `linux-${process.arch}`;
export const BUNDLE = join(root, `dist/lethe-${PLATFORM}`);

/** Time for npm to bring the runtime, and for everything to be put together on a machine that does other things too. */
export const MAKE_MS_MAX = 300_000;

/** @param flags of `npm run bundle` */
export function makeBundle(flags: readonly string[] = []): void {
  const maker = join(root, 'dist/engine/release/main.js');
  const args = [join(root, 'dist/.bundle.lock'), process.execPath, maker, '--if-changed', ...flags];
  execFileSync('flock', args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: MAKE_MS_MAX });
}

/** Runs a command of it to its end. */
export async function bundled(args: readonly string[], options: ChildOptions = {}): Promise<Child> {
  const child = new Child(BUNDLE, args, options);
  await child.exited;
  return child;
}
