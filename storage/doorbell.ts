// How a thread that has run out of work sleeps until another has some. Ringing costs one atomic load while the sleeper is awake.
//
//   Int32  0 COUNT  rings that woke somebody     1 ASLEEP  1 while the owner sleeps, or is about to
//
// The owner reads COUNT, says ASLEEP, looks for work once more and only then sleeps on COUNT; a ringer publishes its work before it
// reads ASLEEP. All of it is sequentially consistent, so one of the two always sees the other.

const COUNT = 0;
const ASLEEP = 1;

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

  /** Wakes the owner if it sleeps. */
  ring(): void {
    if (Atomics.load(this.#words, ASLEEP) === 0) return;
    Atomics.add(this.#words, COUNT, 1);
    Atomics.notify(this.#words, COUNT);
  }

  /** Blocks the owner's thread until somebody rings, `hasWork` says so, or `timeoutMs` has passed. */
  sleep(hasWork: () => boolean, timeoutMs: number): void {
    const count = Atomics.load(this.#words, COUNT);
    Atomics.store(this.#words, ASLEEP, 1);
    if (!hasWork()) Atomics.wait(this.#words, COUNT, count, timeoutMs);
    Atomics.store(this.#words, ASLEEP, 0);
  }

  /** Calls `wake` once somebody rings, without blocking; false, and no call, when `hasWork` says that there is no need to sleep. */
  sleepAsync(hasWork: () => boolean, wake: () => void): boolean {
    const count = Atomics.load(this.#words, COUNT);
    Atomics.store(this.#words, ASLEEP, 1);
    if (!hasWork()) {
      const wait = (Atomics as unknown as AsyncWait).waitAsync(this.#words, COUNT, count);
      if (wait.async) {
        (wait.value as Promise<string>).then(() => {
          Atomics.store(this.#words, ASLEEP, 0);
          wake();
        });
        return true;
      }
    }
    Atomics.store(this.#words, ASLEEP, 0);
    return false;
  }
}
