// Each transport behind the same three verbs, so that one suite can run all of them: listen, connect, and a peer.
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import { systemClock } from '../../engine/clock.ts';
import type { Accept, Listener } from '../../engine/link.ts';
import { type MemoryListener, memoryListener } from '../../engine/network/memory.ts';
import { listenTcp } from '../../engine/network/tcp.ts';
import { listenWebSocket } from '../../engine/network/websocket.ts';
import type { Certificates } from '../certificates.ts';

/** The far end of a link. */
export interface TestPeer {
  send(bytes: Uint8Array): void;
  received(): Buffer;
  receivedBytes(): number;
  pause(): void;
  resume(): void;
  close(): void;
  closed(): boolean;
}

export interface Transport {
  readonly name: string;
  readonly canPause: boolean;
  readonly hasPort: boolean;
  listen(accept: Accept, port?: number): Promise<Listener>;
  connect(listener: Listener): Promise<TestPeer>;
}

const END_TIMEOUT_MS = 5_000;
const host = '127.0.0.1';
const clock = systemClock;

export function transports(certificates: () => Certificates): Transport[] {
  const tls = () => ({
    certFile: certificates().serverCert,
    keyFile: certificates().serverKey,
    minVersion: 'TLSv1.2' as const,
    clientCertificate: 'none' as const,
  });
  const ca = () => readFileSync(certificates().ca);
  const common = { name: 'test', host, clock, endTimeoutMs: END_TIMEOUT_MS };
  const webSocket = { ...common, origins: null, payloadBytesMax: 8_388_608 };
  return [
    {
      name: 'tcp',
      canPause: true,
      hasPort: true,
      listen: (accept, port = 0) => listenTcp({ ...common, port, accept }),
      connect: (listener) => streamPeer(connectTcp(listener.port, host), 'connect'),
    },
    {
      name: 'tls',
      canPause: true,
      hasPort: true,
      listen: (accept, port = 0) => listenTcp({ ...common, port, accept, tls: tls() }),
      connect: (listener) => streamPeer(connectTls({ port: listener.port, host, ca: ca() }), 'secureConnect'),
    },
    {
      name: 'ws',
      canPause: false,
      hasPort: true,
      listen: (accept, port = 0) => listenWebSocket({ ...webSocket, port, accept }),
      connect: (listener) => webSocketPeer(new WebSocket(`ws://${host}:${listener.port}/mqtt`, ['mqtt'])),
    },
    {
      name: 'wss',
      canPause: false,
      hasPort: true,
      listen: (accept, port = 0) => listenWebSocket({ ...webSocket, port, accept, tls: tls() }),
      connect: (listener) => webSocketPeer(new WebSocket(`wss://${host}:${listener.port}/mqtt`, ['mqtt'], { ca: ca() })),
    },
    {
      name: 'memory',
      canPause: true,
      hasPort: false,
      listen: (accept) => Promise.resolve(memoryListener(accept, { clock })),
      connect: (listener) => Promise.resolve(memoryPeer(listener as MemoryListener)),
    },
  ];
}

export function streamPeer(socket: Socket, ready: 'connect' | 'secureConnect'): Promise<TestPeer> {
  const log = new Log();
  let closed = false;
  socket.on('data', (chunk: Buffer) => log.add(chunk));
  socket.on('close', () => {
    closed = true;
  });
  const peer: TestPeer = {
    ...log.readers,
    send: (bytes) => socket.write(bytes),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close: () => socket.end(),
    closed: () => closed,
  };
  return new Promise((resolve) => {
    // A refusal is told by `closed`.
    socket.on('error', () => {});
    socket.once(ready, () => resolve(peer));
    socket.once('close', () => resolve(peer));
  });
}

function webSocketPeer(socket: WebSocket): Promise<TestPeer> {
  const log = new Log();
  socket.binaryType = 'nodebuffer';
  socket.on('message', (data: Buffer) => log.add(data));
  const peer: TestPeer = {
    ...log.readers,
    send: (bytes) => socket.send(bytes),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close: () => socket.close(),
    closed: () => socket.readyState === WebSocket.CLOSED,
  };
  return new Promise((resolve) => {
    socket.on('error', () => {});
    socket.once('open', () => resolve(peer));
    socket.once('close', () => resolve(peer));
  });
}

function memoryPeer(listener: MemoryListener): TestPeer {
  const peer = listener.connect();
  const log = new Log();
  peer.onBytes = (chunk) => log.add(Buffer.from(chunk));
  return {
    ...log.readers,
    send: (bytes) => peer.send(bytes),
    pause: () => peer.pause(),
    resume: () => peer.resume(),
    close: () => peer.close(),
    closed: () => peer.closed,
  };
}

class Log {
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  readonly readers = {
    received: () => Buffer.concat(this.chunks),
    receivedBytes: () => this.bytes,
  };

  add(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }
}
