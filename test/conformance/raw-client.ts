// A client that speaks raw bytes over TCP. It splits what comes in into packets and hands them out in order; it acknowledges nothing,
// remembers nothing and repairs nothing. Silence is proved by a barrier (PINGREQ, then only PINGRESP), never by waiting.

import { connect as connectSocket, type Socket } from 'node:net';
import { hex, type Level, pingreq } from './bytes.ts';
import { type Packet, readReason, splitPacket } from './decode.ts';

const PACKET_TIMEOUT_MS = 5_000;

export class RawClient {
  /** Decides how a fault is announced: MQTT 5 sends DISCONNECT, the older levels just close. */
  readonly level: Level;
  private readonly socket: Socket;
  private readonly packets: Packet[] = [];
  private unread: Buffer = Buffer.alloc(0);
  private failure: Error | null = null;
  private closed = false;
  private wake: () => void = () => {};

  private constructor(socket: Socket, level: Level) {
    this.socket = socket;
    this.level = level;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.receive(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  /** Opens a TCP connection to the loopback port; nothing is sent. */
  static connect(port: number, level: Level = 5): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connectSocket(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawClient(socket, level));
      });
    });
  }

  /** Writes the bytes, or the bytes that the hex digits say. */
  send(...parts: readonly (Buffer | string)[]): void {
    this.socket.write(Buffer.concat(parts.map((part) => (typeof part === 'string' ? hex(part) : part))));
  }

  /** The next packet in order of arrival; fails on a close or when none comes in time. */
  async nextPacket(timeoutMs = PACKET_TIMEOUT_MS): Promise<Packet> {
    await this.until(() => this.packets.length > 0 || this.closed, timeoutMs, 'a packet');
    const next = this.packets.shift();
    if (next === undefined) throw new Error('the broker closed the connection; a packet was expected');
    return next;
  }

  /** The next packet equals the pattern: hex digits, spaces are free, `..` is any one byte, a final `*` any rest. */
  async expect(pattern: string): Promise<Packet> {
    const next = await this.nextPacket();
    const source = pattern.replace(/\s/g, '').replace(/\*$/, '(?:..)*');
    const actual = next.bytes.toString('hex');
    if (!new RegExp(`^${source}$`, 'i').test(actual)) throw new Error(`expected packet ${pattern}, received ${actual}`);
    return next;
  }

  /** The connection closes, and nothing is received before. */
  async expectClosed(timeoutMs = PACKET_TIMEOUT_MS): Promise<void> {
    await this.until(() => this.packets.length > 0 || this.closed, timeoutMs, 'the close of the connection');
    const unexpected = this.packets[0];
    if (unexpected) throw new Error(`expected a close, received ${unexpected.bytes.toString('hex')}`);
  }

  /** The broker has sent nothing but what was taken already: the answer to a PINGREQ is the next packet. */
  async expectSilence(): Promise<void> {
    this.send(pingreq);
    await this.expect('d0 00');
  }

  /** The broker ends an accepted connection for this reason: DISCONNECT then close on MQTT 5, only a close before. */
  async expectFault(reason: number, timeoutMs = PACKET_TIMEOUT_MS): Promise<void> {
    if (this.level === 5) {
      const packet = await this.nextPacket(timeoutMs);
      const actual = packet.firstByte === 0xe0 ? readReason(packet).reason : -1;
      if (actual !== reason) {
        throw new Error(`expected DISCONNECT 0x${reason.toString(16)}, received ${packet.bytes.toString('hex')}`);
      }
    }
    await this.expectClosed(timeoutMs);
  }

  /** Cuts the connection without DISCONNECT, as a lost network does. */
  drop(): void {
    this.socket.destroy();
  }

  private receive(chunk: Buffer): void {
    this.unread = Buffer.concat([this.unread, chunk]);
    try {
      for (let packet = splitPacket(this.unread); packet !== null; packet = splitPacket(this.unread)) {
        this.packets.push(packet);
        this.unread = this.unread.subarray(packet.bytes.length);
      }
    } catch (error) {
      this.failure = error as Error;
      this.socket.destroy();
    }
    this.wake();
  }

  private async until(ready: () => boolean, timeoutMs: number, what: string): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (this.failure === null && !ready()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`waited ${timeoutMs} ms for ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.failure) throw this.failure;
  }
}
