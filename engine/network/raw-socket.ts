// A plain TCP connection below node's streams: what a stream costs for each read and write is more than a small message costs
// the broker in all. Reads of all connections of the thread come into one buffer and are lent for the call; writes go to the
// kernel at once, with neither a request nor a callback while the kernel takes them.
//
// The connection's handle is not public in node. What is used of it stands here and is looked for first: where node has no
// such thing, the accepted socket is used as it is. Opening, pausing, ending and failing stay with node's socket.
//
// Node takes a buffer of ours only when a socket is made, and a server makes its sockets itself, so that the handle of an
// accepted socket is moved to one of ours.
import { Socket, type SocketConstructorOpts } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { type Owner, streamWrap, type WriteRequest, waitingBytes } from './node-handles.ts';

/** Four times what libuv asks for: a message of 64 KiB mostly lies whole in one read, and is not put together from two. */
const READ_BYTES = 262_144;
/** Not a Buffer, whose `slice` would not copy. */
const buffer = new Uint8Array(READ_BYTES);
/** What node is told, so that it reads into the buffer; it comes to no call. */
const onread = { buffer, callback: () => true };

/** Whose write it was. */
export interface RequestOwner {
  /** The kernel has taken the chunks, or with a negative status, an error number of libuv, it has not. Never inside the call that wrote. */
  completed(chunks: readonly Uint8Array[], status: number): void;
}

/** One write that the kernel has not taken whole at once. */
interface ChunkRequest extends WriteRequest {
  oncomplete: (this: ChunkRequest, status: number) => void;
  /** What is being written: referenced here until it is. */
  chunks: readonly Uint8Array[];
  owner: RequestOwner;
}

function completed(this: ChunkRequest, status: number): void {
  this.owner.completed(this.chunks, status);
}

/** What became of a write. */
export const Written = {
  /** The kernel has it all. */
  WHOLE: 0,
  /** The rest is under way; the owner is told. The chunks, and the array, are the request's until then. */
  UNDER_WAY: 1,
} as const;

/** node's `TCP` (src/stream_base.cc), as far as it is used. Writes return 0 or a negative error number of libuv. */
interface Handle {
  useUserBuffer(memory: Uint8Array): void;
  onread(memory?: ArrayBuffer): unknown;
  writeBuffer(request: ChunkRequest, chunk: Uint8Array): number;
  writev(request: ChunkRequest, chunks: readonly Uint8Array[], allBuffers: true): number;
}

const wrap = streamWrap<ChunkRequest>();
const state = wrap?.streamBaseState ?? new Int32Array(0);
const READ_BYTES_OR_ERROR = wrap?.kReadBytesOrError ?? 0;
const LAST_WRITE_WAS_ASYNC = wrap?.kLastWriteWasAsync ?? 0;

/** For the next write of any connection: one that the kernel takes at once leaves it as it is. */
let spare: ChunkRequest | null = wrap === null ? null : new wrap.WriteWrap();

/** Who gets what is read: bytes [0, `to`) of `chunk`, valid for the call. An object rather than a function: with a thousand connections each one on the way is a cache miss. */
export interface RawReader {
  take(chunk: Uint8Array, to: number): void;
}

export class RawSocket {
  /** Opens, pauses, ends and fails as any socket; it is neither read from nor written to. */
  readonly socket: Socket;
  readonly #handle: Handle;

  private constructor(socket: Socket, handle: Handle, memory: Uint8Array, reader: RawReader) {
    this.socket = socket;
    this.#handle = handle;
    const streamRead = handle.onread;
    // Ends and failures are the socket's business.
    handle.onread = (chunk) => {
      const bytes = state[READ_BYTES_OR_ERROR]!;
      if (bytes > 0) reader.take(memory, bytes);
      else streamRead.call(handle, chunk);
    };
  }

  /** Takes over an accepted socket that has not been read from; null when node does not let us. */
  static accepted(socket: Socket, reader: RawReader): RawSocket | null {
    const handle = usableHandle(socket);
    if (handle === null) return null;
    (socket as unknown as Owner<Handle>)._handle = null;
    const options = { handle, allowHalfOpen: false, onread };
    return new RawSocket(new Socket(options as SocketConstructorOpts), handle, buffer, reader);
  }

  /** Likewise a socket of a client that is connected, and that was made with `memory` as the buffer of its `onread`. */
  static connected(socket: Socket, memory: Uint8Array, reader: RawReader): RawSocket | null {
    const handle = usableHandle(socket);
    return handle === null ? null : new RawSocket(socket, handle, memory, reader);
  }

  /**
   * Writes a chunk.
   * @returns a `Written`, or a negative error number of libuv
   */
  write(chunk: Uint8Array, owner: RequestOwner): number {
    const error = this.#handle.writeBuffer(spare!, chunk);
    if (error !== 0) return error;
    return state[LAST_WRITE_WAS_ASYNC] === 0 ? Written.WHOLE : underWay([chunk], owner);
  }

  /** Likewise several in order, in one call to the kernel. */
  writeAll(chunks: readonly Uint8Array[], owner: RequestOwner): number {
    const error = this.#handle.writev(spare!, chunks, true);
    if (error !== 0) return error;
    return state[LAST_WRITE_WAS_ASYNC] === 0 ? Written.WHOLE : underWay(chunks, owner);
  }

  /** Bytes of a write under way that the kernel has not taken; 0 where node does not say. */
  waitingBytes(): number {
    return waitingBytes(this.socket);
  }

  /** Ends the connection as node does when a write of its own fails with this error number of libuv. */
  fail(error: number): void {
    const code = getSystemErrorName(error);
    this.socket.destroy(Object.assign(new Error(`write ${code}`), { code }));
  }
}

/** The write took the spare request with it. */
function underWay(chunks: readonly Uint8Array[], owner: RequestOwner): number {
  const request = spare!;
  request.chunks = chunks;
  request.owner = owner;
  request.oncomplete = completed;
  spare = new wrap!.WriteWrap();
  return Written.UNDER_WAY;
}

/** Null where node has no such thing. */
function usableHandle(socket: Socket): Handle | null {
  const handle = (socket as unknown as Owner<Handle>)._handle;
  if (wrap === null || handle == null) return null;
  const { useUserBuffer, writeBuffer, writev, onread: read } = handle;
  return [useUserBuffer, writeBuffer, writev, read].every((method) => typeof method === 'function') ? handle : null;
}
