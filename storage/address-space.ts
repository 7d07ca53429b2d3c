// How much of a file may be mapped at once. lmdb wants one range of addresses for all that its file may ever grow to, and does not survive being refused it
// (lmdb 3.5.6: a segmentation fault while it opens). Most processes have 47 bits of addresses or more, but kernels of arm64 boards are also built with 39: half a tebibyte in all.
import { existsSync, readFileSync } from 'node:fs';

const MAPS = '/proc/self/maps';
/** Far more than a file grows to; address space, not disk. */
const MAP_BYTES_MAX = 2 ** 40;
/** The rest is for everything else that the process maps, wherever the system has put it. */
const PARTS = 8;
/** What lies in the kernel's half is not the process's (x86-64 lists a page there). */
const KERNEL_FROM = 2 ** 63;

/** Of this process, where the system lists what it has mapped: libraries and stack lie at the upper end of what it can have. */
export function mapBytes(): number {
  return mapBytesOf(existsSync(MAPS) ? readFileSync(MAPS, 'latin1') : '');
}

/** @param maps lines of /proc/self/maps: `from-to …`, in hex */
export function mapBytesOf(maps: string): number {
  let highest = 0;
  for (const [, to] of maps.matchAll(/^[0-9a-f]+-([0-9a-f]+) /gm)) {
    const end = Number.parseInt(to!, 16);
    if (end < KERNEL_FROM) highest = Math.max(highest, end);
  }
  if (highest === 0) return MAP_BYTES_MAX;
  return Math.min(MAP_BYTES_MAX, 2 ** Math.ceil(Math.log2(highest)) / PARTS);
}
