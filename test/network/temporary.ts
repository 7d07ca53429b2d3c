// A directory of test certificates for the life of one test file, and waiting without sleeping.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { type Certificates, makeCertificates } from '../certificates.ts';

const WAIT_MS_MAX = 20_000;

/** Resolves when the condition holds; fails by name when it does not within 20 s. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const startMs = performance.now();
  while (!condition()) {
    if (performance.now() - startMs > WAIT_MS_MAX) throw new Error(`waited in vain until ${what}`);
    await turn();
  }
}

export function temporaryCertificates(): { readonly files: Certificates; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), 'lethe-network-'));
  return { files: makeCertificates(dir), remove: () => rmSync(dir, { recursive: true, force: true }) };
}
