// The local side of a bridge as a Link: the broker's connection at one end, the bridge at the other, in one thread and without a copy. What the broker writes is lent to the bridge in `flush`; what the bridge cannot take, because
// the remote side has no room, stays the link's until it can, so that the broker's own back-pressure works.
//
// Nothing of the sink is called inside a call to Link. Blocks go back in the order of the writes.
import type { Clock } from '../clock.ts';
import { CloseCause, Lent, type Link, type LinkSink, type Peer, TransportKind } from '../link.ts';

/** The bridge's end. Called inside calls to Link: it must not call back at once. */
export interface OwnEnd {
  /** Whether there is no room for more now; `room` tells when there is. */
  isFull(): boolean;
  /** Borrowed for the call. */
  takeLocal(chunk: Uint8Array): void;
  /** The broker reads no further, or again. */
  pauseLocal(): void;
  resumeLocal(): void;
  /** Once, and last; never inside a call to Link. */
  localClosed(): void;
}

const PEER: Omit<Peer, 'listener'> = {
  transport: TransportKind.MEMORY,
  address: '',
  port: 0,
  secure: true,
  certificate: null,
};

export class OwnLink implements Link {
  readonly peer: Peer;
  isPaused = false;
  readonly #end: OwnEnd;
  readonly #clock: Clock;
  #sink: LinkSink | null = null;
  /** Blocks that the bridge has not taken, oldest first. */
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** Waiting bytes when the sink last heard of them. */
  #toldBytes = 0;
  /** Blocks that were taken and of which the sink does not know. */
  #owed = 0;
  #closed = false;

  /** @param listener what stands for one (config/bridges.ts) */
  constructor(end: OwnEnd, clock: Clock, listener: string) {
    this.peer = { ...PEER, listener };
    this.#end = end;
    this.#clock = clock;
  }

  attach(sink: LinkSink): void {
    this.#sink = sink;
  }

  write(block: Uint8Array, from: number, to: number): Lent {
    if (this.#closed || to === from) return Lent.RETURNED;
    this.#waiting.push(block.subarray(from, to));
    this.#waitingBytes += to - from;
    return Lent.KEPT;
  }

  flush(): Lent {
    if (this.#closed) return Lent.KEPT;
    this.#give();
    this.#toldBytes = this.#waitingBytes;
    if (this.#waiting.length > 0) return Lent.KEPT;
    this.#owed = 0;
    return Lent.RETURNED;
  }

  unsentBytes(): number {
    return this.#waitingBytes;
  }

  untakenBytes(): number {
    return this.#waitingBytes;
  }

  pause(): boolean {
    if (!this.isPaused) {
      this.isPaused = true;
      this.#end.pauseLocal();
    }
    return true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    if (!this.#closed) this.#end.resumeLocal();
  }

  end(): void {
    if (this.#closed) return;
    this.#give(); // the last of it says why
    this.#close(CloseCause.LOCAL);
  }

  destroy(): void {
    this.#close(CloseCause.LOCAL);
  }

  /** From the bridge: bytes for the broker, borrowed for the call. */
  deliver(bytes: Uint8Array, to: number): void {
    if (!this.#closed) this.#sink?.linkBytes(bytes, 0, to);
  }

  /** From the bridge, outside of calls to Link: there is room again. */
  room(): void {
    if (this.#closed) return;
    this.#give();
    const owed = this.#owed;
    this.#owed = 0;
    for (let i = 0; i < owed && !this.#closed; i++) this.#sink?.linkReturned();
    if (this.#closed || this.#toldBytes === 0 || this.#waitingBytes * 2 > this.#toldBytes) return;
    this.#toldBytes = this.#waitingBytes;
    this.#sink?.linkDrained();
  }

  /** From the bridge: the link is cut, as by a network. */
  cut(): void {
    this.#close(CloseCause.PEER);
  }

  #give(): void {
    while (this.#waiting.length > 0 && !this.#closed && !this.#end.isFull()) {
      const chunk = this.#waiting.shift()!;
      this.#waitingBytes -= chunk.length;
      this.#owed++;
      this.#end.takeLocal(chunk);
    }
  }

  #close(cause: CloseCause): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.#clock.endOfTurn(() => {
      this.#sink?.linkClosed(cause);
      this.#end.localClosed();
    });
  }
}
