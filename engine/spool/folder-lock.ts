// One process at a time: a data directory belongs to whoever listens on the socket in it. The kernel ends the claim with the process, however
// it dies, so there is nothing to clean up after a crash.
import { existsSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';

export const LOCK_FILE = 'lethe.sock';
/** Longest path of a UNIX socket on Linux, less some room. */
const PATH_BYTES_MAX = 100;

export interface FolderLock {
  unlock(): Promise<void>;
}

/** @throws Error in one line when another process has the directory, or it cannot be used */
export async function lockFolder(folder: string): Promise<FolderLock> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(
      `${folder}: cannot be made (${(error as NodeJS.ErrnoException).code}); give a directory that the broker may write`,
    );
  }
  const path = join(folder, LOCK_FILE);
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new Error(
      `${folder}: the path is longer than ${PATH_BYTES_MAX - LOCK_FILE.length - 1} bytes; give a shorter one (a relative path counts as written)`,
    );
  }
  if (existsSync(path)) {
    if (await isAlive(path))
      throw new Error(`${folder}: another lethe uses this data directory; stop it first, or give each its own --data`);
    unlinkSync(path);
  }
  const server = await listen(path, folder);
  return { unlock: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** Whether a process listens there. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function listen(path: string, folder: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      const busy = error.code === 'EADDRINUSE';
      reject(
        new Error(busy ? `${folder}: another lethe uses this data directory` : `${folder}: cannot be locked (${error.code})`),
      );
    });
    server.listen(path, () => {
      server.unref();
      resolve(server);
    });
  });
}
