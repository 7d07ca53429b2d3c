// The one-file program of a platform: Node's runtime, in which postject puts a blob that Node's own tool has made of the code, the native code and a few texts.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'postject';
import { ADDON, ADDON_LIST } from '../one-file/addon.ts';
import { CODE } from '../one-file/boot.ts';
import { TEXT } from '../one-file/packaged.ts';
import { BOOT } from '../one-file/thread.ts';
import type { Code } from './code.ts';
import { makeCodeCaches } from './code-cache.ts';
import { type Platform, platforms, RUNTIME_VERSION, UPLOT_TEXTS } from './contents.ts';
import { machineOf, stripped } from './elf.ts';
import { fetchPackage, lockedPackage } from './packages.ts';

/** The same for every runtime: postject looks for it, and Node for the blob when it has been turned. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
/** Node's number of the interface that native code is built for. */
const MODULES_VERSION = 127;

/** Given to the runtime before anything else; NODE_OPTIONS and flags of Node's among the arguments are not heard. */
const RUNTIME_FLAGS: readonly string[] = ['--disable-sigusr1'];

export function runtimeFolder(root: string, platform: Platform): string {
  return fetchPackage(root, `node-${platform}`, RUNTIME_VERSION, platforms[platform].runtimeIntegrity);
}

export function executablePath(root: string, platform: Platform): string {
  return join(root, 'dist', `lethe-${platform}`);
}

/** Makes the file and returns its path. */
export async function makeExecutable(root: string, platform: Platform, code: Code): Promise<string> {
  const work = mkdtempSync(join(tmpdir(), 'lethe-bundle-'));
  try {
    const assets = new Map<string, string | Buffer>([[BOOT, code.boot]]);
    for (const [name, text] of code.pieces) assets.set(`${CODE}${name}`, text);
    for (const path of UPLOT_TEXTS) assets.set(`${TEXT}${path}`, readFileSync(join(root, 'node_modules', path)));
    for (const [name, content] of addonAssets(root, platform)) assets.set(name, content);
    const files = writeAssets(work, assets);
    // Only the runtime of this machine can be asked to compile.
    if (platform === ownPlatform()) {
      const caches = makeCodeCaches(ownRuntime(root), work, files);
      for (const [name, file] of writeAssets(work, caches, files.size)) files.set(name, file);
    }
    const blob = makeBlob(root, code, files, work);

    const runtime = stripped(readFileSync(join(runtimeFolder(root, platform), 'bin/node')));
    if (machineOf(runtime) !== platforms[platform].machine)
      throw new Error(`the runtime for ${platform} is for ${machineOf(runtime)}`);
    const unfinished = join(work, 'lethe');
    writeFileSync(unfinished, runtime);
    await inject(unfinished, 'NODE_SEA_BLOB', blob, { sentinelFuse: FUSE });
    chmodSync(unfinished, 0o755);
    const path = executablePath(root, platform);
    mkdirSync(join(root, 'dist'), { recursive: true });
    // By a copy under a name of its own: the folder for temporary files may be another file system.
    const copy = `${path}.${process.pid}`;
    writeFileSync(copy, readFileSync(unfinished), { mode: 0o755 });
    renameSync(copy, path);
    return path;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Where npm has put the native code, by its names in the file. */
export function addonPaths(root: string, platform: Platform): Readonly<Record<string, string>> {
  const [system, processor] = platform.split('-');
  return {
    'uws.node': join(root, `node_modules/uWebSockets.js/dist/bin/uws_${system}_${processor}_${MODULES_VERSION}.node`),
    'lmdb.node': join(lockedPackage(root, `@lmdb/lmdb-${platform}`), `node.abi${MODULES_VERSION}.glibc.node`),
  };
}

/** The native code of the two packages that have any, without symbols, and the list of it by which what is unpacked is judged. */
function addonAssets(root: string, platform: Platform): ReadonlyMap<string, string | Buffer> {
  const contents = Object.entries(addonPaths(root, platform)).map(([name, path]) => {
    const content = stripped(readFileSync(path));
    if (machineOf(content) !== platforms[platform].machine) throw new Error(`${path} is for ${machineOf(content)}`);
    return { name, content };
  });
  const files = contents.map(({ name, content }) => ({ name, bytes: content.length, hash: sha256(content) }));
  const list = JSON.stringify({ hash: sha256(Buffer.from(JSON.stringify(files))), files });
  return new Map<string, string | Buffer>([
    [ADDON_LIST, list],
    ...contents.map(({ name, content }) => [`${ADDON}${name}`, content] as const),
  ]);
}

/** Writes each to a file of the folder, also the list for those that need it. Returns the files by the names of the assets. */
function writeAssets(work: string, assets: ReadonlyMap<string, string | Buffer>, from = 0): Map<string, string> {
  const files = new Map<string, string>();
  for (const [name, content] of assets) {
    const file = `asset-${from + files.size}`;
    writeFileSync(join(work, file), content);
    files.set(name, file);
  }
  writeFileSync(join(work, 'assets.json'), JSON.stringify(Object.fromEntries(files)));
  return files;
}

/** Where it is made does not stand in it: paths are relative, and the same each time. */
function makeBlob(root: string, code: Code, files: ReadonlyMap<string, string>, work: string): Buffer {
  writeFileSync(join(work, 'main.js'), `${code.boot}\nlethe.run("main.js");`);
  const config = {
    main: 'main.js',
    output: 'blob',
    disableExperimentalSEAWarning: true,
    useCodeCache: false,
    execArgv: RUNTIME_FLAGS,
    execArgvExtension: 'none',
    assets: Object.fromEntries(files),
  };
  writeFileSync(join(work, 'sea.json'), JSON.stringify(config));
  execFileSync(ownRuntime(root), ['--experimental-sea-config', 'sea.json'], { cwd: work, stdio: 'ignore' });
  return readFileSync(join(work, config.output));
}

/** The runtime of the version that is inside, for the machine that this runs on. */
function ownRuntime(root: string): string {
  return join(runtimeFolder(root, ownPlatform()), 'bin/node');
}

function ownPlatform(): Platform {
  const own = `${process.platform}-${process.arch}`;
  if (!Object.hasOwn(platforms, own))
    throw new Error(`the file is made on ${Object.keys(platforms).join(' or ')}, not on ${own}`);
  return own as Platform;
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
