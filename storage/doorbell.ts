// How a thread that has run out of work sleeps until another has some. Ringing costs one atomic load while the sleeper is awake.
//
//   Int32  0 COUNT  rings that woke somebody     1 SLEEP  a Sleep: how deeply the owner sleeps, or is about to
//
// The owner reads COUNT, says SLEEP, looks for work once more and only then sleeps on COUNT; a ringer publishes its work before it
// reads SLEEP. All of it is sequentially consistent, so one of the two always sees the other.

const COUNT = 0;
const SLEEP = 1;

/** What wakes the owner. */
export const Sleep = {
  /** Awake: nothing needs to. */
  NONE: 0,
  /** Any ring. */
  LIGHT: 1,
  /** What cannot wait: the owner gathers work until its time is up. */
  DEEP: 2,
} as const;
export type Sleep = (typeof Sleep)[keyof typeof Sleep];

/** Atomics.waitAsync is in Node 20's engine and not yet in ES2023's library types. */
interface AsyncWait {
  waitAsync(array: Int32Array, index: number, value: number): { readonly async: boolean; readonly value: unknown };
}

export function allocateDoorbell(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

export class Doorbell {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  /** Wakes the owner if it sleeps lightly. */
  ring(): void {
    if (Atomics.load(this.#words, SLEEP) === Sleep.LIGHT) this.#wake();
  }

  /** Wakes the owner however it sleeps. */
  ringUrgently(): void {
    if (Atomics.load(this.#words, SLEEP) !== Sleep.NONE) this.#wake();
  }

  /** Blocks the owner's thread until a ring wakes it or `timeoutMs` has passed; not at all when `hasWork` says that there is no need. */
  sleep(depth: Sleep, hasWork: () => boolean, timeoutMs: number): void {
    const count = Atomics.load(this.#words, COUNT);
    Atomics.store(this.#words, SLEEP, depth);
    if (!hasWork()) Atomics.wait(this.#words, COUNT, count, timeoutMs);
    Atomics.store(this.#words, SLEEP, Sleep.NONE);
  }

  /** Calls `wake` once somebody rings, without blocking; false, and no call, when `hasWork` says that there is no need to sleep. */
  sleepAsync(hasWork: () => boolean, wake: () => void): boolean {
    const count = Atomics.load(this.#words, COUNT);
    Atomics.store(this.#words, SLEEP, Sleep.LIGHT);
    if (!hasWork()) {
      const wait = (Atomics as unknown as AsyncWait).waitAsync(this.#words, COUNT, count);
      if (wait.async) {
        (wait.value as Promise<string>).then(() => {
          Atomics.store(this.#words, SLEEP, Sleep.NONE);
          wake();
        });
        return true;
      }
    }
    Atomics.store(this.#words, SLEEP, Sleep.NONE);
    return false;
  }

  #wake(): void {
    Atomics.add(this.#words, COUNT, 1);
    Atomics.notify(this.#words, COUNT);
  }
}
