// A way between two brokers that can be cut: it passes bytes on both ways, and closes everything that goes through it when it is told, in the midst of packets.
import { createConnection, createServer, type Server, type Socket } from 'node:net';

export interface Cuttable {
  readonly port: number;
  /** Connections that have come so far. */
  readonly connections: number;
  /** Closes what goes through now; with false what comes from now on is closed at once, until it is told otherwise. */
  cut(stays: 'open' | 'closed'): void;
  mend(): void;
  close(): Promise<void>;
}

export async function cuttable(toPort: () => number): Promise<Cuttable> {
  const sockets = new Set<Socket>();
  let isClosed = false;
  let connections = 0;
  const server: Server = createServer((near) => {
    if (isClosed) {
      near.destroy();
      return;
    }
    connections++;
    const far = createConnection({ host: '127.0.0.1', port: toPort() });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    get connections() {
      return connections;
    },
    cut(stays) {
      isClosed = stays === 'closed';
      for (const socket of sockets) socket.resetAndDestroy();
    },
    mend() {
      isClosed = false;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
