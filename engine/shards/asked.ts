// What the other shards have been asked and have not all answered. A question is over when every one of them has answered or failed: whoever asked may then undo what some have done, and nothing
// that is still under way comes after it.
import type { AnswerOf, Question } from '../administration/questions.ts';

interface Asked {
  readonly answers: AnswerOf<Question>[];
  /** The first failure. */
  error: Error | null;
  missing: number;
  resolve(answers: AnswerOf<Question>[]): void;
  reject(error: Error): void;
}

export class AskedShards {
  readonly #asked = new Map<number, Asked>();
  #last = 0;
  #gone: Error | null = null;

  /** @param tell asks them, by this number. Rejects when one of them has failed, once all have been heard; at once when one of them is gone */
  ask<Q extends Question>(shards: number, tell: (number: number) => void): Promise<readonly AnswerOf<Q>[]> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const number = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#asked.set(number, {
        answers: [],
        error: null,
        missing: shards,
        resolve: (answers) => resolve(answers as AnswerOf<Q>[]),
        reject,
      });
      tell(number);
    });
  }

  answered(number: number, at: number, answer: AnswerOf<Question>): void {
    const asked = this.#asked.get(number);
    if (asked === undefined) return;
    asked.answers[at] = answer;
    this.#heard(number, asked);
  }

  failed(number: number, error: Error): void {
    const asked = this.#asked.get(number);
    if (asked === undefined) return;
    asked.error ??= error;
    this.#heard(number, asked);
  }

  /** One of them answers nothing more. */
  lost(error: Error): void {
    this.#gone ??= error;
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }

  #heard(number: number, asked: Asked): void {
    if (--asked.missing > 0) return;
    this.#asked.delete(number);
    if (asked.error === null) asked.resolve(asked.answers);
    else asked.reject(asked.error);
  }
}
