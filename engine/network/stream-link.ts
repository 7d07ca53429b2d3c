// HOT: no allocation, closures, strings, try or async per message.
// A TCP or TLS connection as a Link: how it is paused, ended and closed; how its bytes reach the kernel is the writer's business
// (stream-writer.ts). Owns the socket from `attach` to its 'close' event, after which no block is in use any more.
//
// Neither node nor a writer calls back inside the call that causes it, so neither does this file.
import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { CloseCause, Lent, type Link, type LinkSink, type Peer } from '../link.ts';
import { type RawReader, RawSocket } from './raw-socket.ts';
import { CorkedWriter, RawWriter, type StreamWriter, type WriteObserver } from './stream-writer.ts';

export class StreamLink implements Link, RawReader, WriteObserver {
  readonly peer: Peer;
  readonly #socket: Socket;
  readonly #writer: StreamWriter;
  readonly #clock: Clock;
  readonly #endTimeoutMs: number;
  #sink: LinkSink | null = null;
  #paused = false;
  /** `end` or `destroy` was called: nothing more is written, and what still comes in is thrown away. */
  #ended = false;
  #closed = false;
  /** Unsent bytes when the sink last heard of them; 0 when it waits for nothing. */
  #unsentKnown = 0;
  /** Blocks that the kernel has taken and the sink has not heard of yet; a flush that takes all returns them too. */
  #owed = 0;
  #cause: CloseCause = CloseCause.PEER;
  #cancelEnd: (() => void) | null = null;

  /** @param state of a socket that was accepted: one that is `unread` has its bytes go past node's stream where that can be */
  constructor(accepted: Socket, state: 'unread' | 'streamed', peer: Peer, clock: Clock, endTimeoutMs: number) {
    const raw = state === 'unread' ? RawSocket.accepted(accepted, this) : null;
    const socket = raw?.socket ?? accepted;
    this.#socket = socket;
    this.#writer = raw === null ? new CorkedWriter(socket, this) : new RawWriter(raw, this);
    this.peer = peer;
    this.#clock = clock;
    this.#endTimeoutMs = endTimeoutMs;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.#ended && !isOfNetwork(error.code)) this.#cause = CloseCause.ERROR;
    });
    socket.on('end', () => {
      this.#writer.finish();
      this.#limitEnd();
    });
    socket.on('close', () => this.#onClose());
  }

  /** Starts to deliver to `sink`. */
  attach(sink: LinkSink): void {
    this.#sink = sink;
    this.#socket.on('data', (chunk: Buffer) => this.take(chunk, chunk.length));
    if (!this.#paused) this.#socket.resume();
  }

  /** What the connection has read: by 'data', or from the buffer that raw sockets share. */
  take(chunk: Uint8Array, to: number): void {
    if (!this.#ended && this.#sink !== null) this.#sink.linkBytes(chunk, 0, to);
  }

  write(block: Uint8Array, from: number, to: number): Lent {
    return this.#ended || to === from ? Lent.RETURNED : this.#writer.write(block, from, to);
  }

  flush(): Lent {
    const lent = this.#writer.flush();
    this.#unsentKnown = this.#writer.unsentBytes();
    if (lent === Lent.RETURNED) this.#owed = 0;
    return lent;
  }

  unsentBytes(): number {
    return this.#closed ? 0 : this.#writer.unsentBytes();
  }

  untakenBytes(): number {
    return this.#closed ? 0 : this.#writer.untakenBytes();
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
    this.#ended = true;
    this.#cause = CloseCause.LOCAL;
    this.#writer.finish();
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

  written(blocks: number): void {
    const sink = this.#sink;
    if (sink === null || this.#closed) return;
    // Told of the first the sink may write more, and flush.
    this.#owed += blocks;
    while (this.#owed > 0) {
      this.#owed--;
      sink.linkReturned();
    }
    const unsent = this.#writer.unsentBytes();
    if (this.#unsentKnown === 0 || unsent * 2 > this.#unsentKnown) return;
    this.#unsentKnown = unsent;
    sink.linkDrained();
  }

  #limitEnd(): void {
    this.#cancelEnd ??= this.#clock.after(this.#endTimeoutMs, () => this.#socket.destroy());
  }

  #onClose(): void {
    this.#closed = true;
    this.#ended = true;
    this.#writer.close();
    this.#cancelEnd?.();
    this.#sink?.linkClosed(this.#cause);
  }
}

/** A failure of the way to the peer, as opposed to one of what was said on it. */
function isOfNetwork(code: string | undefined): boolean {
  return code !== undefined && /^(E(CONN|NET|HOST)\w+|EPIPE|ETIMEDOUT)$/.test(code);
}
