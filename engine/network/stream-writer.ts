// HOT: no allocation, closures, strings, try or async per message.
// The two ways by which the bytes of a StreamLink reach the kernel: through node's stream (TLS, and what has been read from
// already), or straight through the connection's handle. Both collect the blocks of a turn and write them in one call, and
// while a write is under way what comes next waits for it.
import type { Socket } from 'node:net';
import { Lent } from '../link.ts';
import { waitingBytes } from './node-handles.ts';
import { type RawSocket, type RequestOwner, Written } from './raw-socket.ts';

/** What a link is told of its writes, never inside a call to the writer. */
export interface WriteObserver {
  /** So many blocks, the oldest ones, are the caller's again. */
  written(blocks: number): void;
}

export interface StreamWriter {
  /** Lends bytes [from, to) of `block`; `Lent.RETURNED` when nothing can be written any more. */
  write(block: Uint8Array, from: number, to: number): Lent;
  /** `Lent.RETURNED`: every block that was lent is the caller's again. */
  flush(): Lent;
  /** Hands over all that waits, because the stream is about to end. */
  finish(): void;
  unsentBytes(): number;
  /** As `untakenBytes` of Link. */
  untakenBytes(): number;
  /** The stream is closed. */
  close(): void;
}

export class CorkedWriter implements StreamWriter {
  readonly #socket: Socket;
  /** One for all writes: it is called once for each, in order. */
  readonly #written: (error?: Error | null) => void;
  #corked = false;

  constructor(socket: Socket, observer: WriteObserver) {
    this.#socket = socket;
    // A write that failed is followed by 'close', which returns all.
    this.#written = (error) => {
      if (error == null) observer.written(1);
    };
  }

  write(block: Uint8Array, from: number, to: number): Lent {
    const socket = this.#socket;
    if (!socket.writable) return Lent.RETURNED;
    if (!this.#corked) {
      this.#corked = true;
      socket.cork();
    }
    socket.write(block.subarray(from, to), this.#written);
    return Lent.KEPT;
  }

  flush(): Lent {
    this.finish();
    return Lent.KEPT;
  }

  finish(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#socket.uncork();
  }

  unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** Where node writes in pieces, as TLS does, the last one counts twice while it is under way: whatever of it is taken shows. */
  untakenBytes(): number {
    return this.#socket.writableLength + waitingBytes(this.#socket);
  }

  close(): void {}
}

const NO_CHUNKS: Uint8Array[] = [];

export class RawWriter implements StreamWriter, RequestOwner {
  readonly #raw: RawSocket;
  readonly #observer: WriteObserver;
  /** What no write has been asked for yet: mostly one chunk, and none while the connection is idle. */
  #first: Uint8Array | null = null;
  #more: Uint8Array[] = NO_CHUNKS;
  /** Writes that are under way, and all bytes that the kernel has not taken for sure. */
  #requests = 0;
  #unsentBytes = 0;
  /** The connection failed, or ends: what is written now goes nowhere. */
  #isOver = false;

  constructor(raw: RawSocket, observer: WriteObserver) {
    this.#raw = raw;
    this.#observer = observer;
  }

  write(block: Uint8Array, from: number, to: number): Lent {
    if (this.#isOver) return Lent.RETURNED;
    const chunk = block.subarray(from, to);
    if (this.#first === null) this.#first = chunk;
    else if (this.#more === NO_CHUNKS) this.#more = [chunk];
    else this.#more.push(chunk);
    this.#unsentBytes += to - from;
    return Lent.KEPT;
  }

  flush(): Lent {
    if (this.#requests > 0 || this.#isOver) return Lent.KEPT;
    if (this.#first === null) return Lent.RETURNED;
    if (!this.#send()) return Lent.KEPT;
    this.#unsentBytes = 0;
    return Lent.RETURNED;
  }

  finish(): void {
    // One that is under way keeps its place before this one.
    if (this.#first !== null && !this.#isOver) this.#send();
    this.#isOver = true;
  }

  unsentBytes(): number {
    return this.#unsentBytes;
  }

  untakenBytes(): number {
    if (this.#requests === 0) return this.#unsentBytes;
    let bytes = this.#raw.waitingBytes();
    if (this.#first !== null) bytes += this.#first.length;
    for (let i = 0; i < this.#more.length; i++) bytes += this.#more[i]!.length;
    return bytes;
  }

  close(): void {
    this.#isOver = true;
    this.#first = null;
    this.#more = NO_CHUNKS;
    this.#unsentBytes = 0;
  }

  completed(chunks: readonly Uint8Array[], status: number): void {
    this.#requests--;
    if (status < 0) this.#fail(status);
    // After a failure and after the end the close returns all.
    if (this.#isOver) return;
    for (let i = 0; i < chunks.length; i++) this.#unsentBytes -= chunks[i]!.length;
    const waiting = this.#first === null ? 0 : 1 + this.#more.length;
    const blocks = this.flush() === Lent.RETURNED ? chunks.length + waiting : chunks.length;
    this.#observer.written(blocks);
  }

  /** Whether the kernel took everything at once. */
  #send(): boolean {
    const first = this.#first!;
    const more = this.#more;
    this.#first = null;
    this.#more = NO_CHUNKS;
    if (more !== NO_CHUNKS) more.unshift(first);
    const outcome = more === NO_CHUNKS ? this.#raw.write(first, this) : this.#raw.writeAll(more, this);
    if (outcome === Written.UNDER_WAY) this.#requests++;
    else if (outcome < 0) this.#fail(outcome);
    return outcome === Written.WHOLE;
  }

  #fail(error: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#raw.fail(error);
  }
}
