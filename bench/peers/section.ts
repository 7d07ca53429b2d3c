// The comparison as a chapter of docs/PERFORMANCE.md: under which conditions, the picture, the tables.
import { describeMachine, type Machine } from '../result/machine.ts';
import type { Times } from './cell.ts';
import type { CellResult } from './contest.ts';
import { renderTables } from './table.ts';

export interface Facts {
  readonly startedAt: string;
  readonly command: string;
  readonly machine: Machine;
  /** After it: about 1.5 of it is the comparison's own. */
  readonly loadAverageAfter: number;
  readonly isPinned: boolean;
  readonly rounds: number;
  readonly times: Times;
  readonly brokers: readonly { readonly name: string; readonly version: string }[];
}

export function renderSection(facts: Facts, results: readonly CellResult[]): string {
  const { startedAt, command, machine, loadAverageAfter, isPinned, rounds, times, brokers } = facts;
  const versions = brokers.map(({ name, version }) => (version.startsWith(name) ? version : `${name}: ${version}`));
  const where = isPinned ? 'The broker is pinned to core 0, the load to core 1' : 'Nothing is pinned (no taskset, or one core)';
  const conditions = [
    `\`${command}\`, ${startedAt.slice(0, 16).replace('T', ' ')} UTC; ${describeMachine(machine)}; load average ${machine.loadAverage.toFixed(2)} before it, ${loadAverageAfter.toFixed(2)} after it (its own is about 1.5).`,
    `${versions.join('; ')}.`,
    `${where}; brokers alternate within a round, every other round in the opposite order, each started anew for every sample.`,
    `${rounds === 1 ? 'One round' : `Medians of ${rounds} rounds, with the range,`} of ${times.measureS} s after ${times.warmUpS} s; what stands under *At rest* and in process is measured once.`,
    `Everything is in memory only. Payloads are 32 bytes where nothing else is said, rates are deliveries a second.`,
  ];
  return `## Beside its peers: \`npm run bench:peers\`

${conditions.join('\n')}

![Lethe beside the best peer of each cell](peers.svg)

${renderTables(
  results,
  brokers.map(({ name }) => name),
)}
`;
}
