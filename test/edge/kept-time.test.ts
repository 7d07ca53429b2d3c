// The rule by which kept time goes on over restarts, over clocks that are set by hand: where it goes on from, what is believed, and what stands in the file.
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Clock } from '../../engine/clock.ts';
import { createLog } from '../../engine/lethe.ts';
import { KeptTime } from '../../engine/spool/kept-time.ts';
import { VirtualClock } from '../virtual-clock.ts';

const root = mkdtempSync(join(tmpdir(), 'lethe-kept-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;
const BEGIN_MS = Date.UTC(2026, 10, 30);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, 'data-'));
});

/** One run of a process, whose wall clock begins with `wallMs`. */
class Run extends VirtualClock implements Clock {
  readonly lines: string[] = [];
  readonly time: KeptTime;
  readonly #ahead = new Float64Array(new SharedArrayBuffer(8));
  #wallAheadMs: number;

  constructor(wallMs: number) {
    super();
    this.#wallAheadMs = wallMs;
    this.#ahead[0] = wallMs;
    const log = createLog(
      'debug',
      (line) => this.lines.push(line),
      () => 0,
    );
    this.time = new KeptTime(folder, this.#ahead.buffer as SharedArrayBuffer, this, log);
    this.time.start();
  }

  override wallMs(): number {
    return this.#wallAheadMs + this.monotonicMs();
  }

  override keptMs(): number {
    return this.#ahead[0]! + this.monotonicMs();
  }

  /** Sets the wall clock by hand, and lets the run see it. */
  set(wallMs: number): void {
    this.#wallAheadMs = wallMs - this.monotonicMs();
    this.time.look();
  }

  /** Lets time pass in steps that are looked at. */
  pass(ms: number): void {
    const steps = 64;
    for (let step = 0; step < steps; step++) this.advance(ms / steps);
  }
}

test('it begins with the wall clock, and goes on as the monotonic one does', async () => {
  const run = new Run(BEGIN_MS);
  expect(run.keptMs()).toBe(BEGIN_MS);
  run.pass(HOUR_MS);
  run.set(BEGIN_MS + 12 * YEAR_MS);
  run.pass(HOUR_MS);
  run.set(0);
  run.pass(HOUR_MS);
  expect(run.keptMs()).toBeCloseTo(BEGIN_MS + 3 * HOUR_MS);
  expect(run.lines.filter((line) => line.includes('the clock was set'))).toHaveLength(2);
  await run.time.close();
});

test('what is noted is a few bytes that name nobody', async () => {
  const run = new Run(BEGIN_MS);
  await run.time.close();
  expect(readFileSync(join(folder, 'spool.time'), 'utf8')).toBe(`lethe time v1 ${BEGIN_MS} ${BEGIN_MS}\n`);
});

describe('after a restart', () => {
  /** Kept time and wall clock at the end of a first run. */
  async function first(wallMs = BEGIN_MS): Promise<{ keptMs: number; wallMs: number }> {
    const run = new Run(wallMs);
    run.pass(HOUR_MS);
    await run.time.close();
    return { keptMs: run.keptMs(), wallMs: run.wallMs() };
  }

  test.each([0, 1_000, HOUR_MS, 100 * DAY_MS, 366 * DAY_MS])('%d ms away are counted at once', async (awayMs) => {
    const before = await first();
    const run = new Run(before.wallMs + awayMs);
    expect(run.keptMs()).toBeCloseTo(before.keptMs + awayMs);
    expect(run.lines).toEqual([]);
    await run.time.close();
  });

  test('a clock that was put back by seconds has not gone back', async () => {
    const before = await first();
    const run = new Run(before.wallMs - 20_000);
    expect(run.keptMs()).toBeCloseTo(before.keptMs);
    expect(run.lines).toEqual([]);
    await run.time.close();
  });

  test('in 1970, over two starts, nothing but running counts, until the clock is set: then all does', async () => {
    const before = await first();
    const one = new Run(5_000);
    expect(one.keptMs()).toBeCloseTo(before.keptMs);
    expect(one.lines).toEqual([expect.stringContaining('warn the clock has gone back since the broker ran last')]);
    one.pass(HOUR_MS);
    await one.time.close();
    const two = new Run(5_000);
    expect(two.keptMs()).toBeCloseTo(before.keptMs + HOUR_MS);
    two.pass(HOUR_MS);
    two.set(before.wallMs + 10 * HOUR_MS);
    expect(two.keptMs()).toBeCloseTo(before.keptMs + 10 * HOUR_MS);
    await two.time.close();
    const three = new Run(before.wallMs + 11 * HOUR_MS);
    expect(three.keptMs()).toBeCloseTo(before.keptMs + 11 * HOUR_MS);
    await three.time.close();
  });

  test('years ahead: a day later they are believed', async () => {
    const before = await first();
    const run = new Run(before.wallMs + 2 * YEAR_MS);
    expect(run.lines).toEqual([expect.stringContaining('warn the clock is far ahead of when the broker ran last')]);
    run.pass(DAY_MS - HOUR_MS);
    expect(run.keptMs()).toBeCloseTo(before.keptMs + DAY_MS - HOUR_MS);
    run.pass(2 * HOUR_MS);
    expect(run.keptMs()).toBeCloseTo(before.keptMs + 2 * YEAR_MS + DAY_MS + HOUR_MS);
    await run.time.close();
  });

  test('years behind for a day: no time was away, and from then on the clock is believed', async () => {
    const before = await first(BEGIN_MS + 12 * YEAR_MS);
    const run = new Run(BEGIN_MS + 2 * HOUR_MS);
    run.pass(DAY_MS + HOUR_MS);
    expect(run.keptMs()).toBeCloseTo(before.keptMs + DAY_MS + HOUR_MS);
    await run.time.close();
    const next = new Run(run.wallMs() + HOUR_MS);
    expect(next.keptMs()).toBeCloseTo(run.keptMs() + HOUR_MS);
    expect(next.lines).toEqual([]);
    await next.time.close();
  });

  describe.each(['', 'lethe time v1 12'])('data whose note is %j has been written last by its own time', (note) => {
    beforeEach(() => {
      if (note !== '') writeFileSync(join(folder, 'spool.time'), note);
      for (const [name, ms] of [
        ['spool.mdb', BEGIN_MS],
        ['spool.keys', BEGIN_MS - HOUR_MS],
      ] as const) {
        writeFileSync(join(folder, name), '');
        utimesSync(join(folder, name), ms / 1_000, ms / 1_000);
      }
    });

    test.each([5_000, BEGIN_MS + 12 * YEAR_MS])('a clock at %d ms is in doubt', async (wallMs) => {
      const run = new Run(wallMs);
      expect(run.keptMs()).toBeCloseTo(BEGIN_MS);
      run.set(BEGIN_MS + DAY_MS);
      expect(run.keptMs()).toBeCloseTo(BEGIN_MS + DAY_MS);
      await run.time.close();
    });

    test('one that goes on from there is not', async () => {
      const run = new Run(BEGIN_MS + 40 * DAY_MS);
      expect(run.keptMs()).toBeCloseTo(BEGIN_MS + 40 * DAY_MS);
      expect(run.lines).toEqual([]);
      await run.time.close();
    });
  });

  test('a clock that is set in the midst of the day is believed a day after that', async () => {
    const before = await first();
    const run = new Run(before.wallMs + 2 * YEAR_MS);
    run.pass(DAY_MS - HOUR_MS);
    run.set(before.wallMs + 3 * YEAR_MS);
    run.pass(DAY_MS - HOUR_MS);
    expect(run.keptMs()).toBeCloseTo(before.keptMs + 2 * DAY_MS - 2 * HOUR_MS);
    run.pass(2 * HOUR_MS);
    expect(run.keptMs()).toBeGreaterThan(before.keptMs + 3 * YEAR_MS);
    await run.time.close();
  });

  test('many runs in doubt that are killed count all the same', async () => {
    const before = await first();
    const noted = (): number => Number(readFileSync(join(folder, 'spool.time'), 'utf8').split(' ')[3]);
    for (let runs = 1; runs <= 20; runs++) {
      new Run(5_000).pass(9 * 60_000);
      await vi.waitFor(() => expect(noted()).toBeGreaterThanOrEqual(before.keptMs + runs * 8 * 60_000));
    }
    const last = new Run(5_000);
    expect(last.keptMs()).toBeGreaterThanOrEqual(before.keptMs + 20 * 8 * 60_000);
    await last.time.close();
  });

  test('root leaves the note to whom the folder belongs to', async (context) => {
    if (process.geteuid?.() !== 0) context.skip();
    chownSync(folder, 65_534, 65_534);
    const run = new Run(BEGIN_MS);
    await run.time.close();
    expect(statSync(join(folder, 'spool.time')).uid).toBe(65_534);
  });

  test('a note that cannot be written costs a line', async () => {
    rmSync(folder, { recursive: true });
    const lost = new Run(BEGIN_MS);
    lost.set(BEGIN_MS + DAY_MS);
    await lost.time.close();
    expect(lost.lines.filter((line) => line.includes('could not be noted'))).toEqual([expect.stringContaining('code=ENOENT')]);
    expect(existsSync(folder)).toBe(false);
  });
});
