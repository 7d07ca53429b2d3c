// The other shards of the broker, as one shard sees them: a way out to each, a way in from each, and when to look.
//
// Shards tell each other by letters (letter.ts) and by two counts in shared memory. A shard looks at its rings when its bell was rung, and goes on looking once in each
// round of its event loop as long as it finds something; only when a look was in vain does it arm the bell again. So while there is traffic nobody rings.
//
// Letters of a turn are published at its end, all together, in the order of the shards: what was told the first shard is there before what was told any other
// (routing/retain.ts rests on that).
import { Doorbell } from '../../storage/doorbell.ts';
import { RingConsumer, RingProducer } from '../../storage/ring.ts';
import type { Clock } from '../clock.ts';
import type { Target } from '../sessions/target.ts';
import type { Fabric } from './fabric.ts';
import { Gauges } from './gauges.ts';
import { Roster } from './roster.ts';
import { RoutePlaces } from './route-places.ts';
import { Sender } from './sender.ts';
import { Tallies } from './tallies.ts';
import { Debts, Tickets } from './tickets.ts';

/** What comes from one other shard. */
export class Receiver {
  readonly ring: RingConsumer;
  readonly debts = new Debts();
  /** Targets of routes that the other shard has named, by their place. */
  readonly routes: (readonly Target[] | null)[] = [];
  /** Places with a session that was not here when they were named: what it may read is asked for each message. */
  readonly unjudged = new Set<number>();
  /** A letter in parts, as far as it has come. */
  long = NO_BYTES;

  constructor(memory: SharedArrayBuffer) {
    this.ring = new RingConsumer(memory);
  }
}

export class Peers {
  readonly index: number;
  readonly count: number;
  /** By shard; null at the own index. */
  readonly senders: readonly (Sender | null)[];
  readonly receivers: readonly (Receiver | null)[];
  readonly places: readonly (RoutePlaces | null)[];
  readonly tickets: Tickets;
  readonly roster: Roster;
  readonly gauges: Gauges;
  readonly users: Tallies;
  readonly connects: Tallies;
  readonly #settled: Int32Array;
  readonly #waiting: Int32Array;
  readonly #bells: readonly Doorbell[];
  readonly #clock: Clock;
  /** Settled counts of the others as they were last applied. */
  readonly #applied: Int32Array;
  /** Settled counts that the others were told. */
  readonly #told: Int32Array;
  #poll: (() => boolean) | null = null;
  readonly #wake = () => this.#look();

  constructor(fabric: Fabric, index: number, clock: Clock) {
    const { count } = fabric;
    this.index = index;
    this.count = count;
    this.#clock = clock;
    this.#settled = new Int32Array(fabric.settled);
    this.#waiting = new Int32Array(fabric.waiting);
    this.#bells = fabric.bells.map((memory) => new Doorbell(memory));
    this.#applied = new Int32Array(count);
    this.#told = new Int32Array(count);
    this.tickets = new Tickets(count);
    this.roster = new Roster(fabric.roster);
    this.gauges = new Gauges(fabric.gauges, count, index);
    this.users = new Tallies(fabric.users);
    this.connects = new Tallies(fabric.connects);
    this.senders = fabric.bells.map((_, shard) => {
      const memory = fabric.rings[index * count + shard]!;
      if (memory === null) return null;
      return new Sender(new RingProducer(memory), this.#bells[shard]!, this.#waiting, index * count + shard);
    });
    this.receivers = fabric.bells.map((_, shard) => {
      const memory = fabric.rings[shard * count + index]!;
      return memory === null ? null : new Receiver(memory);
    });
    this.places = this.senders.map((sender) => (sender === null ? null : new RoutePlaces()));
  }

  /** Begins to look: `poll` handles what has come and says whether there was anything. */
  start(poll: () => boolean): void {
    this.#poll = poll;
    this.#look();
  }

  /** Looks no more. */
  stop(): void {
    this.#poll = null;
  }

  /** Whether letters wait for room in some ring. */
  get isSpilled(): boolean {
    for (const sender of this.senders) if (sender !== null && sender.spilledBytes > 0) return true;
    return false;
  }

  /** Whether anything waits to be looked at. */
  get hasWork(): boolean {
    for (let shard = 0; shard < this.count; shard++) {
      if (shard === this.index) continue;
      if (this.receivers[shard]!.ring.hasRecords) return true;
      if (this.settledBy(shard) !== this.#applied[shard]) return true;
      if (this.senders[shard]!.spilledBytes > 0 && Atomics.load(this.#waiting, this.index * this.count + shard) === 0)
        return true;
    }
    return false;
  }

  /** Whether all is taken that the last look at each ring has found. */
  get areThrough(): boolean {
    for (const receiver of this.receivers) if (receiver !== null && receiver.ring.nextWord !== 0) return false;
    return true;
  }

  /** How many of this shard's messages another one says that it has settled, modulo 2^32. */
  settledBy(shard: number): number {
    return Atomics.load(this.#settled, this.index * this.count + shard);
  }

  /** Takes the count over. True when tickets settled by it. */
  applySettled(shard: number, count: number): boolean {
    if (count === this.#applied[shard]) return false;
    this.#applied[shard] = count;
    return this.tickets.settledUpTo(shard, count);
  }

  /**
   * Shows what was written in this turn to the others; to the first one last: what it passes on of a retained message must not be seen before the message itself, which went straight
   * to its receivers (routing/replay.ts).
   */
  publish(): void {
    for (let shard = this.count - 1; shard >= 0; shard--) {
      const sender = this.senders[shard]!;
      if (sender === null) continue;
      if (sender.spilledBytes > 0) sender.unspill();
      sender.publish();
      sender.isLast = false;
    }
  }

  /** Tells the others what was settled of theirs; after `publish`, so that a refusal is there before the count that covers it. */
  settle(durable: number): void {
    for (let shard = 0; shard < this.count; shard++) {
      if (shard === this.index) continue;
      const { debts } = this.receivers[shard]!;
      debts.paid(durable);
      if (debts.settled === this.#told[shard] || this.senders[shard]!.spilledBytes > 0) continue;
      this.#told[shard] = debts.settled;
      Atomics.store(this.#settled, shard * this.count + this.index, debts.settled);
      this.#bells[shard]!.ring();
    }
  }

  /** Gives the room of what was read back, and wakes a shard that waits for it. */
  release(from: number): void {
    this.receivers[from]!.ring.release();
    const at = from * this.count + this.index;
    if (Atomics.load(this.#waiting, at) === 1 && Atomics.exchange(this.#waiting, at, 0) === 1) this.#bells[from]!.ring();
  }

  #look(): void {
    const poll = this.#poll;
    if (poll === null) return;
    if (poll() || !this.#bells[this.index]!.sleepAsync(() => this.hasWork, this.#wake)) this.#clock.endOfTurn(this.#wake);
  }
}

const NO_BYTES = new Uint8Array(0);
