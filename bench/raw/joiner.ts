// Opens many connections: at a rate, or as fast as the broker takes them with a bounded number under way.
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../engine/cli/failure.ts';
import { type Client, RefusedError } from './client.ts';
import { nowUs } from './clock.ts';

const UNDER_WAY_MAX = 128;
/** A broker that starts, or whose queue of connections is full, is tried again for so long. */
const PATIENCE_US = 10_000_000;
const AGAIN_MS = 50;

export interface JoinFailure {
  readonly message: string;
  /** The broker was there and said no. */
  readonly refused: boolean;
}

export interface JoinPlan {
  /** 0: as fast as it goes. */
  readonly perSecond: number;
  /** Whether one that fails ends it all; otherwise failures are counted and the rest goes on. */
  readonly needsAll: boolean;
  /** Gives up. */
  readonly signal: AbortSignal;
  /** Told of each that failed. */
  readonly failed: (failure: JoinFailure) => void;
}

/** Returns the first failure when all were needed. */
export async function joinAll(clients: readonly Client[], plan: JoinPlan): Promise<JoinFailure | null> {
  const startedUs = nowUs();
  const underWay = new Set<Promise<void>>();
  let failure: JoinFailure | null = null;
  for (let i = 0; i < clients.length; i++) {
    if (plan.perSecond > 0) {
      const waitMs = (startedUs + (i / plan.perSecond) * 1e6 - nowUs()) / 1e3;
      if (waitMs >= 1) await sleep(waitMs);
    }
    while (underWay.size >= UNDER_WAY_MAX) await Promise.race(underWay);
    if (plan.signal.aborted || (plan.needsAll && failure !== null)) break;
    const opened = open(clients[i]!, plan)
      .catch((error: unknown) => {
        const own = { message: messageOf(error), refused: error instanceof RefusedError };
        failure ??= own;
        plan.failed(own);
      })
      .finally(() => underWay.delete(opened));
    underWay.add(opened);
  }
  await Promise.all(underWay);
  return plan.needsAll ? failure : null;
}

async function open(client: Client, { needsAll, signal }: JoinPlan): Promise<void> {
  const startedUs = nowUs();
  for (;;) {
    try {
      return await client.open();
    } catch (error) {
      if (!needsAll || isFinal(error) || signal.aborted || nowUs() - startedUs > PATIENCE_US) throw error;
    }
    await sleep(AGAIN_MS);
  }
}

/** A refusal, or a certificate that is not to be trusted, will be the same a moment later. */
function isFinal(error: unknown): boolean {
  return error instanceof RefusedError || /CERT|TLS|SSL|SIGNATURE/.test((error as NodeJS.ErrnoException).code ?? '');
}
