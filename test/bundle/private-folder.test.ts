// Where native code is unpacked: made once, found again, and not believed when somebody else could have put something there.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Contents, isStillOurs, placesFor, privateFolder, removeFolder } from '../../engine/one-file/private-folder.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lethe-private-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const texts: Readonly<Record<string, string>> = { one: 'the first', two: 'the second' };
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const contents: Contents = {
  hash: sha256(Object.values(texts).join('')),
  files: Object.entries(texts).map(([name, text]) => ({ name, bytes: text.length, hash: sha256(text) })),
  read: (name) => Buffer.from(texts[name]!),
};

/** The number of a process that is over. */
function endedProcess(): number {
  return spawnSync('true').pid;
}

let places = 0;
function newPlace(): string {
  const place = join(scratch, `place-${++places}`);
  mkdirSync(place);
  return place;
}

/** A place with the folder in it. */
function made(): { readonly place: string; readonly folder: string } {
  const place = newPlace();
  return { place, folder: privateFolder(place, contents).folder };
}

test('it is made once, for this user alone, and found again', () => {
  const place = newPlace();
  const first = privateFolder(place, contents);
  expect(first.isNew).toBe(true);
  expect(basename(first.folder)).toContain(contents.hash.slice(0, 32));
  expect(statSync(first.folder).mode & 0o7777).toBe(0o700);
  for (const [name, text] of Object.entries(texts)) expect(readFileSync(join(first.folder, name), 'utf8')).toBe(text);
  expect(privateFolder(place, contents)).toEqual({ folder: first.folder, isNew: false, forNow: null });
  expect(readdirSync(place)).toHaveLength(1);
  removeFolder(first.folder);
  expect(readdirSync(place)).toEqual([]);
});

test('of two starts at once, both find the same', () => {
  const place = newPlace();
  let inner = '';
  // The other one comes in the middle of this one.
  const raced: Contents = {
    ...contents,
    read(name) {
      if (inner === '') inner = privateFolder(place, contents).folder;
      return contents.read(name);
    },
  };
  expect(privateFolder(place, raced)).toEqual({ folder: inner, isNew: false, forNow: null });
  expect(readdirSync(place)).toEqual([basename(inner)]);
});

/** Exactly what the program carries, of this user alone. */
function expectWhole(folder: string): void {
  expect(isStillOurs(folder)).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(Object.keys(texts).sort());
  for (const [name, text] of Object.entries(texts)) {
    expect(readFileSync(join(folder, name), 'utf8')).toBe(text);
    expect(statSync(join(folder, name))).toMatchObject({ uid: process.geteuid!(), nlink: 1, mode: 0o100500 });
  }
}

describe('what stands there under its name is not used', () => {
  const isRoot = process.getuid?.() === 0;
  const spoiled: readonly (readonly [what: string, how: (folder: string) => void])[] = [
    ['other bytes', (folder) => rewrite(join(folder, 'two'), 'the sECOND')],
    ['more bytes', (folder) => rewrite(join(folder, 'one'), 'the first and more')],
    ['a file that others may write', (folder) => chmodSync(join(folder, 'one'), 0o722)],
    ['a file with a second name', (folder) => linkSync(join(folder, 'one'), join(scratch, `link-${++places}`))],
    ['a file that is missing', (folder) => rmSync(join(folder, 'two'))],
    ['a link in place of a file', (folder) => relink(join(folder, 'one'))],
    ['a folder that others may enter', (folder) => chmodSync(folder, 0o755)],
    ...(isRoot
      ? ([['a file of another user', (folder: string) => chownSync(join(folder, 'two'), 12_345, 12_345)]] as const)
      : []),
  ];
  test.each(spoiled)('%s: it is made anew', (_what, how) => {
    const { place, folder } = made();
    how(folder);
    expect(privateFolder(place, contents)).toEqual({ folder, isNew: true, forNow: null });
    expectWhole(folder);
    expect(readdirSync(place)).toEqual([basename(folder)]);
  });

  const foreign: readonly (readonly [what: string, how: (folder: string) => void, says: RegExp])[] = [
    ['a link in place of the folder', relink, /is no folder$/],
    ...(isRoot
      ? ([
          ['a folder of another user', (folder: string) => chownSync(folder, 12_345, 12_345), /belongs to another user$/],
        ] as const)
      : []),
  ];
  test.each(foreign)('%s stays, and the start has one that nobody could foresee', (_what, how, says) => {
    const { place, folder } = made();
    how(folder);
    const before = lstatSync(folder);
    const own = privateFolder(place, contents);
    expect(own.folder).toMatch(new RegExp(`^${folder}\\.${process.pid}\\.\\w{6}$`));
    expect(own.forNow).toMatch(says);
    expectWhole(own.folder);
    expect(lstatSync(folder)).toMatchObject({ ino: before.ino, uid: before.uid, mode: before.mode });
    removeFolder(own.folder);
    expect(readdirSync(place)).toEqual([basename(folder)]);
  });

  function rewrite(path: string, text: string): void {
    chmodSync(path, 0o700);
    writeFileSync(path, text);
    chmodSync(path, 0o500);
  }

  /** What was there is there still, under another name. */
  function relink(path: string): void {
    const moved = join(scratch, `moved-${++places}`);
    renameSync(path, moved);
    symlinkSync(moved, path);
  }
});

test('what earlier versions and killed starts have left is taken away, and nothing else is', () => {
  const place = newPlace();
  const user = process.geteuid!();
  const other = `lethe-${user}-${'0'.repeat(32)}`;
  const ofThis = `lethe-${user}-${contents.hash.slice(0, 32)}`;
  const make = (name: string, mode: number, ageS: number) => {
    mkdirSync(join(place, name), { mode });
    writeFileSync(join(place, name, 'one'), 'x');
    const madeS = Date.now() / 1_000 - ageS;
    utimesSync(join(place, name), madeS, madeS);
    return name;
  };
  const dayS = 86_500;
  make(other, 0o700, dayS);
  make(`${other}.${process.pid}.aaaaaa`, 0o700, dayS);
  make(`${ofThis}.${endedProcess()}.aaaaaa`, 0o700, 0);
  const kept = [
    make(`lethe-${user}-${'1'.repeat(32)}`, 0o700, 0),
    make(`${ofThis}.${process.pid}.bbbbbb`, 0o700, 0),
    make(`${other}.${process.pid}.cccccc`, 0o755, dayS),
    make(`lethe-${user}-notes`, 0o700, dayS),
    make(`lethe-${user + 1}-${'0'.repeat(32)}`, 0o700, dayS),
  ];
  const { folder } = privateFolder(place, contents);
  expect(readdirSync(place).sort()).toEqual([...kept, basename(folder)].sort());
});

test('a place in which others could rename it is none', () => {
  const place = newPlace();
  chmodSync(place, 0o777);
  expect(() => privateFolder(place, contents)).toThrow(/can be written by others/);
  chmodSync(place, 0o1777);
  expect(privateFolder(place, contents).isNew).toBe(true);
});

test.skipIf(process.getuid?.() !== 0)('a place of another user is none', () => {
  const place = newPlace();
  chownSync(place, 12_345, 12_345);
  expect(() => privateFolder(place, contents)).toThrow(/belongs to another user/);
});

test('the places, the best first; where the operator names one there is no other', () => {
  const env = { CACHE_DIRECTORY: '/var/cache/lethe:/other', XDG_RUNTIME_DIR: '/run/user/1000' };
  expect(placesFor(env, 0, '/tmp')).toEqual(['/var/cache/lethe', '/var/cache', '/tmp', '/run', '/dev/shm']);
  expect(placesFor(env, 1000, '/tmp')).toEqual(['/var/cache/lethe', '/run/user/1000', '/tmp', '/dev/shm']);
  expect(placesFor({}, 1000, 'relative')).toEqual(['/dev/shm']);
  expect(placesFor({ ...env, LETHE_RUNTIME_DIR: '/mine' }, 1000, '/tmp')).toEqual(['/mine']);
});
