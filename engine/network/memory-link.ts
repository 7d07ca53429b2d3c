// One connection of the memory transport: the link, the client, and the two bounded pipes between them.
//
//   client.send ─► waiting ─► inbound pipe ─► linkBytes        write ─► unsent (kept blocks) ─► outbound pipe ─► client
//
// Invariant: a pipe holds at most `kernelBytes`; every kept block stands in `#unsent` or is counted in `#owed`.
import { ownBytes } from '../../protocol/bytes.ts';
import type { Clock } from '../clock.ts';
import { CloseCause, Lent, type Link, type LinkSink, type Peer } from '../link.ts';
import type { Random } from '../random.ts';

/** The client's side. */
export interface MemoryPeer {
  /** Takes a copy. What exceeds the buffer between the two sides waits here. */
  send(bytes: Uint8Array): void;
  /** Everything that was received, unless `onBytes` takes it. */
  received(): Uint8Array;
  /** Takes what is received from now on; borrowed for the call. */
  onBytes: ((chunk: Uint8Array) => void) | null;
  readonly closed: boolean;
  /** Sends what waits, then closes. */
  close(): void;
  /** Closes at once, like a network that fails: what is under way in either direction is lost. */
  abort(): void;
  /** Stops reading; what the link sends piles up in the buffer, then in the link. */
  pause(): void;
  resume(): void;
}

export interface MemoryLinkOptions {
  readonly clock: Clock;
  readonly kernelBytes: number;
  readonly split: Random | null;
  readonly endTimeoutMs: number;
  /** Asks for a round. */
  readonly ask: () => void;
}

const SPLIT_BYTES_MAX = 64;

/** Bytes in order, as they were put. */
class Pipe {
  bytes = 0;
  readonly #chunks: Uint8Array[] = [];

  /** Owns the chunk from now on. */
  put(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** The first bytes, at most `bytesMax` and at most one chunk. */
  take(bytesMax: number): Uint8Array {
    const first = this.#chunks[0]!;
    const taken = first.subarray(0, bytesMax);
    if (taken.length === first.length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(bytesMax);
    this.bytes -= taken.length;
    return taken;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.bytes = 0;
  }
}

class MemoryClient implements MemoryPeer {
  onBytes: ((chunk: Uint8Array) => void) | null = null;
  closed = false;
  paused = false;
  /** `close` was called; what waits is still sent. */
  closing = false;
  readonly waiting = new Pipe();
  readonly #received: Uint8Array[] = [];
  readonly #link: MemoryLink;
  readonly #ask: () => void;

  constructor(link: MemoryLink, ask: () => void) {
    this.#link = link;
    this.#ask = ask;
  }

  send(bytes: Uint8Array): void {
    if (this.closed || this.closing) return;
    this.waiting.put(ownBytes(bytes, 0, bytes.length));
    this.#ask();
  }

  received(): Uint8Array {
    return Buffer.concat(this.#received);
  }

  receive(chunk: Uint8Array): void {
    if (this.onBytes === null) this.#received.push(chunk);
    else this.onBytes(chunk);
  }

  close(): void {
    this.closing = true;
    this.#ask();
  }

  abort(): void {
    this.#link.close(CloseCause.PEER);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.#ask();
  }
}

export class MemoryLink implements Link {
  readonly peer: Peer;
  readonly client: MemoryClient;
  /** The sink has heard the last of it. */
  isDone = false;
  readonly #options: MemoryLinkOptions;
  readonly #inbound = new Pipe();
  readonly #outbound = new Pipe();
  /** Kept blocks that the pipe has not taken whole, oldest first: views of what is still to be taken. */
  readonly #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  /** Unsent bytes when the sink last heard of them. */
  #unsentKnown = 0;
  /** Kept blocks that the pipe has taken and that are to be returned. */
  #owed = 0;
  #sink: LinkSink | null = null;
  #paused = false;
  #ending = false;
  #cause: CloseCause | null = null;
  #cancelEnd: (() => void) | null = null;

  constructor(peer: Peer, options: MemoryLinkOptions) {
    this.peer = peer;
    this.#options = options;
    this.client = new MemoryClient(this, options.ask);
  }

  attach(sink: LinkSink): void {
    this.#sink = sink;
  }

  write(block: Uint8Array, from: number, to: number): Lent {
    if (this.#cause !== null || this.#ending || to === from) return Lent.RETURNED;
    this.#unsent.push(block.subarray(from, to));
    this.#unsentBytes += to - from;
    return Lent.KEPT;
  }

  flush(): Lent {
    this.#fillOutbound();
    this.#unsentKnown = this.#unsentBytes;
    this.#options.ask();
    return Lent.KEPT;
  }

  unsentBytes(): number {
    return this.#unsentBytes;
  }

  untakenBytes(): number {
    return this.#unsentBytes;
  }

  pause(): boolean {
    this.#paused = true;
    return true;
  }

  resume(): void {
    this.#paused = false;
    this.#options.ask();
  }

  end(): void {
    if (this.#cause !== null || this.#ending) return;
    this.#ending = true;
    this.#cancelEnd = this.#options.clock.after(this.#options.endTimeoutMs, () => this.close(CloseCause.LOCAL));
    this.flush();
  }

  destroy(): void {
    this.close(CloseCause.LOCAL);
  }

  /** Ends the connection now, for both sides; the sink hears of it in the next round. */
  close(cause: CloseCause): void {
    if (this.#cause !== null) return;
    this.#cause = this.#ending ? CloseCause.LOCAL : cause;
    this.#cancelEnd?.();
    this.client.closed = true;
    this.client.waiting.clear();
    this.#inbound.clear();
    this.#outbound.clear();
    this.#unsent.length = 0;
    this.#unsentBytes = 0;
    this.#options.ask();
  }

  /** Does what can be done now, once in each direction; false when there was nothing. */
  round(): boolean {
    if (this.isDone) return false;
    const worked = [this.#return(), this.#deliverInbound(), this.#deliverOutbound()].includes(true);
    return this.#finish() || worked;
  }

  #return(): boolean {
    if (this.#cause !== null) return false;
    const owed = this.#owed;
    for (let i = 0; i < owed && this.#cause === null; i++) {
      this.#owed--;
      this.#sink?.linkReturned();
    }
    const drained = this.#unsentKnown > 0 && this.#unsentBytes * 2 <= this.#unsentKnown;
    if (drained && this.#cause === null) {
      this.#unsentKnown = this.#unsentBytes;
      this.#sink?.linkDrained();
    }
    return owed > 0 || drained;
  }

  #deliverInbound(): boolean {
    const { waiting } = this.client;
    let room = this.#options.kernelBytes - this.#inbound.bytes;
    let worked = waiting.bytes > 0 && room > 0;
    while (waiting.bytes > 0 && room > 0) {
      const chunk = waiting.take(room);
      room -= chunk.length;
      this.#inbound.put(chunk);
    }
    if (this.#paused || this.#inbound.bytes === 0) return worked;
    const chunk = this.#inbound.take(this.#pieceBytes());
    worked = true;
    if (!this.#ending) this.#sink?.linkBytes(chunk, 0, chunk.length);
    return worked;
  }

  #deliverOutbound(): boolean {
    if (this.client.paused || this.#outbound.bytes === 0) return false;
    this.client.receive(this.#outbound.take(this.#pieceBytes()));
    this.#fillOutbound();
    return true;
  }

  /** Closes what has said everything. */
  #finish(): boolean {
    if (this.#cause === null) {
      const said = this.#ending && this.#unsentBytes === 0 && this.#outbound.bytes === 0;
      const heard = this.client.closing && this.client.waiting.bytes === 0 && this.#inbound.bytes === 0;
      if (said) this.close(CloseCause.LOCAL);
      else if (heard) this.close(CloseCause.PEER);
    }
    if (this.#cause === null) return false;
    this.isDone = true;
    this.#sink?.linkClosed(this.#cause);
    return true;
  }

  #fillOutbound(): void {
    let room = this.#options.kernelBytes - this.#outbound.bytes;
    while (room > 0 && this.#unsent.length > 0) {
      const first = this.#unsent[0]!;
      const taken = ownBytes(first, 0, room);
      this.#outbound.put(taken);
      this.#unsentBytes -= taken.length;
      room -= taken.length;
      if (taken.length === first.length) {
        this.#unsent.shift();
        this.#owed++;
      } else {
        this.#unsent[0] = first.subarray(taken.length);
      }
    }
  }

  #pieceBytes(): number {
    const { split } = this.#options;
    return split === null ? Number.MAX_SAFE_INTEGER : 1 + (split.bytes(1)[0]! % SPLIT_BYTES_MAX);
  }
}
