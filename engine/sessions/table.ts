// The session table: a slab of sessions behind handles, and the directory from client identifier to handle.
import { Session, type SessionHandle } from './session.ts';

const INDEX_BITS = 24;
const INDEX_MASK = (1 << INDEX_BITS) - 1;
const GENERATION_MASK = 63;

export class SessionTable {
  readonly #slots: (Session | null)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];
  readonly #directory = new Map<string, SessionHandle>();
  readonly #capacity: number;

  constructor(sessionsMax: number) {
    this.#capacity = Math.min(sessionsMax, INDEX_MASK + 1);
  }

  get count(): number {
    return this.#directory.size;
  }

  /** A new session for a client identifier that has none; null when the table is full. */
  create(clientId: string): Session | null {
    if (this.count >= this.#capacity) return null;
    const index = this.#free.pop() ?? this.#slots.length;
    const generation = this.#generations[index] ?? 0;
    this.#generations[index] = generation;
    const session = new Session(((generation << INDEX_BITS) | index) as SessionHandle, clientId);
    this.#slots[index] = session;
    this.#directory.set(clientId, session.handle);
    return session;
  }

  /** Enters a session under a handle that was given elsewhere. */
  enter(session: Session): void {
    const index = session.handle & INDEX_MASK;
    while (this.#slots.length <= index) this.#slots.push(null);
    this.#slots[index] = session;
    this.#directory.set(session.clientId, session.handle);
  }

  /** The session of a handle, null when it has ended. HOT. */
  at(handle: number): Session | null {
    const session = this.#slots[handle & INDEX_MASK];
    return session !== undefined && session !== null && session.handle === handle ? session : null;
  }

  find(clientId: string): Session | null {
    const handle = this.#directory.get(clientId);
    return handle === undefined ? null : this.at(handle);
  }

  /** Takes a session out; its handle finds nothing from now on. */
  remove(session: Session): void {
    const index = session.handle & INDEX_MASK;
    if (this.at(session.handle) !== session) return;
    this.#slots[index] = null;
    // A handle that was given elsewhere is taken back there.
    if (index < this.#generations.length) {
      this.#generations[index] = (this.#generations[index]! + 1) & GENERATION_MASK;
      this.#free.push(index);
    }
    this.#directory.delete(session.clientId);
  }

  /** Places that may hold a session, for those who go through all of them in steps. */
  get places(): number {
    return this.#slots.length;
  }

  /** The session at a place below `places`; null where there is none. */
  atPlace(place: number): Session | null {
    return this.#slots[place] ?? null;
  }

  *[Symbol.iterator](): IterableIterator<Session> {
    for (const session of this.#slots) if (session) yield session;
  }
}
