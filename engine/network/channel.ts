// A UNIX domain pipe between two threads of this process, over which accepted connections go from one to the other, as node's
// cluster does between processes: the receiver gets a descriptor of its own. Owns the two ends of the pipe and what is on its way.
//
// A message is a text and at most one handle, and one read gives one message: the kernel puts a short write into one buffer,
// and ends a read behind a buffer that carries a descriptor.
//
// libuv sends and receives descriptors only over a pipe that was made for it (IPC), and a server makes its pipes itself, without.
// So the accepting end is opened a second time by its number: the second handle sends, receives and closes, and the first one is
// never used and goes the way of twins (twins.ts).
import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { type IpcPipe, type NodeHandle, pipeWrap, streamWrap, takeHandle, type WriteRequest } from './node-handles.ts';
import { retireTwin } from './twins.ts';

/** Ends every text: a write of no bytes would carry no handle. */
const END = '\0';

export interface ChannelEvents {
  /** The handle, if there is one, is the receiver's. None although the sender gave one: this process has too many open. */
  message(text: string, handle: NodeHandle | null): void;
  /** The other end has closed, and so has this one. */
  ended(): void;
}

const streams = streamWrap<SendRequest>();
const pipes = pipeWrap();

/** Whether this version of node lets us. */
export const channelsWork: boolean = streams !== null && pipes !== null;

interface SendRequest extends WriteRequest {
  oncomplete: (this: SendRequest, status: number) => void;
  handle: NodeHandle | null;
  settled: ((handle: NodeHandle, isSent: boolean) => void) | null;
}

function completed(this: SendRequest, status: number): void {
  if (this.handle !== null) this.settled?.(this.handle, status === 0);
}

export class Channel {
  readonly #pipe: IpcPipe;
  /** The accepting end's first handle. */
  #twin: NodeHandle | null;
  #closing: Promise<void> | null = null;

  private constructor(pipe: IpcPipe, twin: NodeHandle | null, events: ChannelEvents) {
    this.#pipe = pipe;
    this.#twin = twin;
    pipe.pendingHandle = null;
    pipe.onread = (memory) => {
      const handle = pipe.pendingHandle;
      pipe.pendingHandle = null;
      if (memory !== undefined) {
        const { streamBaseState: state, kArrayBufferOffset, kReadBytesOrError } = streams!;
        const bytes = Buffer.from(memory, state[kArrayBufferOffset]!, state[kReadBytesOrError]!);
        events.message(bytes.toString('utf8', 0, bytes.length - END.length), handle);
      } else if (this.#closing === null) {
        void this.close();
        events.ended();
      }
    };
    pipe.readStart();
  }

  /**
   * The connecting end.
   * @throws Error with the code of the system
   */
  static connect(path: string, events: ChannelEvents): Promise<Channel> {
    const pipe = new pipes!.Pipe(pipes!.constants.IPC);
    return new Promise((resolve, reject) => {
      const request = new pipes!.PipeConnectWrap();
      request.oncomplete = (status) => {
        if (status === 0) resolve(new Channel(pipe, null, events));
        else pipe.close(() => reject(systemError(status)));
      };
      const error = pipe.connect(request, path);
      if (error !== 0) pipe.close(() => reject(systemError(error)));
    });
  }

  /** The accepting end, from a socket that has not been read from; null when that cannot be. */
  static accepted(socket: Socket, events: ChannelEvents): Channel | null {
    const twin = takeHandle(socket);
    if (twin === null) return null;
    const pipe = new pipes!.Pipe(pipes!.constants.IPC);
    if (pipe.open(twin.fd) === 0) return new Channel(pipe, twin, events);
    pipe.close();
    twin.close();
    return null;
  }

  /** Sends a text of its own. */
  say(text: string): void {
    this.#write(text, null, null);
  }

  /**
   * Sends a handle. `settled` gives it back, never inside this call: sent, so that this thread's descriptor can be closed, or not.
   * @returns whether it is on its way; otherwise it is still the caller's
   */
  send(text: string, handle: NodeHandle, settled: (handle: NodeHandle, isSent: boolean) => void): boolean {
    return this.#closing === null && this.#write(text, handle, settled) === 0;
  }

  /** Drops what is on its way from here; what the other end has not read yet is closed when it closes. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      const twin = this.#twin;
      this.#twin = null;
      // Before the close, which forgets it.
      const number = this.#pipe.fd;
      this.#pipe.close(resolve);
      if (twin !== null) retireTwin(twin, number);
    });
    return this.#closing;
  }

  #write(text: string, handle: NodeHandle | null, settled: SendRequest['settled']): number {
    const request = new streams!.WriteWrap();
    request.oncomplete = completed;
    request.handle = handle;
    request.settled = settled;
    return handle === null
      ? this.#pipe.writeUtf8String(request, text + END)
      : this.#pipe.writeUtf8String(request, text + END, handle);
  }
}

function systemError(status: number): Error {
  return new Error(getSystemErrorName(status));
}
