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
  /** Handshakes from now on are made with this. Sessions of before are not resumed: their clients were verified against what may not hold any more. */
  renew(material: TlsMaterial): void;
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
  const contextOf = ({ cert, key, ca }: TlsMaterial, ticketKeys: Buffer | null) => ({
    cert,
    key,
    ...(ca === null ? {} : { ca }),
    ...(options.passphrase === undefined ? {} : { passphrase: options.passphrase }),
    minVersion: options.minVersion,
    ...(ticketKeys === null || tickets === null ? {} : { ticketKeys, sessionIdContext: sessionContext(tickets.listener) }),
  });
  const server = createServer({
    ...contextOf(material, tickets === null ? null : Buffer.from(tickets.keys)),
    requestCert: options.clientCertificate !== 'none',
    rejectUnauthorized: options.clientCertificate === 'require',
    handshakeTimeout: timeoutMs,
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
    // Without keys of ours the new context draws its own.
    renew(next) {
      server.setSecureContext(contextOf(next, tickets === null ? null : ticketKeysFor(tickets.keys, next)));
    },
  };
}

/** Other keys for other files, the same ones in each shard. */
function ticketKeysFor(keys: Uint8Array, { cert, ca }: TlsMaterial): Buffer {
  const hash = createHash('sha512').update(keys).update(cert);
  return (ca === null ? hash : hash.update(ca)).digest().subarray(0, keys.length);
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
