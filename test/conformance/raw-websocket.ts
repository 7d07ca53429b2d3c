// A WebSocket client that writes single frames as given (RFC 6455): any opcode, any split, text where binary is due.
// It reads frames from a server, which are never masked.

import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

const TIMEOUT_MS = 5_000;

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

export class RawWebSocket {
  /** Status of the handshake, 101 when it succeeded. */
  readonly status: number;
  /** Sec-WebSocket-Protocol of the answer. */
  readonly subprotocol: string | undefined;
  private readonly socket: Socket;
  private unread: Buffer;

  private constructor(socket: Socket, head: string, unread: Buffer) {
    this.socket = socket;
    this.status = Number(head.split(' ', 2)[1]);
    this.subprotocol = /^sec-websocket-protocol: *(.*?) *$/im.exec(head)?.[1];
    this.unread = unread;
  }

  /** Opens the connection and waits for the answer to the handshake, whatever it says. */
  static async open(port: number, path: string, subprotocols: string | null): Promise<RawWebSocket> {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
    const offer = subprotocols === null ? '' : `Sec-WebSocket-Protocol: ${subprotocols}\r\n`;
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${offer}\r\n`,
    );
    let answer = Buffer.alloc(0);
    while (!answer.includes('\r\n\r\n')) answer = Buffer.concat([answer, await nextChunk(socket)]);
    const end = answer.indexOf('\r\n\r\n');
    return new RawWebSocket(socket, answer.subarray(0, end).toString('latin1'), answer.subarray(end + 4));
  }

  /** Sends one frame; `final` false leaves the message open for continuation frames. */
  send(opcode: number, payload: Buffer, final = true): void {
    const mask = randomBytes(4);
    const length = payload.length < 126 ? [payload.length | 0x80] : [126 | 0x80, payload.length >> 8, payload.length & 0xff];
    const masked = payload.map((byte, index) => byte ^ mask[index & 3]!);
    this.socket.write(Buffer.concat([Buffer.from([(final ? 0x80 : 0) | opcode, ...length]), mask, masked]));
  }

  /** The next frame; null when the connection closes instead. */
  async nextFrame(): Promise<Frame | null> {
    for (;;) {
      const short = (this.unread[1] ?? 0) & 0x7f;
      const header = short < 126 ? 2 : 4;
      if (this.unread.length >= header) {
        const length = short < 126 ? short : this.unread.readUInt16BE(2);
        if (this.unread.length >= header + length) {
          const frame = { opcode: this.unread[0]! & 0x0f, payload: this.unread.subarray(header, header + length) };
          this.unread = this.unread.subarray(header + length);
          return frame;
        }
      }
      const chunk = await nextChunk(this.socket).catch(() => null);
      if (chunk === null) return null;
      this.unread = Buffer.concat([this.unread, chunk]);
    }
  }

  /** Bytes of the next `count` bytes of MQTT, across binary frames. */
  async nextBytes(count: number): Promise<Buffer> {
    let bytes = Buffer.alloc(0);
    while (bytes.length < count) {
      const frame = await this.nextFrame();
      if (frame?.opcode !== Opcode.BINARY)
        throw new Error(`expected a binary frame, received ${frame ? frame.opcode : 'a close'}`);
      bytes = Buffer.concat([bytes, frame.payload]);
    }
    return bytes;
  }

  drop(): void {
    this.socket.destroy();
  }
}

function nextChunk(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const settle = (chunk: Buffer | null) => {
      socket.off('data', onData).off('close', onClose).off('error', onClose);
      socket.pause();
      if (chunk) resolve(chunk);
      else reject(new Error('the broker closed the connection'));
    };
    const onData = (chunk: Buffer) => settle(chunk);
    const onClose = () => settle(null);
    if (socket.destroyed) return onClose();
    socket.on('data', onData).on('close', onClose).on('error', onClose);
    socket.resume();
  });
}
