// HOT: no allocation, closures, strings, try or async per message.
// A stream of node (TCP or TLS) as a Link. Writes of a turn are corked and go to the kernel in one call; a lent block is kept
// until node's write callback. Owns the socket from `attach` to its 'close' event, after which no block is in use any more.
//
// Node never calls a write callback, 'drain', 'data' or 'close' inside the call that causes it, so neither does this file.
import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { CloseCause, Lent, type Link, type LinkSink, type Peer } from '../link.ts';

export class StreamLink implements Link {
  readonly peer: Peer;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #endTimeoutMs: number;
  #sink: LinkSink | null = null;
  /** One for all writes: it is called once for each, in order. */
  readonly #written: (error?: Error | null) => void;
  #corked = false;
  #paused = false;
  /** `end` or `destroy` was called: nothing more is written, and what still comes in is thrown away. */
  #ended = false;
  #closed = false;
  /** Unsent bytes when the sink last heard of them; 0 when it waits for nothing. */
  #unsentKnown = 0;
  #cause: CloseCause = CloseCause.PEER;
  #cancelEnd: (() => void) | null = null;

  constructor(socket: Socket, peer: Peer, clock: Clock, endTimeoutMs: number) {
    this.#socket = socket;
    this.peer = peer;
    this.#clock = clock;
    this.#endTimeoutMs = endTimeoutMs;
    this.#written = (error) => this.#onWritten(error);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.#ended && !isOfNetwork(error.code)) this.#cause = CloseCause.ERROR;
    });
    socket.once('end', () => this.#limitEnd());
    socket.once('close', () => this.#onClose());
  }

  /** Starts to deliver to `sink`. */
  attach(sink: LinkSink): void {
    this.#sink = sink;
    this.#socket.on('data', (chunk: Buffer) => this.take(chunk, chunk.length));
    if (!this.#paused) this.#socket.resume();
  }

  /** What the socket has read: by 'data', or by the shared buffer of a socket that has no such events. */
  take(chunk: Uint8Array, to: number): void {
    if (!this.#ended && this.#sink !== null) this.#sink.linkBytes(chunk, 0, to);
  }

  write(block: Uint8Array, from: number, to: number): Lent {
    const socket = this.#socket;
    if (this.#ended || to === from || !socket.writable) return Lent.RETURNED;
    if (!this.#corked) {
      this.#corked = true;
      socket.cork();
    }
    socket.write(block.subarray(from, to), this.#written);
    return Lent.KEPT;
  }

  flush(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#socket.uncork();
    this.#unsentKnown = this.#socket.writableLength;
  }

  unsentBytes(): number {
    return this.#closed ? 0 : this.#socket.writableLength;
  }

  pause(): boolean {
    if (!this.#ended) {
      this.#paused = true;
      this.#socket.pause();
    }
    return true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#sink !== null) this.#socket.resume();
  }

  end(): void {
    if (this.#ended) return;
    this.flush();
    this.#ended = true;
    this.#cause = CloseCause.LOCAL;
    this.#socket.end();
    // The peer's end is seen only by one who reads.
    this.#socket.resume();
    this.#limitEnd();
  }

  destroy(): void {
    if (!this.#ended) this.#cause = CloseCause.LOCAL;
    this.#ended = true;
    this.#socket.destroy();
  }

  #onWritten(error?: Error | null): void {
    // A write that failed is followed by 'close', which returns all.
    if (error != null || this.#sink === null || this.#closed) return;
    this.#sink.linkReturned();
    const unsent = this.#socket.writableLength;
    if (this.#unsentKnown === 0 || unsent * 2 > this.#unsentKnown) return;
    this.#unsentKnown = unsent;
    this.#sink.linkDrained();
  }

  #limitEnd(): void {
    this.#cancelEnd ??= this.#clock.after(this.#endTimeoutMs, () => this.#socket.destroy());
  }

  #onClose(): void {
    this.#closed = true;
    this.#ended = true;
    this.#cancelEnd?.();
    this.#sink?.linkClosed(this.#cause);
  }
}

/** A failure of the way to the peer, as opposed to one of what was said on it. */
function isOfNetwork(code: string | undefined): boolean {
  return code !== undefined && /^(E(CONN|NET|HOST)\w+|EPIPE|ETIMEDOUT)$/.test(code);
}
