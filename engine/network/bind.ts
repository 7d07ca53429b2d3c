// Binding a port, and what to say when that fails.
import { createServer, type Server } from 'node:net';

export interface BindOptions {
  /** Name of the listener in the configuration. */
  readonly name: string;
  /** Address or host name to listen on. */
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Connections that the kernel holds before they are accepted. */
  readonly backlog?: number;
}

/** The machine does not give the address: names listener and option and says what to do. */
export class BindError extends Error {}

/**
 * Starts to listen; resolves with the port.
 * @throws BindError
 */
export function bind(server: Server, options: BindOptions): Promise<number> {
  const { host, port, backlog } = options;
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => reject(bindFailure(options, error.code ?? 'unknown'));
    server.once('error', onError);
    server.listen({ host, port, exclusive: true, ...(backlog === undefined ? {} : { backlog }) }, () => {
      server.off('error', onError);
      const address = server.address();
      resolve(address !== null && typeof address === 'object' ? address.port : port);
    });
  });
}

/**
 * Binds with node and lets go again: for a library that says only that binding failed, and does not set SO_REUSEADDR on a port
 * that it chose itself (so that the port stays taken while an accepted connection lives). Resolves with the port to take.
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
