// HOT: no allocation, closures, strings, try or async per message.
// What a shard's acknowledgements wait for elsewhere. A QoS 1 or 2 message that goes to other shards holds a ticket; it is answered when each of them has
// settled it: its receivers have it in memory or durably, or it was refused. Shards settle in the order of the ring and say so by one count, so nothing
// is sent back for a message that went well.
//
//   tickets     ring of `capacity`: PENDING shards that have not settled, OWNER session of the publisher, PACKET identifier | level 5 << 16 | QoS 2 << 17 | nobody reads
//               the answer << 30
//   lines       for each shard a queue of the tickets of the messages that were sent to it, 0 where nobody waits
//
// A shard that keeps a message back for a session that is still on its way says LATER, and settles that one by its number.

/** No ticket: nothing elsewhere is waited for. */
export const NO_TICKET = 0;

/** How a message was refused by a shard. */
export const Refusal = {
  NONE: 0,
  /** A receiver's queue was full. */
  QUEUE: 1,
  /** The store took nothing: a client that knows no negative answer must not be told that all went well. */
  STORE: 2,
} as const;
export type Refusal = (typeof Refusal)[keyof typeof Refusal];

const CAPACITY_MIN = 1_024;
/** Above so many open tickets publishers are held: another shard, or its store, is behind. */
export const TICKETS_HIGH = 65_536;

/** Bit of a ticket's packet: nobody is left to read the answer. */
const FORGOTTEN = 1 << 30;

export class Tickets {
  /** Oldest ticket that is not settled. */
  first = 1;
  /** The ticket given next. */
  next = 1;
  #capacity = CAPACITY_MIN;
  #pending = new Int32Array(CAPACITY_MIN);
  #owner = new Int32Array(CAPACITY_MIN);
  #packet = new Int32Array(CAPACITY_MIN);
  readonly #lines: readonly Line[];
  /** Of tickets that were refused, until their answer is written. */
  readonly #refusals = new Map<number, Refusal>();

  constructor(shards: number) {
    this.#lines = Array.from({ length: shards }, () => new Line());
  }

  /** Tickets that are not settled, with those that wait behind one that is not. */
  get open(): number {
    return this.next - this.first;
  }

  /** A ticket for a message of a session. It holds itself until its first `done`. */
  give(owner: number, packet: number): number {
    if (this.next - this.first === this.#capacity) this.#grow();
    const ticket = this.next++;
    const slot = ticket & (this.#capacity - 1);
    this.#pending[slot] = 1;
    this.#owner[slot] = owner;
    this.#packet[slot] = packet;
    return ticket;
  }

  /** One message goes to a shard; `ticket` may be NO_TICKET. Returns the number by which the shard knows it. */
  sent(shard: number, ticket: number): number {
    this.hold(ticket);
    return this.#lines[shard]!.push(ticket);
  }

  /** Waits for one thing more, which `done` settles. */
  hold(ticket: number): void {
    if (ticket === NO_TICKET) return;
    const slot = ticket & (this.#capacity - 1);
    this.#pending[slot] = this.#pending[slot]! + 1;
  }

  /** One thing less is waited for. */
  done(ticket: number): void {
    if (ticket === NO_TICKET) return;
    const slot = ticket & (this.#capacity - 1);
    this.#pending[slot] = this.#pending[slot]! - 1;
    while (this.first < this.next && this.#pending[this.first & (this.#capacity - 1)] === 0) this.first++;
  }

  /** Whether all that the ticket waited for has settled. */
  isSettled(ticket: number): boolean {
    return ticket < this.first || this.#pending[ticket & (this.#capacity - 1)] === 0;
  }

  /** A shard has settled its messages up to a count. True when there was something to settle. */
  settledUpTo(shard: number, count: number): boolean {
    const line = this.#lines[shard]!;
    let any = false;
    while (((count - line.settled) | 0) > 0) {
      this.done(line.shift());
      any = true;
    }
    return any;
  }

  /** A shard settles the message of this number by itself, later: the line moves on without it. Returns the ticket. */
  later(shard: number, number: number): number {
    return this.#lines[shard]!.take(number);
  }

  /** Ticket of a message in a shard's line. */
  ticketOf(shard: number, number: number): number {
    return this.#lines[shard]!.at(number);
  }

  owner(ticket: number): number {
    return this.#owner[ticket & (this.#capacity - 1)]!;
  }

  packet(ticket: number): number {
    return this.#packet[ticket & (this.#capacity - 1)]!;
  }

  refuse(ticket: number, refusal: Refusal): void {
    if (ticket === NO_TICKET || (this.packet(ticket) & FORGOTTEN) !== 0) return;
    if ((this.#refusals.get(ticket) ?? Refusal.NONE) < refusal) this.#refusals.set(ticket, refusal);
  }

  /** Refusals that wait for their answer. */
  get refusals(): number {
    return this.#refusals.size;
  }

  /** Nobody is left to read the answer. */
  forget(ticket: number): void {
    this.#refusals.delete(ticket);
    if (ticket < this.first) return;
    const slot = ticket & (this.#capacity - 1);
    this.#packet[slot] = this.#packet[slot]! | FORGOTTEN;
  }

  /** The newest ticket of a session's message that is not settled; NO_TICKET when there is none. */
  find(owner: number, packet: number, mask: number): number {
    for (let ticket = this.next - 1; ticket >= this.first; ticket--) {
      const slot = ticket & (this.#capacity - 1);
      if (this.#owner[slot] === owner && (this.#packet[slot]! & mask) === packet && this.#pending[slot] !== 0) return ticket;
    }
    return NO_TICKET;
  }

  /** Somebody reads the answer after all: the client has come back and sends the message again. */
  remember(ticket: number): void {
    if (ticket < this.first) return;
    const slot = ticket & (this.#capacity - 1);
    this.#packet[slot] = this.#packet[slot]! & ~FORGOTTEN;
  }

  /** How the message of a ticket was refused; asked once, when its answer is written. */
  takeRefusal(ticket: number): Refusal {
    if (this.#refusals.size === 0) return Refusal.NONE;
    const refusal = this.#refusals.get(ticket);
    if (refusal === undefined) return Refusal.NONE;
    this.#refusals.delete(ticket);
    return refusal;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const wide = [new Int32Array(capacity), new Int32Array(capacity), new Int32Array(capacity)] as const;
    for (let ticket = this.first; ticket < this.next; ticket++) {
      const from = ticket & (this.#capacity - 1);
      const to = ticket & (capacity - 1);
      wide[0][to] = this.#pending[from]!;
      wide[1][to] = this.#owner[from]!;
      wide[2][to] = this.#packet[from]!;
    }
    this.#pending = wide[0];
    this.#owner = wide[1];
    this.#packet = wide[2];
    this.#capacity = capacity;
  }
}

/** The tickets of what was sent to one shard, in order; messages count from 1, modulo 2^32. */
class Line {
  settled = 0;
  #sent = 0;
  #capacity = CAPACITY_MIN;
  // Tickets pass 2^31 after a day at full speed.
  #tickets = new Float64Array(CAPACITY_MIN);

  push(ticket: number): number {
    if (((this.#sent - this.settled) | 0) === this.#capacity) this.#grow();
    this.#sent = (this.#sent + 1) | 0;
    this.#tickets[this.#sent & (this.#capacity - 1)] = ticket;
    return this.#sent;
  }

  shift(): number {
    this.settled = (this.settled + 1) | 0;
    return this.#tickets[this.settled & (this.#capacity - 1)]!;
  }

  at(number: number): number {
    return this.#tickets[number & (this.#capacity - 1)]!;
  }

  take(number: number): number {
    const ticket = this.at(number);
    this.#tickets[number & (this.#capacity - 1)] = NO_TICKET;
    return ticket;
  }

  #grow(): void {
    const capacity = this.#capacity * 2;
    const wide = new Float64Array(capacity);
    for (let passed = 1; passed <= this.#capacity; passed++) {
      const number = (this.settled + passed) | 0;
      wide[number & (capacity - 1)] = this.#tickets[number & (this.#capacity - 1)]!;
    }
    this.#tickets = wide;
    this.#capacity = capacity;
  }
}

/** Messages that were taken from one other shard, and how many of them may be called settled: each waits for an intent of the store here. */
export class Debts {
  /** Messages taken, modulo 2^32. */
  taken = 0;
  /** Those of them that are settled. */
  settled = 0;
  #counts = new Int32Array(DEBTS_MIN);
  #sequences = new Float64Array(DEBTS_MIN);
  #first = 0;
  #end = 0;

  /** What was taken so far waits for this intent. */
  owe(sequence: number): void {
    if (this.#first === this.#end) {
      this.#first = 0;
      this.#end = 0;
    } else if (this.#sequences[this.#end - 1] === sequence) {
      this.#counts[this.#end - 1] = this.taken;
      return;
    }
    if (this.#end === this.#counts.length) this.#makeRoom();
    this.#counts[this.#end] = this.taken;
    this.#sequences[this.#end++] = sequence;
  }

  /** The store is durable up to an intent. True when messages were settled by that. */
  paid(durable: number): boolean {
    const before = this.settled;
    while (this.#first < this.#end && this.#sequences[this.#first]! <= durable) this.settled = this.#counts[this.#first++]!;
    return this.settled !== before;
  }

  #makeRoom(): void {
    const waiting = this.#end - this.#first;
    const capacity = waiting * 2 > this.#counts.length ? this.#counts.length * 2 : this.#counts.length;
    const counts = new Int32Array(capacity);
    const sequences = new Float64Array(capacity);
    counts.set(this.#counts.subarray(this.#first, this.#end));
    sequences.set(this.#sequences.subarray(this.#first, this.#end));
    this.#counts = counts;
    this.#sequences = sequences;
    this.#first = 0;
    this.#end = waiting;
  }
}

const DEBTS_MIN = 64;
