// The way to the remote broker: one TCP or TLS connection, verified, and when it has no room for more. Knows nothing of MQTT.
import { createConnection, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { RemoteAddress } from '../config/bridges.ts';

/** What the files of a bridge hold, read anew for each connection; null for those that it does without. */
export interface RemoteTrust {
  readonly ca: Buffer | null;
  readonly cert: Buffer | null;
  readonly key: Buffer | null;
}

/** Called one at a time, never inside a call to RemoteSocket. */
export interface RemoteEvents {
  /** The connection stands, and the certificate was found good. */
  opened(): void;
  /** Owned by the receiver. */
  received(chunk: Uint8Array): void;
  /** There is room again. */
  drained(): void;
  /** Once, and last. `code` of node or OpenSSL; empty where the other end simply closed. */
  closed(code: string): void;
}

const TCP_KEEP_ALIVE_MS = 60_000;

export class RemoteSocket {
  /** Whether what is written now only waits. */
  isFull = false;
  readonly #socket: Socket;

  /** @param trust null: without TLS */
  constructor({ host, port }: RemoteAddress, trust: RemoteTrust | null, events: RemoteEvents) {
    let code = '';
    const socket = trust === null ? createConnection({ host, port }) : openTls(host, port, trust);
    socket.setNoDelay(true);
    // Without a keep alive of MQTT nothing else would notice that the other end is gone.
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    socket.once(trust === null ? 'connect' : 'secureConnect', () => events.opened());
    socket.on('data', (chunk: Buffer) => events.received(chunk));
    socket.on('drain', () => {
      this.isFull = false;
      events.drained();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (code === '') code = error.code ?? 'UNKNOWN';
    });
    socket.once('close', () => events.closed(code));
    this.#socket = socket;
  }

  /** Gives the bytes away. */
  write(bytes: Uint8Array): void {
    if (this.#socket.writable && !this.#socket.write(bytes)) this.isFull = true;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Sends what was written, then closes. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

function openTls(host: string, port: number, { ca, cert, key }: RemoteTrust): TLSSocket {
  return connectTls({
    host,
    port,
    minVersion: 'TLSv1.2',
    // Whatever the environment says.
    rejectUnauthorized: true,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === null ? {} : { ca }),
    ...(cert === null || key === null ? {} : { cert, key }),
  });
}
