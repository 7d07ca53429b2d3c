// The native code of the one-file program. The system's loader takes a shared object from a file only, so that this one unpacks what it carries into a private folder
// (private-folder.ts) and loads it from there: in the first place where that works, and in every thread from the same one, unless somebody has cleaned up there meanwhile.

import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { getAsset, getRawAsset } from 'node:sea';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { type Contents, isStillOurs, placesFor, privateFolder, removeFolder } from './private-folder.ts';

/** Where the list of them lies in the file, and under what they do. */
export const ADDON_LIST = 'addons.json';
export const ADDON = 'addon/';

/** The variable by which the operator says where. */
const VARIABLE = 'LETHE_RUNTIME_DIR';
/** How a thread learns where another one has found them. */
const KNOWN = 'lethe addons';
const TRIES = 3;

/** @throws Error in one line when there is no place from which it can be loaded */
export function loadAddon(name: string): unknown {
  const known = getEnvironmentData(KNOWN);
  if (typeof known === 'string' && isStillOurs(known)) {
    try {
      return open(`${known}/${name}`);
    } catch (error) {
      if (existsSync(`${known}/${name}`)) throw error;
    }
  }
  const contents: Contents = {
    ...(JSON.parse(getAsset(ADDON_LIST, 'utf8')) as Omit<Contents, 'read'>),
    read: (file) => new Uint8Array(getRawAsset(`${ADDON}${file}`) as ArrayBuffer),
  };
  const why: string[] = [];
  for (const place of placesFor(process.env, process.geteuid!(), tmpdir())) {
    try {
      return loadFrom(place, contents, name);
    } catch (error) {
      why.push(reasonOf(error, place));
    }
  }
  throw new Error(
    `its native code finds no place to be loaded from: ${why.join('; ')}. Set ${VARIABLE} to a folder that only you can write, on a file system without noexec`,
  );
}

function loadFrom(place: string, contents: Contents, name: string): unknown {
  for (let triesLeft = TRIES; ; triesLeft--) {
    const { folder, isNew, forNow } = privateFolder(place, contents);
    try {
      const exports = open(`${folder}/${name}`);
      setEnvironmentData(KNOWN, folder);
      if (forNow !== null) {
        process.stderr.write(`lethe: not used for native code: ${forNow}\n`);
        process.once('exit', () => removeFolder(folder));
      }
      return exports;
    } catch (error) {
      // Two starts that mend a folder at once may take away each other's.
      if (triesLeft > 1 && !existsSync(`${folder}/${name}`)) continue;
      if (isNew) removeFolder(folder);
      throw error;
    }
  }
}

function open(path: string): unknown {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}

/** The loader's own words for a mount without the right to run programs do not say so; those of the file system repeat what was tried. */
function reasonOf(error: unknown, place: string): string {
  const message = error instanceof Error ? error.message : String(error);
  if (/failed to map segment/.test(message)) return `${place} is mounted noexec`;
  const system = /^[A-Z]+: ([^,]+), /.exec(message);
  if (system !== null) return `${place}: ${system[1]}`;
  return message.includes(place) ? message : `${place}: ${message}`;
}
