// The code of the one-file program: what engine/cli/bundle.ts bundles for `npm run build`, as pieces for the loader in one-file/boot.ts. A few modules reach for files beside them;
// here those that do the same from inside the file stand for them.
import { join } from 'node:path';
import { build, type Plugin } from 'rolldown';
import { versionModule } from '../made.ts';
import { UPLOT_TEXTS } from './contents.ts';

export interface Code {
  /** Each is an expression: a function that boot.ts calls. By name. */
  readonly pieces: ReadonlyMap<string, string>;
  /** The script that sets the global `lethe`. */
  readonly boot: string;
  /** Paths of all modules that are in it, from the root. */
  readonly modules: readonly string[];
}

const entries = {
  main: 'engine/cli/main.ts',
  thread: 'engine/spool/thread.ts',
  'shard-thread': 'engine/shards/shard-thread.ts',
  'load-thread': 'bench/raw/load-thread.ts',
};

/** Comments and white space go; names stay, for messages and because ordered-binary puts code together from the text of its functions. */
const minify = { compress: false, mangle: false, codegen: { removeWhitespace: true } } as const;

export async function bundleCode(root: string): Promise<Code> {
  const { output } = await build({
    cwd: root,
    input: entries,
    platform: 'node',
    write: false,
    plugins: [insteadOf(root)],
    output: {
      format: 'cjs',
      dynamicImportInCjs: false,
      entryFileNames: '[name].js',
      chunkFileNames: 'chunk-[name].js',
      minify,
      comments: false,
    },
    onLog: failOnWarning,
  });
  const pieces = new Map<string, string>();
  const modules = new Set<string>(UPLOT_TEXTS.map((path) => join('node_modules', path)));
  for (const file of output) {
    if (file.type !== 'chunk') throw new Error(`${file.fileName} has no place in the file`);
    pieces.set(file.fileName, `(function(exports,require,module,__filename){${file.code.replace(/^#!.*\n/, '')}\n})`);
    for (const id of file.moduleIds) if (id.startsWith(root)) modules.add(id.slice(root.length));
  }
  return { pieces, boot: await bundleBoot(root), modules: [...modules].sort() };
}

async function bundleBoot(root: string): Promise<string> {
  const { output } = await build({
    cwd: root,
    input: 'engine/one-file/boot.ts',
    platform: 'node',
    write: false,
    output: { format: 'iife', name: 'lethe', minify, comments: false },
    onLog: failOnWarning,
  });
  return output[0].code;
}

/** What stands in the file for modules that look for something beside them. */
function insteadOf(root: string): Plugin {
  const addon = (name: string): string =>
    `import { loadAddon } from ${JSON.stringify(join(root, 'engine/one-file/addon.ts'))};\nconst addon = loadAddon('${name}');\n`;
  const texts: Readonly<Record<string, string>> = {
    'engine/thread.ts': `export * from './one-file/thread.ts';`,
    'engine/packaged.ts': `export * from './one-file/packaged.ts';`,
    'engine/version.ts': versionModule(root),
    'node_modules/uWebSockets.js/dist/uws.mjs': `${addon('uws.node')}export default addon;`,
    'node_modules/node-gyp-build-optional-packages/index.js': `${addon('lmdb.node')}export default () => addon;`,
    // Only lmdb asks for it, and Lethe gives lmdb bytes: what it would decode faster with native code of its own never comes.
    'node_modules/lmdb/node_modules/msgpackr/node-index.js': `export * from './index.js';`,
  };
  const met = new Set<string>();
  return {
    name: 'instead-of',
    load(id) {
      const path = id.startsWith(root) ? id.slice(root.length) : '';
      if (!Object.hasOwn(texts, path)) return null;
      met.add(path);
      return { code: texts[path]!, moduleType: 'js' };
    },
    buildEnd() {
      const missed = Object.keys(texts).filter((path) => !met.has(path));
      if (missed.length > 0) throw new Error(`no longer asked for: ${missed.join(', ')}`);
    },
  };
}

/** A warning is of something that may fail when it is run. Two packages evaluate text, in a way that works here: require is in reach, and no name is changed. */
function failOnWarning(level: string, log: { readonly code?: string; readonly message: string }): void {
  if (level === 'warn' && log.code !== 'EVAL') throw new Error(log.message);
}
