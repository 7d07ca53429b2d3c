// A data directory of a test, with canaries of its own, and the two questions that are asked of it: is it there, and is it gone?
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { Canaries } from './canaries.ts';
import { type Found, type ScanOptions, type ScanReport, scan } from './scanner.ts';

/** The erasure bound is 1 s; the rest is for a machine that does other things too. */
const WAIT_MS = 10_000;
const LOOK_EVERY_MS = 25;

const folders: string[] = [];

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-forget-'));
  folders.push(folder);
  return folder;
}

export class Place {
  readonly folder = temporaryFolder();
  readonly canaries = new Canaries();
  /** The process that has the directory. */
  pid = process.pid;
  masters: readonly Uint8Array[] = [];

  /** The text of a canary. */
  text(name: string): string {
    return this.canaries.text(name);
  }

  scan(options: ScanOptions = {}): ScanReport {
    return scan(this.folder, this.canaries, { pid: this.pid, masters: this.masters, ...options });
  }

  /** Waits until each of these canaries can be read with the keys that are there: the proof that looking for them means something. */
  async isThere(...names: string[]): Promise<void> {
    await this.#until('not there', (found) => names.every((name) => found.some((one) => one.name === name)));
  }

  /** Waits until no canary whose name begins with `prefix` can be found in any way. */
  async isGone(prefix: string): Promise<void> {
    await this.holdsOnly(prefix, new Set());
  }

  /** Waits until of the canaries whose name begins with `prefix` exactly these can be found. */
  async holdsOnly(prefix: string, names: ReadonlySet<string>): Promise<void> {
    // One whose name is torn off may be any.
    const concerned = (found: readonly Found[]) => found.filter(({ name }) => name.startsWith(prefix) || name === '');
    await this.#until('not gone', (found) => {
      const left = new Set(concerned(found).map(({ name }) => name));
      return left.size === names.size && [...left].every((name) => names.has(name));
    });
  }

  async #until(what: string, holds: (found: readonly Found[]) => boolean): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      const { found } = this.scan();
      if (holds(found)) return;
      if (performance.now() - startedMs > WAIT_MS) {
        const places = found.map(({ name, encoding, where }) => `${name} (${encoding}) in ${where}`);
        throw new Error(`${what} after ${WAIT_MS} ms; found ${places.length}:\n${places.slice(0, 20).join('\n')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}
