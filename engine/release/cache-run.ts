// Run by code-cache.ts in the runtime that goes into the file: starts the broker from the pieces as boot.ts would inside the file, and once it is
// ready writes down what V8 has compiled by then. A piece that it did not need (those of other threads too) is compiled as far as V8 does that unasked.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import vm, { type ScriptOptions } from 'node:vm';
import { CACHE, CODE } from '../one-file/boot.ts';

const work = process.argv[2]!;
const assets = JSON.parse(readFileSync(join(work, 'assets.json'), 'utf8')) as Readonly<Record<string, string>>;

/** Stands for node:sea: the assets lie in files still. */
const sea = {
  getRawAsset(name: string): ArrayBuffer {
    if (assets[name] === undefined) throw new Error(`no asset ${name}`);
    return new Uint8Array(readFileSync(join(work, assets[name]))).buffer;
  },
  getAsset: (name: string) => readFileSync(join(work, assets[name]!), 'utf8'),
};

const scripts = new Map<string, vm.Script>();

class NotedScript extends vm.Script {
  constructor(code: string, options: ScriptOptions) {
    super(code, options);
    scripts.set(options.filename!, this);
  }
}

const modules: Readonly<Record<string, object>> = { 'node:sea': sea, 'node:vm': { ...vm, Script: NotedScript } };
const builtin = process.getBuiltinModule.bind(process) as (name: string) => object | undefined;
process.getBuiltinModule = ((name: string) => modules[name] ?? builtin(name)) as typeof process.getBuiltinModule;

// The line that says that it is ready.
process.stdout.write = () => {
  queueMicrotask(writeCaches);
  return true;
};

process.argv = [process.execPath, process.execPath, 'serve', '--ready-json', '--port', '0', '--ws-port', '0'];
vm.runInThisContext(sea.getAsset('boot.js'));
(globalThis as unknown as { lethe: { run(entry: string): void } }).lethe.run('main.js');

function writeCaches(): void {
  for (const [name, file] of Object.entries(assets)) {
    if (!name.startsWith(CODE)) continue;
    const filename = `lethe:${name.slice(CODE.length)}`;
    const script = scripts.get(filename) ?? new vm.Script(sea.getAsset(name), { filename });
    writeFileSync(join(work, `${file}.${CACHE.slice(0, -1)}`), script.createCachedData());
  }
  process.exit(0);
}
