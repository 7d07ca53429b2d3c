// The house rules that a script can check: which way imports point, what stands at the top level, where time and chance come from,
// how long files get, and what a hot file may not hold.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = new URL('..', import.meta.url).pathname;
const LINES_MAX = 600;

/** Layers from the bottom up: a file imports from its own layer or a lower one. The first prefix that fits decides. */
const LAYERS: readonly (readonly string[])[] = [
  ['protocol/'],
  ['storage/'],
  [
    'engine/memory/',
    'engine/link.ts',
    'engine/clock.ts',
    'engine/random.ts',
    'engine/log.ts',
    'engine/timers.ts',
    'engine/gate.ts',
    'engine/principal.ts',
    'engine/counters.ts',
    'engine/latency.ts',
    'engine/admission.ts',
    'engine/version.ts',
    'engine/made.ts',
    'engine/descriptors.ts',
    'engine/process-limit.ts',
    'engine/thread.ts',
    'engine/packaged.ts',
    'engine/one-file/',
  ],
  ['engine/topics/'],
  ['engine/sessions/'],
  ['engine/peers/'],
  ['engine/routing/'],
  ['engine/network/', 'engine/security/', 'engine/config/', 'engine/administration/', 'engine/spool/'],
  ['engine/bridge/'],
  ['engine/shards/'],
  ['engine/lethe.ts'],
  ['engine/cli/'],
  ['engine/release/'],
  ['bench/'],
  ['test/'],
];

const sources = ['protocol', 'storage', 'engine', 'bench', 'test'].flatMap((folder) => walk(join(root, folder)));

function walk(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return walk(path);
    return path.endsWith('.ts') ? [relative(root, path)] : [];
  });
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function layerOf(path: string): number {
  return LAYERS.findIndex((prefixes) => prefixes.some((prefix) => path.startsWith(prefix)));
}

/** Relative imports of a file, as paths from the root; `withTypes` false leaves those out that vanish in the build. */
function importsOf(path: string, withTypes: boolean): string[] {
  const pattern = /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^;'"]*?from\s+'(\.[^']+)'/g;
  return [...read(path).matchAll(pattern)]
    .filter((match) => withTypes || match[1] === undefined)
    .map((match) => normalize(join(dirname(path), match[2]!)));
}

test('every file belongs to a layer', () => {
  expect(sources.filter((path) => layerOf(path) < 0)).toEqual([]);
});

test('imports point down only', () => {
  const upward = sources.flatMap((path) =>
    importsOf(path, true)
      .filter((target) => layerOf(target) > layerOf(path))
      .map((target) => `${path} -> ${target}`),
  );
  expect(upward).toEqual([]);
});

test('no import cycles', () => {
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
    else if (!done.has(path)) {
      for (const target of importsOf(path, false)) visit(target, [...trail, path]);
      done.add(path);
    }
  };
  for (const path of sources) visit(path, []);
  expect(cycles).toEqual([]);
});

test('nothing else stands at the top level', () => {
  const allowed = [
    'engine',
    'protocol',
    'storage',
    'bench',
    'test',
    'docs',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'README.md',
    'LICENSE',
  ];
  const made = ['node_modules', 'dist'];
  const found = readdirSync(root).filter((name) => !name.startsWith('.') && !made.includes(name));
  expect(found.filter((name) => !allowed.includes(name))).toEqual([]);
});

test('no barrels, no utils.ts, no types.ts', () => {
  expect(sources.filter((path) => /(^|\/)(index|utils?|types|helpers?)\.ts$/.test(path))).toEqual([]);
});

test('files stay readable', () => {
  const generated = /statements-/;
  const long = sources.filter((path) => !generated.test(path) && read(path).split('\n').length > LINES_MAX);
  expect(long).toEqual([]);
});

test('every file says first what it owns', () => {
  expect(sources.filter((path) => !/^(#!.*\n)?(\/\/|\/\*\*)/.test(read(path)))).toEqual([]);
});

describe('seams', () => {
  const inner = sources.filter((path) => /^(protocol|storage|engine)\//.test(path));
  const seams: readonly (readonly [what: string, pattern: RegExp, home: string])[] = [
    ['time', /\b(Date\.now|performance\.now)\b|(?<!\.)\b(setTimeout|setInterval|setImmediate)\b/, 'engine/clock.ts'],
    ['chance', /\b(Math\.random|randomBytes|randomInt|randomUUID|getRandomValues)\b/, 'engine/random.ts'],
  ];
  // Text for a browser, which has its own.
  const page = 'engine/administration/live-script.ts';
  test.each(seams)('%s stands in one file', (_what, pattern, home) => {
    const elsewhere = inner.filter(
      (path) =>
        path !== home && path !== page && !/^engine\/(cli|release)\//.test(path) && pattern.test(withoutComments(read(path))),
    );
    expect(elsewhere).toEqual([]);
  });
});

test('hot files keep their promise: no try, async, spread or iterator', () => {
  const hot = sources.filter((path) => read(path).startsWith('// HOT'));
  expect(hot.length).toBeGreaterThan(10);
  const broken = hot.filter((path) =>
    /\btry\s*\{|\basync\b|\bawait\b|\.forEach\(|\.map\(|\.\.\./.test(withoutComments(read(path))),
  );
  expect(broken).toEqual([]);
});

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"])\/\/.*$/gm, '$1');
}
