// Packages that are in the one-file program and not among the installed ones: the runtimes, and native code for another machine than this. npm
// brings them (from its own cache when it has them) and what it brings is held against the hash that is written down here or in the lock file.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

interface Locked {
  readonly version: string;
  readonly integrity: string;
}

/** Where they lie unpacked: with what npm has installed, and as easily made anew. */
const FOLDER = 'node_modules/.cache/lethe';

/** Brings the version of a package that the lock file names. Returns its folder. */
export function lockedPackage(root: string, name: string): string {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  };
  const locked = packages[`node_modules/${name}`];
  if (locked === undefined) throw new Error(`package-lock.json does not name ${name}`);
  return fetchPackage(root, name, locked.version, locked.integrity);
}

/** Returns the folder of the package. */
export function fetchPackage(root: string, name: string, version: string, integrity: string): string {
  const folder = join(root, FOLDER, `${name.replace('/', '+')}-${version}`);
  if (existsSync(folder)) return folder;
  mkdirSync(join(root, FOLDER), { recursive: true });
  const unfinished = mkdtempSync(`${folder}.`);
  try {
    const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', unfinished, `${name}@${version}`], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const archive = join(unfinished, packed.trim());
    const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
    if (found !== integrity) throw new Error(`${name}@${version} is ${found}, not ${integrity}`);
    execFileSync('tar', ['-xzf', archive, '-C', unfinished]);
    rmSync(archive);
    renameSync(join(unfinished, 'package'), folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return folder;
}
