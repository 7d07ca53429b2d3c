// Reads the PROXY header off a fresh socket and leaves the socket as if it had never been there.
import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { type Origin, parseProxyHeader } from './proxy-protocol.ts';

/**
 * Calls `done` once with the origin that the header names, or null when it names none; by then the socket is paused, and what
 * followed the header is back in it. A malformed header, or none within `timeoutMs`, closes the socket.
 */
export function readProxyHeader(socket: Socket, clock: Clock, timeoutMs: number, done: (origin: Origin | null) => void): void {
  let held: Buffer = Buffer.alloc(0);
  const cancel = clock.after(timeoutMs, () => socket.destroy());
  socket.once('close', cancel);
  socket.on('data', onData);

  function onData(chunk: Buffer): void {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const header = parseProxyHeader(held);
    if (header.kind === 'incomplete') return;
    cancel();
    socket.off('close', cancel);
    socket.off('data', onData);
    if (header.kind === 'malformed') {
      socket.destroy();
      return;
    }
    socket.pause();
    if (header.bytes < held.length) socket.unshift(held.subarray(header.bytes));
    done(header.origin);
  }
}
