// One check of `lethe self-test`: a name, what was seen, and where it failed, what to do. A check that rests on another one that failed is not run.

/** A check has failed: the message says what was seen, the advice what to do. */
export class CheckFailure extends Error {
  readonly advice: string;

  constructor(message: string, advice: string) {
    super(message);
    this.name = 'CheckFailure';
    this.advice = advice;
  }
}

export interface Check {
  readonly name: string;
  /** Name of the check that it rests on; absent: none. */
  readonly needs?: string;
  /** What was seen. @throws CheckFailure */
  run(): Promise<string> | string;
}

export const Outcome = { PASS: 'pass', FAIL: 'FAIL', NOT_RUN: 'not run' } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export interface CheckReport {
  readonly name: string;
  readonly outcome: Outcome;
  readonly detail: string;
  /** What to do; null where nothing is to be done. */
  readonly advice: string | null;
  readonly tookMs: number;
}

/** Runs checks one after the other and tells of each as it ends. */
export async function runChecks(checks: readonly Check[], tell: (report: CheckReport) => void): Promise<readonly CheckReport[]> {
  const reports: CheckReport[] = [];
  /** Checks that have not passed, and the one that failed first of those that each rests on. */
  const missing = new Map<string, string>();
  for (const check of checks) {
    const reason = check.needs === undefined ? undefined : missing.get(check.needs);
    const report = reason === undefined ? await runOne(check) : notRun(check, reason);
    if (report.outcome !== Outcome.PASS) missing.set(check.name, reason ?? check.name);
    reports.push(report);
    tell(report);
  }
  return reports;
}

async function runOne(check: Check): Promise<CheckReport> {
  const { name } = check;
  const startMs = performance.now();
  const took = () => Math.round(performance.now() - startMs);
  try {
    const detail = await check.run();
    return { name, outcome: Outcome.PASS, detail, advice: null, tookMs: took() };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    const advice =
      error instanceof CheckFailure ? error.advice : 'this was not foreseen: tell the makers of Lethe, with this line';
    return { name, outcome: Outcome.FAIL, detail, advice, tookMs: took() };
  }
}

function notRun({ name }: Check, reason: string): CheckReport {
  return { name, outcome: Outcome.NOT_RUN, detail: `because "${reason}" failed`, advice: null, tookMs: 0 };
}
