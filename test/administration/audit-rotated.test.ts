// `lethe audit verify` on a broker that rotates its log under the reading.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { AuditEvent, openAudit } from '../../engine/administration/audit.ts';
import { asideFiles } from '../../engine/administration/audit-files.ts';
import { verifyAudit } from '../../engine/administration/audit-verify.ts';
import { systemClock } from '../../engine/clock.ts';
import { silentLog } from '../../engine/log.ts';

/** What happens once, before or after the next file is read. */
const meanwhile: { before: (() => void) | null; after: (() => void) | null } = { before: null, after: null };
function happen(when: 'before' | 'after'): void {
  const act = meanwhile[when];
  meanwhile[when] = null;
  act?.();
}
vi.mock('../../engine/administration/audit-files.ts', async (original) => {
  const real = await original<typeof import('../../engine/administration/audit-files.ts')>();
  return {
    ...real,
    readLines: (path: string) => {
      happen('before');
      const lines = real.readLines(path);
      happen('after');
      return lines;
    },
  };
});

const folder = mkdtempSync(join(tmpdir(), 'lethe-rotated-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function write(file: string, entries: number, rotateBytes: number): Promise<void> {
  const audit = openAudit({ file, rotateBytes, keepFiles: 10, key: null }, systemClock, silentLog);
  for (let count = 1; count <= entries; count++) audit.record(AuditEvent.LOGINS_REFUSED, { count });
  await audit.close();
}

test.each([
  ['rotated and written to', 4, 'before'],
  ['rotated and written to', 4, 'after'],
  ['written to', 0, 'before'],
  ['written to', 0, 'after'],
] as const)('%s (%i rotations) %s a file is read', async (name, rotations, when) => {
  const before = join(folder, name, when, 'before');
  const after = join(folder, name, when, 'after');
  mkdirSync(before, { recursive: true });
  await write(join(before, 'audit.log'), 10, 1_048_576);
  cpSync(before, after, { recursive: true });
  for (let round = 0; round <= rotations; round++) await write(join(after, 'audit.log'), 5, rotations === 0 ? 1_048_576 : 512);
  expect(asideFiles(join(after, 'audit.log')).length > 0).toBe(rotations > 0);
  meanwhile[when] = () => cpSync(after, before, { recursive: true });
  expect(verifyAudit(join(before, 'audit.log'), null)).toMatchObject({ broken: null, notes: [] });
});
