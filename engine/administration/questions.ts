// What the administration asks of every shard, and how a shard answers: one line here for each question. Questions and answers are plain data, because all shards but the first are
// threads of their own.
import type { Config } from '../config/load.ts';
import type { Shard } from '../routing/shard.ts';
import { type HeldByShard, takeHeld } from './inventory.ts';
import type { Reloadable, ReloadedShard } from './reload.ts';

/** Each question with its answer. */
export interface Questions {
  /** What the shard holds. */
  readonly held: { readonly question: { readonly kind: 'held' }; readonly answer: HeldByShard };
  /** The steps of a reload (reload.ts). */
  readonly prepare: { readonly question: { readonly kind: 'prepare'; readonly config: Config }; readonly answer: null };
  readonly apply: { readonly question: { readonly kind: 'apply' }; readonly answer: ReloadedShard };
  readonly discard: { readonly question: { readonly kind: 'discard' }; readonly answer: null };
}

export type Question = Questions[keyof Questions]['question'];
export type AnswerOf<Q extends Question> = Questions[Q['kind']]['answer'];

/** Asks every shard; the answers are in the order of the shards. Rejects when one of them fails. */
export type AskAll = <Q extends Question>(question: Q) => Promise<readonly AnswerOf<Q>[]>;

const answerers: {
  readonly [Kind in keyof Questions]: (
    shard: Shard,
    question: Questions[Kind]['question'],
    host: Reloadable,
  ) => Promise<Questions[Kind]['answer']>;
} = {
  held: takeHeld,
  prepare: async (_shard, { config }, host) => {
    await host.prepare(config);
    return null;
  },
  apply: (_shard, _question, host) => host.apply(),
  discard: async (_shard, _question, host) => {
    host.discard();
    return null;
  },
};

/** Answers for one shard, in its thread; `host` is what the shard and its listeners are in. */
export function answerQuestion<Q extends Question>(shard: Shard, question: Q, host: Reloadable): Promise<AnswerOf<Q>> {
  return answerers[question.kind](shard, question as never, host) as Promise<AnswerOf<Q>>;
}
