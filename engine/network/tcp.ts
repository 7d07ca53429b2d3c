// The listener for MQTT over TCP and over TLS. A socket passes up to three gates before it becomes a link: the handshake
// throttle, the PROXY header, the TLS handshake.
import { createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Admission } from '../admission.ts';
import type { Clock } from '../clock.ts';
import { type Accept, type Link, type Peer, TransportKind } from '../link.ts';
import { addressList, plainAddress } from './address.ts';
import { type BindOptions, bind, bindShared } from './bind.ts';
import { isSameFile, readNewTlsMaterial, readTlsMaterial, type TlsMaterial, type TlsOptions } from './certificate.ts';
import { type HandOut, needsHandOut } from './hand-out.ts';
import { socketOn, takeHandle } from './node-handles.ts';
import { readProxyHeader } from './proxied.ts';
import type { Origin } from './proxy-protocol.ts';
import type { ListenerChange, PreparedListener, ReloadableListener } from './reloadable.ts';
import { StreamLink } from './stream-link.ts';
import { defaultHandshakeLimits, type HandshakeLimits, HandshakeThrottle } from './throttle.ts';
import { tlsFront } from './tls.ts';
import { Trust } from './trust.ts';

export interface TcpOptions extends BindOptions {
  readonly accept: Accept;
  /** Turns connections away before they cost anything; nobody where there is none. */
  readonly admission?: Admission;
  readonly clock: Clock;
  /** Every connection must start with a PROXY header, and comes from one of `trusted`: addresses or networks. */
  readonly proxyProtocol?: { readonly trusted: readonly string[]; readonly timeoutMs: number };
  readonly tls?: TlsOptions;
  /** 48 secret random bytes, the same in all shards, so that TLS sessions are resumed in any of them. */
  readonly ticketKeys?: Uint8Array;
  /** Bounds on TLS handshakes and on PROXY headers that are awaited. Plain connections have no handshake. */
  readonly handshakes?: HandshakeLimits;
  /** Longest TLS handshake. */
  readonly handshakeTimeoutMs?: number;
  /** How long `Link.end` waits for the peer. */
  readonly endTimeoutMs: number;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;
const SERVER = { noDelay: true, allowHalfOpen: false };

/** A connection on its way to become a link. */
interface Arrival {
  origin: Origin;
  /** What its handshake was begun with. */
  trust: Trust | null;
  /** Tells the throttle that the handshake is over, one way or the other. */
  settle(): void;
}

/**
 * Opens the listener.
 * @throws Error in one line that names the listener and the option that is wrong and says what to do
 */
export async function listenTcp(options: TcpOptions): Promise<ReloadableListener> {
  const { name, accept, admission, clock, proxyProtocol, tls, endTimeoutMs } = options;
  const transport = tls === undefined ? TransportKind.TCP : TransportKind.TLS;
  const trusted = proxyProtocol === undefined ? null : addressList(name, 'proxy_trusted', proxyProtocol.trusted);
  const throttle = new HandshakeThrottle(options.handshakes ?? defaultHandshakeLimits, clock);
  const tickets = options.ticketKeys === undefined ? null : { listener: name, keys: options.ticketKeys };
  const handshakeMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
  let material = tls === undefined ? null : await readTlsMaterial(name, tls);
  const secure = tls === undefined ? null : tlsFront<Arrival>(tls, material!, tickets, handshakeMs, open);
  /** Vouches for those who come after the authorities have changed; null until then. */
  let trust: Trust | null = null;
  /** Links whose client has shown a certificate. */
  const certified = new Map<Link, TLSSocket>();
  /** No PROXY header and no TLS: the bytes are MQTT from the first one on. */
  const isPlain = secure === null && proxyProtocol === undefined;
  /** Sockets in a handshake. */
  const arriving = new Set<Socket>();
  let accepting = true;

  function arrive(socket: Socket): void {
    // A socket that fails before it is a link is nobody's news.
    socket.on('error', () => {});
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined || admission?.lacksDescriptors()) {
      socket.destroy();
      return;
    }
    const arrival: Arrival = { origin: { address: plainAddress(remoteAddress), port: remotePort }, trust, settle: () => {} };
    if (trusted !== null && !trusted.has(arrival.origin.address)) {
      socket.destroy();
      return;
    }
    if ((trusted !== null || secure !== null) && !admit(socket, arrival)) {
      socket.destroy();
      return;
    }
    if (proxyProtocol === undefined) {
      encrypt(socket, arrival);
      return;
    }
    readProxyHeader(socket, clock, proxyProtocol.timeoutMs, (origin) => {
      if (origin !== null) arrival.origin = origin;
      encrypt(socket, arrival);
    });
  }

  function admit(socket: Socket, arrival: Arrival): boolean {
    let pending = true;
    arriving.add(socket);
    arrival.settle = () => {
      if (pending) throttle.settle();
      pending = false;
      arriving.delete(socket);
    };
    socket.once('close', arrival.settle);
    return throttle.begin() && throttle.take();
  }

  function encrypt(socket: Socket, arrival: Arrival): void {
    // The handshake is what overload cannot afford: who comes without one is told by CONNACK.
    if (admission?.refusesAddress(arrival.origin.address) || (secure !== null && admission?.refusesAll())) socket.destroy();
    else if (secure === null) open(socket, arrival, null);
    else {
      arrival.trust = trust;
      secure.begin(socket, arrival);
    }
  }

  function open(socket: Socket, arrival: Arrival, certificate: Peer['certificate']): void {
    arrival.settle();
    // The authorities may have changed while the handshake was under way.
    const isStale = certificate !== null && arrival.trust !== trust && !isVouchedFor(socket as TLSSocket);
    // So may the ban list, and whoever was in a handshake is none that a reload has found.
    if (!accepting || isStale || (secure !== null && admission?.refusesAddress(arrival.origin.address))) {
      socket.destroy();
      return;
    }
    const { address, port } = arrival.origin;
    const peer: Peer = { transport, listener: name, address, port, secure: secure !== null, certificate };
    const link = new StreamLink(socket, isPlain ? 'unread' : 'streamed', peer, clock, endTimeoutMs);
    if (certificate !== null) {
      certified.set(link, socket as TLSSocket);
      socket.once('close', () => certified.delete(link));
    }
    const sink = accept(link);
    if (sink === null) link.destroy();
    else link.attach(sink);
  }

  function isVouchedFor(socket: TLSSocket): boolean {
    return trust === null || trust.vouchesFor(socket.getPeerX509Certificate(), clock.wallMs());
  }

  async function prepare(change: ListenerChange): Promise<PreparedListener> {
    if (material === null || change.tls === undefined) return { apply: () => NO_LINKS };
    const next = await readNewTlsMaterial(name, change.tls, material, clock.wallMs());
    // Sessions of before may be resumed as long as nothing has changed.
    if (next === null) return { apply: () => NO_LINKS };
    const nextTrust = isSameFile(material.ca, next.ca) ? trust : new Trust(next.ca);
    return { apply: () => renew(next, nextTrust) };
  }

  function renew(next: TlsMaterial, nextTrust: Trust | null): Promise<readonly Link[]> | readonly Link[] {
    secure!.renew(next);
    material = next;
    if (nextTrust === trust) return NO_LINKS;
    trust = nextTrust;
    return unvouched();
  }

  /** Those of the connections that stand whom nobody vouches for, looked through a part at a time. */
  async function unvouched(): Promise<readonly Link[]> {
    let looked = 0;
    const lookThrough = async (connections: readonly [Link, TLSSocket][]) => {
      const left: [Link, TLSSocket][] = [];
      for (const connection of connections) {
        if (++looked % JUDGED_AT_ONCE === 0) await clock.sleep(0);
        // One that has closed meanwhile has no certificate to show.
        if (certified.has(connection[0]) && !isVouchedFor(connection[1])) left.push(connection);
      }
      return left;
    };
    const found = await lookThrough([...certified]);
    // Again: what lies between may have come from one that was looked at later.
    return (await lookThrough(found)).map(([link]) => link);
  }

  const door = await openDoor(options, isPlain ? 'paused' : 'started', arrive);

  return {
    name,
    transport,
    port: door.port,
    prepare,
    close() {
      accepting = false;
      door.close();
      return new Promise((resolve) => clock.endOfTurn(resolve));
    },
    destroy() {
      for (const socket of arriving) socket.destroy();
    },
  };
}

/** Certificates that are judged before others have their turn: some 20 ms. */
const JUDGED_AT_ONCE = 200;
const NO_LINKS: readonly Link[] = [];

/** Where connections come in. */
interface Door {
  readonly port: number;
  close(): void;
}

/** A plain connection is not read from before it is a link (`paused`). @throws BindError */
async function openDoor(options: TcpOptions, reading: 'paused' | 'started', arrive: (socket: Socket) => void): Promise<Door> {
  const { name, shards } = options;
  if (shards === undefined || shards.count === 1) {
    const server = createServer({ ...SERVER, pauseOnConnect: reading === 'paused' }, arrive);
    return doorOf(server, await bind(server, options));
  }
  if (shards.handOut !== null) return openHandOutDoor(options, shards.handOut, reading, arrive);
  if (needsHandOut()) throw new Error(`listener "${name}": several shards need a hand-out here`);
  const server = createServer({ ...SERVER, pauseOnConnect: reading === 'paused' }, arrive);
  return doorOf(server, await bindShared(server, options));
}

/** Shard 0 listens for all; the others get what it hands to them. Here each connection moves to a socket of the shard that serves it. */
async function openHandOutDoor(
  options: TcpOptions,
  handOut: HandOut,
  reading: 'paused' | 'started',
  arrive: (socket: Socket) => void,
): Promise<Door> {
  const { name } = options;
  const leave = handOut.receive(name, (handle) => arrive(socketOn(handle, reading)));
  if (handOut.kind === 'receiver') return { port: options.port, close: leave };
  const server = createServer({ ...SERVER, pauseOnConnect: true }, (socket) => {
    const handle = takeHandle(socket);
    if (handle !== null) handOut.give(name, handle);
  });
  try {
    const door = doorOf(server, await bind(server, options));
    return {
      port: door.port,
      close() {
        door.close();
        leave();
      },
    };
  } catch (error) {
    leave();
    throw error;
  }
}

function doorOf(server: Server, port: number): Door {
  // A failed accept (out of file descriptors) costs that connection only.
  server.on('error', () => {});
  // The port is given back at once; the server's own callback would wait for the last connection.
  return { port, close: () => void server.close() };
}
