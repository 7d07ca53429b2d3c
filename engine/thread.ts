// How a thread is started whose code stands in a file of the build: the seam at which the one-file program (one-file/thread.ts) starts it from itself instead.
import { Worker, type WorkerOptions } from 'node:worker_threads';

export function startThread(file: URL, options: WorkerOptions): Worker {
  return new Worker(file, options);
}
