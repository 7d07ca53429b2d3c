// One sample of a broker under traffic: a plan is run, and what was delivered between the marks, what became of every message, and what it
// has cost both sides come back as figures.
import type { Plan } from '../plan/plan.ts';
import { cpuBetween, type ProcessCost, processCost } from '../process-cost.ts';
import { settleAccounts } from '../result/accounts.ts';
import type { LatencySummary } from '../result/latencies.ts';
import { run } from '../run.ts';

export interface TrafficSample {
  /** Deliveries between the marks, and the time between them. */
  readonly deliveries: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly bytesPerSecond: number;
  readonly sentPerSecond: number;
  /** Of deliveries, from sent (open loop: due) to received; null when there were none. */
  readonly latencyMs: LatencySummary | null;
  /** Over the whole run, all receivers together; `corrupt` also what was not theirs. */
  readonly received: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly outOfOrder: number;
  readonly corrupt: number;
  /** Publishers' messages that the broker refused, or gave no last word on. */
  readonly unanswered: number;
  readonly connectionsLost: number;
  /** Share of its core that the load used between the marks, 0 to 1. */
  readonly loadBusy: number;
  /** CPU seconds of the broker between the marks; null where /proc does not tell. */
  readonly cpuS: number | null;
  readonly residentBytes: number;
}

/** @param pid of the broker; null: what it costs is not known */
export async function sampleTraffic(pid: number | null, plan: Plan, giveUp?: AbortSignal): Promise<TrafficSample> {
  const costs: (ProcessCost | null)[] = [];
  const own: number[] = [];
  const outcome = await run(plan, {
    ...(giveUp === undefined ? {} : { giveUp }),
    stage: (name) => {
      if (name !== 'measured') return;
      costs.push(pid === null ? null : processCost(pid));
      const { user, system } = process.cpuUsage();
      own.push((user + system) / 1e6);
    },
  });
  const { received, receivedBytes, sent, seconds, stage } = outcome.stages.find((own) => own.stage.name === 'measured')!;
  const account = settleAccounts(outcome);
  const [before, after] = costs;
  return {
    deliveries: received,
    seconds,
    perSecond: received / seconds,
    bytesPerSecond: receivedBytes / seconds,
    sentPerSecond: sent / seconds,
    latencyMs: stage.deliveries.summary,
    received: account.received,
    lost: account.lost,
    duplicated: account.duplicated,
    outOfOrder: account.outOfOrder,
    corrupt: account.corrupt + account.misdelivered,
    unanswered: account.refused + account.unacknowledged,
    connectionsLost: account.connectionsLost,
    loadBusy: (own[1]! - own[0]!) / seconds,
    cpuS: before == null || after == null ? null : cpuBetween(before, after),
    residentBytes: after?.residentBytes ?? 0,
  };
}

/** CPU seconds of the broker for a million deliveries; null: not known. */
export function cpuPerMillion({ cpuS, deliveries }: TrafficSample): number | null {
  return cpuS === null || deliveries === 0 ? null : (cpuS / deliveries) * 1e6;
}
