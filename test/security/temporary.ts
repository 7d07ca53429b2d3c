// A directory for one test file, and the oracle's tools.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export const directory = mkdtempSync(join(tmpdir(), 'lethe-security-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let files = 0;

/** Writes a new file, mode 0600 unless told. */
export function temporaryFile(text: string | Uint8Array, mode = 0o600): string {
  const path = join(directory, `file-${++files}`);
  writeFileSync(path, text, { mode });
  return path;
}

/** The message of what `act` throws. */
export function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  throw new Error('nothing was thrown');
}

export const hasMosquittoPasswd = spawnSync('mosquitto_passwd', ['--help']).error === undefined;

export function mosquittoPasswd(...args: string[]): void {
  const { status, stderr } = spawnSync('mosquitto_passwd', args);
  if (status !== 0) throw new Error(`mosquitto_passwd: ${stderr}`);
}
