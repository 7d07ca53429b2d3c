// The way to the broker: a stream of MQTT bytes over TCP, or over a WebSocket whose frames are made and taken off here
// (RFC 6455). It reads into one buffer that is used again for each chunk, and writes what is handed in without a copy.
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

export const WireKind = { TCP: 'tcp', WS: 'ws' } as const;
export type WireKind = (typeof WireKind)[keyof typeof WireKind];

/** Takes the bytes [from, to) of `chunk`, which is valid for the call only. */
export type Take = (chunk: Uint8Array, from: number, to: number) => void;

export interface Wire {
  /** Bytes to leave free before what is given to `send`: the frame's header goes there. */
  readonly headroom: number;
  /** Who gets the bytes; replaced when the client goes from its handshake to its work. */
  take: Take;
  /** Called once when the connection is gone without `destroy`. */
  onLost: (error: Error) => void;
  /** Sends [headroom, to) of `block`, which must not change until `sent` is called. */
  send(block: Buffer, to: number, sent: () => void): void;
  destroy(): void;
}

const READ_BYTES = 262_144;
const OPEN_TIMEOUT_MS = 5_000;

export function openWire(kind: WireKind, port: number): Promise<Wire> {
  return kind === WireKind.TCP ? TcpWire.open(port) : WebSocketWire.open(port);
}

class TcpWire implements Wire {
  readonly headroom: number = 0;
  take: Take = () => {};
  onLost: (error: Error) => void = () => {};
  readonly socket: Socket;

  constructor(port: number) {
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (bytes: number, buffer: Uint8Array) => {
        this.receive(buffer, bytes);
        return true;
      },
    };
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
    this.socket.on('error', (error) => this.onLost(error));
    this.socket.on('end', () => this.onLost(new Error('raw client: the broker closed the connection')));
  }

  static async open(port: number): Promise<Wire> {
    const wire = new TcpWire(port);
    await wire.connected();
    return wire;
  }

  connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onLost = reject;
      this.socket.once('connect', () => resolve());
    });
  }

  receive(chunk: Uint8Array, bytes: number): void {
    this.take(chunk, 0, bytes);
  }

  send(block: Buffer, to: number, sent: () => void): void {
    this.socket.write(block.subarray(0, to), sent);
  }

  destroy(): void {
    this.onLost = () => {};
    this.socket.destroy();
  }
}

/** Of a masked frame with the longest length field. */
const CLIENT_HEADER_BYTES = 14;
const OPCODE_BINARY = 0x82;
const SHORT_LENGTH_MAX = 125;
const MEDIUM_LENGTH_MAX = 65_535;

class WebSocketWire extends TcpWire {
  override readonly headroom: number = CLIENT_HEADER_BYTES;
  #answer: Buffer | null = Buffer.alloc(0);
  #opened: () => void = () => {};
  /** Bytes of the frame under way that are still to come. */
  #payloadLeft = 0;
  /** What has come of the next frame's header. */
  readonly #header = Buffer.alloc(10);
  #headerBytes = 0;

  static override async open(port: number): Promise<Wire> {
    const wire = new WebSocketWire(port);
    await wire.connected();
    await wire.#upgrade(port);
    return wire;
  }

  #upgrade(port: number): Promise<void> {
    const key = randomBytes(16).toString('base64');
    this.socket.write(
      `GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`,
    );
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('raw client: no answer to the WebSocket upgrade')), OPEN_TIMEOUT_MS);
      this.onLost = reject;
      this.#opened = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  override receive(chunk: Uint8Array, bytes: number): void {
    let at = this.#answer === null ? 0 : this.#readAnswer(chunk, bytes);
    while (at < bytes) {
      if (this.#payloadLeft === 0) at = this.#readHeader(chunk, at, bytes);
      const to = Math.min(bytes, at + this.#payloadLeft);
      if (to > at) this.take(chunk, at, to);
      this.#payloadLeft -= to - at;
      at = to;
    }
  }

  /** Masked with zeroes, which is a mask like any other to the broker: it has the same work, and the load has none. */
  override send(block: Buffer, to: number, sent: () => void): void {
    const bytes = to - CLIENT_HEADER_BYTES;
    let from = CLIENT_HEADER_BYTES - 4;
    block.fill(0, from, CLIENT_HEADER_BYTES);
    if (bytes <= SHORT_LENGTH_MAX) {
      from -= 2;
      block[from + 1] = 0x80 | bytes;
    } else if (bytes <= MEDIUM_LENGTH_MAX) {
      from -= 4;
      block[from + 1] = 0x80 | 126;
      block.writeUInt16BE(bytes, from + 2);
    } else {
      from -= 10;
      block[from + 1] = 0x80 | 127;
      block.writeBigUInt64BE(BigInt(bytes), from + 2);
    }
    block[from] = OPCODE_BINARY;
    this.socket.write(block.subarray(from, to), sent);
  }

  /** Returns the offset of the first byte behind the HTTP answer. */
  #readAnswer(chunk: Uint8Array, bytes: number): number {
    const before = this.#answer!.length;
    this.#answer = Buffer.concat([this.#answer!, chunk.subarray(0, bytes)]);
    const end = this.#answer.indexOf('\r\n\r\n');
    if (end < 0) return bytes;
    const status = this.#answer.toString('latin1', 0, end).split('\r\n', 1)[0]!;
    this.#answer = null;
    if (status.includes(' 101 ')) this.#opened();
    else this.onLost(new Error(`raw client: the WebSocket upgrade was refused: ${status}`));
    return end + 4 - before;
  }

  #readHeader(chunk: Uint8Array, from: number, to: number): number {
    const header = this.#header;
    let at = from;
    while (at < to) {
      header[this.#headerBytes++] = chunk[at++]!;
      const short = header[1]! & 127;
      const needed = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (this.#headerBytes < 2 || this.#headerBytes < needed) continue;
      this.#headerBytes = 0;
      // No broker under test splits or masks what it sends, and a ping would ask for an answer.
      if (header[0] !== OPCODE_BINARY || header[1]! > 127) this.onLost(new Error('raw client: not a whole binary frame'));
      this.#payloadLeft = short < 126 ? short : short === 126 ? header.readUInt16BE(2) : Number(header.readBigUInt64BE(2));
      break;
    }
    return at;
  }
}
