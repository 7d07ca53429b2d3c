// Stands for ../packaged.ts in the one-file program, which has these texts inside itself.
import { getAsset } from 'node:sea';

/** Under this they lie in the file, by the paths that they are asked for. */
export const TEXT = 'text/';

export function packagedText(path: string): string {
  return getAsset(`${TEXT}${path}`, 'utf8');
}
