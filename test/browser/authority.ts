// A home directory whose owner trusts a private authority, as Chromium on Linux looks for it: an NSS database in .pki/nssdb.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Home {
  readonly path: string;
  remove(): void;
}

/** @param authority PEM file of its certificate */
export function homeTrusting(authority: string): Home {
  const path = mkdtempSync(join(tmpdir(), 'lethe-home-'));
  const database = join(path, '.pki', 'nssdb');
  mkdirSync(database, { recursive: true });
  const certutil = (...args: string[]) => execFileSync('certutil', ['-d', `sql:${database}`, ...args], { stdio: 'pipe' });
  certutil('-N', '--empty-password');
  certutil('-A', '-n', 'Lethe test authority', '-t', 'C,,', '-i', authority);
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
