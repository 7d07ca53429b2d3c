// Tickets, their lines and debts against plain lists.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Debts, NO_TICKET, Refusal, Tickets } from '../../engine/peers/tickets.ts';
import { agree, check } from '../check.ts';

const SHARDS = 3;

interface Ticket {
  readonly number: number;
  readonly owner: number;
  readonly packet: number;
  pending: number;
  refusal: number;
  isForgotten: boolean;
}

/** What was sent to one shard, oldest first; `ticket` is null where nobody waits or where it is settled later. */
interface Sent {
  readonly number: number;
  ticket: Ticket | null;
}

/** Tickets as plain lists. */
class Model {
  readonly real = new Tickets(SHARDS);
  readonly tickets: Ticket[] = [];
  readonly lines: Sent[][] = Array.from({ length: SHARDS }, () => []);
  readonly counts = new Array<number>(SHARDS).fill(0);
  readonly settled = new Array<number>(SHARDS).fill(0);
  readonly late: Ticket[] = [];

  publish(owner: number, packet: number, shards: readonly number[], isWaitedFor: boolean): void {
    const ticket: Ticket | null = isWaitedFor ? this.#give(owner, packet) : null;
    for (const shard of shards) {
      const number = this.real.sent(shard, ticket?.number ?? NO_TICKET);
      this.counts[shard]!++;
      agree(number, this.counts[shard]! | 0);
      agree(this.real.ticketOf(shard, number), ticket?.number ?? NO_TICKET);
      if (ticket !== null) ticket.pending++;
      this.lines[shard]!.push({ number, ticket });
    }
    if (ticket === null) return;
    this.real.done(ticket.number);
    ticket.pending--;
  }

  settle(shard: number, count: number): void {
    const now = Math.min(count, this.lines[shard]!.length);
    for (const { ticket } of this.lines[shard]!.splice(0, now)) if (ticket !== null) ticket.pending--;
    this.settled[shard]! += now;
    agree(this.real.settledUpTo(shard, this.settled[shard]! | 0), now > 0);
  }

  later(shard: number, at: number): void {
    const sent = this.lines[shard]![at % Math.max(1, this.lines[shard]!.length)];
    if (sent === undefined) return;
    agree(this.real.later(shard, sent.number), sent.ticket?.number ?? NO_TICKET);
    if (sent.ticket !== null) this.late.push(sent.ticket);
    sent.ticket = null;
  }

  doneLater(at: number): void {
    const [ticket] = this.late.splice(at % Math.max(1, this.late.length), 1);
    if (ticket === undefined) return;
    this.real.done(ticket.number);
    ticket.pending--;
  }

  refuse(at: number, refusal: Refusal): void {
    const open = this.tickets.filter(({ pending }) => pending > 0);
    const ticket = open[at % Math.max(1, open.length)];
    if (ticket === undefined) return;
    this.real.refuse(ticket.number, refusal);
    if (!ticket.isForgotten) ticket.refusal = Math.max(ticket.refusal, refusal);
  }

  forget(at: number): void {
    const ticket = this.tickets[at % Math.max(1, this.tickets.length)];
    if (ticket === undefined) return;
    this.real.forget(ticket.number);
    ticket.isForgotten = true;
    ticket.refusal = Refusal.NONE;
  }

  take(at: number): void {
    const ticket = this.tickets[at % Math.max(1, this.tickets.length)];
    if (ticket === undefined) return;
    agree(this.real.takeRefusal(ticket.number), ticket.refusal);
    ticket.refusal = Refusal.NONE;
  }

  judge(): void {
    const { real, tickets } = this;
    const first = tickets.find(({ pending }) => pending > 0)?.number ?? real.next;
    agree(real.next, tickets.length + 1);
    agree(real.first, first);
    agree(real.open, real.next - first);
    agree(real.refusals, tickets.filter(({ refusal }) => refusal !== Refusal.NONE).length);
    for (const { number, owner, packet, pending } of tickets) {
      agree(real.isSettled(number), pending === 0);
      if (number < first) continue;
      agree(real.owner(number), owner);
      agree(real.packet(number) & 0xffff, packet);
      const newest = tickets.findLast((other) => other.pending > 0 && other.owner === owner && other.packet === packet);
      agree(real.find(owner, packet, 0xffff), newest?.number ?? NO_TICKET);
    }
  }

  #give(owner: number, packet: number): Ticket {
    const number = this.real.give(owner, packet);
    const ticket = { number, owner, packet, pending: 1, refusal: Refusal.NONE, isForgotten: false };
    this.tickets.push(ticket);
    agree(this.real.isSettled(number), false);
    return ticket;
  }
}

const shard = fc.nat(SHARDS - 1);
const at = fc.nat(50);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.nat(3), fc.nat(4), fc.subarray([0, 1, 2]), fc.boolean()).map(
      ([owner, packet, shards, isWaitedFor]) =>
        (model: Model) =>
          model.publish(owner, packet, shards, isWaitedFor),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(shard, fc.nat(4)).map(
      ([to, count]) =>
        (model: Model) =>
          model.settle(to, count),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(shard, at).map(
      ([to, which]) =>
        (model: Model) =>
          model.later(to, which),
    ),
  },
  { weight: 1, arbitrary: at.map((which) => (model: Model) => model.doneLater(which)) },
  {
    weight: 1,
    arbitrary: fc.tuple(at, fc.constantFrom(Refusal.QUEUE, Refusal.STORE)).map(
      ([which, refusal]) =>
        (model: Model) =>
          model.refuse(which, refusal),
    ),
  },
  { weight: 1, arbitrary: at.map((which) => (model: Model) => model.forget(which)) },
  { weight: 1, arbitrary: at.map((which) => (model: Model) => model.take(which)) },
);

describe('tickets', () => {
  test('are what plain lists are', () =>
    check(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const model = new Model();
        for (const run of steps) {
          run(model);
          model.judge();
        }
      }),
      400,
    ));

  test('grow while old ones are open, and keep what they know', () => {
    const tickets = new Tickets(2);
    const count = 5_000;
    const numbers = Array.from({ length: count }, (_, i) => {
      const ticket = tickets.give(i, i & 0xffff);
      agree(tickets.sent(1, ticket), i + 1);
      tickets.done(ticket);
      return ticket;
    });
    expect(tickets.open).toBe(count);
    numbers.forEach((ticket, i) => {
      agree(tickets.owner(ticket), i);
      agree(tickets.packet(ticket), i & 0xffff);
      agree(tickets.ticketOf(1, i + 1), ticket);
    });
    expect(tickets.settledUpTo(1, count - 1)).toBe(true);
    expect(tickets.open).toBe(1);
    expect(tickets.settledUpTo(1, count)).toBe(true);
    expect(tickets.settledUpTo(1, count)).toBe(false);
    expect(tickets.open).toBe(0);
  });

  test('settled lines go round their ring many times, while one ticket stays open', () => {
    const tickets = new Tickets(2);
    const old = tickets.give(7, 8);
    tickets.hold(old);
    tickets.done(old);
    for (let number = 1; number <= 20_000; number++) {
      const ticket = tickets.give(1, 1);
      agree(tickets.sent(0, ticket), number);
      tickets.done(ticket);
      agree(tickets.isSettled(ticket), false);
      tickets.settledUpTo(0, number);
      agree(tickets.isSettled(ticket), true);
    }
    expect([tickets.first, tickets.owner(old), tickets.packet(old)]).toEqual([old, 7, 8]);
    tickets.done(old);
    expect(tickets.open).toBe(0);
  });
});

describe('debts', () => {
  const act = fc.oneof(fc.record({ take: fc.nat(5), sequences: fc.nat(3) }), fc.record({ durable: fc.nat(6) }));

  test('are paid in order as the store becomes durable, from any number on', () =>
    check(
      fc.property(fc.array(act, { maxLength: 300, size: 'max' }), fc.constantFrom(0, 2 ** 31 - 20, -20), (acts, start) => {
        const debts = new Debts();
        debts.taken = start;
        debts.settled = start;
        let sequence = 0;
        let durable = 0;
        let settled = start;
        const owed: { readonly count: number; readonly sequence: number }[] = [];
        for (const own of acts) {
          if ('take' in own) {
            debts.taken = (debts.taken + own.take) | 0;
            sequence += own.sequences;
            debts.owe(sequence);
            owed.push({ count: debts.taken, sequence });
          } else {
            durable = Math.min(sequence, durable + own.durable);
            const before = settled;
            for (const { count } of owed.filter((one) => one.sequence <= durable)) settled = count;
            owed.splice(0, owed.filter((one) => one.sequence <= durable).length);
            agree(debts.paid(durable), settled !== before);
          }
          agree(debts.settled, settled);
        }
      }),
      400,
    ));
});
