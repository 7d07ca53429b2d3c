// MQTT over WebSocket (RFC 6455), client's side: makes the frames around what is sent and takes them off what comes, packets across
// frames and frames across chunks. A ping is answered, a close loses the connection.
import { randomBytes } from 'node:crypto';
import { StreamWire, type WireAddress } from './stream-wire.ts';

/** Of a masked frame with the longest length field. */
const CLIENT_HEADER_BYTES = 14;
const SERVER_HEADER_BYTES_MAX = 10;
const SHORT_LENGTH_MAX = 125;
const MEDIUM_LENGTH_MAX = 65_535;
const FINAL = 0x80;
const MASKED = 0x80;
const RESERVED_BITS = 0x70;
const ANSWER_BYTES_MAX = 16_384;

const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

export class WebSocketWire extends StreamWire {
  override readonly headroom: number = CLIENT_HEADER_BYTES;
  readonly #address: WireAddress;
  /** What has come of the HTTP answer; null when it is complete. */
  #answer: Buffer | null = Buffer.alloc(0);
  #opened: () => void = () => {};
  /** Bytes of the frame under way that are still to come. */
  #payloadLeft = 0;
  #opcode: number = Opcode.BINARY;
  /** What has come of the next frame's header. */
  readonly #header = Buffer.alloc(SERVER_HEADER_BYTES_MAX);
  #headerBytes = 0;
  /** What has come of a control frame's payload. */
  #control: Buffer = Buffer.alloc(0);

  constructor(address: WireAddress, localAddress: string | null) {
    super(address, localAddress);
    this.#address = address;
  }

  protected override handshake(done: () => void): void {
    const { host, port, path } = this.#address;
    this.#opened = done;
    super.handshake(() => {
      this.socket.write(
        `GET ${path} HTTP/1.1\r\nHost: ${host.includes(':') ? `[${host}]` : host}:${port}\r\nUpgrade: websocket\r\n` +
          `Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n` +
          'Sec-WebSocket-Protocol: mqtt\r\n\r\n',
      );
    });
  }

  protected override receive(chunk: Uint8Array, bytes: number): void {
    let at = this.#answer === null ? 0 : this.#readAnswer(chunk, bytes);
    while (at < bytes) {
      if (this.#payloadLeft === 0) {
        at = this.#readHeader(chunk, at, bytes);
        if (this.#payloadLeft === 0) continue;
      }
      const to = Math.min(bytes, at + this.#payloadLeft);
      this.#payloadLeft -= to - at;
      if (this.#opcode <= Opcode.BINARY) {
        if (to > at) this.take(chunk, at, to);
      } else this.#readControl(chunk, at, to);
      at = to;
    }
  }

  /** Masked with zeroes, which is a mask like any other to the broker: it has the same work, and the load has none. */
  override send(block: Buffer, to: number, sent: () => void): boolean {
    return this.sendBytes(block, writeHeader(block, Opcode.BINARY, to - CLIENT_HEADER_BYTES), to, sent);
  }

  /** Returns the offset of the first byte behind the HTTP answer. */
  #readAnswer(chunk: Uint8Array, bytes: number): number {
    const before = this.#answer!.length;
    this.#answer = Buffer.concat([this.#answer!, chunk.subarray(0, bytes)]);
    const end = this.#answer.indexOf('\r\n\r\n');
    if (end < 0) {
      if (this.#answer.length > ANSWER_BYTES_MAX) this.#fail('the answer to the WebSocket upgrade does not end');
      return bytes;
    }
    const [status = ''] = this.#answer.toString('latin1', 0, end).split('\r\n', 1);
    this.#answer = null;
    if (status.includes(' 101 ')) this.#opened();
    else this.#fail(`the WebSocket upgrade was refused: ${status}`);
    return end + 4 - before;
  }

  /** Gathers a frame's header from `from` on; returns the offset behind what it used. */
  #readHeader(chunk: Uint8Array, from: number, to: number): number {
    const header = this.#header;
    let at = from;
    while (at < to) {
      header[this.#headerBytes++] = chunk[at++]!;
      const short = header[1]! & 127;
      const needed = short < 126 ? 2 : short === 126 ? 4 : SERVER_HEADER_BYTES_MAX;
      if (this.#headerBytes < 2 || this.#headerBytes < needed) continue;
      this.#headerBytes = 0;
      this.#opcode = header[0]! & 0x0f;
      this.#payloadLeft = short < 126 ? short : short === 126 ? header.readUInt16BE(2) : Number(header.readBigUInt64BE(2));
      if ((header[0]! & RESERVED_BITS) !== 0 || header[1]! >= MASKED || this.#opcode === Opcode.TEXT)
        this.#fail(`a WebSocket frame that MQTT does not allow (it begins with 0x${header.toString('hex', 0, 2)})`);
      if (this.#opcode >= Opcode.CLOSE) {
        this.#control = Buffer.alloc(0);
        if (this.#payloadLeft === 0) this.#actOnControl();
      }
      break;
    }
    return at;
  }

  #readControl(chunk: Uint8Array, from: number, to: number): void {
    this.#control = Buffer.concat([this.#control, chunk.subarray(from, to)]);
    if (this.#payloadLeft === 0) this.#actOnControl();
  }

  #actOnControl(): void {
    if (this.#opcode === Opcode.CLOSE) this.#fail('the broker closed the WebSocket');
    else if (this.#opcode === Opcode.PING && this.#control.length <= SHORT_LENGTH_MAX) {
      const block = Buffer.concat([Buffer.alloc(CLIENT_HEADER_BYTES), this.#control]);
      const from = writeHeader(block, Opcode.PONG, this.#control.length);
      this.sendBytes(block, from, block.length, () => {});
    }
  }

  #fail(message: string): void {
    this.lose(new Error(message));
    this.destroy();
  }
}

/** Writes the header before CLIENT_HEADER_BYTES of `block`; returns where it begins. */
function writeHeader(block: Buffer, opcode: number, bytes: number): number {
  let from = CLIENT_HEADER_BYTES - 4;
  block.fill(0, from, CLIENT_HEADER_BYTES);
  if (bytes <= SHORT_LENGTH_MAX) {
    from -= 2;
    block[from + 1] = MASKED | bytes;
  } else if (bytes <= MEDIUM_LENGTH_MAX) {
    from -= 4;
    block[from + 1] = MASKED | 126;
    block.writeUInt16BE(bytes, from + 2);
  } else {
    from -= 10;
    block[from + 1] = MASKED | 127;
    block.writeBigUInt64BE(BigInt(bytes), from + 2);
  }
  block[from] = FINAL | opcode;
  return from;
}

export function openWire(address: WireAddress, localAddress: string | null): StreamWire {
  const webSocket = address.transport === 'ws' || address.transport === 'wss';
  return webSocket ? new WebSocketWire(address, localAddress) : new StreamWire(address, localAddress);
}
