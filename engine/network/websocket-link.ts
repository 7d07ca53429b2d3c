// HOT: no allocation, closures, strings, try or async per message.
// A WebSocket of uWebSockets.js as a Link. MQTT packets that are written in a turn share binary frames. uWebSockets copies what
// it cannot send at once, so every block is returned at once.
//
// uWebSockets calls the close handler inside `end` and `close`, and a closed socket throws on any use: all calls to it stand
// here, behind `#open`, and the sink hears of a close that this side caused at the end of the turn.
//
// While it reads from one TLS socket, nothing may be written to any, or the rest of what it has read is lost: uSockets decrypts
// in one place for the whole loop, calls the message handler when 512 KiB are decrypted and goes on afterwards, and its write
// sets the bytes that wait there to none (us_internal_ssl_socket_write). What is written meanwhile is kept until the end of the turn.
import type { WebSocket } from 'uWebSockets.js';
import { copyBytes } from '../../protocol/bytes.ts';
import type { Clock } from '../clock.ts';
import { CloseCause, Lent, type Link, type LinkSink, type Peer } from '../link.ts';

export type Socket = WebSocket<WebSocketData>;

/** What uWebSockets keeps for each socket. */
export interface WebSocketData {
  link: WebSocketLink | null;
  /** Whose connection it is. */
  readonly address: string;
}

/** Codes of the close frame (RFC 6455 §7.4.1). */
const CloseCode = { NORMAL: 1_000, UNSUPPORTED_DATA: 1_003 } as const;
const SEND_DROPPED = 2;
const FRAME_JOIN_BYTES = 65_536;
const NO_BLOCKS: Uint8Array[] = [];

/** Whether a message handler of a TLS socket is at work on this thread. */
let isReadingSecure = false;

/** One for all links of a listener: where the small writes of one link are joined to a frame, [0, bytes). */
export class FrameJoiner {
  readonly buffer = new Uint8Array(FRAME_JOIN_BYTES);
  bytes = 0;
  /** The link whose bytes these are. */
  owner: WebSocketLink | null = null;
}

export class WebSocketLink implements Link {
  readonly peer: Peer;
  readonly #socket: Socket;
  readonly #frame: FrameJoiner;
  readonly #clock: Clock;
  readonly #endTimeoutMs: number;
  readonly #compress: boolean;
  #sink: LinkSink | null = null;
  #open = true;
  /** `end` was called: what was written still goes out. */
  #ending = false;
  /** This side is closing: why. */
  #closing: CloseCause | null = null;
  #cancelEnd: (() => void) | null = null;
  /** Blocks that were lent while nothing could be written, oldest first. */
  #kept: Uint8Array[] = NO_BLOCKS;
  #keptBytes = 0;

  constructor(socket: Socket, peer: Peer, frame: FrameJoiner, clock: Clock, endTimeoutMs: number, compress: boolean) {
    this.#socket = socket;
    this.peer = peer;
    this.#frame = frame;
    this.#clock = clock;
    this.#endTimeoutMs = endTimeoutMs;
    this.#compress = compress;
  }

  attach(sink: LinkSink): void {
    this.#sink = sink;
  }

  write(block: Uint8Array, from: number, to: number): Lent {
    if (!this.#open || this.#ending || to === from) return Lent.RETURNED;
    if (this.peer.secure && (isReadingSecure || this.#kept !== NO_BLOCKS)) return this.#keep(block, from, to);
    this.#join(block, from, to);
    return Lent.RETURNED;
  }

  flush(): Lent {
    if (this.#kept !== NO_BLOCKS) return Lent.KEPT;
    const frame = this.#frame;
    if (frame.owner === this) {
      this.#sendJoined();
      frame.owner = null;
    }
    return Lent.RETURNED;
  }

  unsentBytes(): number {
    if (!this.#open) return 0;
    return this.#socket.getBufferedAmount() + this.#keptBytes + (this.#frame.owner === this ? this.#frame.bytes : 0);
  }

  untakenBytes(): number {
    return this.unsentBytes();
  }

  /** uWebSockets always reads. */
  pause(): boolean {
    return false;
  }

  resume(): void {}

  end(): void {
    if (!this.#open || this.#ending) return;
    this.flush();
    this.#ending = true;
    this.#cancelEnd = this.#clock.after(this.#endTimeoutMs, () => this.#close(CloseCause.LOCAL));
    // Not now: in a handler of uWebSockets the socket is corked, and a close frame must not overtake what is in the cork.
    this.#clock.endOfTurn(() => this.#endWhenSent());
  }

  destroy(): void {
    this.#close(CloseCause.LOCAL);
  }

  /** The message handler. [MQTT-6.0.0-1], [MQTT-6.0.0-2]: where packets begin and end is not the frames' business. */
  onMessage(message: ArrayBuffer, isBinary: boolean): void {
    if (!this.#open || this.#ending) return;
    if (!isBinary) {
      this.#closing = CloseCause.ERROR;
      this.#socket.end(CloseCode.UNSUPPORTED_DATA, 'MQTT needs binary frames');
    } else if (message.byteLength > 0) {
      isReadingSecure = this.peer.secure;
      this.#sink?.linkBytes(new Uint8Array(message), 0, message.byteLength);
      isReadingSecure = false;
    }
  }

  /** The drain handler: the kernel took bytes. */
  onDrain(): void {
    if (this.#ending) this.#endWhenSent();
    else if (this.#open) this.#sink?.linkDrained();
  }

  /** The close handler. `cause` counts unless this side closed. */
  onClose(cause: CloseCause): void {
    this.#open = false;
    this.#cancelEnd?.();
    if (this.#frame.owner === this) {
      this.#frame.owner = null;
      this.#frame.bytes = 0;
    }
    const sink = this.#sink;
    if (sink === null) return;
    const closing = this.#closing;
    if (closing !== null) this.#clock.endOfTurn(() => sink.linkClosed(closing));
    else sink.linkClosed(this.#ending ? CloseCause.LOCAL : cause);
  }

  #keep(block: Uint8Array, from: number, to: number): Lent {
    if (this.#kept === NO_BLOCKS) {
      this.#kept = [];
      this.#clock.endOfTurn(() => this.#sendKept());
    }
    this.#kept.push(block.subarray(from, to));
    this.#keptBytes += to - from;
    return Lent.KEPT;
  }

  #sendKept(): void {
    const kept = this.#kept;
    this.#kept = NO_BLOCKS;
    this.#keptBytes = 0;
    // The close has returned them.
    if (!this.#open) return;
    for (let i = 0; i < kept.length; i++) this.#join(kept[i]!, 0, kept[i]!.length);
    this.flush();
    for (let i = 0; i < kept.length && this.#open; i++) this.#sink?.linkReturned();
    if (this.#open && !this.#ending) this.#sink?.linkDrained();
  }

  /** Adds to the frame under way, and sends it when it is full. */
  #join(block: Uint8Array, from: number, to: number): void {
    const frame = this.#frame;
    if (frame.owner !== this) {
      frame.owner?.flush();
      frame.owner = this;
      frame.bytes = 0;
    }
    if (frame.bytes + to - from > FRAME_JOIN_BYTES) this.#sendJoined();
    if (to - from >= FRAME_JOIN_BYTES) this.#send(block.subarray(from, to));
    else frame.bytes = copyBytes(block, from, to, frame.buffer, frame.bytes);
  }

  #sendJoined(): void {
    const frame = this.#frame;
    const { bytes } = frame;
    frame.bytes = 0;
    if (bytes > 0) this.#send(frame.buffer.subarray(0, bytes));
  }

  #send(bytes: Uint8Array): void {
    if (!this.#open) return;
    // What was dropped cannot be made good: the stream has a hole.
    if (this.#socket.send(bytes, true, this.#compress) === SEND_DROPPED) this.#close(CloseCause.ERROR);
  }

  #endWhenSent(): void {
    if (!this.#open || this.#kept !== NO_BLOCKS || this.#socket.getBufferedAmount() > 0) return;
    this.#closing = CloseCause.LOCAL;
    this.#socket.end(CloseCode.NORMAL);
  }

  #close(cause: CloseCause): void {
    if (!this.#open) return;
    this.#closing = cause;
    this.#socket.close();
  }
}
