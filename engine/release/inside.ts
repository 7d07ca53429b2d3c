// What is inside the one-file program, as the bundler has really put it together: each package with its licence and the texts that go with it.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Platform, RUNTIME_VERSION } from './contents.ts';
import { runtimeFolder } from './executable.ts';

export interface Inside {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly licence: string;
  /** All its texts, one after the other. */
  readonly text: string;
  /** Package URL. */
  readonly purl: string;
}

interface PackageFile {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly author?: string | { readonly name: string };
}

const TEXTS = /^(licen[cs]e|copying|notice)/i;
const MODULES = 'node_modules/';

/** What native code is made of, beside what its package says. */
const nativeTexts: Readonly<Record<string, readonly string[]>> = {
  lmdb: [
    'dependencies/lmdb/libraries/liblmdb/COPYRIGHT',
    'dependencies/lmdb/libraries/liblmdb/LICENSE',
    'dependencies/lz4/lib/LICENSE',
  ],
};

/** @param modules paths from the root, of everything that the bundler has taken */
export function packagesInside(root: string, platform: Platform, modules: readonly string[]): readonly Inside[] {
  const folders = new Set(modules.filter((path) => path.startsWith(MODULES)).map(packageFolder));
  const packages = [...folders].map((folder) => describe(root, folder));
  return [runtime(root, platform), ...packages, native(root, packages)].sort((one, other) => (one.purl < other.purl ? -1 : 1));
}

/** The folder of the package that a module belongs to; packages may lie within others. */
function packageFolder(path: string): string {
  const start = path.lastIndexOf(MODULES) + MODULES.length;
  const [first, second] = path.slice(start).split('/');
  return path.slice(0, start) + (first!.startsWith('@') ? `${first}/${second}` : first);
}

function describe(root: string, folder: string): Inside {
  const path = join(root, folder);
  const { name, version, license, author } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as PackageFile;
  if (license === undefined) throw new Error(`${name} has no licence`);
  const files = [
    ...readdirSync(path)
      .filter((file) => TEXTS.test(file))
      .sort(),
    ...(nativeTexts[name] ?? []),
  ];
  const by = typeof author === 'object' ? author.name : (author ?? 'its authors');
  // Two packages come without a text; what they say is all there is.
  const text =
    files.length === 0 ? `${license}, by ${by}, says package.json; the package has no text of it.\n` : textOf(path, files);
  return { name, version, licence: license, text, purl: packageUrl(name, version) };
}

function textOf(path: string, files: readonly string[]): string {
  return files.map((file) => readFileSync(join(path, file), 'utf8').trim()).join('\n\n----\n\n');
}

function runtime(root: string, platform: Platform): Inside {
  const text = readFileSync(join(runtimeFolder(root, platform), 'LICENSE'), 'utf8');
  return { name: 'node', version: RUNTIME_VERSION, licence: 'MIT', text, purl: `pkg:generic/node@${RUNTIME_VERSION}` };
}

/** The package that brings uWebSockets.js to the registry has a licence of its own; the program in it is its author's, under the licence that Lethe has too. */
function native(root: string, packages: readonly Inside[]): Inside {
  const { version } = packages.find(({ name }) => name === 'uws-pack')!;
  const text = `uWebSockets.js, by Alex Hultman, under the Apache License 2.0.\n\n${readFileSync(join(root, 'LICENSE'), 'utf8')}`;
  return { name: 'uWebSockets.js', version, licence: 'Apache-2.0', text, purl: `pkg:generic/uwebsockets.js@${version}` };
}

function packageUrl(name: string, version: string): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}
