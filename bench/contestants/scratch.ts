// Folders for the files of brokers under test; none outlives the process.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folders = new Set<string>();
process.on('exit', () => {
  for (const folder of folders) removeScratch(folder);
});

export function scratchFolder(parent = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'lethe-bench-'));
  folders.add(folder);
  return folder;
}

export function removeScratch(folder: string): void {
  folders.delete(folder);
  rmSync(folder, { recursive: true, force: true });
}
