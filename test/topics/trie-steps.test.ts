// The trie under every order of a few threads' accesses to shared memory, up to a number of preemptions: small scenarios, run again and
// again, and looked at after each. Two preemptions find what needs one thread to be stopped twice, or two once each; LETHE_RUNS adds to them.
//
// A schedule is the order in which threads begin, and the steps before which another one goes on. Steps are the accesses to words that
// two threads of the scenario use and one writes: the order of others cannot matter. Which words those are is learnt from the runs.
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { MatchList, SubscriptionTrie, type TrieMemory } from '../../engine/topics/trie.ts';
import { attachAll, takeStock } from './census.ts';
import { enter } from './clients.ts';
import { naiveMatch } from './naive.ts';
import {
  awaitTurn,
  CONTROL_WORDS,
  CONTROLLER,
  DONE,
  ENDED,
  giveTurn,
  isContended,
  OPERATIONS_MAX,
  type Operation,
  ORDER,
  OUTCOME,
  OUTCOME_WORDS,
  SLOT,
  SLOTS,
  STEPS,
  type StepsJob,
  SWITCH,
  SWITCHES,
  TRACE,
  TURN,
} from './steps.ts';
import { isShared, plainFilter } from './trie-worker.ts';

const PREEMPTIONS = 1 + Number(process.env['LETHE_RUNS'] ?? 1);

interface Scenario {
  readonly name: string;
  /** Filters by slot that are subscribed before, and the thread whose they are. */
  readonly before: readonly (readonly [slot: number, thread: number, filter: string])[];
  readonly threads: readonly (readonly Operation[])[];
  /** One preemption less, where there are many steps. */
  readonly isLong?: boolean;
}

const subscribe = (slot: number, filter: string): Operation => ({ kind: 'subscribe', slot, filter });
const unsubscribe = (slot: number): Operation => ({ kind: 'unsubscribe', slot });
const match = (topic: string): Operation => ({ kind: 'match', topic });
const quiesce: Operation = { kind: 'quiesce' };

const scenarios: readonly Scenario[] = [
  { name: 'insert and insert of one filter', before: [], threads: [[subscribe(0, 'a')], [subscribe(1, 'a')]] },
  {
    name: 'insert and insert of filters below one level',
    before: [],
    threads: [[subscribe(0, 'a/b'), match('a/b')], [subscribe(1, 'a/x')]],
    isLong: true,
  },
  {
    name: 'insert and remove of one filter',
    before: [[0, 0, 'a/b']],
    threads: [[unsubscribe(0)], [subscribe(1, 'a/b'), match('a/b')]],
  },
  { name: 'remove and match', before: [[0, 0, 'a/b']], threads: [[unsubscribe(0), quiesce], [match('a/b')]] },
  {
    name: 'remove and remove of one filter',
    before: [
      [0, 0, 'a/b'],
      [1, 1, 'a/b'],
      [2, 0, 'a/b'],
    ],
    threads: [
      [unsubscribe(0), match('a/b')],
      [unsubscribe(1), match('a/b')],
    ],
  },
  {
    name: 'remove, use again and match',
    before: [[0, 0, 'a']],
    threads: [[unsubscribe(0), quiesce, subscribe(1, 'b'), quiesce], [match('a')]],
  },
  {
    name: 'insert and insert of +',
    before: [],
    threads: [
      [subscribe(0, '+'), match('x')],
      [subscribe(1, '+'), match('x')],
    ],
  },
  { name: 'insert and remove of +', before: [[0, 0, '+']], threads: [[unsubscribe(0)], [subscribe(1, '+'), match('x')]] },
  {
    name: 'insert and remove of # below what both use',
    before: [[0, 0, 'a/#']],
    threads: [
      [unsubscribe(0), quiesce],
      [subscribe(1, 'a/#'), match('a')],
    ],
  },
  {
    name: 'join and join of one group',
    before: [],
    threads: [[subscribe(0, '$share/g/a')], [subscribe(1, '$share/g/a'), match('a')]],
    isLong: true,
  },
  {
    name: 'join and join of one group of a filter that is there',
    before: [[0, 0, 'a']],
    threads: [[subscribe(1, '$share/g/a')], [subscribe(2, '$share/g/a')]],
  },
  {
    name: 'join and leave of one group',
    before: [[0, 0, '$share/g/a']],
    threads: [
      [unsubscribe(0), quiesce],
      [subscribe(1, '$share/g/a'), match('a')],
    ],
  },
  {
    name: 'leave of two groups of one filter',
    before: [
      [0, 0, '$share/g/a'],
      [1, 1, '$share/h/a'],
      [2, 1, '$share/i/a'],
    ],
    threads: [[unsubscribe(0), match('a')], [unsubscribe(1)]],
  },
  {
    name: 'leave of a group and its turns',
    before: [
      [0, 0, '$share/g/a'],
      [1, 0, '$share/g/a'],
    ],
    threads: [
      [unsubscribe(0), quiesce, subscribe(2, '$share/g/a')],
      [match('a'), match('a')],
    ],
  },
  {
    name: 'insert, remove and match',
    before: [[0, 0, 'a/+']],
    threads: [[unsubscribe(0)], [subscribe(1, 'a/+')], [match('a/x')]],
    isLong: true,
  },
  {
    name: 'join, leave and match of a group',
    before: [[0, 0, '$share/g/a']],
    threads: [[unsubscribe(0)], [subscribe(1, '$share/g/a')], [match('a')]],
    isLong: true,
  },
];

describe(`every order with ${PREEMPTIONS} preemptions`, () => {
  for (const scenario of scenarios) {
    test(scenario.name, { timeout: 120_000 * PREEMPTIONS ** 3 }, async () => {
      const explorer = new Explorer(scenario);
      try {
        explorer.explore();
      } finally {
        await explorer.end();
      }
      expect(explorer.runs).toBeGreaterThan(10);
    });
  }
});

type Switch = readonly [step: number, thread: number];

class Explorer {
  runs = 0;
  readonly #scenario: Scenario;
  readonly #memory: TrieMemory;
  /** As each thread, and as one more: for what is looked at between runs. */
  readonly #tries: readonly SubscriptionTrie[];
  readonly #initial: Uint8Array;
  readonly #slots = new Int32Array(SLOTS);
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  readonly #accesses: Int32Array;
  readonly #stepped: Int32Array;
  readonly #workers: readonly Worker[];
  readonly #preemptions: number;

  constructor(scenario: Scenario) {
    const threads = scenario.threads.length;
    const trie = new SubscriptionTrie({
      nodesMax: 12,
      subscriptionsMax: 12,
      levelBytesMax: 64,
      seed: 1,
      participantsMax: threads + 1,
    });
    this.#scenario = scenario;
    this.#memory = trie.memory;
    this.#tries = attachAll(trie.memory);
    this.#preemptions = scenario.isLong === true ? PREEMPTIONS - 1 : PREEMPTIONS;
    for (const [slot, thread, filter] of scenario.before) {
      this.#slots[slot] = enter(this.#tries[thread]!, filter, slot, 0, slot);
      this.#tries[thread]!.quiesce();
    }
    const { buffer } = this.#memory;
    this.#initial = new Uint8Array(buffer).slice();
    this.#accesses = new Int32Array(new SharedArrayBuffer(buffer.byteLength));
    this.#stepped = new Int32Array(new SharedArrayBuffer(buffer.byteLength));
    this.#control[TURN] = CONTROLLER;
    this.#workers = scenario.threads.map((operations, thread) => {
      const steps: StepsJob = {
        memory: this.#memory,
        thread,
        operations,
        control: this.#control.buffer,
        accesses: this.#accesses.buffer as SharedArrayBuffer,
        stepped: this.#stepped.buffer as SharedArrayBuffer,
      };
      const url = new URL('../../dist/test/topics/steps-worker.js', import.meta.url);
      return new Worker(url, { workerData: { steps, threads } });
    });
  }

  /** All schedules, anew when a word was found to matter that had not been stepped. */
  explore(): void {
    const orders = permutations(this.#scenario.threads.map((_, thread) => thread));
    do {
      for (const order of orders) this.#follow(order, []);
    } while (this.#learn());
  }

  async end(): Promise<void> {
    giveTurn(this.#control, ENDED);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #learn(): boolean {
    let learnt = false;
    for (let word = 0; word < this.#accesses.length; word++) {
      if (this.#stepped[word] !== 0 || !isContended(this.#accesses[word]!)) continue;
      this.#stepped[word] = 1;
      learnt = true;
    }
    return learnt;
  }

  /** The schedule, and all that are this one and more switches. */
  #follow(order: readonly number[], switches: readonly Switch[]): void {
    this.#run(order, switches);
    if (switches.length === this.#preemptions) return;
    const control = this.#control;
    const trace = control.slice(TRACE, TRACE + control[STEPS]!);
    const from = switches.length === 0 ? 0 : switches.at(-1)![0] + 1;
    for (let step = from; step < trace.length; step++) {
      for (const thread of order) {
        const isDone = ((trace[step]! >> 8) & (1 << thread)) !== 0;
        if (!isDone && thread !== (trace[step]! & 0xff)) this.#follow(order, [...switches, [step, thread]]);
      }
    }
  }

  #run(order: readonly number[], switches: readonly Switch[]): void {
    const control = this.#control;
    this.runs++;
    new Uint8Array(this.#memory.buffer).set(this.#initial);
    control.fill(0, STEPS);
    for (const [at, thread] of order.entries()) control[ORDER + at] = thread;
    control[SWITCHES] = switches.length;
    for (const [at, [step, thread]] of switches.entries()) {
      control[SWITCH + at * 2] = step;
      control[SWITCH + at * 2 + 1] = thread;
    }
    control.set(this.#slots, SLOT);
    giveTurn(control, order[0]!);
    awaitTurn(control, CONTROLLER);
    try {
      this.#check();
    } catch (error) {
      const schedule = `threads in the order ${order.join()}, switches ${JSON.stringify(switches)}`;
      throw new Error(`${String(error)}\n\n${schedule}, outcomes ${this.#outcomes()}`, { cause: error });
    }
  }

  #check(): void {
    const { threads } = this.#scenario;
    const control = this.#control;
    if (control[DONE] !== 2 ** threads.length - 1) throw new Error('not all threads are done');
    for (const [thread, operations] of threads.entries()) {
      for (const [at, operation] of operations.entries()) {
        const outcome = this.#outcome(thread, at);
        if (operation.kind === 'subscribe' && outcome.value <= 0) throw new Error(`subscribe gave ${outcome.value}`);
        if (operation.kind === 'match') this.#checkMatch(operation.topic, outcome);
      }
    }
    takeStock(this.#memory, this.#tries);
    this.#checkRest();
  }

  /** A match finds what was there all the while, and nothing that was not there at any time. */
  #checkMatch(topic: string, { begin, end, value }: Outcome): void {
    if (value < 0) throw new Error(`match of ${topic} gave ${value}`);
    const lives = this.#lives();
    for (const life of lives) {
      const isFound = (value & (1 << life.slot)) !== 0;
      const matches = naiveMatch(plainFilter(life.filter), topic);
      const must = matches && life.inTo < begin && life.outFrom > end;
      // A group is found, with one of its members whose turn it is; a round of them is no instant's picture.
      const isServed =
        isShared(life.filter) && lives.some(({ filter, slot }) => filter === life.filter && (value & (1 << slot)) !== 0);
      if (must && !isFound && !isServed) throw new Error(`match of ${topic} missed slot ${life.slot}`);
      const may = matches && life.inFrom < end && life.outTo > begin;
      if (!may && isFound) throw new Error(`match of ${topic} found slot ${life.slot}`);
    }
  }

  /** What is left is found exactly; and when it has been taken out, nothing is left. */
  #checkRest(): void {
    const tries = this.#tries;
    const list = new MatchList();
    const lives = this.#lives();
    for (const topic of ['a', 'b', 'x', 'a/b', 'a/x']) {
      const bytes = Buffer.from(topic);
      tries.at(-1)!.match(bytes, 0, bytes.length, list);
      const left = lives.filter(({ filter, outTo }) => outTo === Infinity && naiveMatch(plainFilter(filter), topic));
      const plain = left.filter(({ filter }) => !isShared(filter)).map(({ slot }) => slot);
      const groups = new Set(left.filter(({ filter }) => isShared(filter)).map(({ filter }) => filter));
      const found = Array.from(list.subscriber.subarray(0, list.count));
      if (found.sort().join() !== plain.sort().join() || list.groupCount !== groups.size) {
        throw new Error(`${topic} finds ${found} and ${list.groupCount} groups in the end`);
      }
    }
    for (const life of lives) if (life.outTo === Infinity) tries[life.thread]!.unsubscribe(this.#control[SLOT + life.slot]!);
    for (const trie of tries) trie.groupMembers(-1); // enters where the thread had, so that it can leave
    for (const trie of tries) trie.quiesce();
    for (const trie of tries) trie.quiesce();
    const { nodes, subscriptions, waiting } = takeStock(this.#memory, tries);
    if (nodes + subscriptions + waiting !== 0)
      throw new Error(`${nodes} nodes, ${subscriptions} entries, ${waiting} rows are left`);
  }

  /** From when to when each slot was subscribed: the beginnings and ends of the operations that did it. */
  #lives(): Life[] {
    const lives: Life[] = this.#scenario.before.map(([slot, thread, filter]) => ({ ...FOR_EVER, slot, thread, filter }));
    for (const [thread, operations] of this.#scenario.threads.entries()) {
      for (const [at, operation] of operations.entries()) {
        const { begin, end } = this.#outcome(thread, at);
        if (operation.kind === 'subscribe') {
          lives.push({ ...FOR_EVER, slot: operation.slot, thread, filter: operation.filter, inFrom: begin, inTo: end });
        } else if (operation.kind === 'unsubscribe') {
          const life = lives.find(({ slot }) => slot === operation.slot)!;
          life.outFrom = begin;
          life.outTo = end;
        }
      }
    }
    return lives;
  }

  #outcome(thread: number, at: number): Outcome {
    const [begin, end, value] = this.#control.subarray(OUTCOME + (thread * OPERATIONS_MAX + at) * OUTCOME_WORDS);
    return { begin: begin!, end: end!, value: value! };
  }

  #outcomes(): string {
    const { threads } = this.#scenario;
    return JSON.stringify(
      threads.map((operations, thread) => operations.map((_, at) => Object.values(this.#outcome(thread, at)))),
    );
  }
}

interface Outcome {
  readonly begin: number;
  readonly end: number;
  readonly value: number;
}

interface Life {
  readonly slot: number;
  readonly thread: number;
  readonly filter: string;
  readonly inFrom: number;
  readonly inTo: number;
  outFrom: number;
  outTo: number;
}

const FOR_EVER = { inFrom: -1, inTo: -1, outFrom: Infinity, outTo: Infinity };

function permutations(list: readonly number[]): number[][] {
  if (list.length < 2) return [[...list]];
  return list.flatMap((first) => permutations(list.filter((other) => other !== first)).map((rest) => [first, ...rest]));
}
