// What the administration asks of every shard, and how a shard answers: one line here for each question. Questions and answers are plain data, because all shards but the first are
// threads of their own.
import type { Shard } from '../routing/shard.ts';
import { type ErasedByShard, type EraseTarget, eraseInShard } from './erase-shard.ts';
import { type HeldByShard, takeHeld } from './inventory.ts';

/** Each question with its answer. */
export interface Questions {
  /** What the shard holds. */
  readonly held: { readonly question: { readonly kind: 'held' }; readonly answer: HeldByShard };
  /** That it erases something. */
  readonly erase: { readonly question: { readonly kind: 'erase'; readonly target: EraseTarget }; readonly answer: ErasedByShard };
}

export type Question = Questions[keyof Questions]['question'];
export type AnswerOf<Q extends Question> = Questions[Q['kind']]['answer'];

/** Asks every shard; the answers are in the order of the shards. Rejects when one of them fails. */
export type AskAll = <Q extends Question>(question: Q) => Promise<readonly AnswerOf<Q>[]>;

const answerers: {
  readonly [Kind in keyof Questions]: (shard: Shard, question: Questions[Kind]['question']) => Promise<Questions[Kind]['answer']>;
} = {
  held: takeHeld,
  erase: (shard, { target }) => eraseInShard(shard, target),
};

/** Answers for one shard, in its thread. */
export function answerQuestion<Q extends Question>(shard: Shard, question: Q): Promise<AnswerOf<Q>> {
  return answerers[question.kind](shard, question as never) as Promise<AnswerOf<Q>>;
}
