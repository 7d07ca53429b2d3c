// A network of the test's own: what goes through it can be cut in the ways in which networks fail.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach } from 'vitest';
import { Watched } from '../end-to-end/watched.ts';

/** How a connection through a line comes to its end. */
export const Cut = {
  /** Both ends are told at once (RST). */
  RESET: 'reset',
  /** Some more bytes get through, so that a packet is torn; then both are told. */
  TORN: 'torn',
  /** Nobody is told and nothing gets through any more. */
  SILENCE: 'silence',
  /** The far end is told; the near one is left with a connection that nobody answers. */
  HALF_OPEN: 'half open',
} as const;
export type Cut = (typeof Cut)[keyof typeof Cut];

/** Bytes that still get through where a packet is to be torn. */
const TORN_BYTES_MAX = 40;

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  /** Bytes that may still pass before both ends are told; Infinity while it is whole. */
  left: number;
  isSilent: boolean;
}

const lines = new Set<Line>();

afterEach(async () => {
  for (const line of lines) await line.close();
});

export class Line extends Watched {
  /** Connections that it took. */
  connections = 0;
  cuts = 0;
  /** Whether connections are taken; otherwise they are reset at once. */
  isUp = true;
  /** Where it leads. */
  target: number;
  /** From the one who connects, and to it. */
  bytesOut = 0;
  bytesIn = 0;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();

  /** A line to a port of this machine. */
  static async to(target: number): Promise<Line> {
    const server = createServer({ noDelay: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Line(server, target);
  }

  private constructor(server: Server, target: number) {
    super();
    this.target = target;
    this.#server = server;
    server.on('connection', (near) => this.#begin(near));
    lines.add(this);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that go through it now, silent ones too. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Cuts all connections that go through it now. A torn one ends with the next bytes. */
  cut(how: Cut): void {
    this.cuts += this.#pairs.size;
    for (const pair of this.#pairs) {
      if (how === Cut.RESET) this.#reset(pair);
      else if (how === Cut.TORN) pair.left = 1 + (this.bytesOut % TORN_BYTES_MAX);
      else this.#silence(pair, how);
    }
    this.changed();
  }

  /** No connection is taken any more, and those that there are, are reset. */
  down(): void {
    this.isUp = false;
    this.cut(Cut.RESET);
  }

  up(): void {
    this.isUp = true;
  }

  async close(): Promise<void> {
    lines.delete(this);
    this.down();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  protected override describe(): string {
    return `${this.connections} connections, ${this.#pairs.size} of them open, ${this.cuts} cut; ${this.bytesOut} bytes out, ${this.bytesIn} in`;
  }

  #begin(near: Socket): void {
    near.on('error', () => {});
    if (!this.isUp) {
      near.resetAndDestroy();
      return;
    }
    this.connections++;
    const far = connect({ port: this.target, host: '127.0.0.1', noDelay: true });
    const pair: Pair = { near, far, left: Infinity, isSilent: false };
    this.#pairs.add(pair);
    far.on('error', () => this.#reset(pair));
    near.on('data', (bytes) => {
      this.bytesOut += bytes.length;
      this.#pass(pair, bytes, far);
    });
    far.on('data', (bytes) => {
      this.bytesIn += bytes.length;
      this.#pass(pair, bytes, near);
    });
    near.on('end', () => far.end());
    far.on('end', () => near.end());
    near.on('close', () => this.#over(pair));
    far.on('close', () => this.#over(pair));
    this.changed();
  }

  #pass(pair: Pair, bytes: Buffer, to: Socket): void {
    if (pair.isSilent) return;
    if (bytes.length < pair.left) {
      pair.left -= bytes.length;
      to.write(bytes);
    } else {
      to.write(bytes.subarray(0, pair.left), () => this.#reset(pair));
      pair.isSilent = true;
    }
    this.changed();
  }

  #silence(pair: Pair, how: Cut): void {
    pair.isSilent = true;
    if (how === Cut.HALF_OPEN) pair.far.resetAndDestroy();
  }

  #reset(pair: Pair): void {
    pair.isSilent = true;
    pair.near.resetAndDestroy();
    pair.far.resetAndDestroy();
    this.#over(pair);
  }

  /** One end has closed: the other one is told, unless the line is silent. */
  #over(pair: Pair): void {
    if (!pair.isSilent) {
      if (pair.near.destroyed) pair.far.end();
      if (pair.far.destroyed) pair.near.end();
    }
    if (pair.near.destroyed && pair.far.destroyed) this.#pairs.delete(pair);
    this.changed();
  }
}
