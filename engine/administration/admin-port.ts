// Where the admin API listens beside the socket in the data directory: a port, with a token and TLS beyond loopback, or a UNIX socket of a broker that has no data directory.
//
// Who reaches the UNIX socket may ask: its mode is 0600. Who reaches the port must show the token, unless `admin.open` says otherwise. A browser is held to pages of this port
// itself: no other site may have one send a request here, by whatever name it has found the port.
import { chmodSync, existsSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import { type AddressInfo, isIP } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { isLoopback } from '../config/auth.ts';
import type { AdminConfig } from '../config/load.ts';
import { BindError, bindFailure } from '../network/bind.ts';
import { closeServer, isAlive, outliveErrors } from '../network/http-server.ts';
import type { Administration } from './administration.ts';
import { type Admit, apiListener } from './api.ts';
import { ApiError } from './api-error.ts';
import { hasToken, readToken } from './token.ts';

export interface AdminPort {
  /** 0: only a UNIX socket. */
  readonly port: number;
  /**
   * Reads the token and the certificate anew, from the files that were named at the start; what comes back puts them in force, for connections and requests from then on.
   * @throws Error in one line that names the file and says what to do; everything is as it was then
   */
  prepare(): Promise<() => void>;
  close(): Promise<void>;
}

const CONNECTIONS_MAX = 64;
const TIMES = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5_000, maxHeaderSize: 8_192 } as const;

/**
 * Opens what the configuration names; null when it names nothing.
 * @throws BindError, or Error in one line that names the file and says what to do
 */
export async function openAdminPort(administration: Administration): Promise<AdminPort | null> {
  const { log, config } = administration;
  const { admin } = config;
  if (admin.port === null && admin.socket === '') return null;
  const servers: Server[] = [];
  const close = async () => {
    await Promise.all(servers.map(closeServer));
  };
  try {
    if (admin.socket !== '') {
      const server = await makeServer(admin, false, apiListener(administration));
      await listenOnSocket(server, admin.socket);
      outliveErrors(server, log);
      servers.push(server);
    }
    if (admin.port === null) return { port: 0, prepare: async () => () => {}, close };
    const files = admin;
    let token = findToken(files);
    const server = await makeServer(
      files,
      files.certFile !== '',
      apiListener(
        administration,
        admitter(() => token),
      ),
    );
    const port = await listenOnPort(server, admin.host, admin.port);
    outliveErrors(server, log);
    servers.push(server);
    const prepare = async () => {
      const next = findToken(files);
      const renewCertificate = files.certFile === '' ? () => {} : await prepareCertificate(server as SecureServer, files);
      return () => {
        token = next;
        renewCertificate();
      };
    };
    return { port, prepare, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Null: none is wanted. */
function findToken({ tokenFile }: AdminConfig): string | null {
  return tokenFile === '' ? null : readToken(tokenFile);
}

/** @param tokenNow null: none is wanted */
function admitter(tokenNow: () => string | null): Admit {
  return (request, route) => {
    refuseOtherSites(request);
    if (route.isPublic === true) return;
    const token = tokenNow();
    if (token === null) refuseOtherNames(request);
    else if (!hasToken(request.headers.authorization, token))
      throw new ApiError(401, 'give the token of admin.token_file: Authorization: Bearer …');
  };
}

/** A browser says which page a request is of. Only a link may lead here from another one. */
function refuseOtherSites({ headers, method }: IncomingMessage): void {
  const { origin, host } = headers;
  const site = headers['sec-fetch-site'] ?? 'none';
  const isLink = headers['sec-fetch-mode'] === 'navigate' && method === 'GET';
  const isOwn = origin === undefined || origin.replace(/^https?:\/\//, '') === host;
  if (!isOwn || !(site === 'same-origin' || site === 'none' || isLink))
    throw new ApiError(403, 'no other site may send requests here');
}

/** Where no token keeps others out, a name that somebody else can make point here is none of ours (DNS rebinding). */
function refuseOtherNames({ headers }: IncomingMessage): void {
  const name = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  if (!isLoopback(name) && isIP(name) === 0) throw new ApiError(403, 'without a token the port answers to its address only');
}

async function makeServer(config: AdminConfig, isSecure: boolean, listener: RequestListener): Promise<Server> {
  const server = isSecure ? await makeSecureServer(config, listener) : createServer(TIMES, listener);
  server.maxConnections = CONNECTIONS_MAX;
  return server;
}

async function makeSecureServer(config: AdminConfig, listener: RequestListener): Promise<Server> {
  const { createServer: createSecureServer } = await import('node:https');
  const material = readMaterial(config);
  return fitting(config, () => createSecureServer({ ...TIMES, ...material }, listener));
}

async function prepareCertificate(server: SecureServer, config: AdminConfig): Promise<() => void> {
  const { createSecureContext } = await import('node:tls');
  const material = readMaterial(config);
  fitting(config, () => createSecureContext(material));
  return () => server.setSecureContext(material);
}

function readMaterial({ certFile, keyFile }: AdminConfig) {
  return { cert: readPem(certFile, 'cert_file'), key: readPem(keyFile, 'key_file'), minVersion: 'TLSv1.2' } as const;
}

/** What `make` makes of certificate and key. @throws Error in one line when they are none, or not of each other */
function fitting<T>({ certFile, keyFile }: AdminConfig, make: () => T): T {
  try {
    return make();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(
      `${certFile}, ${keyFile}: are no certificate and private key that go together (${code}); correct admin.cert_file and admin.key_file`,
    );
  }
}

function readPem(path: string, option: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code}); correct admin.${option}`);
  }
}

function listenOnPort(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(bindFailure({ name: 'admin', host, port, backlog: CONNECTIONS_MAX }, error.code ?? 'unknown'));
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.unref();
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** The socket is never there with another mode than 0600, where the process may set its umask. */
async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (existsSync(path)) {
    if (!lstatSync(path).isSocket()) throw new Error(`${path}: is there and is no socket; correct admin.socket`);
    if (await isAlive(path)) throw new BindError(`${path}: another process listens there; stop it, or give another admin.socket`);
    unlinkSync(path);
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(new BindError(`${path}: the admin socket cannot be made (${error.code}); correct admin.socket`)),
    );
    const before = isMainThread ? process.umask(0o177) : 0;
    server.listen(path, () => {
      chmodSync(path, 0o600);
      server.unref();
      resolve();
    });
    if (isMainThread) process.umask(before);
  });
}
