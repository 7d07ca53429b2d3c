// The version, as package.json has it.
import { readFileSync } from 'node:fs';

export const version: string = readVersion();

function readVersion(): string {
  // The sources lie one folder below package.json, the build two.
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { name, version: found } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as {
        name: string;
        version: string;
      };
      if (name === 'lethe') return found;
    } catch {
      // the other one has it
    }
  }
  return 'unknown';
}
