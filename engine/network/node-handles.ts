// What node has below its sockets and does not make public: the handle of a socket, and the bindings that make pipes and write
// requests. Looked for before it is used; where node has no such thing, the answer is null and the caller has another way.
import { Socket, type SocketConstructorOpts } from 'node:net';

/** One write of node's `stream_wrap`. */
export interface WriteRequest {
  /** Status 0, or a negative error number of libuv. Never inside the call that wrote. */
  oncomplete: (status: number) => void;
}

/** node's `stream_wrap`: `streamBaseState` tells how the last read or write went. */
export interface StreamWrap<Request extends WriteRequest> {
  readonly WriteWrap: new () => Request;
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kArrayBufferOffset: number;
  readonly kLastWriteWasAsync: number;
}

/** A descriptor as libuv holds it. It owns the descriptor, and closes it inside `close`. */
export interface NodeHandle {
  readonly fd: number;
  close(closed?: () => void): void;
}

/** node's `Pipe` of the IPC kind: a UNIX domain socket that carries descriptors. Calls return 0 or a negative error number of libuv. */
export interface IpcPipe extends NodeHandle {
  /** What came with the last read. */
  pendingHandle: NodeHandle | null;
  /** Called without a chunk at the end and on a failure. */
  onread: (chunk?: ArrayBuffer) => void;
  open(fd: number): number;
  connect(request: ConnectRequest, path: string): number;
  readStart(): number;
  writeUtf8String(request: WriteRequest, text: string, handle?: NodeHandle): number;
}

export interface ConnectRequest {
  oncomplete: (status: number) => void;
}

/** node's `pipe_wrap`. */
export interface PipeWrap {
  readonly Pipe: new (kind: number) => IpcPipe;
  readonly PipeConnectWrap: new () => ConnectRequest;
  readonly constants: { readonly IPC: number };
}

/** A socket, as far as its handle goes. */
export interface Owner<Handle> {
  _handle?: Handle | null;
}

/** A handle's queue of writes; that of TLS stands on the one of TCP. */
interface WritingHandle {
  readonly writeQueueSize?: number;
  readonly _parent?: WritingHandle;
}

/** Bytes of a socket's writes that were begun and that the kernel has not taken (uv_stream_get_write_queue_size; node looks at it itself before it calls a socket idle); 0 where node does not say. */
export function waitingBytes(socket: Socket): number {
  const handle = (socket as unknown as Owner<WritingHandle>)._handle;
  return (handle?._parent ?? handle)?.writeQueueSize ?? 0;
}

/** The handle of a socket that has not been read from, which has none afterwards; null when it has failed already. */
export function takeHandle(socket: Socket): NodeHandle | null {
  const owner = socket as unknown as Owner<NodeHandle>;
  const handle = owner._handle ?? null;
  owner._handle = null;
  return handle;
}

/** A socket on a handle that nobody else has, as a server makes it of what it accepts. */
export function socketOn(handle: NodeHandle, reading: 'paused' | 'started'): Socket {
  const options = { handle, allowHalfOpen: false, pauseOnCreate: reading === 'paused', readable: true, writable: true };
  return new Socket(options as SocketConstructorOpts);
}

export function streamWrap<Request extends WriteRequest>(): StreamWrap<Request> | null {
  const found = binding<StreamWrap<Request>>('stream_wrap');
  const isWhole =
    found !== null &&
    typeof found.WriteWrap === 'function' &&
    found.streamBaseState instanceof Int32Array &&
    typeof found.kReadBytesOrError === 'number' &&
    typeof found.kArrayBufferOffset === 'number' &&
    typeof found.kLastWriteWasAsync === 'number';
  return isWhole ? (found as StreamWrap<Request>) : null;
}

export function pipeWrap(): PipeWrap | null {
  const found = binding<PipeWrap>('pipe_wrap');
  const isWhole =
    found !== null &&
    typeof found.Pipe === 'function' &&
    typeof found.PipeConnectWrap === 'function' &&
    typeof found.constants?.IPC === 'number';
  return isWhole ? (found as PipeWrap) : null;
}

function binding<Binding>(name: string): Partial<Binding> | null {
  try {
    return (process as unknown as { binding(name: string): Partial<Binding> }).binding(name);
  } catch {
    return null;
  }
}
