// The version, as package.json has it, and the time of which the program is. `npm run build` and `npm run bundle` put another module in the place of this one, which has the commit's time (made.ts).
import { readFileSync } from 'node:fs';

export const version: string = readVersion();

/** The program is not older than this: a clock that stands before it is wrong. Milliseconds since 1970; here the month of these lines. */
export const madeMs: number = Date.UTC(2026, 10);

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
