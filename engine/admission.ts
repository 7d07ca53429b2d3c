// Who is turned away before the broker has spent anything on it: addresses of the ban list, and everybody while the event loop does not keep up. One for each shard; listeners ask it.
import type { Counters } from './counters.ts';

/** A set of addresses. */
export interface Addresses {
  has(address: string): boolean;
}

export class Admission {
  /** Null: nobody is banned. */
  banned: Addresses | null = null;
  /** The event loop is so late that those who are in must come first (shards/overload.ts). */
  isOverloaded = false;
  readonly #counters: Counters;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /** Whether an address is on the ban list; counted when it is. */
  refusesAddress(address: string): boolean {
    if (this.banned === null || !this.banned.has(address)) return false;
    this.#counters.refusedBanned++;
    return true;
  }

  /** Whether new connections are refused now; counted when they are. */
  refusesAll(): boolean {
    if (this.isOverloaded) this.#counters.refusedOverload++;
    return this.isOverloaded;
  }
}
