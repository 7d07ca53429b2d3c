// What the one-file program runs first, in its main thread and in each other thread: a loader for the code that lies inside the file. Each
// piece is compiled when something asks for it, from V8's code cache where the file has one. The runtime's own modules are all else that code can have:
// nothing is looked up on the disk of the machine, whatever lies beside the file or in NODE_PATH.
//
// It is bundled into a script that sets the global `lethe`; what is run is that script and a line that calls `run`.
import type { Script as VmScript } from 'node:vm';

/** Under these the pieces lie in the file. */
export const CODE = 'code/';
export const CACHE = 'cache/';

type Piece = (exports: object, require: (name: string) => unknown, module: { exports: object }, file: string) => void;

/** Loads the piece of this name, and with it what it asks for. */
export function run(entry: string): void {
  const sea = process.getBuiltinModule('node:sea');
  const vm = process.getBuiltinModule('node:vm');
  const loaded = new Map<string, { exports: object }>();

  const compile = (name: string): VmScript => {
    const source = Buffer.from(sea.getRawAsset(`${CODE}${name}`) as ArrayBuffer).toString('utf8');
    const cachedData = cacheOf(name);
    return new vm.Script(source, { filename: `lethe:${name}`, ...(cachedData === null ? {} : { cachedData }) });
  };

  const cacheOf = (name: string): Uint8Array<ArrayBuffer> | null => {
    try {
      return new Uint8Array(sea.getRawAsset(`${CACHE}${name}`) as ArrayBuffer);
    } catch {
      return null; // made for a platform whose runtime did not run where the file was made
    }
  };

  const load = (name: string): object => {
    const before = loaded.get(name);
    if (before !== undefined) return before.exports;
    const module = { exports: {} };
    loaded.set(name, module);
    const piece = compile(name).runInThisContext() as Piece;
    piece(module.exports, required, module, `/lethe/${name}`);
    return module.exports;
  };

  const required = (name: string): unknown => {
    if (name.startsWith('./')) return load(name.slice(2));
    const found = process.getBuiltinModule(name);
    if (found === undefined) throw new Error(`${name} is not in this program`);
    return found;
  };

  load(entry);
}
