// When the program was made, for what puts it together: the time of the commit, so that two builds of one commit are the same bytes.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { madeMs } from './version.ts';

/** Seconds since 1970; SOURCE_DATE_EPOCH where it is set, as other tools take it. @throws Error when neither it nor git tells */
export function commitTimeS(root: string): number {
  const told = process.env['SOURCE_DATE_EPOCH'];
  const show = ['log', '-1', '--format=%ct'];
  return Number(told ?? execFileSync('git', show, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
}

/** What stands in a bundle for version.ts. */
export function versionModule(root: string): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return `export const version = ${JSON.stringify(version)};\nexport const madeMs = ${madeAt(root)};\n`;
}

function madeAt(root: string): number {
  try {
    return commitTimeS(root) * 1_000;
  } catch {
    return madeMs; // sources without their history
  }
}
