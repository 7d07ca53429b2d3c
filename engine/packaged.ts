// Text files of packages that are shown to a browser: the seam at which the one-file program (one-file/packaged.ts) has them inside itself instead.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** @param path of the file, the package's name first */
export function packagedText(path: string): string {
  return readFileSync(createRequire(import.meta.url).resolve(path), 'utf8');
}
