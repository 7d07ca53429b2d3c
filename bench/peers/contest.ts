// The comparison itself: every cell, in rounds, broker after broker in the same minute, each started anew and ended again. A broker that cannot
// do a cell, or does not end it in time, is named with the reason, and the others go on.
import { Failure, messageOf } from '../../engine/cli/failure.ts';
import type { Certificate } from '../contestants/certificate.ts';
import type { Contestant, RunningBroker } from '../contestants/contestant.ts';
import type { Cell, Sample, Stand, Times } from './cell.ts';
import { bestPeer } from './standing.ts';

export interface Contender {
  readonly contestant: Contestant;
  /** Lethe, another build of it, who it is compared with, or what none of them can beat. */
  readonly role: 'lethe' | 'build' | 'peer' | 'limit';
}

export interface Entry {
  readonly name: string;
  readonly role: Contender['role'];
  readonly samples: readonly Sample[];
  /** Why it has no figures here, or not all of them. */
  readonly failure: string | null;
}

export interface CellResult {
  readonly cell: Cell;
  readonly entries: readonly Entry[];
}

export interface Conditions {
  readonly rounds: number;
  readonly times: Times;
  /** Of the brokers; null: nothing is pinned. */
  readonly cores: string | null;
  readonly certificate: () => Certificate;
}

export interface Listener {
  sample(cell: Cell, name: string, round: number): void;
  cell(result: CellResult): void;
}

export async function contest(
  cells: readonly Cell[],
  contenders: readonly Contender[],
  conditions: Conditions,
  listener: Listener,
): Promise<CellResult[]> {
  const results: CellResult[] = [];
  for (const cell of cells) {
    const needs = results.find((result) => result.cell.key === cell.needs);
    const needed = needs === undefined ? null : bestPeer(needs, needs.cell.figures[0]!);
    const result = await contestIn(cell, contenders, conditions, needed?.value ?? null, listener);
    results.push(result);
    listener.cell(result);
  }
  return results;
}

async function contestIn(
  cell: Cell,
  contenders: readonly Contender[],
  conditions: Conditions,
  needed: number | null,
  listener: Listener,
): Promise<CellResult> {
  const own = contenders.filter(({ role }) => takesPart(cell, role));
  const entries = own.map(({ contestant, role }) => {
    return { name: contestant.name, role, samples: [] as Sample[], failure: null as string | null };
  });
  if (cell.needs !== undefined && needed === null)
    for (const entry of entries) entry.failure = `no peer has a figure in ${cell.needs}`;
  for (let round = 0; round < roundsOf(cell, conditions); round++) {
    // Every other round in the opposite order, so that nobody always has the same neighbour.
    for (const at of round % 2 === 0 ? entries.keys() : [...entries.keys()].reverse()) {
      const entry = entries[at]!;
      if (entry.failure !== null) continue;
      listener.sample(cell, entry.name, round);
      const sampled = await sample(cell, own[at]!.contestant, conditions, needed ?? 0);
      if (typeof sampled === 'string') entry.failure = sampled;
      else entry.samples.push(sampled);
    }
  }
  return { cell, entries };
}

function takesPart({ isInside, hasLimit }: Cell, role: Contender['role']): boolean {
  return role === 'lethe' || (role === 'limit' ? hasLimit === true : isInside === undefined);
}

export function roundsOf({ roundsMax = Number.POSITIVE_INFINITY }: Cell, { rounds }: Pick<Conditions, 'rounds'>): number {
  return Math.min(rounds, roundsMax);
}

/** A sample, or the reason why there is none. */
async function sample(cell: Cell, contestant: Contestant, conditions: Conditions, needed: number): Promise<Sample | string> {
  const { times, cores, certificate } = conditions;
  const brokers: RunningBroker[] = [];
  const ending = new AbortController();
  const giveUp = ending.signal;
  const limitS = cell.limitS + times.warmUpS + times.measureS;
  const timer = setTimeout(() => ending.abort(new Failure(`was not done within ${limitS} s`)), limitS * 1_000);
  const stand: Stand = {
    contestant,
    times,
    certificate,
    needed,
    giveUp,
    start: async (security = 'plain') => {
      const broker = await contestant.start({ cores, ...(security === 'secure' ? { certificate: certificate() } : {}) });
      brokers.push(broker);
      if (!giveUp.aborted) return broker;
      await broker.stop();
      throw giveUp.reason;
    },
  };
  try {
    const late = new Promise<never>((_, reject) => giveUp.addEventListener('abort', () => reject(giveUp.reason), { once: true }));
    return await Promise.race([cell.measure(stand), late]);
  } catch (error) {
    // What a client says of a connection that broke is less than what the broker says of its end.
    const ended = brokers.map((broker) => broker.ended()).find((words) => words !== null);
    return ended ?? messageOf(error);
  } finally {
    clearTimeout(timer);
    ending.abort(new Failure('the cell is over'));
    for (const broker of brokers) await broker.stop();
  }
}
