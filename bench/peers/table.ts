// The comparison in Markdown: for each group a table of figures with aims, one of costs, what became of messages, and what could not be done.
import { median } from '../median.ts';
import type { Figure } from './cell.ts';
import type { CellResult, Entry } from './contest.ts';
import { showRatio } from './show.ts';
import { measured, standingOf, wrongsOf } from './standing.ts';

const MiB = 1_048_576;
const NONE = '–';
const LOAD_MARK = '†';
const WRONG_MARK = '⚠';

/** @param names of all brokers, in the order of their columns */
export function renderTables(results: readonly CellResult[], names: readonly string[]): string {
  const groups = [...new Set(results.map(({ cell }) => cell.group))];
  const of = (group: string) => results.filter(({ cell }) => cell.group === group);
  return groups.map((group) => renderGroup(group, of(group), names)).join('\n\n');
}

function renderGroup(group: string, results: readonly CellResult[], names: readonly string[]): string {
  const rows = results.flatMap((result) => result.cell.figures.map((figure) => figureRow(result, figure, names)));
  const head = ['cell', ...names, 'beside the best peer', 'aim', 'aim met'];
  const costs = results.filter(hasCosts).map((result) => costRow(result, names));
  return [
    `### ${group}`,
    table(head, rows),
    ...(costs.length === 0
      ? []
      : [`CPU seconds of the broker for a million deliveries, and its memory in MiB:`, table(['cell', ...names], costs)]),
    ...remarks(results),
  ].join('\n\n');
}

function figureRow(result: CellResult, figure: Figure, names: readonly string[]): string[] {
  const { cell } = result;
  const { best, ratio, verdicts } = standingOf(result, figure);
  return [
    `${cell.title}${figure.title === '' ? '' : `: ${figure.title}`} (\`${cell.key}\`)`,
    ...names.map((name) => figureCell(find(result, name), figure)),
    ratio === null ? NONE : `${showRatio(ratio)} × ${best!.name}`,
    verdicts.map(({ aim }) => aim).join('; ') || 'report',
    verdicts.map(({ words }) => words).join('; ') || NONE,
  ];
}

function figureCell(entry: Entry | undefined, figure: Figure): string {
  if (entry === undefined) return NONE;
  if (entry.failure !== null) return 'no';
  const value = measured(entry, figure);
  if (value === null) return NONE;
  const range = entry.samples.length > 1 ? ` (${figure.show(value.low)} to ${figure.show(value.high)})` : '';
  const marks = [
    ...(entry.samples.some(({ bound }) => bound !== null) ? [LOAD_MARK] : []),
    ...(wrongsOf(entry).size > 0 ? [WRONG_MARK] : []),
  ];
  return `${figure.show(value.median)}${range}${marks.length > 0 ? ` ${marks.join(' ')}` : ''}`;
}

function hasCosts({ entries }: CellResult): boolean {
  return entries.some(({ samples }) => samples.some(({ cpuPerMillionS }) => cpuPerMillionS !== null));
}

function costRow(result: CellResult, names: readonly string[]): string[] {
  return [`\`${result.cell.key}\``, ...names.map((name) => costCell(find(result, name)))];
}

function costCell(entry: Entry | undefined): string {
  if (entry === undefined || entry.failure !== null) return NONE;
  const cpu = entry.samples.map(({ cpuPerMillionS }) => cpuPerMillionS).filter((value) => value !== null);
  const resident = entry.samples.map(({ residentBytes }) => residentBytes).filter((value) => value !== null);
  if (cpu.length === 0) return NONE;
  const seconds = median(cpu);
  return `${seconds >= 10 ? seconds.toFixed(1) : seconds.toPrecision(2)}${resident.length === 0 ? '' : ` · ${(median(resident) / MiB).toFixed(0)}`}`;
}

/** Marks explained, losses counted, failures with their reasons. */
function remarks(results: readonly CellResult[]): string[] {
  const lines: string[] = [];
  const bounds = new Set<string>();
  for (const { cell, entries } of results)
    for (const entry of entries) {
      const bound = entry.samples.find((sample) => sample.bound !== null)?.bound;
      if (entry.failure === null && bound != null) bounds.add(`\`${cell.key}\` ${entry.name} (${bound})`);
      const wrongs = [...wrongsOf(entry)].map(([name, count]) => `${count.toLocaleString('en-US')} ${name}`);
      if (wrongs.length > 0) lines.push(`- ${WRONG_MARK} \`${cell.key}\`, ${entry.name}: ${wrongs.join(', ')}`);
      if (entry.failure !== null) lines.push(`- \`${cell.key}\`, ${entry.name}: no figure, since it ${asReason(entry.failure)}`);
    }
  if (bounds.size > 0) lines.push(`- ${LOAD_MARK} may be the limit of the load, not of the broker: ${[...bounds].join(', ')}`);
  const hasMessages = results.some(hasCosts);
  if (hasMessages && !lines.some((line) => line.includes(WRONG_MARK)))
    lines.push('- No message was lost, duplicated, out of order, corrupt or left unanswered.');
  return lines.length === 0 ? [] : [lines.join('\n')];
}

/** A reason that begins with the broker's name, or is a client's complaint, reads as a clause of its own. */
function asReason(failure: string): string {
  return /^(is|was|accepts|keeps|refuses|its) /.test(failure) ? failure : `failed: ${failure.replace(/; give a lower -q$/, '')}`;
}

function find({ entries }: CellResult, name: string): Entry | undefined {
  return entries.find((entry) => entry.name === name);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n');
}
