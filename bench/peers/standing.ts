// What the samples of a cell come to: medians with their range, Lethe beside the best peer, and whether the aims are met.
import { median } from '../median.ts';
import type { Aim, Figure } from './cell.ts';
import type { CellResult, Entry } from './contest.ts';
import { showRatio } from './show.ts';

export interface Value {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface Rank {
  readonly name: string;
  readonly value: number;
}

export interface Verdict {
  readonly aim: string;
  /** Null: nothing to judge it by. */
  readonly isMet: boolean | null;
  /** `yes`, or how far it falls short. */
  readonly words: string;
}

export interface Standing {
  readonly figure: Figure;
  readonly best: Rank | null;
  /** Lethe beside the best peer: above 1 it is better; null: one of them has no figure. */
  readonly ratio: number | null;
  readonly verdicts: readonly Verdict[];
}

/** Null where it failed, or was not there. */
export function measured(entry: Entry | undefined, { key }: Figure): Value | null {
  if (entry === undefined || entry.failure !== null) return null;
  const values = entry.samples.map(({ figures }) => figures[key]!).filter(Number.isFinite);
  if (values.length === 0) return null;
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
}

/** A peer that loses messages is marked where it stands, and counts nevertheless: leaving it out would only flatter. */
export function bestPeer({ entries }: CellResult, figure: Figure): Rank | null {
  let best: Rank | null = null;
  for (const entry of entries) {
    const value = entry.role === 'peer' ? measured(entry, figure) : null;
    if (value !== null && (best === null || ratioOf(figure, value.median, best.value) > 1))
      best = { name: entry.name, value: value.median };
  }
  return best;
}

export function standingOf(result: CellResult, figure: Figure): Standing {
  const best = bestPeer(result, figure);
  const own = measured(
    result.entries.find(({ role }) => role === 'lethe'),
    figure,
  );
  const ratio = own === null || best === null ? null : ratioOf(figure, own.median, best.value);
  // Beside nothing at all, as CPU at rest may be, nothing can be measured.
  const known = ratio !== null && ratio > 0 && Number.isFinite(ratio) ? ratio : null;
  return { figure, best, ratio: known, verdicts: figure.aims.map((aim) => judge(aim, figure, own?.median ?? null, known)) };
}

/** How many times as good `value` is as `other`. */
export function ratioOf({ better }: Figure, value: number, other: number): number {
  return better === 'more' ? value / other : other / value;
}

function judge(aim: Aim, figure: Figure, value: number | null, ratio: number | null): Verdict {
  const { show } = figure;
  if ('timesBest' in aim) {
    const words = figure.better === 'less' && aim.timesBest === 1 ? 'below every peer' : `≥ ${aim.timesBest} × the best peer`;
    if (ratio === null) return { aim: words, isMet: null, words: 'not judged' };
    return verdict(words, ratio >= aim.timesBest, `${showRatio(ratio)} of ${aim.timesBest}`);
  }
  const isFloor = 'atLeast' in aim;
  const bound = isFloor ? aim.atLeast : aim.atMost;
  const words = `${isFloor ? '≥' : '<'} ${show(bound)}`;
  if (value === null) return { aim: words, isMet: null, words: 'not judged' };
  return verdict(words, isFloor ? value >= bound : value < bound, `${show(value)} of ${show(bound)}`);
}

function verdict(aim: string, isMet: boolean, distance: string): Verdict {
  return { aim, isMet, words: isMet ? 'yes' : `short: ${distance}` };
}

/** Of all samples, each kind of wrong with how often. */
export function wrongsOf({ samples }: Entry): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const { wrongs } of samples)
    for (const [name, count] of Object.entries(wrongs)) sums.set(name, (sums.get(name) ?? 0) + count);
  return sums;
}
