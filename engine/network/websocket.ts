// The listener for MQTT over WebSocket, plain and over TLS, on uWebSockets.js. Owns the HTTP side: path, throttle, origin and
// subprotocol; what comes after the upgrade is the link's.
//
// uWebSockets reads TLS files itself and says only that it failed, so files and port are tried with node first.
import {
  App,
  type AppOptions,
  DISABLED,
  type HttpRequest,
  type HttpResponse,
  LIBUS_LISTEN_EXCLUSIVE_PORT,
  SHARED_COMPRESSOR,
  SSLApp,
  type TemplatedApp,
  type us_listen_socket,
  us_listen_socket_close,
  type us_socket_context_t,
} from 'uWebSockets.js';
import type { Admission } from '../admission.ts';
import type { Clock } from '../clock.ts';
import { type Accept, CloseCause, type Peer, TransportKind } from '../link.ts';
import { type BindOptions, bindFailure, probe } from './bind.ts';
import { readNewTlsMaterial, readTlsMaterial, type TlsOptions } from './certificate.ts';
import { addressReader, type Proxied } from './client-address.ts';
import type { ListenerChange, PreparedListener, ReloadableListener } from './reloadable.ts';
import { defaultHandshakeLimits, type HandshakeLimits, HandshakeThrottle } from './throttle.ts';
import { chooseSubprotocol, originAllowed, type Refusal, Refusals } from './websocket-handshake.ts';
import { FrameJoiner, type WebSocketData, WebSocketLink } from './websocket-link.ts';

export interface WebSocketOptions extends Omit<BindOptions, 'backlog'> {
  /** Path of the endpoint, `/mqtt` unless given. */
  readonly path?: string;
  readonly accept: Accept;
  /** Turns connections away before they cost anything; nobody where there is none. */
  readonly admission?: Admission;
  readonly clock: Clock;
  /** What stands in front of the listener; absent: nothing, and each connection counts for the address of its socket. */
  readonly proxied?: Proxied;
  /** Origins of web pages that may connect, as browsers send them (`https://example.org`); null for all. */
  readonly origins: readonly string[] | null;
  /** Offers permessage-deflate. Off unless given: it costs time and memory, and payloads are rarely text. */
  readonly compression?: boolean;
  /** Largest message, in one frame or in fragments; a larger one closes the connection. */
  readonly payloadBytesMax: number;
  readonly tls?: TlsOptions;
  /** Bounds on connections that are not upgraded yet. uWebSockets closes those that stay silent for 10 s. */
  readonly handshakes?: HandshakeLimits;
  /** How long `Link.end` waits for the peer to take what was sent. */
  readonly endTimeoutMs: number;
}

/** One app that serves, and how many sockets it has. */
interface Serving {
  readonly app: TemplatedApp;
  connections: number;
}

const DEFAULT_PATH = '/mqtt';
const RETRY_AFTER_S = '1';
const CLOSED_WITHOUT_FRAME = 1_006;
/** No option: uSockets sets SO_REUSEPORT, and the kernel spreads the connections over the shards. */
const LISTEN_SHARED = 0;
/** Above every mark of the engine, because uWebSockets drops without a word what is above this one. */
const BACKPRESSURE_BYTES_MAX = 0x7fff_ffff;

/**
 * Opens the listener.
 * @throws Error in one line that names the listener and the option that is wrong and says what to do
 */
export async function listenWebSocket(options: WebSocketOptions): Promise<ReloadableListener> {
  const { name, host, accept, admission, clock, tls, endTimeoutMs } = options;
  const path = checkedPath(name, options.path ?? DEFAULT_PATH);
  let origins = originSet(options.origins);
  const compress = options.compression ?? false;
  const addressOf = addressReader(name, options.proxied);
  const throttle = new HandshakeThrottle(options.handshakes ?? defaultHandshakeLimits, clock);
  const transport = tls === undefined ? TransportKind.WS : TransportKind.WSS;
  const frame = new FrameJoiner();
  let accepting = true;

  /** Apps with certificates of before, as long as they have connections. */
  const retired = new Set<Serving>();

  const files = tls === undefined ? null : appFiles(name, tls);
  let material = tls === undefined ? null : await readTlsMaterial(name, tls);
  // What listens over TLS serves nobody itself: it hands what it has accepted to an app that has the certificate of now. So the certificate can change without a moment in which the port is nobody's.
  const door = files === null ? App() : SSLApp(files);
  let serving = serve(files === null ? door : SSLApp(files));
  if (serving.app !== door) door.addChildAppDescriptor(serving.app.getDescriptor());

  function serve(app: TemplatedApp): Serving {
    const own: Serving = { app, connections: 0 };
    // Called with 1 for each connection and with -1 for each that closes before it is upgraded.
    const countHandshake = (response: HttpResponse, change: number): void => {
      own.connections += change;
      if (change < 0) throttle.settle();
      else if (!throttle.begin() || admission?.lacksDescriptors()) response.close();
      if (own.connections === 0) retired.delete(own);
    };
    app.filter(countHandshake);
    serveMqtt(own);
    app.any('/*', (response, request) =>
      refuse(response, request.getUrl() === path ? Refusals.NOT_AN_UPGRADE : Refusals.NOT_FOUND),
    );
    return own;
  }

  function serveMqtt(own: Serving): void {
    own.app.ws<WebSocketData>(path, {
      maxPayloadLength: options.payloadBytesMax,
      maxBackpressure: BACKPRESSURE_BYTES_MAX,
      closeOnBackpressureLimit: false,
      compression: compress ? SHARED_COMPRESSOR : DISABLED,
      // MQTT has its own keep alive, at which the engine looks.
      idleTimeout: 0,
      sendPingsAutomatically: false,
      upgrade(response, request, context) {
        const address = addressOf(response, request);
        if (typeof address !== 'string') return refuse(response, address);
        if (admission?.refusesAddress(address)) return refuse(response, Refusals.BANNED);
        if (admission?.refusesAll()) return refuse(response, Refusals.OVERLOADED, RETRY_AFTER_S);
        if (!accepting || !throttle.take()) return refuse(response, Refusals.BUSY, RETRY_AFTER_S);
        if (!originAllowed(request.getHeader('origin'), origins)) return refuse(response, Refusals.ORIGIN);
        const subprotocol = chooseSubprotocol(request.getHeader('sec-websocket-protocol'));
        if (subprotocol === '') return refuse(response, Refusals.SUBPROTOCOL);
        throttle.settle();
        upgrade(response, request, context, subprotocol, address);
      },
      open(socket) {
        const link = new WebSocketLink(socket, peerOf(socket.getUserData().address), frame, clock, endTimeoutMs, compress);
        socket.getUserData().link = link;
        const sink = accept(link);
        if (sink === null) link.destroy();
        else link.attach(sink);
      },
      message: (socket, message, isBinary) => socket.getUserData().link?.onMessage(message, isBinary),
      drain: (socket) => socket.getUserData().link?.onDrain(),
      close(socket, code, reason) {
        own.connections--;
        if (own.connections === 0) retired.delete(own);
        socket.getUserData().link?.onClose(causeOf(code, reason));
      },
    });
  }

  /**
   * Answers at the end of the turn. uWebSockets would go on with a second request that came in the same chunk, although the answer to the first one ends the connection, but not while that answer is
   * owed: then it cuts the connection. So one connection makes one request.
   */
  function refuse(response: HttpResponse, { status, text }: Refusal, retryAfterS?: string): void {
    let aborted = false;
    response.onAborted(() => {
      aborted = true;
    });
    clock.endOfTurn(() => {
      if (aborted) return;
      response.cork(() => {
        response.writeStatus(status).writeHeader('Content-Type', 'text/plain');
        if (retryAfterS !== undefined) response.writeHeader('Retry-After', retryAfterS);
        response.end(text, true);
      });
    });
  }

  async function prepare(change: ListenerChange): Promise<PreparedListener> {
    const nextOrigins = originSet(change.origins);
    const nextMaterial =
      change.tls === undefined || material === null ? null : await readNewTlsMaterial(name, change.tls, material, clock.wallMs());
    let next: Serving | null = null;
    return {
      build() {
        if (nextMaterial !== null) next = serve(SSLApp(appFiles(name, change.tls!)));
      },
      apply() {
        origins = nextOrigins;
        if (next === null) return [];
        material = nextMaterial;
        replaceServing(next);
        return [];
      },
    };
  }

  function replaceServing(next: Serving): void {
    door.addChildAppDescriptor(next.app.getDescriptor());
    door.removeChildAppDescriptor(serving.app.getDescriptor());
    for (const old of retired) if (old.connections === 0) retired.delete(old);
    // Kept also when it is empty: what was accepted a moment ago is on its way to it.
    retired.add(serving);
    serving = next;
  }

  function peerOf(address: string): Peer {
    // uWebSockets does not tell the port.
    return {
      transport,
      listener: name,
      address,
      port: 0,
      secure: tls !== undefined,
      certificate: null,
    };
  }

  const { index, count } = options.shards ?? { index: 0, count: 1 };
  // The first shard takes a port that nobody has, and the others join it there.
  const port = index === 0 ? await probe(options) : options.port;
  let listening: us_listen_socket | false = false;
  door.listen(host, port, count === 1 ? LIBUS_LISTEN_EXCLUSIVE_PORT : LISTEN_SHARED, (socket) => {
    listening = socket;
  });
  if (listening === false) throw bindFailure({ name, host, port }, 'EADDRINUSE');
  let open: us_listen_socket | null = listening;

  return {
    name,
    transport,
    port,
    prepare,
    close() {
      accepting = false;
      if (open !== null) us_listen_socket_close(open);
      open = null;
      return new Promise((resolve) => clock.endOfTurn(resolve));
    },
    destroy() {
      for (const { app } of new Set([...retired, serving])) app.close();
      if (serving.app !== door) door.close();
    },
  };
}

function upgrade(
  response: HttpResponse,
  request: HttpRequest,
  context: us_socket_context_t,
  subprotocol: string,
  address: string,
): void {
  response.upgrade<WebSocketData>(
    { link: null, address },
    request.getHeader('sec-websocket-key'),
    subprotocol,
    request.getHeader('sec-websocket-extensions'),
    context,
  );
}

/** Without a close frame the reason is uWebSockets' own: what the peer sent was no WebSocket, or too long, or it just ended. */
function causeOf(code: number, reason: ArrayBuffer): CloseCause {
  if (code !== CLOSED_WITHOUT_FRAME || reason.byteLength === 0) return CloseCause.PEER;
  return Buffer.from(reason).includes('TCP FIN') ? CloseCause.PEER : CloseCause.ERROR;
}

/** @throws Error for options that uWebSockets does not have */
function appFiles(name: string, tls: TlsOptions): AppOptions {
  const refused = (option: string, problem: string) => new Error(`listener "${name}": ${option}: ${problem}`);
  if (tls.clientCertificate !== 'none') {
    throw refused('client_certificate', 'WebSocket cannot ask for a certificate; set "none" here, or use a tls listener');
  }
  if (tls.minVersion !== 'TLSv1.2') {
    throw refused('tls_min_version', 'WebSocket cannot be limited to TLS 1.3; set "1.2", or let a proxy do the TLS');
  }
  const files = { cert_file_name: tls.certFile, key_file_name: tls.keyFile };
  return tls.passphrase === undefined ? files : { ...files, passphrase: tls.passphrase };
}

function originSet(origins: readonly string[] | null): ReadonlySet<string> | null {
  return origins === null ? null : new Set(origins.map((origin) => origin.toLowerCase()));
}

/** uWebSockets gives ':' and '*' a meaning in a path. */
function checkedPath(name: string, path: string): string {
  if (/^\/[^\s:*?#]*$/.test(path)) return path;
  throw new Error(`listener "${name}": path: "${path}" cannot be served; write it like /mqtt, without any of : * ? # or a space`);
}
