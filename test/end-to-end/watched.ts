// Waiting for what only events change: nothing here sleeps or polls.

const WAIT_MS_MAX = 20_000;

/** Something that tells of each change of its state. */
export class Watched {
  readonly #looks = new Set<() => void>();

  /** Resolves when the condition holds; fails by name when it does not within 20 s, or when it never can. */
  until(what: string, holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error: Error | null) => {
        clearTimeout(timer);
        this.#looks.delete(look);
        if (error === null) resolve();
        else reject(error);
      };
      const fail = (why: string) => settle(new Error(`waited in vain until ${what}: ${why}\n${this.describe()}`));
      const look = () => {
        if (holds()) settle(null);
        else if (this.isOver()) fail('it is over');
      };
      const timer = setTimeout(() => fail(`${WAIT_MS_MAX} ms have passed`), WAIT_MS_MAX);
      this.#looks.add(look);
      look();
    });
  }

  /** To be called after each change. */
  protected changed(): void {
    for (const look of [...this.#looks]) look();
  }

  /** Whether nothing can change any more. */
  protected isOver(): boolean {
    return false;
  }

  /** The state in words, for the message of a failure. */
  protected describe(): string {
    return '';
  }
}
