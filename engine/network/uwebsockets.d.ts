// What uWebSockets.js exports and its own typings leave out.
import type { us_listen_socket } from 'uWebSockets.js';

declare module 'uWebSockets.js' {
  /** Listen option: nobody else may share the port (SO_REUSEPORT off). */
  export const LIBUS_LISTEN_EXCLUSIVE_PORT: number;
  export const DISABLED: number;
  export const SHARED_COMPRESSOR: number;
  interface TemplatedApp {
    /** Names the app, so that another one can hand connections to it. */
    getDescriptor(): object;
    /** What this app accepts goes to its children in turn, once it has any; connections that stand stay where they are. */
    addChildAppDescriptor(descriptor: object): void;
    removeChildAppDescriptor(descriptor: object): void;
    listen(host: string, port: number, options: number, listening: (socket: us_listen_socket | false) => void): TemplatedApp;
  }
}
