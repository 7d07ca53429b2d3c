// One process at a time: a data directory belongs to whoever listens on the socket in it. The kernel ends the claim with the process, however
// it dies, so there is nothing to clean up after a crash. The same socket takes the requests of the admin API (administration/api.ts): HTTP, without a token,
// because who may enter the directory may ask.
import { accessSync, chmodSync, constants, existsSync, mkdirSync, statSync, unlinkSync } from 'node:fs';
import { createServer, request as httpRequest, type RequestListener, type Server } from 'node:http';
import { dirname, join, resolve } from 'node:path';
import { json } from 'node:stream/consumers';
import { type Log, silentLog } from '../log.ts';
import { closeServer, isAlive, outliveErrors } from '../network/http-server.ts';
import { FolderBusyError } from './folder-busy.ts';

export const LOCK_FILE = 'lethe.sock';
/** Longest path of a UNIX socket on Linux, less some room. */
const PATH_BYTES_MAX = 100;

export interface FolderLock {
  /** Answers requests from now on; until then the answer is that the broker is starting (503). */
  answer(listener: RequestListener): void;
  /**
   * Whether the socket is still this one. Two processes that come upon a left-over socket at the same time both take it away
   * and both listen: the one whose socket lies there in the end has the folder. To be asked before anything is written there.
   */
  isHeld(): boolean;
  unlock(): Promise<void>;
}

/** @throws Error in one line when another process has the directory, or it cannot be used */
export async function lockFolder(folder: string, log: Log = silentLog): Promise<FolderLock> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new FolderBusyError(
      `${folder}: cannot be made (${causeOf(folder, error)}); give a directory that the broker may write`,
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
  let respond = starting;
  const server = await listen(path, folder, (request, response) => respond(request, response));
  outliveErrors(server, log);
  const { ino } = statSync(path);
  const isHeld = () => statSync(path, { throwIfNoEntry: false })?.ino === ino;
  return {
    isHeld,
    answer(next) {
      respond = next;
    },
    // Closing takes the socket away, also when it is somebody else's by now.
    async unlock() {
      if (isHeld()) await closeServer(server);
    },
  };
}

/** The code of a failure; a disk that is read-only by its name, which node does not always give. */
function causeOf(folder: string, error: unknown): string {
  let place = resolve(folder);
  while (!existsSync(place)) place = dirname(place);
  try {
    accessSync(place, constants.W_OK);
  } catch (denied) {
    const { code } = denied as NodeJS.ErrnoException;
    return code === 'EROFS' ? 'EROFS: the disk is read-only' : String(code);
  }
  return String((error as NodeJS.ErrnoException).code);
}

function listen(path: string, folder: string, accept: RequestListener): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept);
    server.once('error', (error: NodeJS.ErrnoException) => {
      const busy = error.code === 'EADDRINUSE';
      reject(
        new FolderBusyError(
          busy
            ? `${folder}: another lethe uses this data directory`
            : `${folder}: cannot be locked (${causeOf(folder, error)}); give a directory that the broker may write`,
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

/** What answers on the socket until somebody is there to answer. */
const starting: RequestListener = (_request, response) => {
  response.writeHead(503, { 'content-type': 'application/json' }).end('{"error":"the broker is starting"}\n');
};

/** What the process that has a data directory has answered. */
export interface OwnerAnswer {
  readonly status: number;
  readonly body: unknown;
}

/**
 * Asks the process that has a data directory, by a path of its admin API (administration/api.ts); null when none has.
 * @throws Error when it does not answer
 */
export function callOwner(folder: string, method: string, path: string, body?: unknown): Promise<OwnerAnswer | null> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const timeout = method === 'GET' ? REQUEST_TIMEOUT_MS : ACT_TIMEOUT_MS;
    // A connection of its own: one that was kept would lead to the process that had the directory before.
    const request = httpRequest({ socketPath: join(folder, LOCK_FILE), method, path, headers, timeout, agent: false });
    request.once('timeout', () => request.destroy(new Error(`${folder}: the broker does not answer`)));
    request.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(null);
      else reject(error);
    });
    request.once('response', (response) => {
      json(response).then(
        (answer) => resolve({ status: response.statusCode ?? 0, body: answer }),
        () => reject(new Error(`${folder}: the broker's answer could not be read`)),
      );
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** The answer to a GET of `/v1/…`; null when nobody has the directory. @throws Error with what the broker says when it refuses */
export async function askOwner(folder: string, what: string): Promise<unknown> {
  const answer = await callOwner(folder, 'GET', `/v1/${what}`);
  if (answer === null) return null;
  if (answer.status === 200) return answer.body;
  throw new Error(`the broker says: ${(answer.body as { error?: string }).error ?? answer.status}`);
}

const REQUEST_TIMEOUT_MS = 30_000;
/** An erasure or an export goes through everything that is held. */
const ACT_TIMEOUT_MS = 600_000;
