// What stands between a browser and the broker and can be cut, and sees every byte: a TCP proxy of the test's own.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A frame as it went over the wire (RFC 6455 §5.2). */
export interface SentFrame {
  readonly opcode: number;
  readonly final: boolean;
  readonly bytes: number;
}

interface Line {
  readonly ends: readonly Socket[];
  readonly fromBrowser: Buffer[];
  readonly fromBroker: Buffer[];
}

export class Wire {
  readonly #server: Server;
  readonly #lines: Line[] = [];
  readonly #keepsBytes: boolean;
  #isCut = false;
  /** What connects while the network is away waits until it is back. */
  readonly #waiting: (() => void)[] = [];

  /** @param bytes whether what passes is kept, to be looked at */
  static async open(port: number, bytes: 'kept' | 'passed' = 'passed'): Promise<Wire> {
    const wire = new Wire(port, bytes === 'kept');
    wire.#server.listen(0, '127.0.0.1');
    await once(wire.#server, 'listening');
    return wire;
  }

  private constructor(port: number, keepsBytes: boolean) {
    this.#keepsBytes = keepsBytes;
    this.#server = createServer((browser) => {
      browser.on('error', () => {});
      const join = () => this.#join(browser, connect(port, '127.0.0.1'));
      if (this.#isCut) this.#waiting.push(join);
      else join();
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Breaks every connection; new ones get no answer until `mend`. */
  cut(): void {
    this.#isCut = true;
    for (const { ends } of this.#lines) for (const end of ends) end.resetAndDestroy();
  }

  mend(): void {
    this.#isCut = false;
    for (const join of this.#waiting.splice(0)) join();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  /** Of the newest connection: frames that the browser sent behind its handshake. */
  sentFrames(): SentFrame[] {
    return framesIn(Buffer.concat(this.#lines.at(-1)!.fromBrowser), true);
  }

  /** Likewise, frames that the broker sent. */
  receivedFrames(): SentFrame[] {
    return framesIn(Buffer.concat(this.#lines.at(-1)!.fromBroker), false);
  }

  #join(browser: Socket, broker: Socket): void {
    const line: Line = { ends: [browser, broker], fromBrowser: [], fromBroker: [] };
    this.#lines.push(line);
    this.#pass(browser, broker, line.fromBrowser);
    this.#pass(broker, browser, line.fromBroker);
  }

  #pass(from: Socket, to: Socket, kept: Buffer[]): void {
    from.setNoDelay(true);
    from.on('error', () => to.destroy());
    if (this.#keepsBytes) from.on('data', (chunk: Buffer) => void kept.push(chunk));
    from.pipe(to);
    from.on('close', () => to.destroySoon());
  }
}

function framesIn(stream: Buffer, isMasked: boolean): SentFrame[] {
  const frames: SentFrame[] = [];
  let at = stream.indexOf('\r\n\r\n') + 4;
  while (stream.length >= at + 2) {
    const short = stream[at + 1]! & 0x7f;
    const head = (short < 126 ? 2 : short === 126 ? 4 : 10) + (isMasked ? 4 : 0);
    if (stream.length < at + head) break;
    const bytes = short < 126 ? short : Number(short === 126 ? stream.readUInt16BE(at + 2) : stream.readBigUInt64BE(at + 2));
    frames.push({ opcode: stream[at]! & 0x0f, final: (stream[at]! & 0x80) !== 0, bytes });
    at += head + bytes;
  }
  return frames;
}
