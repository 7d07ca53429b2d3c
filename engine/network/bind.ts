// Binding a port, and what to say when that fails.
import { createServer, type ListenOptions, type Server } from 'node:net';
import type { HandOut } from './hand-out.ts';

/** Which of the shards that listen on the same port this is. */
export interface ShardPlace {
  /** 0 is opened first, and the others take its port. */
  readonly index: number;
  readonly count: number;
  /** Its part in the hand-out of TCP connections; null where the kernel spreads them (`needsHandOut`). */
  readonly handOut: HandOut | null;
}

export interface BindOptions {
  /** Name of the listener in the configuration. */
  readonly name: string;
  /** Address or host name to listen on. */
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Connections that the kernel holds before they are accepted. */
  readonly backlog?: number;
  /** Nobody else listens on the port unless given. */
  readonly shards?: ShardPlace;
}

/** The machine does not give the address: names listener and option and says what to do. */
export class BindError extends Error {}

/**
 * Starts to listen; resolves with the port.
 * @throws BindError
 */
export function bind(server: Server, options: BindOptions): Promise<number> {
  return listen(server, options, { exclusive: true });
}

/**
 * Likewise on a port that the other shards have too, by SO_REUSEPORT: the kernel spreads the connections. A port that another
 * program has is refused although it may have it in the same way.
 * @throws BindError
 */
export async function bindShared(server: Server, options: BindOptions): Promise<number> {
  // A port that the kernel chooses is nobody else's.
  if (options.shards?.index === 0 && options.port !== 0) await probe(options);
  const reusePort: ListenOptions & { readonly reusePort: true } = { exclusive: true, reusePort: true };
  return listen(server, options, reusePort);
}

function listen(server: Server, options: BindOptions, how: ListenOptions): Promise<number> {
  const { host, port, backlog } = options;
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => reject(bindFailure(options, error.code ?? 'unknown'));
    server.once('error', onError);
    server.listen({ host, port, ...how, ...(backlog === undefined ? {} : { backlog }) }, () => {
      server.off('error', onError);
      const address = server.address();
      resolve(address !== null && typeof address === 'object' ? address.port : port);
    });
  });
}

/**
 * Binds with node, for itself alone, and lets go again: to find out whether anybody has the port, and for a library that says
 * only that binding failed, and does not set SO_REUSEADDR on a port that it chose itself (so that the port stays taken while an
 * accepted connection lives). Resolves with the port to take.
 */
export async function probe(options: BindOptions): Promise<number> {
  const server = createServer();
  const port = await bind(server, options);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function bindFailure({ name, host, port }: BindOptions, code: string): BindError {
  return new BindError(`listener "${name}": ${advice(host, port, code)}`);
}

function advice(host: string, port: number, code: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} of ${host} is in use; stop the program that has it, or set another port`;
    case 'EADDRNOTAVAIL':
      return `host ${host} is not an address of this machine; set host to one that is, or to 0.0.0.0 or :: for all`;
    case 'EACCES':
      return `port ${port} needs a permission that this user lacks; set a port from 1024 up, or grant CAP_NET_BIND_SERVICE`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `host ${host} cannot be resolved; set host to an address`;
    default:
      return `host ${host} port ${port} cannot be bound (${code}); set another host or port`;
  }
}
