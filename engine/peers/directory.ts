// Which shard hosts the session of a client: one table, kept by the first shard, which decides who gets a session in the order in which it is asked. A session has one host at
// a time, and moves once at a time; who asks meanwhile waits for the end of the move.
//
//   claim → fresh                       nobody had it
//         → yours                       the asking shard hosts it
//         → release to its host         → moved … moved-end (host to host), arrived
//                                       → or ended, when there was nothing to keep: fresh
//                                       → or kept, when it is another user's: denied
//         → held, while nothing may move, and withdrawn when the client goes meanwhile
//
// A host that ended a session may cross a release on the way: whichever comes first, `ended` frees the handle, and the claim gets a fresh one.
import type { Claim, Control } from './control.ts';
import type { Roster } from './roster.ts';

const INDEX_BITS = 24;
const GENERATION_MASK = 63;

interface Entry {
  readonly clientId: string;
  handle: number;
  owner: number;
  /** The claim that a move is under way for. */
  moving: Claim | null;
  /** Claims that wait for its end. */
  waiting: Claim[];
}

export class Directory {
  readonly #byClient = new Map<string, Entry>();
  readonly #byHandle = new Map<number, Entry>();
  readonly #roster: Roster;
  readonly #sessionsMax: number;
  readonly #send: (shard: number, control: Control) => void;
  readonly #free: number[] = [];
  readonly #generations: number[] = [];
  /** Moves that are under way. */
  moving = 0;
  /** Claims that came while no move may begin, by shard and request; null when it may. */
  #held: Map<string, Claim> | null = null;
  /** Whose session alone may not begin to move; null: no session may. */
  #heldClient: string | null = null;

  /** `send` must not come back before it returns. */
  constructor(sessionsMax: number, roster: Roster, send: (shard: number, control: Control) => void) {
    this.#sessionsMax = Math.min(sessionsMax, 1 << INDEX_BITS);
    this.#roster = roster;
    this.#send = send;
  }

  get count(): number {
    return this.#byClient.size;
  }

  /** No session begins to move until `release`, or only that of a client: claims wait. */
  hold(clientId: string | null): void {
    this.#held ??= new Map();
    this.#heldClient = clientId;
  }

  release(): void {
    const held = this.#held?.values() ?? [];
    this.#held = null;
    for (const claim of held) this.claim(claim);
  }

  /** Whether the session of a client is on its way; with null, any. */
  isMoving(clientId: string | null): boolean {
    return clientId === null ? this.moving > 0 : (this.#byClient.get(clientId)?.moving ?? null) !== null;
  }

  /** Who claimed has gone. A claim that waits for `release` is let go, and said to be; one that is under way gets its answer. */
  withdraw(shard: number, request: number): void {
    if (this.#held?.delete(heldKey(shard, request))) this.#send(shard, { kind: 'withdrawn', request });
  }

  /** Enters a session that a store remembers; its handle, or -1 when there are as many as may be. */
  recover(clientId: string, owner: number): number {
    return this.#byClient.has(clientId) ? -1 : this.#create(clientId, owner);
  }

  claim(claim: Claim): void {
    const entry = this.#byClient.get(claim.clientId);
    const { shard, request } = claim;
    if (entry === undefined) {
      const handle = this.#create(claim.clientId, shard);
      this.#send(shard, handle < 0 ? { kind: 'full', request } : { kind: 'fresh', request, handle });
    } else if (entry.moving !== null) {
      entry.waiting.push(claim);
    } else if (entry.owner === shard) {
      this.#send(shard, { kind: 'yours', request, handle: entry.handle });
    } else if (this.#held !== null && (this.#heldClient === null || this.#heldClient === claim.clientId)) {
      this.#held.set(heldKey(shard, request), claim);
    } else {
      const host = entry.owner;
      this.moving++;
      entry.owner = shard;
      entry.moving = claim;
      this.#send(host, { kind: 'release', handle: entry.handle, claim });
    }
  }

  /** A shard has ended a session: its handle names nobody any more. */
  ended(handle: number): void {
    const entry = this.#byHandle.get(handle);
    if (entry === undefined) return;
    this.#byHandle.delete(handle);
    this.#freeHandle(handle);
    if (entry.moving === null) {
      this.#byClient.delete(entry.clientId);
      return;
    }
    const { shard, request } = entry.moving;
    entry.handle = this.#takeHandle(shard);
    this.#byHandle.set(entry.handle, entry);
    this.#send(shard, { kind: 'fresh', request, handle: entry.handle });
    this.#settle(entry);
  }

  /** A host does not give a session away. */
  kept(handle: number, host: number): void {
    const entry = this.#byHandle.get(handle);
    if (entry === undefined || entry.moving === null) return;
    entry.owner = host;
    this.#send(entry.moving.shard, { kind: 'denied', request: entry.moving.request });
    this.#settle(entry);
  }

  /** A move is over. */
  arrived(handle: number): void {
    const entry = this.#byHandle.get(handle);
    if (entry !== undefined) this.#settle(entry);
  }

  #settle(entry: Entry): void {
    if (entry.moving !== null) this.moving--;
    entry.moving = null;
    const { waiting } = entry;
    entry.waiting = [];
    for (const claim of waiting) this.claim(claim);
  }

  #create(clientId: string, owner: number): number {
    if (this.#byClient.size >= this.#sessionsMax) return -1;
    const handle = this.#takeHandle(owner);
    const entry = { clientId, handle, owner, moving: null, waiting: [] };
    this.#byClient.set(clientId, entry);
    this.#byHandle.set(handle, entry);
    return handle;
  }

  #takeHandle(owner: number): number {
    const index = this.#free.pop() ?? this.#generations.length;
    this.#generations[index] ??= 0;
    const handle = (this.#generations[index]! << INDEX_BITS) | index;
    this.#roster.host(handle, owner);
    return handle;
  }

  #freeHandle(handle: number): void {
    const index = handle & ((1 << INDEX_BITS) - 1);
    this.#generations[index] = (this.#generations[index]! + 1) & GENERATION_MASK;
    this.#free.push(index);
  }
}

function heldKey(shard: number, request: number): string {
  return `${shard} ${request}`;
}
