// The threads of the other shards, as the one that made the broker sees them.
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import type { AnswerOf, Question } from '../administration/questions.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { BindError } from '../network/bind.ts';
import type { HandOutGiver } from '../network/hand-out.ts';
import type { PostedEnd } from '../spool/open.ts';
import { startThread } from '../thread.ts';
import { AskedShards } from './asked.ts';
import type { Errand, ShardThreadData, Word } from './errand.ts';

export interface CrewParts extends Omit<ShardThreadData, 'index' | 'spool' | 'handOut' | 'port' | 'abandoned'> {
  readonly log: Log;
  readonly clock: Clock;
  /** Ends of the spool for shards 1 and up; none where each has a store in memory. */
  readonly ends: readonly PostedEnd[];
  readonly handOut: HandOutGiver | null;
}

/** One thread. */
interface Hand {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly exited: Promise<void>;
}

export class Crew {
  /** Rejects when a shard has died on its own: it is never half a broker that goes on. */
  readonly died: Promise<never>;
  readonly #hands: Hand[] = [];
  readonly #log: Log;
  readonly #clock: Clock;
  #die: (error: Error) => void = () => {};
  #isClosing = false;
  /** Who waits for a word of all, and how many words are missing. */
  #awaited: { readonly kind: Word['kind']; missing: number; resolve(): void; reject(error: Error): void } | null = null;
  readonly #abandoned = new Int32Array(new SharedArrayBuffer(4));
  /** Threads that have not ended. */
  #alive = 0;
  readonly #asked = new AskedShards();

  /** Starts the threads. Resolves when each has joined. @throws Error in one line when one cannot */
  static async start(parts: CrewParts): Promise<Crew> {
    const crew = new Crew(parts.log, parts.clock);
    const joined = crew.#await('joined', parts.fabric.count - 1);
    if (crews.size === 0) process.on('exit', abandonAll);
    crews.add(crew);
    for (let index = 1; index < parts.fabric.count; index++) crew.#hire(index, parts);
    try {
      await Promise.race([joined, crew.died]);
    } catch (error) {
      await crew.dismiss();
      throw error;
    }
    return crew;
  }

  private constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
    this.died = new Promise<never>((_, reject) => {
      this.#die = reject;
    });
    this.died.catch(() => {}); // whoever waits for it is told
  }

  /** Opens the listeners of all. */
  async open(ports: ReadonlyMap<string, number>, firstStored: number): Promise<void> {
    const opened = this.#await('opened', this.#hands.length);
    this.#hands.forEach(({ port }, at) => {
      port.postMessage({ kind: 'open', ports, firstStored: firstStored + at + 1 } satisfies Errand);
    });
    await Promise.race([opened, this.died]);
  }

  /** Ends the connections of all. */
  async endConnections(): Promise<void> {
    const ended = this.#await('ended', this.#hands.length);
    this.#tell({ kind: 'end' });
    await Promise.race([ended, this.died]);
  }

  /**
   * Has every shard close its sockets at once, so that the process can end: ended from outside while uWebSockets has a socket open, a thread aborts the process. False when
   * one of them does not answer in time.
   */
  async abandon(): Promise<boolean> {
    this.#isClosing = true;
    let isDone = false;
    void this.#await('abandoned', this.#hands.length).then(
      () => {
        isDone = true;
      },
      () => {},
    );
    this.#tell({ kind: 'abandon' });
    for (let waitedMs = 0; !isDone && waitedMs < LINGER_MS; waitedMs += LINGER_LOOK_MS) await this.#clock.sleep(LINGER_LOOK_MS);
    return isDone;
  }

  /**
   * The same for a process that ends in this moment, by an exception that nobody caught or by `process.exit`: it blocks until the shards have closed their sockets, or until
   * they have had their time.
   */
  abandonNow(): void {
    this.#isClosing = true;
    this.#tell({ kind: 'abandon' });
    for (let looks = 0; looks < this.#alive; looks++) {
      const done = Atomics.load(this.#abandoned, 0);
      if (done >= this.#alive) return;
      Atomics.wait(this.#abandoned, 0, done, LINGER_MS);
    }
  }

  /** Closes the shards and waits until their threads have ended. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const closed = this.#await('closed', this.#hands.length);
    this.#tell({ kind: 'close' });
    await Promise.race([closed, this.died]);
    await this.dismiss();
  }

  /** Waits for the end of the threads, which have nothing open any more, and helps those that linger. */
  async dismiss(): Promise<void> {
    this.#isClosing = true;
    for (const { port } of this.#hands) port.close();
    await Promise.all(
      this.#hands.map(async ({ worker, exited }) => {
        let hasEnded = false;
        void exited.then(() => {
          hasEnded = true;
        });
        // The process lives until then: whoever stops, or fails to start, has something left to do or to say.
        for (let waitedMs = 0; !hasEnded && waitedMs < LINGER_MS; waitedMs += LINGER_LOOK_MS)
          await this.#clock.sleep(LINGER_LOOK_MS);
        await worker.terminate();
      }),
    );
    crews.delete(this);
    if (crews.size === 0) process.off('exit', abandonAll);
  }

  /** Asks the shards; the answers are in their order. Rejects when one of them has failed, once all have answered, or when one has died. */
  ask<Q extends Question>(question: Q): Promise<readonly AnswerOf<Q>[]> {
    return this.#asked.ask<Q>(this.#hands.length, (number) => this.#tell({ kind: 'ask', number, question }));
  }

  #tell(errand: Errand): void {
    for (const { port } of this.#hands) port.postMessage(errand);
  }

  #hire(index: number, { log: _log, clock: _clock, ends, handOut, ...shared }: CrewParts): void {
    const { port1: port, port2 } = new MessageChannel();
    const end = ends[index - 1];
    const data: ShardThreadData = {
      ...shared,
      index,
      spool: end?.data ?? null,
      handOut: handOut === null ? null : handOut.end(index),
      port: port2,
      abandoned: this.#abandoned.buffer as SharedArrayBuffer,
    };
    const worker = startThread(threadFile(), {
      workerData: data,
      transferList: [port2, ...(end?.transfer ?? [])],
      name: `shard ${index}`,
    });
    this.#alive++;
    const exited = new Promise<void>((resolve) => {
      worker.once('exit', () => {
        this.#alive--;
        resolve();
      });
    });
    const gone = (error: Error) => {
      this.#asked.lost(error);
      this.#failed(error);
    };
    worker.once('error', (error) => gone(new Error(`shard ${index} has died: ${error.message}`)));
    void exited.then(() => gone(new Error(`shard ${index} has ended`)));
    port.on('message', (word: Word) => this.#hear(word, index - 1));
    this.#hands.push({ worker, port, exited });
  }

  #hear(word: Word, at: number): void {
    if (word.kind === 'log') {
      this.#log[word.level](word.message, word.fields);
    } else if (word.kind === 'failed') {
      const error = word.isBinding ? new BindError(word.message) : new Error(word.message);
      // One that has failed can still close its sockets.
      if (this.#awaited?.kind === 'abandoned') return;
      if (this.#awaited !== null) this.#awaited.reject(error);
      else this.#failed(error);
    } else if (word.kind === 'answer') {
      this.#asked.answered(word.number, at, word.answer);
    } else if (word.kind === 'unanswered') {
      this.#asked.failed(word.number, new Error(word.message));
    } else if (this.#awaited?.kind === word.kind && --this.#awaited.missing === 0) {
      this.#awaited.resolve();
      this.#awaited = null;
    }
  }

  #failed(error: Error): void {
    if (!this.#isClosing) this.#die(error);
  }

  #await(kind: Word['kind'], missing: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#awaited = { kind, missing, resolve, reject };
    });
  }
}

/** Those whose threads run: the process must not end while one of them has a socket open. */
const crews = new Set<Crew>();

function abandonAll(): void {
  for (const crew of crews) crew.abandonNow();
}

/** How long a thread may take to end when nothing is open in it any more. */
const LINGER_MS = 2_000;
const LINGER_LOOK_MS = 5;

/** The thread runs the built file, also when the engine runs from its sources in a test. */
function threadFile(): URL {
  const path = import.meta.url.endsWith('.ts') ? '../../dist/engine/shards/shard-thread.js' : './shard-thread.js';
  return new URL(path, import.meta.url);
}
