// What a broker needs of a machine, looked at without one: a folder that can be written, a disk that flushes, a clock that can be right, descriptors, memory, shared memory, the two native addons.
import { closeSync, existsSync, fdatasyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { defaultLimits } from '../../../protocol/limits.ts';
import { allocateDoorbell, Doorbell } from '../../../storage/doorbell.ts';
import { descriptorLimit, reservedDescriptors } from '../../descriptors.ts';
import { madeMs } from '../../version.ts';
import { type Check, CheckFailure } from './check.ts';
import { within } from './child-broker.ts';
import { WORK_FOLDER } from './leftovers.ts';

/** Name of the check that makes the folder. */
export const FOLDER = 'folder';

const MiB = 1_048_576;
/** Below spool.disk_floor_bytes, 64 MiB unless configured, a broker takes no message that it must keep. */
const ROOM_BYTES_MIN = 96 * MiB;
const MEMORY_BYTES_MIN = 128 * MiB;
const DESCRIPTORS_MIN = 256;
const WAKE_MS_MAX = 5_000;
const FLUSHES = 20;
const FLUSH_BYTES = 4_096;
const FLUSH_MS_MAX = 1_000;
const DAY_MS = 86_400_000;
/** statfs(2): TMPFS_MAGIC. */
const TMPFS = 0x01021994;
/** What one shard reserves of shared memory for topics with default settings, about. */
const SHARED_BYTES = 128 * MiB;

const PERMISSION_ADVICE = 'give --data a directory that this user may write, or run as the user of the broker';
const DISK_ADVICE = 'free space on this disk, or give --data on another one';

/** Where the test works: inside the data directory when it is there, otherwise as near to it as can be, so that it is on the same disk. */
export function nearestFolder(data: string | undefined): string {
  if (data === undefined) return tmpdir();
  let folder = resolve(data);
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}

/** Makes the folder that the whole test works in; it is its owner's alone. @throws CheckFailure */
export function makeWorkFolder(near: string): string {
  try {
    return mkdtempSync(join(near, WORK_FOLDER));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new CheckFailure(`${near} has no room (${code})`, DISK_ADVICE);
    if (code === 'EROFS')
      throw new CheckFailure(`${near} is read-only (EROFS)`, 'mount the disk for writing, or give --data on another one');
    throw new CheckFailure(`${near} cannot be written (${code})`, PERMISSION_ADVICE);
  }
}

/** The checks in the order in which they are run; `folder` gives the folder of the test, which the first of them makes. */
export function machineChecks(folder: () => string): readonly Check[] {
  return [
    { name: 'disk space', needs: FOLDER, run: () => checkRoom(folder()) },
    { name: 'disk flush', needs: FOLDER, run: () => checkFlush(folder()) },
    { name: 'clock', run: checkClock },
    { name: 'descriptors', run: checkDescriptors },
    { name: 'memory', run: checkMemory },
    { name: 'shared memory', run: checkSharedMemory },
    { name: 'native addons', run: checkAddons },
  ];
}

function checkRoom(folder: string): string {
  const { bavail, bsize, type } = statfsSync(folder);
  const free = bavail * bsize;
  if (free < ROOM_BYTES_MIN)
    throw new CheckFailure(
      `${mebibytes(free)} free; a broker takes no message to keep below 64 MiB (spool.disk_floor_bytes)`,
      DISK_ADVICE,
    );
  return `${mebibytes(free)} free${type === TMPFS ? '; this is memory and no disk: give --data DIR to test the disk' : ''}`;
}

function checkFlush(folder: string): string {
  const path = join(folder, 'flushed');
  const block = Buffer.alloc(FLUSH_BYTES, 0x5a);
  const took: number[] = [];
  let descriptor = -1;
  try {
    descriptor = openSync(path, 'wx', 0o600);
    for (let i = 0; i < FLUSHES; i++) {
      const startMs = performance.now();
      writeSync(descriptor, block, 0, block.length, i * block.length);
      fdatasyncSync(descriptor);
      took.push(performance.now() - startMs);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new CheckFailure(`the disk is full (${code})`, DISK_ADVICE);
    throw new CheckFailure(`the disk does not write and flush (${code})`, 'see to the disk: dmesg may say more');
  } finally {
    if (descriptor >= 0) closeSync(descriptor);
    rmSync(path, { force: true });
  }
  took.sort((a, b) => a - b);
  const median = took[FLUSHES >> 1]!;
  const worst = took[FLUSHES - 1]!;
  if (median > FLUSH_MS_MAX)
    throw new CheckFailure(
      `a flush takes ${median.toFixed(0)} ms`,
      'every acknowledgement waits for one: see to the disk, or give --data on another',
    );
  return `a flush takes ${median.toFixed(2)} ms, the worst of ${FLUSHES} ${worst.toFixed(2)} ms`;
}

/** A clock that stands before the day on which this program was made is wrong, whatever else it says. */
function checkClock(): string {
  const nowMs = Date.now();
  const shown = new Date(nowMs).toISOString();
  if (nowMs < madeMs - DAY_MS)
    throw new CheckFailure(
      `it says ${shown}, before this program was made`,
      'set the clock, or wait for the time service: TLS and tokens need the true time; what is kept does not',
    );
  return shown;
}

function checkDescriptors(): string {
  const limit = descriptorLimit();
  if (limit === null) return 'this system does not say how many there may be';
  if (limit < DESCRIPTORS_MIN)
    throw new CheckFailure(
      `${limit} may be open at one time`,
      `raise the limit to ${DESCRIPTORS_MIN} or more (LimitNOFILE= of the unit, ulimit -n): each connection takes one`,
    );
  const room = limit - reservedDescriptors(1);
  const less =
    room < defaultLimits.connectionsMax ? `; the default of limits.connections_max is ${defaultLimits.connectionsMax}` : '';
  return `${limit} may be open at one time: about ${room} connections${less}`;
}

function checkMemory(): string {
  const total = totalmem();
  const constrained = process.constrainedMemory();
  const isLimited = constrained > 0 && constrained < total;
  const most = isLimited ? constrained : total;
  const where = isLimited ? 'allowed by the control group' : 'in this machine';
  if (most < MEMORY_BYTES_MIN)
    throw new CheckFailure(
      `${mebibytes(most)} ${where}`,
      `a broker needs ${mebibytes(MEMORY_BYTES_MIN)} at the least (MemoryMax= of the unit)`,
    );
  return `${mebibytes(most)} ${where}, ${mebibytes(process.availableMemory())} available`;
}

/** Memory that threads share, and being woken through it: between the engine and its spool there is nothing else. */
async function checkSharedMemory(): Promise<string> {
  let memory: SharedArrayBuffer;
  try {
    memory = new SharedArrayBuffer(SHARED_BYTES);
  } catch {
    throw new CheckFailure(`${mebibytes(SHARED_BYTES)} cannot be reserved`, 'raise the limit of address space (ulimit -v)');
  }
  new Uint8Array(memory)[SHARED_BYTES - 1] = 1;
  const bell = new Doorbell(allocateDoorbell());
  const woken = new Promise<'woken'>((resolve) =>
    bell.sleepAsync(
      () => false,
      () => resolve('woken'),
    ),
  );
  bell.ring();
  if ((await within(WAKE_MS_MAX, woken)) === null)
    throw new CheckFailure('a thread that waits is not woken', 'run Node 20 or 22 as it is made');
  return `${mebibytes(SHARED_BYTES)} reserved, a thread that waits is woken`;
}

async function checkAddons(): Promise<string> {
  const addons: readonly (readonly [name: string, load: () => Promise<unknown>])[] = [
    ['lmdb', () => import('lmdb')],
    ['uWebSockets.js', () => import('uWebSockets.js')],
  ];
  for (const [name, load] of addons) {
    try {
      await load();
    } catch (error) {
      throw new CheckFailure(
        `${name} cannot be loaded: ${(error as Error).message.split('\n', 1)[0]}`,
        'this build is for another processor or C library: take the one for this machine (glibc 2.28 or later)',
      );
    }
  }
  return `${addons.map(([name]) => name).join(' and ')}, ${process.platform}-${process.arch}, Node ${process.versions.node}`;
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / MiB)} MiB`;
}
