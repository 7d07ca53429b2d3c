// The audit log: every entry follows from the one before it, whatever is done to the files afterwards; a crash loses no entry that was flushed, and tears none unnoticed.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { builtFile } from '../../bench/contestants/built-file.ts';
import { type Audit, AuditEvent, type AuditSettings, openAudit } from '../../engine/administration/audit.ts';
import { asideFiles, headName } from '../../engine/administration/audit-files.ts';
import { verifyAudit } from '../../engine/administration/audit-verify.ts';
import { systemClock } from '../../engine/clock.ts';
import { type Log, silentLog } from '../../engine/log.ts';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function freshFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-audit-'));
  folders.push(folder);
  return join(folder, 'audit.log');
}

const KEY = Buffer.alloc(32, 5);
const SETTINGS: Omit<AuditSettings, 'file'> = { rotateBytes: 1_048_576, keepFiles: 10, key: null };

function open(file: string, settings: Partial<AuditSettings> = {}, log: Log = silentLog): Audit {
  return openAudit({ ...SETTINGS, file, ...settings }, systemClock, log);
}

async function write(file: string, entries: number, settings: Parameters<typeof open>[1] = {}): Promise<void> {
  const audit = open(file, settings);
  for (let number = 0; number < entries; number++) audit.record(AuditEvent.LOGINS_REFUSED, { count: number + 1 });
  await audit.close();
}

describe('what is written', () => {
  test('is chained over restarts and rotations, for its owner alone', async () => {
    const file = freshFile();
    for (let round = 0; round < 4; round++) await write(file, 70, { rotateBytes: 4_096 });
    const verdict = verifyAudit(file, null);
    expect(verdict).toMatchObject({ broken: null, notes: [], first: { sequence: 1 } });
    expect(verdict.files).toBeGreaterThan(2);
    const rotations = verdict.files - 1;
    expect(verdict.entries).toBe(4 * 70 + rotations);
    for (const name of readdirSync(join(file, '..'))) expect(statSync(join(file, '..', name)).mode & 0o777, name).toBe(0o600);
  });

  test('goes when there are more files than are kept, and says so', async () => {
    const file = freshFile();
    for (let round = 0; round < 8; round++) await write(file, 70, { rotateBytes: 4_096, keepFiles: 3 });
    const verdict = verifyAudit(file, null);
    expect(verdict).toMatchObject({ broken: null, files: 3 });
    expect(verdict.notes).toEqual([expect.stringMatching(/^entries before \d+ are no longer kept/)]);
    // One that is missing beyond that is missed.
    rmSync(asideFiles(file)[0]!.path);
    expect(verifyAudit(file, null).broken).toContain('files are missing');
  });

  test('holds numbers, words and reasons, and nothing that could be a name', async () => {
    const audit = open(freshFile());
    for (const bad of ['a b', 'sensor/17', 'anna@example.org', '', 'ä', 'x'.repeat(129)])
      expect(() => audit.record(AuditEvent.KICK, { client: bad }), bad).toThrow('audit: the field client');
    expect(() => audit.record(AuditEvent.KICK, { count: Number.NaN })).toThrow('audit: the field count');
    expect(() => audit.record(AuditEvent.TRACE_BEGIN, { reason: 'two\nlines' })).toThrow('audit: the field reason');
    audit.record(AuditEvent.TRACE_BEGIN, { reason: 'complaint of the subject, ticket 17' });
    await audit.close();
  });

  test('waits while the disk does not take it, and what finds no room is counted', async () => {
    const file = freshFile();
    const errors: string[] = [];
    let retry = () => {};
    const clock = {
      ...systemClock,
      after: (_delayMs: number, wake: () => void) => {
        retry = wake;
        return () => {};
      },
    };
    const audit = openAudit({ ...SETTINGS, file }, clock, { ...silentLog, error: (message) => errors.push(message) });
    rmSync(join(file, '..'), { recursive: true });
    for (let number = 0; number < 5_000; number++) audit.record(AuditEvent.RELOAD);
    await vi.waitFor(() => expect(errors).toContain('the audit log cannot be written; its entries wait'));
    expect(errors).toContain('the audit log cannot take entries; they are lost');
    expect(audit.lost).toBe(5_000 - 4_096);
    mkdirSync(join(file, '..'));
    retry();
    await audit.close();
    const events = readFileSync(file, 'utf8').split('\n');
    expect(events.filter((line) => line.includes('"event":"reload"'))).toHaveLength(4_096);
    expect(events.filter((line) => line.includes('"event":"entries-lost","fields":{"entries":904}'))).toHaveLength(1);
    expect(verifyAudit(file, null).broken).toBeNull();
  });
});

describe('a file that somebody else changes while it is written', () => {
  test.each<[string, (file: string) => void]>([
    ['emptied', (file) => truncateSync(file, 0)],
    ['removed', (file) => rmSync(file)],
    ['cut', (file) => truncateSync(file, readFileSync(file, 'utf8').indexOf('\n') + 1)],
  ])('%s: the log goes on, and the gap stays to be seen', async (_, harm) => {
    const file = freshFile();
    const errors: string[] = [];
    const audit = open(file, { rotateBytes: 2_000 }, { ...silentLog, error: (message) => errors.push(message) });
    for (let count = 1; count <= 3; count++) audit.record(AuditEvent.LOGINS_REFUSED, { count });
    await audit.settle();
    harm(file);
    for (let count = 4; count <= 20; count++) audit.record(AuditEvent.LOGINS_REFUSED, { count });
    await audit.close();
    expect(errors).toEqual(['somebody else has changed the audit log; lethe audit verify says where']);
    const text = [...asideFiles(file).map(({ path }) => path), file].map((path) => readFileSync(path, 'utf8')).join('');
    expect(text).not.toContain('\0');
    expect(text).toContain('"event":"log-changed","fields":{"expected":3,');
    for (let count = 4; count <= 20; count++) expect(text).toContain(`{"count":${count}}`);
    expect(verifyAudit(file, null).broken).not.toBeNull();
  });

  test('two brokers with one file: neither cuts what the other has written', async () => {
    const file = freshFile();
    const both = [open(file), open(file)];
    for (let count = 1; count <= 6; count++) {
      const one = both[count % 2]!;
      one.record(AuditEvent.LOGINS_REFUSED, { count });
      await one.settle();
    }
    for (const one of both) await one.close();
    const text = readFileSync(file, 'utf8');
    for (let count = 1; count <= 6; count++) expect(text).toContain(`{"count":${count}}`);
    const { broken, notes } = verifyAudit(file, null);
    expect(broken).toBeNull();
    expect(notes[0]).toBe('entry 2: somebody else had changed the file while the broker wrote it');
  });

  test('one that others may read is told of', async () => {
    const file = freshFile();
    writeFileSync(file, '', { mode: 0o644 });
    const warnings: string[] = [];
    await open(file, {}, { ...silentLog, warn: (message) => warnings.push(message) }).close();
    expect(warnings).toEqual(['others may read or write the audit log; give its file mode 0600']);
  });
});

test('nothing is written after the end: another process may have the file by then', async () => {
  const file = freshFile();
  const audit = open(file);
  audit.record(AuditEvent.START);
  await audit.close();
  await write(file, 3);
  const whole = readFileSync(file, 'utf8');
  audit.record(AuditEvent.RELOAD);
  await audit.settle();
  expect(audit.lost).toBe(1);
  expect(readFileSync(file, 'utf8')).toBe(whole);
});

describe('lethe audit verify finds', () => {
  /** What can be done to a log by one who has the file, but not the key of the seals. */
  const tampering = fc.oneof(
    fc.record({ kind: fc.constant('change' as const), line: fc.nat(), at: fc.nat(), to: fc.integer({ min: 32, max: 126 }) }),
    fc.record({ kind: fc.constant('remove' as const), line: fc.nat() }),
    fc.record({ kind: fc.constant('swap' as const), line: fc.nat(), other: fc.nat() }),
    fc.record({ kind: fc.constant('repeat' as const), line: fc.nat() }),
    fc.record({ kind: fc.constant('cut' as const), line: fc.nat() }),
  );

  test.each([
    ['chained', null],
    ['sealed', KEY],
  ] as const)('any line that was changed, removed, moved or repeated, and a cut end: %s', async (_, key) => {
    const original = freshFile();
    for (let round = 0; round < 2; round++) await write(original, 30, { rotateBytes: 4_096, key });
    expect(verifyAudit(original, key).broken).toBeNull();
    const all = [...asideFiles(original).map(({ path }) => path), original];
    const copy = freshFile();
    fc.assert(
      fc.property(fc.nat(all.length - 1), tampering, (which, what) => {
        rmSync(join(copy, '..'), { recursive: true });
        cpSync(join(original, '..'), join(copy, '..'), { recursive: true });
        const path = join(copy, '..', all[which]!.slice(all[which]!.lastIndexOf('/') + 1));
        const text = readFileSync(path, 'utf8');
        const lines = text.slice(0, -1).split('\n');
        const line = what.line % lines.length;
        if (what.kind === 'change') {
          const chars = [...lines[line]!];
          chars[what.at % chars.length] = String.fromCharCode(what.to);
          lines[line] = chars.join('');
        } else if (what.kind === 'remove') lines.splice(line, 1);
        else if (what.kind === 'repeat') lines.splice(line, 0, lines[line]!);
        else if (what.kind === 'cut') lines.length = line;
        else {
          const other = what.other % lines.length;
          [lines[line], lines[other]] = [lines[other]!, lines[line]!];
        }
        const changed = lines.length === 0 ? '' : `${lines.join('\n')}\n`;
        fc.pre(changed !== text);
        writeFileSync(path, changed);
        expect(verifyAudit(copy, key).broken).not.toBeNull();
      }),
      { numRuns: 150 },
    );
  });

  test('a chain that was made up anew without the key', async () => {
    const file = freshFile();
    await write(file, 5, { key: KEY });
    const forged = freshFile();
    await write(forged, 5, { key: null });
    expect(verifyAudit(forged, null).broken).toBeNull();
    // Whoever has no key cannot make the head fit, nor go on with seals.
    cpSync(forged, file);
    expect(verifyAudit(file, KEY).broken).not.toBeNull();
    await write(forged, 5, { key: Buffer.alloc(32, 6) });
    expect(verifyAudit(forged, KEY).broken).toContain('wrong seal');
  });

  test('seals that were taken off: of all lines and of the head', async () => {
    const file = freshFile();
    await write(file, 5, { key: KEY });
    const forged = freshFile();
    await write(forged, 5);
    const verdict = () => verifyAudit(file, KEY).broken;
    cpSync(headName(forged), headName(file));
    expect(verdict()).toContain('audit.log.head bears no seal');
    cpSync(forged, file);
    expect(verdict()).toContain('the log ends with entry 5, which bears no seal');
    // A master key that was brought later is no break: what is recorded from then on is sealed.
    await write(file, 1, { key: KEY });
    expect(verifyAudit(file, KEY)).toMatchObject({
      broken: null,
      sealed: 1,
      notes: [expect.stringMatching(/^5 entries bear no seal/)],
    });
  });

  test.each<[string, (file: string) => void, Uint8Array | null]>([
    ['missing', (file) => rmSync(headName(file)), null],
    ['missing', (file) => rmSync(headName(file)), KEY],
    ['invalid', (file) => writeFileSync(headName(file), 'garbled'), null],
    ['invalid', (file) => writeFileSync(headName(file), readFileSync(headName(file), 'utf8').replace(/,"seal":"\w+"/, '')), KEY],
  ])('a head that is %s when the broker goes on: the log says so for good', async (word, harm, key) => {
    const file = freshFile();
    await write(file, 5, { key });
    const lines = readFileSync(file, 'utf8').slice(0, -1).split('\n');
    writeFileSync(file, `${lines.slice(0, 3).join('\n')}\n`);
    harm(file);
    const errors: string[] = [];
    await open(file, { key }, { ...silentLog, error: (message) => errors.push(message) }).close();
    expect(errors).toEqual(['the head of the audit log cannot tell whether entries are missing']);
    await write(file, 1, { key });
    expect(verifyAudit(file, key).broken).toContain(`entry 4 says that the head was ${word} when it was written`);
  });

  test('a log that was emptied or cut, also after the broker went on', async () => {
    const file = freshFile();
    await write(file, 5);
    truncateSync(file, 0);
    expect(verifyAudit(file, null).broken).toContain('emptied');
    const errors: string[] = [];
    const audit = open(file, {}, { ...silentLog, error: (message) => errors.push(message) });
    await audit.close();
    expect(errors).toHaveLength(1);
    expect(verifyAudit(file, null).broken).toContain('files are missing');
  });
});

test('a line that a crash has torn is set aside, and the log goes on', async () => {
  const file = freshFile();
  await write(file, 5);
  const whole = readFileSync(file, 'utf8');
  appendFileSync(file, whole.slice(0, 40));
  expect(verifyAudit(file, null)).toMatchObject({ broken: null, notes: [expect.stringContaining('not finished')] });
  await write(file, 1);
  expect(verifyAudit(file, null)).toMatchObject({ broken: null, notes: [], entries: 7 });
  expect(readFileSync(file, 'utf8')).toContain('"event":"torn-line","fields":{"bytes":40}');
  expect(readFileSync(`${file}.torn-000000000005`, 'utf8')).toBe(whole.slice(0, 40));
});

test('kill -9 at any moment: no entry that was told as flushed is missing, and the chain holds', async () => {
  const file = freshFile();
  let told = 0;
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, [builtFile('test/administration/audit-writer.js'), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    told = Math.max(told, await killAfter(child, 30 + round * 17));
    const verdict = verifyAudit(file, null);
    expect(verdict.broken).toBeNull();
    expect(verdict.last!.sequence).toBeGreaterThanOrEqual(told);
  }
  await write(file, 1);
  expect(verifyAudit(file, null).broken).toBeNull();
  expect(existsSync(headName(file))).toBe(true);
});

/** Kills a writer once it has told so many numbers; gives the last one. */
function killAfter(child: ChildProcess, count: number): Promise<number> {
  return new Promise((resolve) => {
    let text = '';
    child.stdout!.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      if (text.split('\n').length > count) child.kill('SIGKILL');
    });
    child.once('close', () => resolve(Number(text.slice(0, text.lastIndexOf('\n')).split('\n').at(-1))));
  });
}
