// Whether the broker takes messages. A shard that is stuck is asked once, however often somebody wants to know.
import type { Administration } from './administration.ts';
import type { AnswerOf } from './questions.ts';
import { within } from './within.ts';

export const Readiness = {
  /** Clients are let in, and the store of every shard takes messages. */
  READY: 'ready',
  NOT_READY: 'not ready',
  /** A shard does not answer. */
  STUCK: 'stuck',
} as const;
export type Readiness = (typeof Readiness)[keyof typeof Readiness];

type Answers = readonly AnswerOf<{ readonly kind: 'readiness' }>[];

/** A shard that has not answered by then is stuck. */
const ANSWER_WITHIN_MS = 5_000;
const pending = new WeakMap<Administration, Promise<Answers>>();

export async function readinessOf(administration: Administration): Promise<Readiness> {
  const { askAll, clock, isStopping } = administration;
  // Shards that have ended their work answer nothing more.
  if (isStopping()) return Readiness.NOT_READY;
  let asked = pending.get(administration);
  if (asked === undefined) {
    asked = askAll({ kind: 'readiness' }).finally(() => pending.delete(administration));
    pending.set(administration, asked);
  }
  try {
    if (!(await within(clock, ANSWER_WITHIN_MS, asked))) return Readiness.STUCK;
    return (await asked).some(({ isRefusing }) => isRefusing) ? Readiness.NOT_READY : Readiness.READY;
  } catch {
    return Readiness.STUCK;
  }
}
