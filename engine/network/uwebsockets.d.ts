// What uWebSockets.js exports and its own typings leave out.
import type { us_listen_socket } from 'uWebSockets.js';

declare module 'uWebSockets.js' {
  /** Listen option: nobody else may share the port (SO_REUSEPORT off). */
  export const LIBUS_LISTEN_EXCLUSIVE_PORT: number;
  export const DISABLED: number;
  export const SHARED_COMPRESSOR: number;
  interface TemplatedApp {
    listen(host: string, port: number, options: number, listening: (socket: us_listen_socket | false) => void): TemplatedApp;
  }
}
