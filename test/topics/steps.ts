// Threads in lock-step: one thread of a scenario runs at a time, and a schedule says before which access to shared memory another one
// goes on. The engine's own code is run: what a thread's engine gets for `Atomics` and for arrays over the shared memory counts
// each access. This file holds what both sides know, and the side of the threads; trie-steps.test.ts is the other one.
import { SubscriptionTrie, type TrieMemory } from '../../engine/topics/trie.ts';

/** What a thread does, one after the other. A slot holds the entry of a subscription, made here or by the scenario's beginning. */
export type Operation =
  | { readonly kind: 'subscribe'; readonly filter: string; readonly slot: number }
  | { readonly kind: 'unsubscribe'; readonly slot: number }
  | { readonly kind: 'match'; readonly topic: string }
  | { readonly kind: 'quiesce' };

export interface StepsJob {
  readonly memory: TrieMemory;
  readonly thread: number;
  readonly operations: readonly Operation[];
  /** Control words as below. */
  readonly control: SharedArrayBuffer;
  /** For each word of the trie's memory who has read it (bit of the thread) and who has written it (from bit 8). */
  readonly accesses: SharedArrayBuffer;
  /** For each word whether an access to it is a step. */
  readonly stepped: SharedArrayBuffer;
}

export const THREADS_MAX = 3;
export const OPERATIONS_MAX = 4;
const SWITCHES_MAX = 8;
export const STEPS_MAX = 4_096;
export const SLOTS = 16;

/** The thread that runs is this one's number; CONTROLLER when all are done, ENDED when the threads are to end. */
export const TURN = 0;
export const CONTROLLER = -1;
export const ENDED = -2;
/** Steps taken, and ticks at the beginning and end of each operation. */
export const STEPS = 1;
export const CLOCK = 2;
/** Bits of the threads that are done. */
export const DONE = 3;
/** Threads in the order in which they begin and go on after others are done. */
export const ORDER = 4;
export const SWITCHES = ORDER + THREADS_MAX;
/** Pairs: step, thread that goes on before it. */
export const SWITCH = SWITCHES + 1;
/** For each operation of each thread: beginning, end, value. */
export const OUTCOME = SWITCH + SWITCHES_MAX * 2;
export const OUTCOME_WORDS = 3;
export const SLOT = OUTCOME + THREADS_MAX * OPERATIONS_MAX * OUTCOME_WORDS;
/** For each step: the thread that took it, and from bit 8 those that were done. */
export const TRACE = SLOT + SLOTS;
export const CONTROL_WORDS = TRACE + STEPS_MAX;

const WRITTEN_SHIFT = 8;

/** Waits until a word of the control is not what it was. */
export function awaitTurn(control: Int32Array, thread: number): number {
  for (;;) {
    const turn = realAtomics.load(control, TURN);
    if (turn === thread || turn === ENDED) return turn;
    realAtomics.wait(control, TURN, turn);
  }
}

export function giveTurn(control: Int32Array, thread: number): void {
  realAtomics.store(control, TURN, thread);
  realAtomics.notify(control, TURN);
}

const realAtomics = Atomics;
const RealInt32Array = Int32Array;
const RealBigInt64Array = BigInt64Array;

/** Counts the accesses of this thread and hands over where the schedule says so. */
export class Stepper {
  readonly #control: Int32Array;
  readonly #accesses: Int32Array;
  readonly #stepped: Int32Array;
  readonly #buffer: SharedArrayBuffer;
  readonly #thread: number;
  /** Real arrays by what the engine holds for them. */
  readonly #real = new WeakMap<object, Int32Array | BigInt64Array>();
  isOn = false;

  constructor(job: StepsJob) {
    this.#control = new RealInt32Array(job.control);
    this.#accesses = new RealInt32Array(job.accesses);
    this.#stepped = new RealInt32Array(job.stepped);
    this.#buffer = job.memory.buffer;
    this.#thread = job.thread;
  }

  /** Replaces what the engine reaches shared memory with. */
  install(): void {
    const read = (array: object, at: number) => this.#access(array, at, 0);
    const write = (array: object, at: number) => this.#access(array, at, WRITTEN_SHIFT);
    // biome-ignore-start lint/suspicious/noExplicitAny: the arrays of both kinds go through
    const instrumented = {
      load: (array: any, at: number) => realAtomics.load(read(array, at), at),
      store: (array: any, at: number, value: any) => realAtomics.store(write(array, at), at, value),
      add: (array: any, at: number, value: any) => realAtomics.add(write(array, at), at, value),
      sub: (array: any, at: number, value: any) => realAtomics.sub(write(array, at), at, value),
      compareExchange: (array: any, at: number, expected: any, value: any) =>
        realAtomics.compareExchange(write(array, at), at, expected, value),
    };
    // biome-ignore-end lint/suspicious/noExplicitAny: see above
    const construct = (target: new () => Int32Array | BigInt64Array, parts: unknown[]): object => {
      const array = Reflect.construct(target, parts) as Int32Array | BigInt64Array;
      return parts[0] === this.#buffer ? this.#watch(array) : array;
    };
    Object.defineProperties(globalThis, {
      Atomics: { value: instrumented },
      Int32Array: { value: new Proxy(RealInt32Array, { construct: construct as never }) },
      BigInt64Array: { value: new Proxy(RealBigInt64Array, { construct: construct as never }) },
    });
  }

  #watch(array: Int32Array | BigInt64Array): object {
    const watched: object = new Proxy(array, {
      get: (target, key) => {
        if (isIndex(key)) this.#access(watched, Number(key), 0);
        return Reflect.get(target, key, target);
      },
      set: (target, key, value) => {
        if (isIndex(key)) this.#access(watched, Number(key), WRITTEN_SHIFT);
        return Reflect.set(target, key, value, target);
      },
    });
    this.#real.set(watched, array);
    return watched;
  }

  /** Notes an access that is about to be made; the array that it is made to. */
  // biome-ignore lint/suspicious/noExplicitAny: as in `install`
  #access(watched: object, at: number, shift: number): any {
    const array = this.#real.get(watched)!;
    const word = (array.byteOffset + at * array.BYTES_PER_ELEMENT) >> 2;
    if (this.isOn) {
      this.#accesses[word] = this.#accesses[word]! | (1 << (this.#thread + shift));
      if (this.#stepped[word] !== 0) this.#step();
    }
    return array;
  }

  #step(): void {
    const control = this.#control;
    const step = control[STEPS]!;
    for (let at = 0; at < control[SWITCHES]!; at++) {
      if (control[SWITCH + at * 2] !== step || control[SWITCH + at * 2 + 1] === this.#thread) continue;
      giveTurn(control, control[SWITCH + at * 2 + 1]!);
      awaitTurn(control, this.#thread);
      break;
    }
    const now = control[STEPS]!;
    if (now === STEPS_MAX) throw new Error('steps: without end');
    control[TRACE + now] = this.#thread | (control[DONE]! << 8);
    control[STEPS] = now + 1;
  }
}

function isIndex(key: string | symbol): boolean {
  return typeof key === 'string' && key.charCodeAt(0) >= 0x30 && key.charCodeAt(0) <= 0x39;
}

/** Who goes on when `done` are: the first in the order that is not, or the controller. */
export function nextThread(control: Int32Array, threads: number): number {
  for (let at = 0; at < threads; at++) {
    const thread = control[ORDER + at]!;
    if ((control[DONE]! & (1 << thread)) === 0) return thread;
  }
  return CONTROLLER;
}

/** Whether threads can disturb each other at a word: two use it, and one writes it. */
export function isContended(accesses: number): boolean {
  const users = (accesses | (accesses >> WRITTEN_SHIFT)) & 0xff;
  return accesses >> WRITTEN_SHIFT !== 0 && (users & (users - 1)) !== 0;
}

export function attachAgain(job: StepsJob): SubscriptionTrie {
  return SubscriptionTrie.attach(job.memory, job.thread);
}
