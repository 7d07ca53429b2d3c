// Which shard hosts each session, and what others must know of it to choose it: two words of shared memory for each session index. The host writes them; when a
// session moves, its host names the next one as the last thing that it writes.
//
//   0  owner shard (8 bits) | generation of the handle (6) | connected (1) | slow (1) | stored (1)
//   1  number of the session in the store, where it is stored
//
// Handles are those of the session table: index (24 bits) | generation (6 bits).

export const SessionFlag = { CONNECTED: 1 << 14, SLOW: 1 << 15, STORED: 1 << 16 } as const;
export type SessionFlag = (typeof SessionFlag)[keyof typeof SessionFlag];

const OWNER_MASK = 0xff;
const GENERATION_SHIFT = 8;
const GENERATION_MASK = 63;
const INDEX_BITS = 24;
const INDEX_MASK = (1 << INDEX_BITS) - 1;

/** Bytes of the roster of so many sessions. */
export function rosterBytes(sessionsMax: number): number {
  return sessionsMax * 8;
}

export class Roster {
  readonly #words: Int32Array;
  readonly #numbers: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    const sessions = memory.byteLength / 8;
    this.#words = new Int32Array(memory, 0, sessions);
    this.#numbers = new Int32Array(memory, sessions * 4, sessions);
  }

  /** Shard that hosts the session of a handle, or is about to; -1 when the session has ended. */
  owner(handle: number): number {
    const word = this.#word(handle);
    return word < 0 ? -1 : word & OWNER_MASK;
  }

  /** The flags of the session of a handle; 0 when it has ended. */
  flags(handle: number): number {
    const word = this.#word(handle);
    return Math.max(word, 0);
  }

  /** Names the host of a session; its flags are down. */
  host(handle: number, shard: number): void {
    const generation = (handle >>> INDEX_BITS) & GENERATION_MASK;
    Atomics.store(this.#words, handle & INDEX_MASK, shard | (generation << GENERATION_SHIFT));
  }

  /** Names the next host of a session that moves. It is not connected, and as it was in everything else: a shared group may have no other member. */
  move(handle: number, shard: number): void {
    const kept = this.flags(handle) & SessionFlag.STORED;
    const generation = (handle >>> INDEX_BITS) & GENERATION_MASK;
    Atomics.store(this.#words, handle & INDEX_MASK, shard | (generation << GENERATION_SHIFT) | kept);
  }

  /** The host says what its session is like. */
  raise(handle: number, flag: SessionFlag): void {
    Atomics.or(this.#words, handle & INDEX_MASK, flag);
  }

  /** The host says that its session is stored, and by what number. */
  store(handle: number, number: number): void {
    Atomics.store(this.#numbers, handle & INDEX_MASK, number);
    this.raise(handle, SessionFlag.STORED);
  }

  /** Number of the session in the store; 0 when it has ended or is not stored. */
  stored(handle: number): number {
    return (this.flags(handle) & SessionFlag.STORED) === 0 ? 0 : Atomics.load(this.#numbers, handle & INDEX_MASK);
  }

  lower(handle: number, flag: SessionFlag): void {
    Atomics.and(this.#words, handle & INDEX_MASK, ~flag);
  }

  /** The session has ended: its handle names nobody. */
  end(handle: number): void {
    const next = ((handle >>> INDEX_BITS) + 1) & GENERATION_MASK;
    Atomics.store(this.#words, handle & INDEX_MASK, next << GENERATION_SHIFT);
  }

  #word(handle: number): number {
    const word = Atomics.load(this.#words, handle & INDEX_MASK);
    return ((word >>> GENERATION_SHIFT) & GENERATION_MASK) === ((handle >>> INDEX_BITS) & GENERATION_MASK) ? word : -1;
  }
}
