// What a release is made of: a program for the right machine that does not know where it was made, everything inside it named with its licence, and sums that hold.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { layOut, packFolder, SUMS } from '../../engine/release/archive.ts';
import { bundleCode, type Code } from '../../engine/release/code.ts';
import { NEEDED, NEEDED_WORDS, type Platform, platforms, RUNTIME_VERSION } from '../../engine/release/contents.ts';
import { machineOf, stripped } from '../../engine/release/elf.ts';
import { addonPaths } from '../../engine/release/executable.ts';
import { BUNDLE, MAKE_MS_MAX, makeBundle, PLATFORM } from './bundle-file.ts';

const root = new URL('../..', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'lethe-release-'));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const platform = PLATFORM as Platform;
let folder = '';
let code: Code;

beforeAll(async () => {
  makeBundle();
  code = await bundleCode(root);
  folder = await layOut({ root, platform, version, modules: code.modules }, scratch);
}, MAKE_MS_MAX);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test('the program is for this machine, and does not say where it was made', () => {
  const program = readFileSync(BUNDLE);
  expect(machineOf(program)).toBe(platforms[platform].machine);
  expect(program.includes(root)).toBe(false);
  expect(program.includes('lethe-bundle-')).toBe(false);
});

test('the sums are of everything, and hold', () => {
  const output = execFileSync('sha256sum', ['-c', SUMS], { cwd: folder, encoding: 'utf8' });
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(output.trim().split('\n')).toHaveLength(files.length - 1);
  expect(output).not.toContain('FAILED');
});

test('the bill of materials is valid, and names the runtime, the native code and every package of the code', async () => {
  const text = readFileSync(join(folder, 'sbom.cdx.json'), 'utf8');
  expect(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text)).toBeNull();
  const bom = JSON.parse(text) as { components: { name: string; version: string; licenses?: object[] }[]; serialNumber?: string };
  expect(bom.serialNumber, 'a number that is drawn would make two releases of one commit differ').toBeUndefined();
  expect(bom.components.filter(({ licenses = [] }) => licenses.length === 0)).toEqual([]);
  const names = bom.components.map(({ name }) => name);
  expect(bom.components).toContainEqual(expect.objectContaining({ name: 'node', version: RUNTIME_VERSION }));
  expect(names).toEqual(expect.arrayContaining(['lmdb', 'uWebSockets.js', 'uws-pack', 'mqtt-packet', 'uplot', 'commander']));
  // What only builds or tests is not inside, nor what lmdb would take from msgpackr.
  for (const name of ['rolldown', 'postject', 'vitest', 'aedes', 'msgpackr-extract']) expect(names).not.toContain(name);
  for (const { name, version: own } of bom.components) {
    expect(existsSync(join(folder, `licences/${name.replace('/', '+')}-${own}.txt`)), `a licence of ${name}`).toBe(true);
  }
});

test('the same contents give the same files', async () => {
  const before = readFileSync(join(folder, SUMS), 'utf8');
  const again = await bundleCode(root);
  expect(again).toEqual(code);
  folder = await layOut({ root, platform, version, modules: again.modules }, scratch);
  expect(readFileSync(join(folder, SUMS), 'utf8')).toBe(before);
});

test('an archive has the same bytes whenever, wherever and by whomever its files were written', () => {
  const made = ['one', 'two'].map((place, index) => {
    const own = join(scratch, place, 'lethe-1');
    // In another order, at another time, with other permissions for others.
    const files = { README: 'read me', lethe: '#!/bin/sh\necho runs', 'licences/a.txt': 'a', 'licences/B.txt': 'b' };
    mkdirSync(join(own, 'licences'), { recursive: true });
    for (const [name, text] of index === 0 ? Object.entries(files) : Object.entries(files).reverse()) {
      const path = join(own, name);
      writeFileSync(path, text);
      chmodSync(path, (name === 'lethe' ? 0o700 : 0o600) | (index === 0 ? 0 : 0o044));
      utimesSync(path, 1_000_000 + index, 1_000_000 + index);
    }
    return packFolder(own, 1_700_000_000);
  });
  expect(readFileSync(made[0]!).equals(readFileSync(made[1]!))).toBe(true);
  const unpacked = join(scratch, 'unpacked');
  mkdirSync(unpacked);
  execFileSync('tar', ['-xJf', made[0]!, '-C', unpacked]);
  const program = join(unpacked, 'lethe-1/lethe');
  expect(execFileSync(program, { encoding: 'utf8' })).toBe('runs\n');
  expect(statSync(program).mtimeMs).toBe(1_700_000_000_000);
  expect(readdirSync(join(unpacked, 'lethe-1/licences')).sort()).toEqual(['B.txt', 'a.txt']);
});

test('what it says that it needs is what it needs', () => {
  const known = ['libdl', 'libstdc++', 'libm', 'libgcc_s', 'libpthread', 'librt', 'libc', 'ld-linux-x86-64', 'ld-linux-aarch64'];
  const newest = { GLIBC: '0', GLIBCXX: '0' };
  for (const file of [BUNDLE, ...Object.values(addonPaths(root, platform))]) {
    const needed = execFileSync('readelf', ['-dVW', file], { encoding: 'utf8', maxBuffer: 2 ** 26 });
    const libraries = [...needed.matchAll(/NEEDED.*\[(.+)\]/g)].map((match) => match[1]!.replace(/\.so.*/, ''));
    expect(
      libraries.filter((name) => !known.includes(name)),
      file,
    ).toEqual([]);
    for (const [, kind, found] of needed.matchAll(/\b(GLIBC|GLIBCXX)_([0-9.]+)/g)) {
      const name = kind as keyof typeof newest;
      if (found!.localeCompare(newest[name], 'en', { numeric: true }) > 0) newest[name] = found!;
    }
  }
  expect(newest).toEqual({ GLIBC: NEEDED.glibc, GLIBCXX: NEEDED.libstdcxx });
  expect(readFileSync(join(root, 'docs/EDGE.md'), 'utf8'), 'docs/EDGE.md says it too').toContain(NEEDED_WORDS);
  expect(readFileSync(join(folder, 'README'), 'utf8')).toContain(NEEDED_WORDS);
});

test('without its symbols a program has its sections, and runs', () => {
  const original = readFileSync(join(root, 'node_modules/uWebSockets.js/dist/bin', `uws_linux_${process.arch}_127.node`));
  const small = stripped(original);
  expect(small.length).toBeLessThanOrEqual(original.length);
  expect(stripped(small).equals(small), 'there is nothing left to strip').toBe(true);
  expect(machineOf(small)).toBe(machineOf(original));
  expect(() => machineOf(Buffer.from('#!/bin/sh\n'.repeat(20)))).toThrow(/no ELF file/);
});
