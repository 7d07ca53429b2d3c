// One process at a time: a data directory belongs to whoever listens on the socket in it. The kernel ends the claim with the process, however
// it dies, so there is nothing to clean up after a crash. The same socket answers questions about what the directory holds: one request a
// connection, a word and a line feed, answered by one line of JSON. Who may enter the directory may ask.
import { chmodSync, existsSync, mkdirSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

export const LOCK_FILE = 'lethe.sock';
/** Longest path of a UNIX socket on Linux, less some room. */
const PATH_BYTES_MAX = 100;

/** The data directory cannot be had now: it is taken, or the disk does not let us. */
export class FolderBusyError extends Error {}

export interface FolderLock {
  /** Answers requests from now on; until then there is no answer. */
  answer(respond: (request: string) => Promise<unknown>): void;
  /**
   * Whether the socket is still this one. Two processes that come upon a left-over socket at the same time both take it away
   * and both listen: the one whose socket lies there in the end has the folder. To be asked before anything is written there.
   */
  isHeld(): boolean;
  unlock(): Promise<void>;
}

/** @throws Error in one line when another process has the directory, or it cannot be used */
export async function lockFolder(folder: string): Promise<FolderLock> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new FolderBusyError(
      `${folder}: cannot be made (${(error as NodeJS.ErrnoException).code}); give a directory that the broker may write`,
    );
  }
  const path = join(folder, LOCK_FILE);
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new FolderBusyError(
      `${folder}: the path is longer than ${PATH_BYTES_MAX - LOCK_FILE.length - 1} bytes; give a shorter one (a relative path counts as written)`,
    );
  }
  if (existsSync(path)) {
    if (await isAlive(path))
      throw new FolderBusyError(`${folder}: another lethe uses this data directory; stop it first, or give each its own --data`);
    unlinkSync(path);
  }
  let respond: (request: string) => Promise<unknown> = async () => ({ error: 'the broker is starting' });
  const server = await listen(path, folder, (socket) => serve(socket, (request) => respond(request)));
  const { ino } = statSync(path);
  const isHeld = () => statSync(path, { throwIfNoEntry: false })?.ino === ino;
  return {
    isHeld,
    answer(next) {
      respond = next;
    },
    // Closing takes the socket away, also when it is somebody else's by now.
    unlock: () => (isHeld() ? new Promise((resolve) => server.close(() => resolve())) : Promise.resolve()),
  };
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

function listen(path: string, folder: string, accept: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept);
    server.once('error', (error: NodeJS.ErrnoException) => {
      const busy = error.code === 'EADDRINUSE';
      reject(
        new FolderBusyError(
          busy ? `${folder}: another lethe uses this data directory` : `${folder}: cannot be locked (${error.code})`,
        ),
      );
    });
    server.listen(path, () => {
      chmodSync(path, 0o600);
      server.unref();
      resolve(server);
    });
  });
}

function serve(socket: Socket, respond: (request: string) => Promise<unknown>): void {
  let request = '';
  socket.setEncoding('latin1');
  socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (text) => {
    request += String(text);
    if (request.length > REQUEST_BYTES_MAX) socket.destroy();
    if (!request.includes('\n')) return;
    const word = request.slice(0, request.indexOf('\n'));
    respond(word).then(
      (answer) => socket.end(`${JSON.stringify(answer)}\n`),
      () => socket.end('{"error":"failed"}\n'),
    );
  });
}

/** Asks the process that has a data directory; null when none has. @throws Error when it does not answer */
export function askOwner(folder: string, request: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, LOCK_FILE));
    let answer = '';
    socket.setEncoding('utf8');
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy(new Error(`${folder}: the broker does not answer`)));
    socket.once('connect', () => socket.write(`${request}\n`));
    socket.on('data', (text) => {
      answer += String(text);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(null);
      else reject(error);
    });
    socket.once('end', () => {
      try {
        resolve(JSON.parse(answer));
      } catch {
        reject(new Error(`${folder}: the broker's answer could not be read`));
      }
    });
  });
}

const REQUEST_TIMEOUT_MS = 30_000;
const REQUEST_BYTES_MAX = 1_024;
