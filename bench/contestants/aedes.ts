// aedes, the broker of the npm registry, in a process of its own that aedes-broker.ts is.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { builtFile } from './built-file.ts';
import { type Contestant, localPlaces } from './contestant.ts';
import { PinnedProcess } from './pinned-process.ts';

const MAIN = builtFile('bench/contestants/aedes-broker.js');

/** Null when it is not installed, as where the development dependencies were left out. */
export function aedes(): Contestant | null {
  const version = installedVersion();
  if (version === null) return null;
  return {
    name: 'aedes',
    version: `aedes ${version}`,
    async start({ cores, ports = { stream: 0, ws: 0 }, certificate }) {
      const files = certificate === undefined ? [] : [certificate.certFile, certificate.keyFile];
      const args = [MAIN, String(ports.stream), String(ports.ws), ...files];
      const child = new PinnedProcess(cores, 'aedes', process.execPath, args);
      const [stream, ws] = JSON.parse(await child.firstLine()) as [number, number];
      const places = localPlaces({ stream, ws }, '/mqtt', certificate !== undefined);
      return { pid: child.pid, places, isForeign: false, ended: child.ended, stop: child.stop };
    },
  };
}

function installedVersion(): string | null {
  try {
    // It does not export its package.json.
    const folder = dirname(createRequire(import.meta.url).resolve('aedes'));
    return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version;
  } catch {
    return null;
  }
}
