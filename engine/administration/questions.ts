// What the administration asks of every shard, and how a shard answers: one line here for each question. Questions and answers are plain data, because all shards but the first are
// threads of their own.
import type { Shard } from '../routing/shard.ts';
import { type HeldByShard, takeHeld } from './inventory.ts';
import { endClient, findSession, listSessions, type SessionPage, type SessionRow, type SessionsAsked } from './session-rows.ts';
import { type ShardFigures, takeFigures } from './shard-figures.ts';

/** Each question with its answer. */
export interface Questions {
  /** What the shard holds. */
  readonly held: { readonly question: { readonly kind: 'held' }; readonly answer: HeldByShard };
  /** What the shard counts. */
  readonly figures: { readonly question: { readonly kind: 'figures' }; readonly answer: ShardFigures };
  /** Whether the shard takes messages. */
  readonly readiness: { readonly question: { readonly kind: 'readiness' }; readonly answer: { readonly isRefusing: boolean } };
  /** Some of one shard's sessions; null from the others. */
  readonly sessions: { readonly question: { readonly kind: 'sessions' } & SessionsAsked; readonly answer: SessionPage | null };
  /** The session of a pseudonym; null when it is not here. */
  readonly session: { readonly question: { readonly kind: 'session' } & Named; readonly answer: SessionRow | null };
  /** Ends the connection of a pseudonym. Null: there is no such session here; false: it has no connection. */
  readonly kick: { readonly question: { readonly kind: 'kick' } & Named; readonly answer: boolean | null };
}

/** A client by its pseudonym under a key. */
interface Named {
  readonly key: Uint8Array;
  readonly client: string;
}

export type Question = Questions[keyof Questions]['question'];
export type AnswerOf<Q extends Question> = Questions[Q['kind']]['answer'];

/** Asks every shard; the answers are in the order of the shards. Rejects when one of them fails. */
export type AskAll = <Q extends Question>(question: Q) => Promise<readonly AnswerOf<Q>[]>;

const answerers: {
  readonly [Kind in keyof Questions]: (shard: Shard, question: Questions[Kind]['question']) => Promise<Questions[Kind]['answer']>;
} = {
  held: takeHeld,
  figures: takeFigures,
  readiness: async ({ store }) => ({ isRefusing: store.isRefusing }),
  sessions: listSessions,
  session: (shard, { key, client }) => findSession(shard, key, client),
  kick: (shard, { key, client }) => endClient(shard, key, client),
};

/** Answers for one shard, in its thread. */
export function answerQuestion<Q extends Question>(shard: Shard, question: Q): Promise<AnswerOf<Q>> {
  return answerers[question.kind](shard, question as never) as Promise<AnswerOf<Q>>;
}
