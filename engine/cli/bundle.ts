// The second half of `npm run build`: the command line in dist/cli, bundled with the packages that it uses, because Node spends more of
// a start on finding and compiling 130 files than on anything else. A command's code stays in files of its own, loaded when it is used.
//
// What is bundled are the sources, which tsc has judged before, so that source maps lead to them. A file that is started by its
// name (a thread) is an entry and stands where the one that starts it looks: beside the chunk, as it stands beside the source.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build, type InputOption } from 'rolldown';
import { versionModule } from '../made.ts';

const ROOT = new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url).pathname;
const FOLDER = join(ROOT, 'dist/cli');
const VERSION = join(ROOT, 'engine/version.ts');

const entries: InputOption = {
  main: 'engine/cli/main.ts',
  thread: 'engine/spool/thread.ts',
  'shard-thread': 'engine/shards/shard-thread.ts',
  'raw/load-thread': 'bench/raw/load-thread.ts',
};

/** Two are native, MQTT.js is only for clients, and the last asks for Node's zlib in a way that only works where it stands. */
const external = ['lmdb', 'uWebSockets.js', 'hdr-histogram-js'];

const { output } = await build({
  cwd: ROOT,
  input: entries,
  platform: 'node',
  external,
  plugins: [{ name: 'made', load: (id) => (id === VERSION ? { code: versionModule(ROOT), moduleType: 'js' } : null) }],
  write: false,
  output: {
    dir: FOLDER,
    format: 'esm',
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: 'chunk-[name].js',
    comments: { legal: true },
  },
  // A warning is of something that may fail when it is run.
  onLog(level, log) {
    if (level === 'warn') throw new Error(log.message);
  },
});

// Where `bin` pointed before there was a bundle: npx remembers that for a folder, and what it finds there must run.
chmodSync(join(ROOT, 'dist/engine/cli/main.js'), 0o755);

// A build that changes nothing touches nothing, as with tsc: a broker that starts meanwhile finds its files.
const made = new Map(output.map((file) => [file.fileName, file.type === 'chunk' ? file.code : file.source]));
for (const [name, content] of made) {
  const path = join(FOLDER, name);
  if (existsSync(path) && readFileSync(path).equals(Buffer.from(content))) continue;
  mkdirSync(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  // Run by its name through `bin` in package.json.
  writeFileSync(unfinished, content, { mode: name === 'main.js' ? 0o755 : 0o644 });
  renameSync(unfinished, path);
}
for (const entry of readdirSync(FOLDER, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (/\.(js|map)$/.test(entry.name) && !made.has(path.slice(FOLDER.length + 1))) rmSync(path);
}
