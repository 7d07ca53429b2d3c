// What the system allows this process (setrlimit(2)), as the kernel tells it.
import { readFileSync } from 'node:fs';

/** The soft limit of that name in /proc/self/limits, `Infinity` for an unlimited one; null: this system does not say. */
export function processLimit(name: 'Max open files' | 'Max core file size'): number | null {
  let text: string;
  try {
    text = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return null;
  }
  const found = new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(text)?.[1];
  if (found === undefined) return null;
  return found === 'unlimited' ? Infinity : Number(found);
}
