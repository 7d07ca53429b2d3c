// What the spool tells of itself while it works: numbers in shared memory, written by the storage thread and read by anybody.
//
//   double   0 .. COUNT - 1   the figures; STATE and URGENT are 32-bit integers in the first half of theirs, and read with Atomics
//   double   COUNT + client   Int32 in the first half: intents of this client that are applied and durable, modulo 2^32

export const Figure = {
  /** Requests of the engine that should not lie, counted by it, modulo 2^32. */
  URGENT: 0,
  /** A SpoolState. */
  STATE: 1,
  SESSIONS: 2,
  /** Distinct messages that are owed, and their bytes. */
  MESSAGES: 3,
  MESSAGE_BYTES: 4,
  RETAINED: 5,
  RETAINED_BYTES: 6,
  BATCHES: 7,
  /** Deliveries that were consumed before they had to be written, and those that were written. */
  ELIDED: 8,
  WRITTEN: 9,
  WRITTEN_BYTES: 10,
  /** Bytes that were sealed anew so that their neighbours could be forgotten. */
  EVACUATED_BYTES: 11,
  KEYS_DESTROYED: 12,
  /** Age in ms that the oldest consumed message had when the last erasure destroyed its key, or failed to; and the largest that was seen. */
  ERASURE_LAG_MS: 13,
  ERASURE_LAG_MAX_MS: 14,
  FILE_BYTES: 15,
  QUARANTINED: 16,
  COMPACTIONS: 17,
  READS: 18,
  /** Time in ms that the last commit took, and all of them together. */
  COMMIT_MS: 19,
  COMMITS_MS: 20,
  KEY_SLOTS: 21,
  /** Slots of KEY_SLOTS whose key seals nothing. */
  KEY_SLOTS_FREE: 22,
} as const;
export type Figure = (typeof Figure)[keyof typeof Figure];

export const SpoolState = {
  GOOD: 0,
  /** No room: new messages are refused, what was taken is kept and written when there is room again. */
  FULL: 1,
  /** The disk failed: nothing more is acknowledged. */
  BROKEN: 2,
} as const;
export type SpoolState = (typeof SpoolState)[keyof typeof SpoolState];

const COUNT = 32;

/** Memory of the figures of a spool with so many clients, numbered from 0. */
export function allocateFigures(clients = 1): SharedArrayBuffer {
  return new SharedArrayBuffer((COUNT + clients) * 8);
}

export class Figures {
  readonly values: Float64Array;
  readonly clients: number;
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.values = new Float64Array(memory);
    this.clients = this.values.length - COUNT;
    this.#words = new Int32Array(memory);
  }

  get(figure: Figure): number {
    return this.values[figure]!;
  }

  set(figure: Figure, value: number): void {
    this.values[figure] = value;
  }

  add(figure: Figure, value: number): void {
    this.values[figure] = this.values[figure]! + value;
  }

  /** All figures by name, in lower case; `durable` is that of all clients together. */
  named(): Record<string, number> {
    let durable = 0;
    for (let client = 0; client < this.clients; client++) durable += this.durableOf(client);
    const whole = { DURABLE: durable, STATE: this.state, URGENT: this.urgent };
    const entries = Object.entries(Figure).map(([name, figure]) => [name.toLowerCase(), this.get(figure)] as const);
    return {
      ...Object.fromEntries(entries),
      ...Object.fromEntries(Object.entries(whole).map(([name, value]) => [name.toLowerCase(), value])),
    };
  }

  /** Number of a client's durable intents, modulo 2^32. */
  durableOf(client: number): number {
    return Atomics.load(this.#words, (COUNT + client) * 2) >>> 0;
  }

  setDurable(client: number, value: number): void {
    Atomics.store(this.#words, (COUNT + client) * 2, value | 0);
  }

  get urgent(): number {
    return Atomics.load(this.#words, Figure.URGENT * 2);
  }

  askUrgently(): void {
    Atomics.add(this.#words, Figure.URGENT * 2, 1);
  }

  get state(): SpoolState {
    return Atomics.load(this.#words, Figure.STATE * 2) as SpoolState;
  }

  set state(value: SpoolState) {
    Atomics.store(this.#words, Figure.STATE * 2, value);
  }
}
