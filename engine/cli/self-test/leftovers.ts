// A self-test that is killed (SIGKILL, out of memory, power) leaves its folder behind; the next one in that place takes it away. Whether somebody is still at work in a folder is asked of the
// socket in it, as with a data directory: the kernel ends that claim with the process.
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive } from '../../network/http-server.ts';
import { FolderBusyError } from '../../spool/folder-busy.ts';
import { LOCK_FILE, lockFolder } from '../../spool/folder-lock.ts';

/** How the names of such folders begin. */
export const WORK_FOLDER = '.lethe-self-test-';

const DAY_MS = 86_400_000;
const PERMISSIONS = 0o777;

/** Says for as long as this process runs that it works in this folder. Where there can be no socket (a full disk, a long path) the folder's age has to do. */
export async function claim(folder: string): Promise<void> {
  try {
    await lockFolder(folder);
  } catch (error) {
    if (!(error instanceof FolderBusyError)) throw error;
  }
}

/** Removes what earlier self-tests of this user have left in a place, as far as that can be done. */
export async function removeLeftovers(near: string): Promise<void> {
  for (const name of namesIn(near)) {
    const folder = join(near, name);
    try {
      if (name.startsWith(WORK_FOLDER) && isOwn(folder) && !(await isUsed(folder)))
        rmSync(folder, { recursive: true, force: true });
    } catch {
      // It stays: this test is about something else.
    }
  }
}

function namesIn(place: string): readonly string[] {
  try {
    return readdirSync(place);
  } catch {
    return [];
  }
}

function isOwn(folder: string): boolean {
  const found = lstatSync(folder);
  return found.isDirectory() && found.uid === process.geteuid!() && (found.mode & PERMISSIONS) === 0o700;
}

async function isUsed(folder: string): Promise<boolean> {
  const socket = join(folder, LOCK_FILE);
  if (lstatSync(socket, { throwIfNoEntry: false }) !== undefined) return await isAlive(socket);
  return Math.abs(Date.now() - lstatSync(folder).mtimeMs) < DAY_MS;
}
