// The machine that a result was measured on, and what ran there.
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { version } from '../../engine/lethe.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly lethe: string;
  /** Over the minute before the run. */
  readonly loadAverage: number;
}

export function thisMachine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryBytes: totalmem(),
    kernel: `${type()} ${release()}`,
    node: process.versions.node,
    lethe: version,
    loadAverage: Math.round(loadavg()[0]! * 100) / 100,
  };
}

export function describeMachine({ cpu, cores, memoryBytes, kernel, node }: Machine): string {
  return `node ${node}, ${kernel}, ${cores} x ${cpu}, ${Math.round(memoryBytes / 2 ** 30)} GiB`;
}
