// The TLS handshake of accepted TCP sockets: from a raw socket to an encrypted one and the certificate that it showed.
// What the handshakes cost is bounded by the caller; each one ends by itself within `timeoutMs`.
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import type { Peer } from '../link.ts';
import type { TlsMaterial, TlsOptions } from './certificate.ts';

export interface TlsFront<Context> {
  /** Takes the socket over. `context` comes back when the handshake succeeds; otherwise the socket is closed. */
  begin(socket: Socket, context: Context): void;
}

export function tlsFront<Context>(
  options: TlsOptions,
  material: TlsMaterial,
  timeoutMs: number,
  onSecure: (socket: TLSSocket, context: Context, certificate: Peer['certificate']) => void,
): TlsFront<Context> {
  // It never listens: sockets are handed to it by its 'connection' event, which node documents for this use. It hands the
  // encrypted socket back without the raw one, so contexts wait under the far end of the connection, which is unique here.
  const contexts = new Map<string, Context>();
  const server = createServer({
    cert: material.cert,
    key: material.key,
    ...(material.ca === null ? {} : { ca: material.ca }),
    ...(options.passphrase === undefined ? {} : { passphrase: options.passphrase }),
    minVersion: options.minVersion,
    requestCert: options.clientCertificate !== 'none',
    rejectUnauthorized: options.clientCertificate === 'require',
    handshakeTimeout: timeoutMs,
  });
  server.on('secureConnection', (socket) => {
    const context = contexts.get(farEnd(socket));
    if (context === undefined) socket.destroy();
    else onSecure(socket, context, verifiedCertificate(socket));
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());

  return {
    begin(socket, context) {
      const key = farEnd(socket);
      contexts.set(key, context);
      socket.once('close', () => contexts.delete(key));
      server.emit('connection', socket);
    },
  };
}

function farEnd(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function verifiedCertificate(socket: TLSSocket): Peer['certificate'] {
  if (!socket.authorized) return null;
  const { subject, fingerprint256 } = socket.getPeerCertificate();
  const { CN } = subject;
  return {
    // A subject with several common names has none that it can be called by.
    commonName: typeof CN === 'string' ? CN : '',
    fingerprint: fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}
