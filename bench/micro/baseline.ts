// The committed baseline: what each task took, in steps of the calibration loop, and how much more it may take. The comparison
// with it is a pure function.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Figure } from './measure.ts';

export interface Mark {
  /** Time of one item, in steps of the calibration loop. */
  readonly ratio: number;
  /** In steps of the loop that waits for memory, for a task that does so. */
  readonly farRatio?: number;
  /** How much more is let pass, as a part of the ratio: 0.5 lets it take half as long again. */
  readonly tolerance: number;
}

export interface Baseline {
  readonly format: 1;
  /** Where it was measured, for readers only: ratios are what is compared. */
  readonly machine: string;
  readonly tasks: Readonly<Record<string, Mark>>;
}

export const Verdict = {
  OK: 'ok',
  SLOWER: 'SLOWER',
  /** By more than the tolerance: the baseline no longer says much. */
  FASTER: 'faster',
  /** The baseline does not know it. */
  NEW: 'NEW',
  /** The baseline knows it, and nothing else does. */
  GONE: 'GONE',
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export interface Row {
  readonly key: string;
  readonly title: string;
  /** Null when it is gone. */
  readonly ns: number | null;
  readonly ratio: number | null;
  /** Null when it is new. */
  readonly mark: Mark | null;
  /** Part by which the ratio, or the far ratio if that is less, is above the baseline's; null when there is nothing to compare. */
  readonly deviation: number | null;
  readonly verdict: Verdict;
}

/** Whether a verdict ends the run with a failure. */
export function fails({ verdict }: Row): boolean {
  return verdict === Verdict.SLOWER || verdict === Verdict.NEW || verdict === Verdict.GONE;
}

export function compareFigure(figure: Figure, mark: Mark | undefined): Row {
  const { key, title, ns, ratio, farRatio } = figure;
  if (mark === undefined) return { key, title, ns, ratio, mark: null, deviation: null, verdict: Verdict.NEW };
  const near = ratio / mark.ratio;
  const far = farRatio === null || mark.farRatio === undefined ? near : farRatio / mark.farRatio;
  const deviation = Math.min(near, far) - 1;
  let verdict: Verdict = Verdict.OK;
  if (deviation > mark.tolerance) verdict = Verdict.SLOWER;
  // The same factor the other way.
  else if (Math.max(near, far) * (1 + mark.tolerance) < 1) verdict = Verdict.FASTER;
  return { key, title, ns, ratio, mark, deviation, verdict };
}

/** Rows of all figures, and of what the baseline knows under one of `suites` and nobody measured. */
export function compare(figures: readonly Figure[], baseline: Baseline, suites: readonly string[]): Row[] {
  const measured = new Set(figures.map(({ key }) => key));
  const gone = Object.entries(baseline.tasks).filter(([key]) => !measured.has(key) && suites.includes(key.split('.')[0]!));
  return [
    ...figures.map((figure) => compareFigure(figure, baseline.tasks[figure.key])),
    ...gone.map(([key, mark]): Row => ({ key, title: '', ns: null, ratio: null, mark, deviation: null, verdict: Verdict.GONE })),
  ];
}

/** The baseline with these figures in it, tolerances as they were; without those that are gone. */
export function renew(baseline: Baseline, rows: readonly Row[], figures: readonly Figure[], machine: string): Baseline {
  const tasks: Record<string, Mark> = { ...baseline.tasks };
  for (const { key, verdict } of rows) if (verdict === Verdict.GONE) delete tasks[key];
  for (const { key, ratio, farRatio, tolerance } of figures) {
    tasks[key] = {
      ratio: rounded(ratio),
      ...(farRatio === null ? {} : { farRatio: rounded(farRatio) }),
      tolerance: baseline.tasks[key]?.tolerance ?? tolerance,
    };
  }
  return { format: 1, machine, tasks: Object.fromEntries(Object.entries(tasks).toSorted(([a], [b]) => (a < b ? -1 : 1))) };
}

function rounded(ratio: number): number {
  return Number(ratio.toPrecision(3));
}

export const EMPTY: Baseline = { format: 1, machine: '', tasks: {} };

/** Of the sources, whoever asks: beside this file, or from the build three folders up. */
export function baselinePath(): string {
  const beside = new URL('baseline.json', import.meta.url);
  if (!import.meta.url.endsWith('.js')) return fileURLToPath(beside);
  return fileURLToPath(new URL('../../../bench/micro/baseline.json', import.meta.url));
}

export function readBaseline(): Baseline {
  const path = baselinePath();
  if (!existsSync(path)) return EMPTY;
  const read = JSON.parse(readFileSync(path, 'utf8')) as Baseline;
  if (read.format !== 1) throw new Error(`bench: ${path} is of another format; write it anew`);
  return read;
}
