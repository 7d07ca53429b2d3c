// The data directory: made for its owner alone, opened by one process, and refused with nothing touched when something is wrong with it.
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { FolderBusyError } from '../../engine/spool/folder-busy.ts';
import { type FolderLock, LOCK_FILE, lockFolder } from '../../engine/spool/folder-lock.ts';
import { FolderError, KEYS_FILE, type OpenedFolder, openFolder, rotateMaster } from '../../storage/folder.ts';
import { DATA_FILE, LmdbDisk } from '../../storage/lmdb-disk.ts';
import { MetaRow, RowKind, rowKey } from '../../storage/rows.ts';
import { RowSealer, seal, unseal } from '../../storage/sealed.ts';
import { Step } from '../../storage/step.ts';
import { Child } from '../end-to-end/child.ts';
import { SeededRandom } from '../seeded-random.ts';

const top = mkdtempSync(join(tmpdir(), 'lethe-folder-'));
afterAll(() => rmSync(top, { recursive: true, force: true }));

const seeded = new SeededRandom(1);
const random = (bytes: number) => seeded.bytes(bytes);
const MASTER = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);
let folders = 0;

function newFolder(): string {
  return join(top, `folder-${++folders}`);
}

function close({ ground }: OpenedFolder): void {
  ground.disk.close();
  ground.vault.close();
}

/** A folder with a value in it, closed. */
function furnished(master: Uint8Array | null = null): { folder: string; value: Buffer } {
  const folder = newFolder();
  const opened = openFolder(folder, master, random);
  const { ground } = opened;
  const { value } = seal(ground.vault, random, Buffer.from('held'), {
    flags: 0,
    count: 1,
    last: 0,
    sinceMs: 0,
    untilMs: Infinity,
  });
  ground.disk.transact((writer) => writer.put(rowKey(RowKind.SESSION, 1, 0), value));
  close(opened);
  return { folder, value };
}

function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(FolderError);
    return (error as Error).message;
  }
  throw new Error('it was not refused');
}

/** Everything in a folder that says what is held. LMDB's table of readers says nothing. */
function contentOf(folder: string): Map<string, string> {
  const names = readdirSync(folder).filter((name) => !name.endsWith('-lock'));
  return new Map(names.map((name) => [name, readFileSync(join(folder, name)).toString('latin1')]));
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

describe('modes', () => {
  test('a new folder is for its owner alone, whatever the umask', () => {
    const before = process.umask(0);
    try {
      const { folder } = furnished();
      expect(modeOf(folder)).toBe(0o700);
      const names = readdirSync(folder);
      expect(names).toEqual(expect.arrayContaining([DATA_FILE, KEYS_FILE]));
      for (const name of names) expect(modeOf(join(folder, name)), name).toBe(0o600);
    } finally {
      process.umask(before);
    }
  });

  test('a folder that was open to others is closed to them', () => {
    const folder = newFolder();
    mkdirSync(folder);
    chmodSync(folder, 0o755);
    close(openFolder(folder, null, random));
    expect(modeOf(folder)).toBe(0o700);
    for (const name of [DATA_FILE, KEYS_FILE]) chmodSync(join(folder, name), 0o644);
    close(openFolder(folder, null, random));
    for (const name of readdirSync(folder)) expect(modeOf(join(folder, name)), name).toBe(0o600);
  });
});

describe('opened again', () => {
  test('what was held is there, and the starts are counted after an end that was not in order', () => {
    const { folder, value } = furnished(MASTER);
    const opened = openFolder(folder, MASTER, random);
    expect(opened.started).toBe(2);
    expect(Buffer.from(opened.ground.disk.get(rowKey(RowKind.SESSION, 1, 0))!)).toEqual(value);
    expect(unseal(opened.ground.vault, value)?.plain.toString()).toBe('held');
    close(opened);
  });

  test('a crash while it was being made leaves nothing that the next start refuses', () => {
    const folder = newFolder();
    mkdirSync(folder);
    writeFileSync(join(folder, `${KEYS_FILE}.new`), 'half of it');
    close(openFolder(folder, null, random));
    expect(readdirSync(folder)).not.toContain(`${KEYS_FILE}.new`);
    // The key file was there and the data file not yet.
    rmSync(join(folder, DATA_FILE));
    close(openFolder(folder, null, random));
  });
});

describe('refused, with nothing touched', () => {
  function expectRefused(folder: string, master: Uint8Array | null, message: RegExp): void {
    const before = contentOf(folder);
    expect(messageOf(() => openFolder(folder, master, random))).toMatch(message);
    expect(contentOf(folder)).toEqual(before);
  }

  test.each([
    ['the wrong master key', MASTER, OTHER, /spool\.keys: the configured master key is not the one that wraps this spool$/],
    ['a missing master key', MASTER, null, /spool\.keys: the spool is wrapped by a master key, and none is configured$/],
    [
      'a master key that is not expected',
      null,
      MASTER,
      /spool\.keys: a master key is configured, and the spool was made without one$/,
    ],
  ])('%s', (_name, made, given, message) => {
    const { folder, value } = furnished(made);
    expectRefused(folder, given, message);
    const opened = openFolder(folder, made, random);
    expect(unseal(opened.ground.vault, value)?.plain.toString()).toBe('held');
    close(opened);
  });

  test('a missing key file', () => {
    const { folder } = furnished();
    rmSync(join(folder, KEYS_FILE));
    expectRefused(folder, null, /spool\.keys is missing, and without it spool\.mdb cannot be read; restore both or remove both$/);
  });

  test('the key file of another spool', () => {
    const { folder } = furnished();
    const other = furnished();
    copyFileSync(join(other.folder, KEYS_FILE), join(folder, KEYS_FILE));
    expectRefused(folder, null, /spool\.keys does not belong to spool\.mdb; restore the pair that was saved together$/);
  });

  test('a key file that is none', () => {
    const { folder } = furnished();
    writeFileSync(join(folder, KEYS_FILE), 'something else');
    expectRefused(folder, null, /the key file is not one of Lethe, or its header is broken$/);
  });

  test('a data file that is none', () => {
    const { folder } = furnished();
    writeFileSync(join(folder, DATA_FILE), Buffer.alloc(16_384, 'something else'));
    const before = contentOf(folder);
    expect(messageOf(() => openFolder(folder, null, random))).toMatch(/spool\.mdb: /);
    expect(contentOf(folder)).toEqual(before);
  });

  test('a newer format', () => {
    const { folder } = furnished();
    const opened = openFolder(folder, null, random);
    const step = new Step(opened.ground);
    step.putNumbers(RowKind.META, 0, MetaRow.STARTS, [2, 7]);
    step.apply();
    close(opened);
    expectRefused(
      folder,
      null,
      /the spool has format 2, this version reads up to 1; use the version that wrote it, or a later one$/,
    );
  });

  test('a folder that cannot be made', () => {
    const file = join(top, 'a file');
    writeFileSync(file, '');
    expect(messageOf(() => openFolder(join(file, 'below'), null, random))).toMatch(/cannot be made or entered \(ENOTDIR\)/);
  });
});

describe('rotateMaster', () => {
  test('the new key opens the folder, the old one does not; a broker that has it open goes on', () => {
    const { folder, value } = furnished(MASTER);
    const running = openFolder(folder, MASTER, random);
    rotateMaster(folder, MASTER, OTHER, random);
    const later = seal(running.ground.vault, random, Buffer.from('later'), {
      flags: 0,
      count: 1,
      last: 0,
      sinceMs: 0,
      untilMs: Infinity,
    });
    close(running);
    expect(messageOf(() => openFolder(folder, MASTER, random))).toMatch(/is not the one/);
    const opened = openFolder(folder, OTHER, random);
    expect(unseal(opened.ground.vault, value)?.plain.toString()).toBe('held');
    expect(unseal(opened.ground.vault, later.value)?.plain.toString()).toBe('later');
    close(opened);
  });

  test('from the wrong key is refused, with nothing touched', () => {
    const { folder } = furnished(MASTER);
    const before = contentOf(folder);
    expect(messageOf(() => rotateMaster(folder, OTHER, MASTER, random))).toMatch(/is not the one that wraps this spool$/);
    expect(messageOf(() => rotateMaster(newFolder(), OTHER, MASTER, random))).toMatch(/there is no spool\.keys here$/);
    expect(contentOf(folder)).toEqual(before);
  });
});

test('the data file is written so that nothing of a value stands in clear, and rows are opened by the right keys only', () => {
  const { folder } = furnished(MASTER);
  expect(readFileSync(join(folder, DATA_FILE)).includes('held')).toBe(false);
  const other = openFolder(newFolder(), null, random);
  const disk = new LmdbDisk(folder);
  const row = Buffer.from(disk.get(rowKey(RowKind.META, 0, MetaRow.STARTS))!);
  expect(new RowSealer(other.ground.vault, random).open(row)).toBeNull();
  disk.close();
  close(other);
});

describe('one process at a time', () => {
  const locks: FolderLock[] = [];
  afterAll(() => Promise.all(locks.map((lock) => lock.unlock())));

  async function lock(folder: string): Promise<FolderLock> {
    const held = await lockFolder(folder);
    locks.push(held);
    return held;
  }

  /** A process that takes the folder, says so, and keeps it until it is ended. */
  function holder(folder: string): Child {
    const module = new URL('../../dist/engine/spool/folder-lock.js', import.meta.url).href;
    const script = `import { lockFolder } from ${JSON.stringify(module)};
      try { await lockFolder(${JSON.stringify(folder)}); console.log('locked'); } catch (error) { console.log(error.message); process.exit(3); }
      setInterval(() => {}, 1_000);`;
    return new Child(process.execPath, ['--input-type=module', '--eval', script]);
  }

  test('a second one is refused in one line, in this process and in another', async () => {
    const folder = newFolder();
    await lock(folder);
    expect(modeOf(join(folder, LOCK_FILE))).toBe(0o600);
    const refusal = /another lethe uses this data directory; stop it first, or give each its own --data$/;
    await expect(lockFolder(folder)).rejects.toThrow(FolderBusyError);
    await expect(lockFolder(folder)).rejects.toThrow(refusal);
    const second = holder(folder);
    expect((await second.ended()).code).toBe(3);
    expect(second.stdout.trim()).toMatch(refusal);
  });

  test('the end of the process ends the claim, however it dies', async () => {
    const folder = newFolder();
    const first = holder(folder);
    await first.until('it has the folder', () => first.stdout.includes('locked'));
    await expect(lockFolder(folder)).rejects.toThrow(FolderBusyError);
    first.kill('SIGKILL');
    await first.ended();
    expect(readdirSync(folder)).toContain(LOCK_FILE); // the socket is left over, and nobody listens on it
    const held = await lock(folder);
    expect(held.isHeld()).toBe(true);
  });

  test('unlocked in order, it can be had at once', async () => {
    const folder = newFolder();
    const first = await lockFolder(folder);
    await first.unlock();
    await (await lockFolder(folder)).unlock();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('of two that come upon a left-over socket at the same time, one knows that it has lost', async () => {
    const folder = newFolder();
    const dead = holder(folder);
    await dead.until('it has the folder', () => dead.stdout.includes('locked'));
    dead.kill('SIGKILL');
    await dead.ended();
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder)));
    const held = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    locks.push(...held);
    expect(held.filter((one) => one.isHeld())).toHaveLength(1);
  });

  test('a path that is too long for a socket is refused by its length', async () => {
    await expect(lockFolder(join(top, 'x'.repeat(120)))).rejects.toThrow(/the path is longer than \d+ bytes; give a shorter one/);
  });
});
