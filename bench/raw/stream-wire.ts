// The way to the broker: a stream of MQTT bytes over TCP or TLS; websocket-wire.ts puts frames around them. Plain TCP reads into one
// buffer that all connections of the thread share, and everything writes what is handed in without a copy.
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectSecure } from 'node:tls';
import { RawSocket, Written } from '../../engine/network/raw-socket.ts';

/** Takes the bytes [from, to) of `chunk`, which is valid for the call only. */
export type Take = (chunk: Uint8Array, from: number, to: number) => void;

export interface Wire {
  /** Bytes to leave free before what is given to `send`: the frame's header goes there. */
  readonly headroom: number;
  /** Who gets the bytes. */
  take: Take;
  /** Called once when the connection is gone without `destroy` or `end`. */
  onLost: (error: Error) => void;
  /**
   * Sends [headroom, to) of `block`. True: it is sent. False: the block must not change until `sent` is called, which is never inside
   * this call, and need not be when the connection is lost.
   */
  send(block: Buffer, to: number, sent: () => void): boolean;
  /** Closes in order behind what was sent. */
  end(): void;
  destroy(): void;
}

export interface WireAddress {
  readonly transport: 'tcp' | 'tls' | 'ws' | 'wss';
  readonly host: string;
  readonly port: number;
  /** Of the WebSocket. */
  readonly path: string;
  /** PEM; null: what Node trusts, no certificate of our own. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** Whether the broker's certificate must bear the name of the host. */
  readonly checksName: boolean;
}

const READ_BYTES = 262_144;
const OPEN_TIMEOUT_MS = 10_000;
/** A peer that does not close its side after our FIN is cut off. */
const END_TIMEOUT_MS = 2_000;

/** The kernel writes each read to the same memory: it is worked off before the next one begins. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

export class StreamWire implements Wire {
  readonly headroom: number = 0;
  take: Take = () => {};
  onLost: (error: Error) => void = () => {};
  readonly socket: Socket;
  /** The same below node's streams: null until it is connected, and with TLS. */
  #raw: RawSocket | null = null;
  #over = false;
  #isOpen = false;

  /** @param localAddress where the connection comes from; null: as the system decides */
  constructor(address: WireAddress, localAddress: string | null) {
    const { host, port } = address;
    const place = { host, port, noDelay: true, ...(localAddress === null ? {} : { localAddress }) };
    if (address.transport === 'tls' || address.transport === 'wss') {
      this.socket = connectSecure({ ...place, ...secureOptions(address) });
      this.socket.on('data', (chunk: Buffer) => this.receive(chunk, chunk.length));
    } else {
      const callback = (bytes: number) => {
        if (!this.#over) this.receive(readBuffer, bytes);
        return true;
      };
      this.socket = connect({ ...place, onread: { buffer: readBuffer, callback } });
      this.socket.once('connect', () => {
        this.#raw = RawSocket.connected(this.socket, readBuffer, { take: (_, bytes) => callback(bytes) });
      });
    }
    this.socket.on('error', (error) => this.lose(plain(error)));
    this.socket.on('close', () => this.lose(new Error('the broker closed the connection')));
  }

  /** Resolves when it can carry MQTT; from that moment on `onLost` is told of its end. */
  opened(onLost: (error: Error) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.lose(new Error(`no connection within ${OPEN_TIMEOUT_MS / 1_000} s`));
        this.destroy();
      }, OPEN_TIMEOUT_MS);
      const settle = (error: Error | null): void => {
        clearTimeout(timer);
        this.#isOpen = true;
        this.onLost = onLost;
        if (error === null) resolve();
        else reject(error);
      };
      this.onLost = settle;
      this.handshake(() => settle(null));
    });
  }

  /** Calls `done` when it can carry MQTT. */
  protected handshake(done: () => void): void {
    this.socket.once('encrypted' in this.socket ? 'secureConnect' : 'connect', done);
  }

  protected receive(chunk: Uint8Array, bytes: number): void {
    this.take(chunk, 0, bytes);
  }

  protected lose(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.onLost(error);
  }

  send(block: Buffer, to: number, sent: () => void): boolean {
    return this.sendBytes(block, 0, to, sent);
  }

  protected sendBytes(block: Buffer, from: number, to: number, sent: () => void): boolean {
    const bytes = block.subarray(from, to);
    const raw = this.#raw;
    if (raw === null) {
      this.socket.write(bytes, sent);
      return false;
    }
    const written = raw.write(bytes, { completed: sent });
    if (written < 0) raw.fail(written);
    return written === Written.WHOLE;
  }

  end(): void {
    this.#giveUp();
    this.socket.end();
    this.socket.resume();
    setTimeout(() => this.socket.destroy(), END_TIMEOUT_MS).unref();
  }

  destroy(): void {
    this.#giveUp();
    this.socket.destroy();
  }

  /** Nobody is told any more, but whoever waits for it to open. */
  #giveUp(): void {
    if (!this.#isOpen) this.lose(new Error('the connection was given up'));
    this.#over = true;
  }
}

/** A host of several addresses fails with an error of errors; and what a person can mend is said. */
function plain(error: Error): Error {
  const first = error instanceof AggregateError ? (error.errors[0] as Error) : error;
  const { code = '' } = first as NodeJS.ErrnoException;
  const advice = ADVICE[code];
  return advice === undefined ? first : Object.assign(new Error(advice), { code });
}

const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; is the broker running, and is the port right?',
  ENOTFOUND: 'no such host; check the name',
  EADDRNOTAVAIL: 'there is no port left to connect from; --ifaddr gives more addresses',
};

function secureOptions(address: WireAddress) {
  const { host, ca, cert, key, checksName } = address;
  return {
    // A name, not an address (RFC 6066 §3).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
    ...(checksName ? {} : { checkServerIdentity: () => undefined }),
  };
}
