// Waiting for something that may never come: a thread that is stuck must not make its watchers stuck.
import type { Clock } from '../clock.ts';

/** Resolves with whether it came in time; rejects as it does. */
export function within(clock: Clock, ms: number, what: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => resolve(false));
    what.then(
      () => {
        cancel();
        resolve(true);
      },
      (error: unknown) => {
        cancel();
        reject(error);
      },
    );
  });
}
