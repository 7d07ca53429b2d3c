// What the thread that made the broker and those of the other shards tell each other besides letters: how to start and to stop, what is logged, what the administration asks.
import type { MessagePort } from 'node:worker_threads';
import type { AnswerOf, Question } from '../administration/questions.ts';
import type { Config } from '../config/load.ts';
import type { LogLevel } from '../log.ts';
import type { HandOutEnd } from '../network/hand-out.ts';
import type { Fabric } from '../peers/fabric.ts';
import type { SpoolEnd } from '../spool/join.ts';
import type { TrieMemory } from '../topics/trie.ts';

/** What a shard's thread is started with. */
export interface ShardThreadData {
  readonly index: number;
  readonly config: Config;
  readonly fabric: Fabric;
  readonly trie: TrieMemory;
  /** What the broker calls now (clock.ts). */
  readonly keptTime: SharedArrayBuffer;
  /** Null: the shard has a store in memory. */
  readonly spool: SpoolEnd | null;
  /** Null: the kernel spreads the connections. */
  readonly handOut: HandOutEnd | null;
  /** Module that exports the parts of a Gate; empty for none. */
  readonly gate: string;
  /** Everybody is asked for rights, whatever the configuration says: stored sessions have some of their own. */
  readonly judgesAll: boolean;
  readonly port: MessagePort;
  /** One Int32: shards that have closed their sockets because they were told to abandon them. For a thread that cannot wait for a word. */
  readonly abandoned: SharedArrayBuffer;
}

export type Errand =
  /** Opens the listeners. */
  | { readonly kind: 'open'; readonly ports: ReadonlyMap<string, number>; readonly firstStored: number }
  /** Ends the connections. */
  | { readonly kind: 'end' }
  /** Closes every socket at once, without a word to anybody: the process is about to end. */
  | { readonly kind: 'abandon' }
  /** Closes the rest and ends the thread. */
  | { readonly kind: 'close' }
  | { readonly kind: 'ask'; readonly number: number; readonly question: Question };

export type Word =
  | { readonly kind: 'joined' | 'opened' | 'ended' | 'closed' | 'abandoned' }
  | { readonly kind: 'failed'; readonly message: string; readonly isBinding: boolean }
  | {
      readonly kind: 'log';
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, number | string>> | undefined;
    }
  | { readonly kind: 'answer'; readonly number: number; readonly answer: AnswerOf<Question> }
  | { readonly kind: 'unanswered'; readonly number: number; readonly message: string };
