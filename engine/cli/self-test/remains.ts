// What can be found in a data directory by somebody who has all of its files, keys included: texts in clear, and texts in values that a key opens. It works on copies, so that a broker that runs is left alone.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KEYS_FILE, openFolder } from '../../../storage/folder.ts';
import { DATA_FILE } from '../../../storage/lmdb-disk.ts';
import { unseal } from '../../../storage/sealed.ts';
import { systemRandom } from '../../random.ts';

/** Files of the directory in which the text stands as it is, or as hexadecimal, base64 or UTF-16 would have it. */
export function filesWith(folder: string, text: string): readonly string[] {
  const bytes = Buffer.from(text);
  const patterns = [bytes, Buffer.from(bytes.toString('hex')), Buffer.from(text, 'utf16le'), ...inBase64(bytes)];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
    .filter((name) => {
      const content = readFileSync(join(folder, name));
      return patterns.some((pattern) => content.includes(pattern));
    });
}

/** What base64 makes of it behind none, one or two other bytes, but for the characters that these have a part in. */
function inBase64(bytes: Buffer): readonly Buffer[] {
  return [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
    return Buffer.from(text.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6)));
  });
}

/** Keeps a copy of the files of a spool. */
export function copySpool(from: string, to: string): void {
  mkdirSync(to, { mode: 0o700 });
  for (const file of [DATA_FILE, KEYS_FILE]) copyFileSync(join(from, file), join(to, file));
}

/** How many values of the data file in `dataOf` hold the text when they are opened with the keys in `keysOf`; both may be in use. */
export function valuesWith(dataOf: string, keysOf: string, text: string, scratch: string): number {
  mkdirSync(scratch, { mode: 0o700 });
  try {
    copyFileSync(join(dataOf, DATA_FILE), join(scratch, DATA_FILE));
    copyFileSync(join(keysOf, KEYS_FILE), join(scratch, KEYS_FILE));
    const { ground } = openFolder(scratch, null, (bytes) => systemRandom.bytes(bytes));
    let found = 0;
    ground.disk.range(Buffer.of(0), Buffer.of(0xff), (_key, value) => {
      if (unseal(ground.vault, value)?.plain.includes(text) === true) found++;
      return true;
    });
    ground.disk.close();
    ground.vault.close();
    return found;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
