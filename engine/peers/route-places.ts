// The routes that another shard has been told, by their place there: a message of such a route names the place instead of its receivers. A route is told when it is
// used for the second time; the oldest place is used again, and all are forgotten when the other shard would hold too many targets.
import type { Target } from '../sessions/target.ts';

/** The receivers of one route that one other shard hosts. */
export class RemoteTargets {
  readonly shard: number;
  readonly targets: readonly Target[];
  /** Messages that took it so far, up to two. */
  uses = 0;
  place = -1;

  constructor(shard: number, targets: readonly Target[]) {
    this.shard = shard;
    this.targets = targets;
  }
}

const PLACES = 4_096;
/** About 20 MiB here and as much there, for each pair of shards. */
const TARGETS_MAX = 262_144;

export class RoutePlaces {
  readonly #holders: (RemoteTargets | null)[] = new Array(PLACES).fill(null);
  #next = 0;
  #targets = 0;

  /** Whether the other shard knows this route by its place. */
  knows(remote: RemoteTargets): boolean {
    return remote.place >= 0 && this.#holders[remote.place] === remote;
  }

  /** Whether the other shard must forget all places before it is told this route. */
  isFullFor(remote: RemoteTargets): boolean {
    return this.#targets > 0 && this.#targets + remote.targets.length > TARGETS_MAX;
  }

  forget(): void {
    this.#holders.fill(null);
    this.#targets = 0;
  }

  /** Gives a route a place, which its holder before loses. */
  assign(remote: RemoteTargets): number {
    const place = this.#next;
    this.#next = (place + 1) % PLACES;
    const before = this.#holders[place]!;
    if (before !== null) this.#targets -= before.targets.length;
    this.#holders[place] = remote;
    this.#targets += remote.targets.length;
    remote.place = place;
    return place;
  }
}
