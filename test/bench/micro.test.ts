// What bench:micro makes of its figures: the comparison with the baseline, and that the committed baseline is one.
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  type Baseline,
  baselinePath,
  compare,
  compareFigure,
  EMPTY,
  fails,
  readBaseline,
  renew,
  Verdict,
} from '../../bench/micro/baseline.ts';
import type { Figure } from '../../bench/micro/measure.ts';

const mark = { ratio: 10, tolerance: 0.5 };

function figure(key: string, ratio: number): Figure {
  return { key, title: `does ${key}`, ns: ratio * 4, ratio, farRatio: null, tolerance: 0.25 };
}

function baseline(tasks: Baseline['tasks']): Baseline {
  return { format: 1, machine: 'a machine', tasks };
}

describe('one figure', () => {
  test.each([
    [10, Verdict.OK, false],
    [15, Verdict.OK, false],
    [15.001, Verdict.SLOWER, true],
    [100, Verdict.SLOWER, true],
    [6.7, Verdict.OK, false],
    [6.6, Verdict.FASTER, false],
  ])('of %d where 10 is known and half as much again allowed: %s', (ratio, verdict, failed) => {
    const row = compareFigure(figure('a.b', ratio), mark);
    expect(row.verdict).toBe(verdict);
    expect(row.deviation).toBeCloseTo(ratio / 10 - 1);
    expect(fails(row)).toBe(failed);
  });

  test('that the baseline does not know fails: a baseline knows every task', () => {
    const row = compareFigure(figure('a.b', 1), undefined);
    expect(row).toMatchObject({ verdict: Verdict.NEW, mark: null, deviation: null });
    expect(fails(row)).toBe(true);
  });

  test.each([
    [21, 21, Verdict.SLOWER],
    [21, 2, Verdict.OK],
    [10, 9, Verdict.OK],
    [4, 0.5, Verdict.FASTER],
    [10, 0.5, Verdict.OK],
  ])('that waits for memory is slower by both ratios or not at all: %d, %d: %s', (ratio, farRatio, verdict) => {
    expect(compareFigure({ ...figure('a.b', ratio), farRatio }, { ratio: 10, farRatio: 2, tolerance: 1 }).verdict).toBe(verdict);
  });

  test('is judged by its ratio, whatever its time', () => {
    expect(compareFigure({ ...figure('a.b', 10), ns: 1e9 }, mark).verdict).toBe(Verdict.OK);
  });
});

describe('a run', () => {
  const known = baseline({ 'a.one': mark, 'a.two': mark, 'b.one': mark });

  test('of all suites names what is gone', () => {
    const rows = compare([figure('a.one', 10), figure('b.one', 10)], known, ['a', 'b']);
    expect(rows.map(({ key, verdict }) => [key, verdict])).toEqual([
      ['a.one', Verdict.OK],
      ['b.one', Verdict.OK],
      ['a.two', Verdict.GONE],
    ]);
    expect(rows.filter(fails).map(({ key }) => key)).toEqual(['a.two']);
  });

  test('of some tasks misses none of the others', () => {
    expect(compare([figure('a.one', 10)], known, [])).toHaveLength(1);
    expect(compare([figure('b.one', 10)], known, ['b'])).toHaveLength(1);
  });
});

describe('a new baseline', () => {
  const known = baseline({ 'b.gone': mark, 'b.kept': mark, 'a.other': mark });

  test('takes the ratios, keeps tolerances that are there, asks the task for others, and forgets what is gone', () => {
    const figures = [figure('b.kept', 12.3456), { ...figure('b.added', 0.0123456), farRatio: 2.3456 }];
    const renewed = renew(known, compare(figures, known, ['b']), figures, 'another machine');
    expect(renewed).toEqual({
      format: 1,
      machine: 'another machine',
      tasks: {
        'a.other': mark,
        'b.added': { ratio: 0.0123, farRatio: 2.35, tolerance: 0.25 },
        'b.kept': { ratio: 12.3, tolerance: 0.5 },
      },
    });
    expect(Object.keys(renewed.tasks)).toEqual(['a.other', 'b.added', 'b.kept']);
    expect(compare(figures, renewed, ['b']).filter(fails)).toEqual([]);
  });

  test('begins with nothing', () => {
    const figures = [figure('a.one', 3)];
    expect(renew(EMPTY, compare(figures, EMPTY, ['a']), figures, '').tasks).toEqual({ 'a.one': { ratio: 3, tolerance: 0.25 } });
  });
});

test('the committed baseline has a ratio and a tolerance for tasks of every suite', () => {
  expect(existsSync(baselinePath())).toBe(true);
  const { format, machine, tasks } = readBaseline();
  expect(format).toBe(1);
  expect(machine).toMatch(/^node \d+/);
  for (const [key, { ratio, farRatio, tolerance, ...rest }] of Object.entries(tasks)) {
    expect(key).toMatch(/^[a-z]+\.[a-z0-9-]+$/);
    expect(ratio, key).toBeGreaterThan(0);
    expect(farRatio ?? 1, key).toBeGreaterThan(0);
    // Less is within the noise, more says nothing.
    expect(tolerance, key).toBeGreaterThanOrEqual(0.25);
    expect(tolerance, key).toBeLessThanOrEqual(3);
    expect(rest, key).toEqual({});
  }
  const suites = new Set(Object.keys(tasks).map((key) => key.split('.')[0]));
  expect([...suites].toSorted()).toEqual(['protocol', 'routing', 'sessions', 'storage', 'topics']);
});
