// How many files and sockets this process may have open at one time (setrlimit(2), RLIMIT_NOFILE): each connection takes one.
import { readFileSync } from 'node:fs';

/** What a broker has open beside its connections, with room for reloads, the admin port and the spool's files. */
export const RESERVED_DESCRIPTORS = 64;

/** Null: this system does not say. Node raises its own limit to what it may have when it starts. */
export function descriptorLimit(): number | null {
  let text: string;
  try {
    text = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return null;
  }
  const found = /^Max open files\s+(\S+)/m.exec(text)?.[1];
  if (found === undefined) return null;
  return found === 'unlimited' ? Infinity : Number(found);
}
