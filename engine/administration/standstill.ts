// A time in which no session goes from one shard to another: what asks every shard about sessions then finds each of them once. Clients whose session would have to move wait meanwhile.
import type { Shard } from '../routing/shard.ts';
import { ApiError } from './api-error.ts';

const LOOK_MS = 2;
const MOVES_WAIT_MS = 10_000;

/** How the broker of a first shard does things in such a time, one after the other. */
export function standstillOf(first: Shard): <T>(act: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (act) => {
    const result = last.then(() => standStill(first, act));
    last = result.catch(() => {}); // whoever asked is told
    return result;
  };
}

async function standStill<T>({ directory, clock }: Shard, act: () => Promise<T>): Promise<T> {
  if (directory === null) return act();
  directory.hold();
  try {
    for (let waitedMs = 0; directory.moving > 0; waitedMs += LOOK_MS) {
      if (waitedMs >= MOVES_WAIT_MS)
        throw new ApiError(503, 'a session is on its way between two shards, and does not arrive; ask again');
      await clock.sleep(LOOK_MS);
    }
    return await act();
  } finally {
    directory.release();
  }
}
