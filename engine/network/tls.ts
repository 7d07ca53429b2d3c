// The TLS handshake of accepted TCP sockets: from a raw socket to an encrypted one and the certificate that it showed.
// What the handshakes cost is bounded by the caller; each one ends by itself within `timeoutMs`.
import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import type { CertificateUser, Peer } from '../link.ts';
import type { TlsMaterial, TlsOptions } from './certificate.ts';
import { commonName, nameInCertificate } from './certificate-name.ts';

export interface TlsFront<Context> {
  /** Takes the socket over. `context` comes back when the handshake succeeds; otherwise the socket is closed. */
  begin(socket: Socket, context: Context): void;
}

/** What the shards of a listener have in common, so that a client resumes its session in any of them. */
export interface SharedTickets {
  readonly listener: string;
  /** 48 secret random bytes. */
  readonly keys: Uint8Array;
}

/** @param tickets null: this front resumes only its own sessions */
export function tlsFront<Context>(
  options: TlsOptions,
  material: TlsMaterial,
  tickets: SharedTickets | null,
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
    ...(tickets === null ? {} : { ticketKeys: Buffer.from(tickets.keys), sessionIdContext: sessionContext(tickets.listener) }),
  });
  server.on('secureConnection', (socket) => {
    const context = contexts.get(farEnd(socket));
    if (context === undefined) socket.destroy();
    else onSecure(socket, context, verifiedCertificate(socket, options.certificateUser ?? 'none'));
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

/**
 * Keeps sessions of one listener from being resumed at another one with the same keys, which may ask for more. Node's own differs
 * between threads.
 */
function sessionContext(listener: string): string {
  return createHash('sha256').update(listener).digest('hex').slice(0, SESSION_CONTEXT_BYTES);
}

/** As many as TLS libraries take. */
const SESSION_CONTEXT_BYTES = 32;

function farEnd(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function verifiedCertificate(socket: TLSSocket, user: CertificateUser): Peer['certificate'] {
  if (!socket.authorized) return null;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  return {
    commonName: commonName(certificate),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    ...(user === 'none' ? {} : { userName: nameInCertificate(certificate, user) }),
  };
}
