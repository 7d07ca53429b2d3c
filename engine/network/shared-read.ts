// One read buffer for all plain TCP connections of the thread. Node by itself makes a buffer of 64 KiB for every read and passes
// it through a stream; here the kernel writes each read to the same memory, which is lent to the link for the call.
//
// Node takes such a buffer (`onread`) only when a socket is made, and a server makes its sockets itself: the handle of an
// accepted socket is moved to one of ours. Where node has no such handle, the accepted socket is used as it is.
import { Socket, type SocketConstructorOpts } from 'node:net';

/** As much as libuv asks for when nobody says more. */
const READ_BYTES = 65_536;
/** Not a Buffer, whose `slice` would not copy. */
const buffer = new Uint8Array(READ_BYTES);

interface Accepted {
  /** What of node's is not public: the connection itself. */
  _handle?: { useUserBuffer?: unknown } | null;
}

/**
 * The socket to use instead of an accepted one that has not been read from. Bytes [0, `to`) of what `take` is given are
 * valid for the call; a socket that could not be moved emits 'data' instead.
 */
export function readShared(socket: Socket, take: (chunk: Uint8Array, to: number) => void): Socket {
  const accepted = socket as unknown as Accepted;
  const handle = accepted._handle;
  if (typeof handle?.useUserBuffer !== 'function') return socket;
  accepted._handle = null;
  const callback = (bytes: number): boolean => {
    take(buffer, bytes);
    return true;
  };
  const options = { handle, allowHalfOpen: false, onread: { buffer, callback } };
  return new Socket(options as SocketConstructorOpts);
}
