// Two handles of libuv that each think that they own one descriptor, which cannot always be avoided (channel.ts). One of them
// closes it; the other one, its twin, would close the number once more, which may be another thread's by then. Owns the twins
// that are left over. Invariant: a twin is closed only while this file itself holds the number that it closes.
import { closeSync, openSync } from 'node:fs';
import type { NodeHandle } from './node-handles.ts';

interface Twin {
  readonly handle: NodeHandle;
  readonly number: number;
}

const left: Twin[] = [];
/** More than a process has open when it starts its threads. */
const NUMBERS_MAX = 4_096;

/** Takes over a handle that nobody uses any more, and whose descriptor `number` has been closed just now. */
export function retireTwin(handle: NodeHandle, number: number): void {
  left.push({ handle, number });
  closeTwins();
}

/**
 * Takes free numbers, which the kernel gives out from the lowest one up, until those are reached that are wanted, and lets the
 * twins close these. A number that somebody else has meanwhile waits for the next call: its twin is idle and costs nothing.
 */
function closeTwins(): void {
  const highest = left.reduce((most, { number }) => Math.max(most, number), -1);
  const taken: number[] = [];
  try {
    while (taken.length < NUMBERS_MAX && (taken.at(-1) ?? -1) < highest) taken.push(openSync('/dev/null', 'r'));
  } catch {
    // The process has no more: what has been taken may do.
  }
  for (const number of taken) {
    const at = left.findIndex((twin) => twin.number === number);
    if (at < 0) closeSync(number);
    else left.splice(at, 1)[0]!.handle.close();
  }
}
