// A raw socket that decides when it reads: the peer that stalls, floods or never takes its answers. It keeps what it reads as bytes.
import { connect, type Socket } from 'node:net';
import { type Packet, splitPacket } from '../conformance/decode.ts';
import { Watched } from '../end-to-end/watched.ts';

export class Peer extends Watched {
  receivedBytes = 0;
  closed = false;
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];

  private constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      this.#chunks.push(chunk);
      this.changed();
    });
    socket.on('close', () => {
      this.closed = true;
      this.changed();
    });
  }

  static open(port: number): Promise<Peer> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Peer(socket));
      });
    });
  }

  /** Everything that was read. */
  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** The complete packets of MQTT among it, over TCP. */
  get packets(): Packet[] {
    const packets: Packet[] = [];
    let rest = this.received;
    for (let next = splitPacket(rest); next !== null; next = splitPacket(rest)) {
      packets.push(next);
      rest = rest.subarray(next.bytes.length);
    }
    return packets;
  }

  /** Resolves when node's own buffer has room again, or never while the broker does not read. */
  send(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.write(bytes, () => resolve());
    });
  }

  /** Like `send`; whether the connection was found to be cut. */
  fails(bytes: Buffer): Promise<boolean> {
    return new Promise((resolve) => {
      this.#socket.write(bytes, (error) => resolve(error != null));
    });
  }

  /** Takes nothing from the kernel from now on. */
  stopReading(): void {
    this.#socket.pause();
  }

  read(): void {
    this.#socket.resume();
  }

  /** Cuts the connection. */
  drop(): void {
    this.#socket.destroy();
  }

  protected override isOver(): boolean {
    return this.closed;
  }

  protected override describe(): string {
    const head = Buffer.concat(this.#chunks).subarray(0, 64).toString('hex');
    return `${this.closed ? 'closed' : 'open'}, ${this.receivedBytes} bytes received: ${head}`;
  }
}

/** Many peers at once, a few dozen connecting at a time: the backlog of a listener is not what is tested. */
export async function openCrowd(port: number, count: number): Promise<Peer[]> {
  const peers: Peer[] = [];
  while (peers.length < count) {
    const some = Math.min(64, count - peers.length);
    peers.push(...(await Promise.all(Array.from({ length: some }, () => Peer.open(port)))));
  }
  return peers;
}

export async function allClosed(peers: readonly Peer[]): Promise<void> {
  await Promise.all(peers.map((peer) => peer.until('the broker closes the connection', () => peer.closed)));
}
