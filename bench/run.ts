// One run of a plan from beginning to end: has the threads of the load connect, publish, stop and account, in the order that the plan's
// course wants, and waits in between for what they say.
import { setTimeout as sleep } from 'node:timers/promises';
import { Crew } from './crew.ts';
import { Course, type Plan } from './plan/plan.ts';
import { makeRoster, type Roster } from './plan/roster.ts';
import type { Sums, ThreadAccounts, Who } from './raw/account.ts';
import { nowUs } from './raw/clock.ts';
import { Gauge } from './raw/gauges.ts';
import type { JoinFailure } from './raw/joiner.ts';
import { Recorder, type Second, type Stage } from './result/recorder.ts';

/** A broker that can be killed and started again. */
export interface Mortal {
  /** Kills it, starts it again, and waits until it takes connections. */
  killAndRestart(command: string): Promise<void>;
}

export interface RunHooks {
  readonly second?: (second: Second) => void;
  readonly stage?: (name: string, edge: 'begin' | 'end') => void;
  /** Between the fill and the drain of persistent sessions, while nobody is connected. */
  readonly whileAway?: () => Promise<void>;
  /** Needed when the plan kills. */
  readonly mortal?: Mortal | null;
  /** Ends what has no end by itself, or not yet. What was sent is settled nevertheless. */
  readonly signal?: AbortSignal;
  /** Ends it at once, whatever it waits for, and without an outcome: the run fails with the signal's reason. */
  readonly giveUp?: AbortSignal;
}

export interface StageOutcome {
  readonly stage: Stage;
  /** Since the beginning of the run. */
  readonly atS: number;
  readonly seconds: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly received: number;
  readonly receivedBytes: number;
}

export interface Storm {
  readonly atS: number;
  /** Until everybody was back. */
  readonly tookS: number;
}

export interface Kill {
  readonly atS: number;
  /** Until it took connections again. */
  readonly tookS: number;
}

export interface Outcome {
  readonly plan: Plan;
  readonly roster: Roster;
  readonly stages: readonly StageOutcome[];
  readonly seconds: readonly Second[];
  readonly accounts: readonly ThreadAccounts[];
  readonly storms: readonly Storm[];
  readonly kill: Kill | null;
  readonly wasInterrupted: boolean;
}

/** The clients of the run cannot connect. */
export class JoinError extends Error {
  readonly failure: JoinFailure;

  constructor(failure: JoinFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

const POLL_MS = 5;
/** Time between the word to publish and the first message, for the slowest thread to hear it. */
const HEAD_START_US = 5_000;
/** A broker that was killed, and its clients, have so long to come back. */
const RETURN_S = 30;

export async function run(plan: Plan, hooks: RunHooks = {}): Promise<Outcome> {
  const own = new Run(plan, hooks);
  try {
    const { giveUp } = hooks;
    if (giveUp === undefined) return await own.go();
    return await Promise.race([own.go(), whenAborted(giveUp)]);
  } finally {
    await own.dismiss();
  }
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(signal.reason);
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

class Run {
  readonly #plan: Plan;
  readonly #hooks: RunHooks;
  readonly #roster: Roster;
  readonly #recorder: Recorder;
  readonly #crew: Crew;
  readonly #stages: StageOutcome[] = [];
  readonly #storms: Storm[] = [];
  #kill: Kill | null = null;
  #startUs = 0;
  /** What was under way when something failed must end too. */
  #isDismissed = false;

  constructor(plan: Plan, hooks: RunHooks) {
    this.#plan = plan;
    this.#hooks = hooks;
    this.#roster = makeRoster(plan);
    this.#recorder = new Recorder(plan.threads, (second) => hooks.second?.(second));
    this.#crew = new Crew(plan, this.#roster, (thread, interval) => this.#recorder.take(thread, interval));
  }

  async go(): Promise<Outcome> {
    this.#startUs = nowUs();
    await this.#crew.ask({ do: 'begin', startUs: this.#startUs });
    const { course } = this.#plan;
    if (course === Course.CONNECTIONS) await this.#connections();
    else if (course === Course.PERSISTENT) await this.#persistent();
    else await this.#traffic();
    await this.#crew.ask({ do: 'mark' });
    this.#recorder.finish();
    const accounts = await this.#crew.ask({ do: 'accounts' });
    await this.#crew.ask({ do: 'end' });
    return {
      plan: this.#plan,
      roster: this.#roster,
      stages: this.#stages,
      seconds: this.#recorder.seconds,
      accounts,
      storms: this.#storms,
      kill: this.#kill,
      wasInterrupted: this.#isOver,
    };
  }

  dismiss(): Promise<void> {
    this.#isDismissed = true;
    return this.#crew.dismiss();
  }

  /** Nothing more is waited for. */
  get #isOver(): boolean {
    return this.#isDismissed || this.#hooks.signal?.aborted === true;
  }

  async #connections(): Promise<void> {
    await this.#stage('connect', async () => {
      await this.#crew.ask({ do: 'join', who: 'idle', needsAll: false });
      return nowUs();
    });
    await this.#stage('hold', () => this.#wait(this.#plan.durationS));
  }

  async #traffic(): Promise<void> {
    const { warmUpS } = this.#plan;
    await this.#stage('connect', async () => {
      await this.#join('subscribers');
      await this.#join('publishers');
      return nowUs();
    });
    const warmsUp = warmUpS > 0;
    if (warmsUp)
      await this.#stage('warm-up', async () => {
        await this.#publish();
        return this.#wait(warmUpS);
      });
    await this.#stage('measured', async () => {
      if (!warmsUp) await this.#publish();
      const [endUs] = await Promise.all([this.#publishing(), this.#killing(), this.#storming()]);
      return endUs;
    });
    await this.#tail('settle', async () => {
      await this.#crew.ask({ do: 'stop' });
      return this.#settle();
    });
  }

  async #persistent(): Promise<void> {
    await this.#stage('connect', async () => {
      await this.#join('subscribers');
      await this.#crew.ask({ do: 'leave', who: 'subscribers' });
      await this.#join('publishers');
      return nowUs();
    });
    await this.#stage('fill', async () => {
      await this.#publish();
      const [endUs] = await Promise.all([this.#acknowledged(), this.#killing()]);
      await this.#crew.ask({ do: 'stop' });
      return endUs;
    });
    await this.#crew.ask({ do: 'leave', who: 'publishers' });
    await this.#hooks.whileAway?.();
    await this.#stage('drain', async () => {
      await this.#join('subscribers');
      return this.#settle();
    });
  }

  /** Runs a stage and keeps what was counted in it; `work` returns when it ended, in µs of the clock. */
  #stage(name: string, work: () => Promise<number>): Promise<void> {
    return this.#enter(name, false, work);
  }

  /** Likewise, with its latencies counted as those of the stage before. */
  #tail(name: string, work: () => Promise<number>): Promise<void> {
    return this.#enter(name, true, work);
  }

  async #enter(name: string, isTail: boolean, work: () => Promise<number>): Promise<void> {
    const before = await this.#crew.ask({ do: 'mark' });
    const stage = this.#recorder.enter(name, isTail);
    this.#hooks.stage?.(name, 'begin');
    const endUs = await work();
    const after = await this.#crew.ask({ do: 'mark' });
    this.#hooks.stage?.(name, 'end');
    const sum = (key: keyof Sums): number => after.reduce((all, sums, i) => all + sums[key] - before[i]![key], 0);
    this.#stages.push({
      stage,
      atS: (before[0]!.atUs - this.#startUs) / 1e6,
      // What ended before the mark is over; otherwise it is the mark that ends it, on each thread at its own time.
      seconds: Math.min(sum('atUs') / after.length, endUs - before[0]!.atUs) / 1e6,
      sent: sum('sent'),
      acknowledged: sum('acknowledged'),
      received: sum('received'),
      receivedBytes: sum('receivedBytes'),
    });
  }

  async #join(who: Who): Promise<void> {
    const failures = await this.#crew.ask({ do: 'join', who, needsAll: true });
    const failure = failures.find((own) => own !== null);
    if (failure !== undefined) throw new JoinError(failure);
  }

  async #publish(): Promise<void> {
    await this.#crew.ask({ do: 'publish', startUs: nowUs() + HEAD_START_US });
  }

  /** Waits for so many seconds, 0: without end, or until it is over; returns when that was. */
  async #wait(seconds: number): Promise<number> {
    const endUs = seconds === 0 ? Number.POSITIVE_INFINITY : nowUs() + seconds * 1e6;
    while (nowUs() < endUs && !this.#isOver) await sleep(Math.min(POLL_MS, Math.max(1, (endUs - nowUs()) / 1_000)));
    return Number.POSITIVE_INFINITY;
  }

  /** Waits for the end of the time, or, where there is a limit, until all that was to be sent has come. */
  async #publishing(): Promise<number> {
    const { durationS } = this.#plan;
    const publishers = this.#roster.publishers.length;
    if (publishers === 0) return this.#wait(durationS);
    const endUs = durationS === 0 ? Number.POSITIVE_INFINITY : nowUs() + durationS * 1e6;
    while (nowUs() < endUs && !this.#isOver) {
      if (this.#crew.gauges.sum(Gauge.SPENT) === publishers) return this.#settle();
      await sleep(POLL_MS);
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Waits until everything is sent and acknowledged; returns when that was. */
  async #acknowledged(): Promise<number> {
    const { gauges } = this.#crew;
    let acknowledged = gauges.sum(Gauge.ACKNOWLEDGED);
    let movedUs = nowUs();
    while (!this.#isOver) {
      const isSpent = gauges.sum(Gauge.SPENT) === this.#roster.publishers.length;
      if (isSpent && gauges.sum(Gauge.UNACKNOWLEDGED) === 0) return nowUs();
      const now = gauges.sum(Gauge.ACKNOWLEDGED);
      if (now !== acknowledged) movedUs = nowUs();
      acknowledged = now;
      // A broker that takes nothing more does not hold up the end.
      if (nowUs() - movedUs > RETURN_S * 1e6) return movedUs;
      await sleep(POLL_MS);
    }
    return nowUs();
  }

  /** Waits until everything that was sent has come, or nothing comes any more; returns when the last of it came. */
  async #settle(): Promise<number> {
    const { gauges } = this.#crew;
    const { settleS, closed, course } = this.#plan;
    const owed = (await this.#crew.ask({ do: 'owed' })).reduce((sum, own) => sum + own, 0);
    const { publishers, subscribers } = this.#roster;
    // Those of a fill have left.
    const clients = subscribers.length + (course === Course.PERSISTENT ? 0 : publishers.length);
    const state = (): number => gauges.sum(Gauge.RECEIVED) + gauges.sum(Gauge.ACKNOWLEDGED);
    let last = state();
    let movedUs = nowUs();
    while (!this.#isDismissed) {
      const now = state();
      if (now !== last) movedUs = nowUs();
      last = now;
      if (closed && gauges.sum(Gauge.DISTINCT) >= owed && gauges.sum(Gauge.UNACKNOWLEDGED) === 0) return movedUs;
      // While somebody has not come back, what is missing may still come.
      const patienceS = gauges.sum(Gauge.CONNECTED) >= clients ? settleS : Math.max(settleS, RETURN_S);
      if (nowUs() - movedUs > patienceS * 1e6) return movedUs;
      await sleep(POLL_MS);
    }
    return movedUs;
  }

  async #killing(): Promise<void> {
    const { kill } = this.#plan;
    if (kill === null) return;
    await this.#wait(kill.afterS);
    if (this.#isOver) return;
    const atUs = nowUs();
    await this.#hooks.mortal!.killAndRestart(kill.restartCommand);
    this.#kill = { atS: (atUs - this.#startUs) / 1e6, tookS: (nowUs() - atUs) / 1e6 };
  }

  async #storming(): Promise<void> {
    const { stormEveryS, durationS } = this.#plan;
    if (stormEveryS === 0) return;
    const endUs = durationS === 0 ? Number.POSITIVE_INFINITY : nowUs() + durationS * 1e6;
    while (!this.#isOver && nowUs() + stormEveryS * 1e6 < endUs) {
      await this.#wait(stormEveryS);
      if (this.#isOver) return;
      const atUs = nowUs();
      await this.#crew.ask({ do: 'storm' });
      this.#storms.push({ atS: (atUs - this.#startUs) / 1e6, tookS: (nowUs() - atUs) / 1e6 });
    }
  }
}
