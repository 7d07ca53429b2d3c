// What the administration asks of every shard, and how a shard answers: one line here for each question. Questions and answers are plain data, because all shards but the first are
// threads of their own.
import type { Config } from '../config/load.ts';
import type { Shard } from '../routing/shard.ts';
import { type ErasedByShard, type ErasePart, type EraseTarget, eraseInShard } from './erase-shard.ts';
import { type ExportedByShard, exportInShard } from './export-shard.ts';
import { type SessionsHeld, takeSessionsHeld } from './held-by-client.ts';
import { type HeldByShard, takeHeld } from './inventory.ts';
import type { Reloadable, ReloadedShard } from './reload.ts';
import { endClient, findSession, listSessions, type SessionPage, type SessionRow, type SessionsAsked } from './session-rows.ts';
import { type ShardFigures, takeFigures } from './shard-figures.ts';
import { beginTrace, endTrace, type TracedByShard, takeTraced } from './trace-shard.ts';

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
  /** The steps of a reload (reload.ts). */
  readonly prepare: { readonly question: { readonly kind: 'prepare'; readonly config: Config }; readonly answer: null };
  readonly apply: { readonly question: { readonly kind: 'apply' }; readonly answer: ReloadedShard };
  readonly discard: { readonly question: { readonly kind: 'discard' }; readonly answer: null };
  /** That it begins, or ends, to note topics and sizes of a client's messages; and what it has noted. */
  readonly 'trace-begin': { readonly question: { readonly kind: 'trace-begin'; readonly client: string }; readonly answer: null };
  readonly 'trace-take': {
    readonly question: { readonly kind: 'trace-take'; readonly client: string };
    readonly answer: TracedByShard;
  };
  readonly 'trace-end': {
    readonly question: { readonly kind: 'trace-end'; readonly client: string };
    readonly answer: TracedByShard;
  };
  /** That it writes what it holds for a client into a file. */
  readonly export: {
    readonly question: { readonly kind: 'export'; readonly client: string; readonly path: string };
    readonly answer: ExportedByShard;
  };
  /** What it holds for those clients of which it holds most. */
  readonly 'sessions-held': {
    readonly question: { readonly kind: 'sessions-held'; readonly limit: number };
    readonly answer: SessionsHeld;
  };
  /** That it erases something. */
  readonly erase: {
    readonly question: { readonly kind: 'erase'; readonly target: EraseTarget; readonly part: ErasePart };
    readonly answer: ErasedByShard;
  };
}

/** A client by its pseudonym under a key. */
interface Named {
  readonly key: Uint8Array;
  readonly client: string;
}

export type Question = Questions[keyof Questions]['question'];
export type AnswerOf<Q extends Question> = Questions[Q['kind']]['answer'];

/** Asks every shard; the answers are in the order of the shards. Rejects when one of them has failed, once all have answered. */
export type AskAll = <Q extends Question>(question: Q) => Promise<readonly AnswerOf<Q>[]>;

const answerers: {
  readonly [Kind in keyof Questions]: (
    shard: Shard,
    question: Questions[Kind]['question'],
    host: Reloadable,
  ) => Promise<Questions[Kind]['answer']>;
} = {
  held: takeHeld,
  figures: takeFigures,
  readiness: async ({ store }) => ({ isRefusing: store.isRefusing }),
  sessions: listSessions,
  session: (shard, { key, client }) => findSession(shard, key, client),
  kick: (shard, { key, client }) => endClient(shard, key, client),
  prepare: async (_shard, { config }, host) => {
    await host.prepare(config);
    return null;
  },
  apply: (_shard, _question, host) => host.apply(),
  discard: async (_shard, _question, host) => {
    host.discard();
    return null;
  },
  erase: (shard, { target, part }) => eraseInShard(shard, target, part),
  export: (shard, { client, path }) => exportInShard(shard, client, path),
  'trace-begin': (shard, { client }) => beginTrace(shard, client),
  'trace-take': (shard, { client }) => takeTraced(shard, client),
  'trace-end': (shard, { client }) => endTrace(shard, client),
  'sessions-held': (shard, { limit }) => takeSessionsHeld(shard, limit),
};

/** Answers for one shard, in its thread; `host` is what the shard and its listeners are in. */
export function answerQuestion<Q extends Question>(shard: Shard, question: Q, host: Reloadable): Promise<AnswerOf<Q>> {
  return answerers[question.kind](shard, question as never, host) as Promise<AnswerOf<Q>>;
}
