// What a release is made of: a program for the right machine that does not know where it was made, everything inside it named with its licence, and sums that hold.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { layOut, SUMS } from '../../engine/release/archive.ts';
import { bundleCode } from '../../engine/release/code.ts';
import { type Platform, platforms, RUNTIME_VERSION } from '../../engine/release/contents.ts';
import { machineOf, stripped } from '../../engine/release/elf.ts';
import { BUNDLE, MAKE_MS_MAX, makeBundle, PLATFORM } from './bundle-file.ts';

const root = new URL('../..', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'lethe-release-'));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const platform = PLATFORM as Platform;
let folder = '';
let modules: readonly string[] = [];

beforeAll(async () => {
  makeBundle();
  ({ modules } = await bundleCode(root));
  folder = await layOut({ root, platform, version, modules }, scratch);
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
  expect((await bundleCode(root)).modules).toEqual(modules);
  expect(readFileSync(join(await layOut({ root, platform, version, modules }, scratch), SUMS), 'utf8')).toBe(before);
});

test('what it says that it needs is what it needs', () => {
  const needed = execFileSync('readelf', ['-dW', BUNDLE], { encoding: 'utf8' });
  const libraries = [...needed.matchAll(/NEEDED.*\[(.+)\]/g)].map((match) => match[1]!.replace(/\.so.*/, ''));
  const known = ['libdl', 'libstdc++', 'libm', 'libgcc_s', 'libpthread', 'libc', 'ld-linux-x86-64', 'ld-linux-aarch64'];
  expect(libraries.filter((name) => !known.includes(name))).toEqual([]);
});

test('without its symbols a program has its sections, and runs', () => {
  const original = readFileSync(join(root, 'node_modules/uWebSockets.js/dist/bin', `uws_linux_${process.arch}_127.node`));
  const small = stripped(original);
  expect(small.length).toBeLessThanOrEqual(original.length);
  expect(stripped(small).equals(small), 'there is nothing left to strip').toBe(true);
  expect(machineOf(small)).toBe(machineOf(original));
  expect(() => machineOf(Buffer.from('#!/bin/sh\n'.repeat(20)))).toThrow(/no ELF file/);
});
