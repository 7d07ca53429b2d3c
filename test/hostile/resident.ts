// Memory of a process as the kernel counts it.
import { readFileSync } from 'node:fs';

/** Whether this machine tells it. */
export const tellsResident = process.platform === 'linux';

/** Resident memory of a process, in MiB. */
export function residentMiB(pid: number): number {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (found === null) throw new Error(`process ${pid} has no resident memory`);
  return Number(found[1]) / 1_024;
}

const SAMPLE_MS = 5;

/** The most that a process had resident while `work` ran, in MiB. */
export async function peakMiB(pid: number, work: Promise<unknown>): Promise<number> {
  let peak = residentMiB(pid);
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMiB(pid));
  }, SAMPLE_MS);
  await work.finally(() => clearInterval(timer));
  return peak;
}
