// Names of files, made durable.
import { closeSync, fsyncSync, openSync } from 'node:fs';

/** Makes names durable: which files a folder has, and what they are called. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
