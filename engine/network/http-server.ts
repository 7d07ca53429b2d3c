// What the servers of the admin API have in common, on a port and on UNIX sockets.
import { connect, type Server } from 'node:net';
import type { Log } from '../log.ts';

/** A server with connections that it can close, as those for HTTP are. */
interface Closable extends Server {
  closeAllConnections(): void;
}

/** From the listening on: what the system says against a connection (no free descriptor, say) is told once, and the next one is taken. Without this it would end the process. */
export function outliveErrors(server: Server, log: Log): void {
  let isTold = false;
  server.on('error', ({ code = 'unknown' }: NodeJS.ErrnoException) => {
    if (!isTold) log.error('the admin API cannot take a connection', { code });
    isTold = true;
  });
}

/** Resolves when nothing of it is open any more. */
export function closeServer(server: Closable): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** Whether a process listens on a UNIX socket. */
export function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
