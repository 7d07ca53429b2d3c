// Stands for ../thread.ts in the one-file program: a thread runs a piece of the same file.
import { getAsset } from 'node:sea';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** Where boot.ts, bundled, lies in the file. */
export const BOOT = 'boot.js';

/** @param file of the build; its last part is the name of the piece */
export function startThread(file: URL, options: WorkerOptions): Worker {
  const piece = file.pathname.slice(file.pathname.lastIndexOf('/') + 1);
  return new Worker(`${getAsset(BOOT, 'utf8')}\nlethe.run(${JSON.stringify(piece)});`, { ...options, eval: true });
}
