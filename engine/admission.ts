// Who is turned away before the broker has spent anything on it: addresses of the ban list, and everybody while the event loop does not keep up or there are no file descriptors to spare. One for each shard; listeners ask it.
import type { Counters } from './counters.ts';
import type { SpareDescriptors } from './descriptors.ts';

/** A set of addresses. */
export interface Addresses {
  has(address: string): boolean;
}

export class Admission {
  /** Null: nobody is banned. */
  banned: Addresses | null = null;
  /** The event loop is so late that those who are in must come first (shards/overload.ts). */
  isOverloaded = false;
  /** Null: nobody counts them. */
  descriptors: SpareDescriptors | null = null;
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

  /** Whether a connection that was just accepted must be closed for want of descriptors; counted as overload when it must. */
  lacksDescriptors(): boolean {
    if (this.descriptors === null || !this.descriptors.areFew()) return false;
    this.#counters.refusedOverload++;
    return true;
  }
}
