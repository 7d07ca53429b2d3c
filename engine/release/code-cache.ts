// V8's code cache for the pieces: a start finds compiled what it needs. It is bytecode, the same for every machine of a processor, and V8 refuses one that was
// made by another version of it or under other flags; the piece is compiled then.
//
// Two flags make the bytes the same each time: no concurrency, and a fixed seed of hashes, which V8 draws anew and works in again when it reads a cache. That these were set stands
// in the head of a cache, and it would be refused for it; so the head gets the word that a cache without them has.
//
//   head   0 magic   4 version   8 source   12 flags   16 bytes   20 checksum of what follows
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE, CODE } from '../one-file/boot.ts';

const FLAGS_AT = 12;
const RUN = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/engine/release/cache-run.js' : './cache-run.js',
  import.meta.url,
);

/**
 * @param assets files in the folder `work`, by the names of the assets
 * @returns assets for the caches, in the same way
 */
export function makeCodeCaches(runtime: string, work: string, assets: ReadonlyMap<string, string>): ReadonlyMap<string, Buffer> {
  const env = { PATH: process.env['PATH'], LETHE_RUNTIME_DIR: work };
  execFileSync(runtime, ['--predictable', '--hash-seed=1', RUN.pathname, work], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const plain = 'process.stdout.write(new (require("node:vm").Script)("1").createCachedData())';
  const flags = execFileSync(runtime, ['-e', plain], { env }).readUInt32LE(FLAGS_AT);
  const caches = new Map<string, Buffer>();
  for (const [name, file] of assets) {
    if (!name.startsWith(CODE)) continue;
    const cache = readFileSync(join(work, `${file}.${CACHE.slice(0, -1)}`));
    cache.writeUInt32LE(flags, FLAGS_AT);
    caches.set(`${CACHE}${name.slice(CODE.length)}`, cache);
  }
  return caches;
}
