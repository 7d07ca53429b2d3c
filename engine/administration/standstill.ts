// A time in which no session goes from one shard to another, or only that of one client does not: what asks every shard about sessions then finds each of them once. Clients whose
// session would have to move wait meanwhile, so this time has an end.
import type { Shard } from '../routing/shard.ts';
import { ApiError } from './api-error.ts';

const LOOK_MS = 2;
const MOVES_WAIT_MS = 10_000;
/** How long everybody may have to wait, and how long one client: shorter than whoever asked waits for an answer (spool/folder-lock.ts). */
const HOLD_MAX_MS = 60_000;
const HOLD_ONE_MAX_MS = 540_000;

/**
 * Does something while no session moves, or with a client while its session does not. One such thing at a time, in the order in which they are asked for. @throws ApiError when it takes too
 * long: what has begun goes on, and nobody waits for it any more
 */
export type Standstill = <T>(act: () => Promise<T>, clientId?: string) => Promise<T>;

/** How the broker of a first shard does things in such a time. */
export function standstillOf(first: Shard): Standstill {
  let last: Promise<unknown> = Promise.resolve();
  return (act, clientId) => {
    const result = last.then(() => standStill(first, act, clientId ?? null));
    last = result.catch(() => {}); // whoever asked is told
    return result;
  };
}

async function standStill<T>(shard: Shard, act: () => Promise<T>, clientId: string | null): Promise<T> {
  const { directory, clock } = shard;
  if (directory === null) return inTime(shard, act, HOLD_ONE_MAX_MS);
  directory.hold(clientId);
  try {
    for (let waitedMs = 0; directory.isMoving(clientId); waitedMs += LOOK_MS) {
      if (waitedMs >= MOVES_WAIT_MS)
        throw new ApiError(503, 'a session is on its way between two shards, and does not arrive; ask again');
      await clock.sleep(LOOK_MS);
    }
    return await inTime(shard, act, clientId === null ? HOLD_MAX_MS : HOLD_ONE_MAX_MS);
  } finally {
    directory.release();
  }
}

function inTime<T>({ clock }: Shard, act: () => Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () =>
      reject(new ApiError(503, `it was not done within ${ms / 1_000} s, and goes on unwatched; ask again`)),
    );
    act().then(resolve, reject).finally(cancel);
  });
}
