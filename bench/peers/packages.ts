// Brokers that Debian has packages of: installed when they are missing and this may be done; otherwise a sentence that says how.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const APT = '/usr/bin/apt-get';

export interface Powers {
  readonly isRoot: boolean;
  readonly hasApt: boolean;
  readonly mayInstall: boolean;
}

export function powersHere(mayInstall: boolean): Powers {
  return { isRoot: process.getuid?.() === 0, hasApt: existsSync(APT), mayInstall };
}

/** What keeps it from being installed, and how to get it; null: nothing. */
export function obstacle(name: string, { isRoot, hasApt, mayInstall }: Powers): string | null {
  const is = `${name} is not installed and is left out`;
  if (!hasApt) return `${is}: there is no apt-get here; install ${name} by hand`;
  const how = `apt-get install ${name}`;
  if (!mayInstall) return `${is}, as --no-install says: ${how}`;
  return isRoot ? null : `${is}: that needs root; sudo ${how}`;
}

/** Returns what went wrong; null: nothing. */
export function install(name: string): string | null {
  // A runlevel of maintenance keeps Debian from starting the service, which would hold the usual port.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  for (const args of [['update'], ['install', '--yes', '--no-install-recommends', name]]) {
    const { status, stderr } = spawnSync(APT, args, { env, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
    if (status !== 0) return `${name} is left out: apt-get ${args.join(' ')} failed: ${stderr.trim().split('\n').at(-1) ?? ''}`;
  }
  return null;
}
