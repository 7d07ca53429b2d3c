// What another process has cost, as Linux's /proc tells it.
import { readFileSync } from 'node:fs';

export interface ProcessCost {
  /** CPU seconds of all its threads, in its own code and in the kernel. */
  readonly userS: number;
  readonly systemS: number;
  /** Memory in RAM now, bytes. */
  readonly residentBytes: number;
}

/** Clock ticks a second in /proc: 100 on every Linux that node runs on. */
const TICKS = 100;
const UTIME = 11;
const STIME = 12;

/** Null where there is no /proc, or no such process. */
export function processCost(pid: number): ProcessCost | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold anything; fields are counted from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return {
      userS: Number(fields[UTIME]) / TICKS,
      systemS: Number(fields[STIME]) / TICKS,
      residentBytes: resident === null ? 0 : Number(resident[1]) * 1_024,
    };
  } catch {
    return null;
  }
}

/** CPU seconds that a process has used from one look to the next; never below zero, to which rounding could bring it. */
export function cpuBetween(before: ProcessCost, after: ProcessCost): number {
  return Math.max(0, after.userS + after.systemS - before.userS - before.systemS);
}

/** Whether there is such a process; one that has ended and that its parent has not looked after yet is none. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // It is there, and somebody else's.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return process.platform !== 'linux';
  }
}
