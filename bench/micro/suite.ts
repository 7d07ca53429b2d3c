// What a micro-benchmark is made of: tasks that do the same thing many times, gathered in suites that are built when they are asked for.

export interface Task {
  /** `suite.task`: its name in the baseline and for --only. */
  readonly key: string;
  readonly title: string;
  /** What one call of `once` handles: figures are for one item. */
  readonly items: number;
  readonly once: () => void;
  readonly nature: Nature;
}

/** What the time of a task depends on most. */
export interface Nature {
  /** Whether it waits for memory beyond the caches, so that it is compared with a loop that does so, too (measure.ts). */
  readonly isFar: boolean;
  /** How much slower than its baseline it may be, as a part of it, where the baseline does not say. */
  readonly tolerance: number;
}

/**
 * Work in the caches repeats well beside the calibration. Work in far memory depends on where its pages happen to lie, too, and work on a
 * disk on others.
 */
export const Nature = {
  PROCESSOR: { isFar: false, tolerance: 0.5 },
  MEMORY: { isFar: true, tolerance: 1 },
  DISK: { isFar: false, tolerance: 3 },
} as const;

export interface Suite {
  readonly key: string;
  readonly build: () => Tasks;
}

const BATCH = 1_000;

/** The tasks of one suite, as they are added. */
export class Tasks {
  readonly list: Task[] = [];
  /** Called once when the suite has been measured. */
  end: () => void = () => {};
  readonly #suite: string;

  constructor(suite: string) {
    this.#suite = suite;
  }

  /** A task that handles `items` in one call. */
  add(name: string, title: string, items: number, once: () => void, nature: Nature = Nature.PROCESSOR): void {
    this.list.push({ key: `${this.#suite}.${name}`, title, items, once, nature });
  }

  /** A task of one item, called a thousand times with its number. */
  each(name: string, title: string, one: (at: number) => void, nature: Nature = Nature.PROCESSOR): void {
    const once = (): void => {
      for (let at = 0; at < BATCH; at++) one(at);
    };
    this.add(name, title, BATCH, once, nature);
  }
}
